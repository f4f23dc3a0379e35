"""Files that a user names with -o, outside of run folders: only a regular file is ever replaced."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from harness.errors import UsageError
from harness.folder.run_folder import write_atomically

__all__ = ["write_output"]

KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
)


def write_output(path: Path, content: str | bytes | Iterable[bytes | memoryview]) -> None:
    """Write a file that a user named, with the folders above it; see `write_atomically`.

    Of a symbolic link the file that it points to is written. A rename onto a device or a pipe would take it away.

    Raises: UsageError: there is something else of that name, or above it. RunFolderError: it cannot be written.
    """
    target = Path(os.path.realpath(path))
    try:
        # By the name itself: what /dev/stdout points to has no path where it is a pipe.
        if (kind := _kind(path)) is not None:
            raise UsageError(f"{path}: is {kind}; expected a file, or a name that is free: choose another with -o")
        target.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as exc:
        raise UsageError(f"{path}: {exc.filename} is no folder; choose another file with -o") from exc
    except OSError as exc:
        raise UsageError(f"{path}: cannot be written: {exc.strerror}; choose another with -o") from exc
    write_atomically(target, content)


def _kind(path: Path) -> str | None:
    """Return what there is of a name, None where that is a regular file or nothing.

    Raises: OSError: it cannot be told.
    """
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    if stat.S_ISREG(mode):
        return None
    return next((name for is_kind, name in KINDS if is_kind(mode)), "no regular file")
