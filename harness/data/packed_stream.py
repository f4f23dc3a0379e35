"""GZIP and ZLIB files as streams of what they hold."""

from __future__ import annotations

import gzip
import io
import zlib
from typing import IO, Any

from harness.data.range_file import READ_AHEAD, RangeFile

__all__ = ["GZIP_MAGIC", "is_packed", "is_zlib", "unpacked"]

GZIP_MAGIC = b"\x1f\x8b"


def is_packed(head: bytes) -> bool:
    """Say whether the first two bytes of a file begin a GZIP or a ZLIB stream.

    >>> is_packed(gzip.compress(b"")[:2]), is_packed(zlib.compress(b"")[:2]), is_packed(b"ab")
    (True, True, False)
    """
    return head == GZIP_MAGIC or is_zlib(head)


def unpacked(file: RangeFile) -> IO[bytes]:
    """Return a file's content as a stream, unpacked where it is GZIP or ZLIB; told by its first bytes."""
    head = file.read(0, 2)
    if head == GZIP_MAGIC:
        return gzip.GzipFile(fileobj=file.stream())  # type: ignore[return-value]
    if is_zlib(head):
        return io.BufferedReader(_Zlib(file.stream()), READ_AHEAD)
    return file.stream()


def is_zlib(head: bytes) -> bool:
    """Say whether two bytes begin a ZLIB stream: method 8, window of 32 KiB, and the check of RFC 1950.

    >>> is_zlib(zlib.compress(b"")[:2]), is_zlib(b"ab"), is_zlib(b"")
    (True, False, False)
    """
    return len(head) == 2 and head[0] == 0x78 and int.from_bytes(head, "big") % 31 == 0


class _Zlib(io.RawIOBase):
    """A ZLIB stream as Python's raw stream."""

    def __init__(self, packed: IO[bytes]) -> None:
        self._packed, self._left, self._inflate = packed, b"", zlib.decompressobj()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left and not self._inflate.eof:
            data = self._inflate.unconsumed_tail or self._packed.read(1 << 16)
            if not data:
                raise EOFError("the stream ended before its end marker")
            self._left = self._inflate.decompress(data, READ_AHEAD)
        part, self._left = self._left[: len(buffer)], self._left[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)
