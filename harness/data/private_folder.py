"""Folders that are this user's alone: what lies in them is believed later, so nobody else may have put it there."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path

__all__ = ["close", "intruders", "make", "of_node"]

WRITABLE = stat.S_IWGRP | stat.S_IWOTH


def of_node() -> Path:
    """Return this user's folder in the temporary one, which other nodes do not share."""
    return Path(tempfile.gettempdir()) / f"harness-{os.getuid()}"


def make(folder: Path) -> None:
    """Make a folder and those above it that are missing, for this user alone: what `mkdir` makes above has the usual mode.

    Raises: OSError: it cannot be made.
    """
    missing = [folder]
    while not os.path.lexists(missing[-1].parent):
        missing.append(missing[-1].parent)
    for path in reversed(missing):
        path.mkdir(mode=0o700, exist_ok=True)


def close(folder: Path) -> None:
    """Take from others the right to write to a folder that is this user's; leave alone what is not."""
    with contextlib.suppress(OSError):
        status = folder.lstat()
        if stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and status.st_mode & WRITABLE:
            folder.chmod(0o700)


def intruders(place: Path, root: Path) -> str:
    """Say why others may have a hand in a place: itself, or a folder between it and a root; nothing where they have none.

    Links are not followed, for whoever makes one chooses what lies behind it. What is not there is nobody's.

    Args:
      place: a file or folder in the root, or the root.
      root: folder; who may write above it is the choice of whoever named it.
    """
    for path in [*reversed(place.relative_to(root).parents), place.relative_to(root)]:
        path = root / path
        try:
            status = path.lstat()
        except FileNotFoundError:
            return ""
        except OSError as exc:
            return f"{path}: {exc.strerror}"
        if stat.S_ISLNK(status.st_mode):
            return f"{path} is a symbolic link"
        if status.st_uid != os.getuid():
            return f"{path} belongs to user {status.st_uid}"
        if status.st_mode & WRITABLE:
            return f"{path}: others may write here (mode {stat.S_IMODE(status.st_mode):o})"
    return ""
