"""Whether libraries may speak and tracebacks are shown, as -v asks for: TensorFlow's variable says it, which ranks inherit."""

from __future__ import annotations

import os
from collections.abc import Mapping

__all__ = ["LOG_LEVEL", "be_verbose", "is_verbose"]

LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
ALL, WARNINGS = "0", "2"  # levels: everything, no more than errors


def be_verbose() -> None:
    """Let libraries speak, in this process and those that it starts."""
    os.environ[LOG_LEVEL] = ALL


def is_verbose(environ: Mapping[str, str] | None = None) -> bool:
    """Whether they may.

    >>> is_verbose({"TF_CPP_MIN_LOG_LEVEL": "0"}), is_verbose({"TF_CPP_MIN_LOG_LEVEL": "3"}), is_verbose({})
    (True, False, False)
    """
    return ((os.environ if environ is None else environ).get(LOG_LEVEL) or WARNINGS) < WARNINGS
