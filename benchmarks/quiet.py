"""What TensorFlow's libraries write before their logging can be set is left out of what a benchmark says."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator

from harness_launch.launcher_output import LIBRARIES

__all__ = ["without_library_lines"]

LEFT_OPEN_S = 5.0  # how long a process that was started inside, and is still there, may keep stderr


@contextlib.contextmanager
def without_library_lines() -> Iterator[None]:
    """Pass on what this process and those that it starts write to stderr, but for lines of libraries."""
    sys.stderr.flush()
    shown = os.dup(2)
    reading, writing = os.pipe()
    os.dup2(writing, 2)
    os.close(writing)
    copier = threading.Thread(target=_copy, args=(reading, shown), daemon=True)
    copier.start()
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(shown, 2)
        copier.join(LEFT_OPEN_S)


def _copy(reading: int, shown: int) -> None:
    with open(reading, "rb") as lines, open(shown, "wb", buffering=0) as stderr:
        for line in lines:
            if not LIBRARIES.match(line):
                stderr.write(line)
