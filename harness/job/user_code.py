"""What code of the user's own raised, as one line that ends with its file and line: no frame of ours, or of a library, is shown.

Knows the traceback of an exception, what AutoGraph remembers of the code that it converted, and the texts of TensorFlow's errors.
"""

from __future__ import annotations

import os
import re
import site
import sysconfig
import traceback
from collections.abc import Iterable
from pathlib import Path

__all__ = ["UNREADABLE", "place_in", "raised"]

SHOWN = 400  # characters of a message
OURS = str(Path(__file__).parents[1])
LIBRARIES = (*site.getsitepackages(), sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"))
FRAME = re.compile(r'File "([^"<]+)", line (\d+)')
NODE = re.compile(r" for '\{\{node .*?'(?= with|$)")  # an operation of the graph, whose name the user has not given
# Of a name, or what AutoGraph makes of it to give it a message of several lines.
WRAPPED = "MultilineMessage"
AS_PYTHON = "OperatorNotAllowedInGraphError"
UNREADABLE = (
    "a tensor stands where Python wants a value (if, while, for, and, or, not), in code that TensorFlow cannot turn into "
    "operations: in a metric, behind := or match, or where its source is not to be had; use tf.where, tf.cond or tf.map_fn"
)


def raised(exc: BaseException) -> str:
    """Return an exception of the user's code: its kind, its message, and where it was raised as far as that is known.

    >>> try:
    ...     int("x")
    ... except ValueError as exc:
    ...     raised(exc).partition(" (")[0]
    "ValueError: invalid literal for int() with base 10: 'x'"
    """
    kind = type(exc).__name__.removeprefix(WRAPPED)
    metadata = getattr(exc, "ag_error_metadata", None)
    text = str(getattr(metadata, "cause_message", "") or f"{kind}: {exc}")
    text = f"{kind}: {UNREADABLE}" if kind == AS_PYTHON else " ".join(NODE.sub("", text).split()).rstrip(".")
    converted = [(frame.filename, frame.lineno) for frame in reversed(getattr(metadata, "translated_stack", ()))]
    frames = [(frame.filename, frame.lineno or 0) for frame in traceback.extract_tb(exc.__traceback__)]
    place = _innermost(converted) or _innermost(frames)
    return f"{text[:SHOWN]} ({place})" if place else text[:SHOWN]


def place_in(message: str) -> str:
    """Return the user's file and line that a message of TensorFlow names last; empty where it names none.

    >>> place_in('File "/home/me/costs.py", line 7, in terms\\n  File "<string>", line 2, in f')
    '/home/me/costs.py:7'
    """
    return _innermost((file, int(line)) for file, line in FRAME.findall(message))


def _innermost(frames: Iterable[tuple[str, int]]) -> str:
    own = [f"{file}:{line}" for file, line in frames if _is_users(file)]
    return own[-1] if own else ""


def _is_users(file: str) -> bool:
    """Say whether a file is the user's: neither ours, nor a library's, nor one that AutoGraph has written."""
    generated = os.path.basename(file).startswith("__autograph_generated_file")
    return not file.startswith("<") and not generated and not file.startswith((OURS + os.sep, *LIBRARIES))
