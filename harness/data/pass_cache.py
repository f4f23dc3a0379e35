"""What one pass over a file finds, kept in the user's cache: where records begin, how many there are."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from harness.data import private_folder, storage
from harness.errors import DataError
from harness.names.scratch import scratch_name
from harness.names.variables import CACHE

__all__ = ["SMALL", "cached"]

SMALL = 1 << 20  # what is smaller is read again sooner than it is looked up
RACY_S = 2.0  # a file that was changed so lately may change again without its time showing it
INDEX_VERSION = 1


def cached(path: str, kind: str, build: Callable[[], np.ndarray]) -> np.ndarray:
    """Return what one pass over a file finds, kept in the user's cache under its path, size and time.

    Args:
      path: the file.
      kind: what is kept of it, with the options it depends on.
      build: makes the pass; int64 [n].
    """
    key = _content_key(path)
    if key is None:
        return build()
    name = hashlib.sha256(f"{INDEX_VERSION}\0{kind}\0{key}".encode()).hexdigest()
    folder = _cache_folder()
    if CACHE.name not in os.environ:  # what somebody has named they look after themselves
        private_folder.close(folder)
    place = folder / f"{name}.npy"
    # What others may have written is not believed: it says which records there are.
    if private_folder.intruders(place, folder):
        return build()
    try:
        return np.load(place, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        result = build()
    temporary = scratch_name(place)
    # A cache that cannot be written costs time, nothing else.
    with contextlib.suppress(OSError):
        private_folder.make(folder)
        # For this user alone whatever the umask: what others may write to is not believed the next time.
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            np.save(stream, result)
        os.replace(temporary, place)
    return result


def _cache_folder() -> Path:
    own = CACHE.get()
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "harness"


def _content_key(path: str) -> str | None:
    """Return what tells one content of a file from another; None where it is not worth keeping, or not safe."""
    if storage.is_url(path):
        fs, key = storage.filesystem(path)
        info = storage.retried(path, lambda: fs.info(key))
        version = next((str(info[name]) for name in storage.VERSIONS if info.get(name)), None)
        return None if version is None else f"{path}\0{info['size']}\0{version}"
    try:
        status = os.stat(path)
    except OSError as exc:
        raise DataError(f"{path}: cannot be read: {exc.strerror}") from exc
    if status.st_size < SMALL or time.time() - status.st_mtime < RACY_S:
        return None
    return f"{os.path.abspath(path)}\0{status.st_size}\0{status.st_mtime_ns}"
