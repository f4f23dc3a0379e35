"""Files to be read whole that somebody else may have put there: a device or a pipe might never end."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import IO

__all__ = ["open_regular", "read_regular"]


def open_regular(path: Path) -> IO[bytes]:
    """Open a file to be read, unless it is a device or a pipe, which might never end.

    Raises: OSError: there is none, it cannot be read, or it is no file.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(errno.EINVAL, "it is no regular file")
    return path.open("rb")


def read_regular(path: Path) -> bytes:
    """Read a whole file; see `open_regular`."""
    with open_regular(path) as stream:
        return stream.read()
