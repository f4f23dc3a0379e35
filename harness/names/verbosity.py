"""Whether libraries may speak and tracebacks are shown, as -v asks for: TensorFlow's variable says it, which ranks inherit."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping

__all__ = ["LOG_LEVEL", "be_verbose", "is_verbose", "quiet_stderr"]

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


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Hold back what libraries write before their logging can be set, or beside it; show it where what they do fails."""
    if is_verbose():
        yield
        return
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(kept, held.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
