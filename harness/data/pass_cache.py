"""What one pass over a file finds, kept in the user's cache: where records begin, how many there are."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

import google_crc32c
import numpy as np

from harness.data import private_folder, storage
from harness.errors import DataError
from harness.names.scratch import scratch_name
from harness.names.variables import CACHE

__all__ = ["SMALL", "Entry", "cache_folder"]

SMALL = 1 << 20  # what is smaller is read again sooner than it is looked up
RACY_S = 2.0  # a file that was changed so lately may change again without its time showing it
INDEX_VERSION = 2
CRC_BYTES = 4


@dataclass(frozen=True)
class Entry:
    """Where the cache keeps what one pass over a file finds.

    Attributes:
      place: None where it is not kept: of a small file, or because others may write there.
    """

    place: Path | None

    @classmethod
    def of(cls, path: str, kind: str) -> Entry:
        """Return the entry of a file as it is now: under its path, size and time.

        Args:
          path: the file.
          kind: what is kept of it, with the options it depends on.
        Raises: DataError: the file cannot be looked at.
        """
        key = _content_key(path)
        if key is None:
            return cls(None)
        name = hashlib.sha256(f"{INDEX_VERSION}\0{kind}\0{key}".encode()).hexdigest()
        folder = cache_folder()
        place = folder / f"{name}.index"
        # What others may have written is not believed: it says which records there are.
        return cls(None if private_folder.intruders(place, folder) else place)

    def load(self) -> np.ndarray | None:
        """Return what is kept, int64 [n]; None where nothing is, or something else than was written."""
        if self.place is None:
            return None
        try:
            with open(self.place, "rb") as stream:
                crc, data = stream.read(CRC_BYTES), stream.read()
        except OSError:
            return None
        if not data or crc != _crc(data):  # it says which records there are: half of it would be believed
            return None
        return np.frombuffer(data, "<i8")

    def store(self, numbers: np.ndarray) -> None:
        """Keep what was found."""
        if self.place is None:
            return
        temporary = scratch_name(self.place)
        # A cache that cannot be written costs time, nothing else.
        with contextlib.suppress(OSError):
            private_folder.make(self.place.parent)
            # For this user alone whatever the umask: what others may write to is not believed the next time.
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
                data = numbers.astype("<i8").tobytes()
                stream.write(_crc(data) + data)
            os.replace(temporary, self.place)


def _crc(data: bytes) -> bytes:
    return google_crc32c.value(data).to_bytes(CRC_BYTES, "little")


def cache_folder() -> Path:
    """Return where indices are kept."""
    own = CACHE.get()
    folder = Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "harness"
    if CACHE.name not in os.environ:  # what somebody has named they look after themselves
        private_folder.close(folder)
    return folder


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
