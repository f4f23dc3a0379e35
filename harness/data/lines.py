"""Files of lines, as CSV and JSON lines are, once they are counted: their headers, and blocks of their records.

Knows line borders and quotes, not what a line holds. Of some records the offset is known, so that memory does not grow
with the number of lines; see `line_pass.py`.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from harness.data import line_pass
from harness.data.block_size import BLOCK_BYTES
from harness.data.counting import FileCount
from harness.data.line_pass import BOM, BROKEN, LinesPass, unreadable
from harness.data.packed_stream import is_packed, unpacked
from harness.data.range_file import open_range
from harness.data.record_index import RecordIndex
from harness.errors import DataError
from harness.plan.plan import File

__all__ = ["Lines", "blocks", "lines_of", "look"]

UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True)
class Lines:
    """Where the lines of a file lie.

    Attributes:
      index: where some records begin; in the unpacked content where the file is packed.
      packed: whether it is GZIP or ZLIB and so has no offsets that could be gone to.
      header: the first line, b"" where there is none.
    """

    file: File
    index: RecordIndex
    packed: bool
    header: bytes

    @property
    def records(self) -> int:
        """How many there are, the header not among them."""
        return self.index.count


def look(path: str, *, quotes: bool) -> FileCount:
    """Say how a file is counted, and what the cache holds of it.

    Args:
      quotes: whether the first line is a header and newlines between double quotes are part of a field (CSV).
    Raises: DataError: the file cannot be read, or is UTF-16, as spreadsheets write text.
    """
    with open_range(path) as file:
        head = file.read(0, 2)
        if head in UTF_16:
            remedy = f"write it so, or: iconv -f UTF-16 -t UTF-8 {path} > NEW"
            raise DataError(f"{path}: expected text in UTF-8, found UTF-16: {remedy}")
        packed = is_packed(head)
        return FileCount.look(LinesPass(path, file.size, not packed, quotes))


def lines_of(count: FileCount) -> Lines:
    """Return the lines of a file that is counted.

    Raises: DataError: the file cannot be read or unpacked.
    """
    index = RecordIndex.unpack(count.found)
    path, packed, start = count.way.path, not count.way.divisible, int(index.offsets[0])
    with open_range(path) as stored:
        try:
            header = unpacked(stored).read(start) if packed else stored.read(0, start)
        except BROKEN as exc:
            raise unreadable(path, exc) from exc
    file = File(path, count.way.size_bytes, index.count, divisible=not packed)
    return Lines(file, index, packed, header.removeprefix(BOM).strip())


def blocks(lines: Lines, start: int, stop: int, size: int) -> Iterator[tuple[int, int, bytes]]:
    """Yield runs of records: the numbers of the first and of the one after the last, and their bytes.

    Runs begin and end where an offset is known: they hold records before `start` and after `stop`, for the caller to
    leave out.
    """
    path, index = lines.file.path, lines.index
    spans = list(_spans(index, start, stop, size))
    with open_range(path) as file:
        if not lines.packed:
            for at, end in spans:
                yield int(index.records[at]), int(index.records[end]), file.read(int(index.offsets[at]), int(index.offsets[end]))
            return
        try:
            stream = unpacked(file)
            _skip(stream, int(index.offsets[spans[0][0]]) if spans else 0)
            for at, end in spans:
                yield int(index.records[at]), int(index.records[end]), stream.read(int(index.offsets[end] - index.offsets[at]))
        except BROKEN as exc:
            raise unreadable(path, exc) from exc


def _spans(index: RecordIndex, start: int, stop: int, size: int) -> Iterator[tuple[int, int]]:
    """Cut records [start, stop) into runs of about `size`, fewer where they are long; yield entries of the index.

    >>> import numpy as np
    >>> index = RecordIndex(np.arange(6) * 256, np.array([0, 1, 2, 3, 40 << 20, 80 << 20]))
    >>> list(_spans(index, 0, 1280, 512))
    [(0, 2), (2, 3), (3, 4), (4, 5)]
    """
    at = index.entry(start)
    while start < stop:
        end = index.reach(at, BLOCK_BYTES, min(int(index.records[at]) + size, stop))
        yield at, end
        at, start = end, int(index.records[end])


def _skip(stream: IO[bytes], count: int) -> None:
    while count:
        part = len(stream.read(min(count, line_pass.SCAN)))
        if not part:
            raise EOFError(f"expected {count} bytes more")
        count -= part
