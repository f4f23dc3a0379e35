"""Files that are read by ranges: local ones, and URLs through fsspec."""

from __future__ import annotations

import io
import os
import stat
from typing import Any

from harness.data import storage
from harness.data.traffic import TRAFFIC
from harness.errors import DataError

__all__ = ["READ_AHEAD", "RangeFile", "open_range"]

READ_AHEAD = 1 << 20  # bytes that a stream fetches at a time


class RangeFile:
    """A file that is read by ranges; to be closed, or used in a `with`.

    Args:
      path: local path or URL.
    Raises: DataError: it cannot be opened; names the path and why.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._fs = self._fd = None
        if storage.is_url(path):
            self._fs, self._key = storage.filesystem(path)
            self.size = storage.size_bytes(path)
            return
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # opening a pipe would wait for one who writes
            status = os.fstat(self._fd)
        except OSError as exc:
            raise DataError(f"{path}: cannot be read: {exc.strerror}") from exc
        except ValueError as exc:  # a path out of a list may hold what no path has
            raise DataError(f"{path}: cannot be read: {exc}") from exc
        if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
            self.close()
            raise DataError(f"{path}: is a pipe or a device, expected a file")
        self.size = status.st_size

    def read(self, start: int, stop: int) -> bytes:
        """Return bytes [start, stop), fewer where the file ends before."""
        stop = min(stop, self.size)
        if start >= stop:
            return b""
        if self._fd is not None:
            return self._read_local(start, stop)
        return storage.retried(self.path, lambda: self._read_remote(start, stop))

    def _read_local(self, start: int, stop: int) -> bytes:
        assert self._fd is not None
        parts: list[bytes] = []
        try:
            while start < stop and (part := os.pread(self._fd, stop - start, start)):
                parts.append(part)  # a single read gives 2 GiB at most
                start += len(part)
        except OSError as exc:
            raise DataError(f"{self.path}: cannot be read at byte {start}: {exc.strerror}") from exc
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _read_remote(self, start: int, stop: int) -> bytes:
        assert self._fs is not None
        data: bytes = self._fs.cat_file(self._key, start=start, end=stop)
        if len(data) == self.size != stop - start:
            raise DataError(
                f"{self.path}: expected bytes {start} to {stop}, found the whole file: the server does not serve ranges "
                "(HTTP 206), and each read would be of all of it; copy the file here, or to a server that does"
            )
        if len(data) != stop - start:
            raise ConnectionError(f"expected {stop - start} bytes from {start}, found {len(data)}")
        TRAFFIC.add(read_bytes=len(data))
        return data

    def stream(self) -> io.BufferedReader:
        """Return the file as a stream of its own position."""
        return io.BufferedReader(_Stream(self), READ_AHEAD)

    def close(self) -> None:
        """Close the file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def __enter__(self) -> RangeFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Stream(io.RawIOBase):
    """A RangeFile as Python's raw stream."""

    def __init__(self, file: RangeFile) -> None:
        self._file, self._at = file, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self._file.size)[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(self._at, self._at + len(buffer))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def open_range(path: str) -> RangeFile:
    """Open a file to be read by ranges; see `RangeFile`."""
    return RangeFile(path)
