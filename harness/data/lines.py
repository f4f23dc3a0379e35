"""Files of lines, as CSV and JSON lines are: where records begin, found in one cached pass, and blocks of them.

Knows line borders and quotes, not what a line holds. Empty lines are no records. Of every STRIDE-th record the offset
is kept, so that memory does not grow with the number of lines.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import numpy as np

from harness.data.block_size import BLOCK_BYTES
from harness.data.packed_stream import is_packed, unpacked
from harness.data.pass_cache import cached
from harness.data.range_file import RangeFile, open_range
from harness.errors import DataError
from harness.plan.plan import File

__all__ = ["Lines", "blocks", "index"]

STRIDE = 256
SCAN = 1 << 22  # bytes looked at a time
BOM = b"\xef\xbb\xbf"
NEWLINE, RETURN, QUOTE = 10, 13, 34
BROKEN = (EOFError, zlib.error, OSError)


@dataclass(frozen=True)
class Lines:
    """Where the lines of a file lie.

    Attributes:
      offsets: of every STRIDE-th record, and the end, int64; of the unpacked content where the file is packed.
      records: how many there are, the header not among them.
      packed: whether it is GZIP or ZLIB and so has no offsets that could be gone to.
      header: the first line, b"" where there is none.
    """

    file: File
    offsets: np.ndarray
    records: int
    packed: bool
    header: bytes


def index(path: str, *, quotes: bool) -> Lines:
    """Find the records of a file; one pass, which is cached.

    Args:
      path: of the file.
      quotes: whether the first line is a header and newlines between double quotes are part of a field (CSV).
    Raises: DataError: the file cannot be read or unpacked, or ends within quotes.
    """
    with open_range(path) as file:
        head = file.read(0, 2)
        packed = is_packed(head)
        numbers = cached(path, f"lines {STRIDE} {quotes}", lambda: _scan(file, path, quotes=quotes))
        records, start, offsets = int(numbers[0]), int(numbers[1]), numbers[2:]
        try:
            header = unpacked(file).read(start) if packed else file.read(0, start)
        except BROKEN as exc:
            raise _unreadable(path, exc) from exc
        size = file.size
    return Lines(File(path, size, records, divisible=not packed), offsets, records, packed, header.removeprefix(BOM).strip())


def blocks(lines: Lines, start: int, stop: int, size: int, *, quotes: bool) -> Iterator[tuple[int, int, bytes]]:
    """Yield runs of records: the numbers of the first and of the one after the last, and their bytes.

    Runs begin and end at a stride: they hold records before `start` and after `stop`, for the caller to leave out.
    """
    path = lines.file.path
    spans = list(_spans(lines.offsets, start // STRIDE, -(-stop // STRIDE), max(1, size // STRIDE)))
    with open_range(path) as file:
        if not lines.packed:
            for at, end in spans:
                yield at * STRIDE, min(end * STRIDE, lines.records), file.read(int(lines.offsets[at]), int(lines.offsets[end]))
            return
        try:
            stream = unpacked(file)
            _skip(stream, int(lines.offsets[start // STRIDE]))
            for at, end in spans:
                yield at * STRIDE, min(end * STRIDE, lines.records), stream.read(int(lines.offsets[end] - lines.offsets[at]))
        except BROKEN as exc:
            raise _unreadable(path, exc) from exc


def _spans(offsets: np.ndarray, first: int, last: int, step: int) -> Iterator[tuple[int, int]]:
    """Cut strides [first, last) into runs of `step`, fewer where their lines are long.

    >>> list(_spans(np.array([0, 1, 2, 3, 40 << 20, 80 << 20]), 0, 5, 2))
    [(0, 2), (2, 3), (3, 4), (4, 5)]
    """
    while first < last:
        fitting = int(np.searchsorted(offsets, offsets[first] + BLOCK_BYTES, side="right")) - 1
        end = min(first + step, last, max(fitting, first + 1))
        yield first, end
        first = end


def _skip(stream: IO[bytes], count: int) -> None:
    while count:
        part = len(stream.read(min(count, SCAN)))
        if not part:
            raise EOFError(f"expected {count} bytes more")
        count -= part


def _scan(file: RangeFile, path: str, *, quotes: bool) -> np.ndarray:
    """Return records, the offset of the first, and every STRIDE-th offset with the end: int64."""
    scan = _LineScan(quotes=quotes)
    stream = unpacked(file)
    try:
        while block := stream.read(SCAN if scan.size_bytes else max(SCAN, len(BOM))):
            scan.add(block)
    except BROKEN as exc:
        raise _unreadable(path, exc) from exc
    return scan.finish(path)


class _LineScan:
    """Finds where records begin, block by block.

    Args:
      quotes: whether the first line is a header and newlines between double quotes are part of a field.

    Attributes:
      size_bytes: of the blocks so far.
    """

    # Values of `_first` before the first record is known.
    HEADER_WANTED, RECORD_WANTED = -1, -2

    def __init__(self, *, quotes: bool) -> None:
        self.size_bytes = 0
        self._quotes = quotes
        self._begins: list[np.ndarray] = []  # offsets of records that a stride begins with
        self._records = 0
        self._first = self.HEADER_WANTED if quotes else 0  # offset of the first record
        self._within = False  # quotes
        self._last_byte = 0  # of the block before
        self._line = 0  # where the line under way begins

    def add(self, block: bytes) -> None:
        """Go through a block, which is not empty."""
        data = np.frombuffer(block, np.uint8)
        if not self.size_bytes:
            self._line = len(BOM) if block.startswith(BOM) else 0
            self._first = self._first if self._quotes else self._line
        ends = self._ends(data)
        starts = self._starts(data, ends)
        self._last_byte = int(data[-1])
        if len(ends):
            self._line = self.size_bytes + int(ends[-1]) + 1
        if self._first == self.HEADER_WANTED and len(starts):
            starts = starts[1:]
            self._first = self.RECORD_WANTED
        if self._first == self.RECORD_WANTED and len(starts):
            self._first = int(starts[0])
        self._begins.append(starts[(-self._records) % STRIDE :: STRIDE])
        self._records += len(starts)
        self.size_bytes += len(block)

    def _ends(self, data: np.ndarray) -> np.ndarray:
        """Return where in a block lines end."""
        ends = np.flatnonzero(data == NEWLINE)
        if not self._quotes:
            return ends
        quotes = np.flatnonzero(data == QUOTE)
        odd = (np.searchsorted(quotes, ends) + self._within) % 2 == 1
        self._within = bool((len(quotes) + self._within) % 2)
        return ends[~odd]

    def _starts(self, data: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Return where in the file the lines begin that end in a block, without empty ones."""
        if not len(ends):
            return np.zeros(0, np.int64)
        starts = np.concatenate([[self._line], self.size_bytes + ends[:-1] + 1]).astype(np.int64)
        lengths = self.size_bytes + ends - starts
        # a carriage return alone is an empty line too
        before = np.where(ends > 0, data[np.maximum(ends - 1, 0)], self._last_byte)
        returns = (lengths == 1) & (before == RETURN)
        filled: np.ndarray = starts[(lengths > 0) & ~returns]
        return filled

    def finish(self, path: str) -> np.ndarray:
        """Return records, the offset of the first, and every STRIDE-th offset with the end: int64.

        Raises: DataError: the file ends within quotes.
        """
        if self._within:
            raise DataError(f"{path}: the file ends within double quotes that began after byte {self._line}; is it cut off?")
        size = self.size_bytes
        if size > self._line and self._first != self.HEADER_WANTED:  # the last line has no newline, and is no header
            if self._first == self.RECORD_WANTED:
                self._first = self._line
            if self._records % STRIDE == 0:
                self._begins.append(np.array([self._line], np.int64))
            self._records += 1
        first = self._first if self._records else size
        return np.concatenate([[self._records, first], *self._begins, [size]]).astype(np.int64)


def _unreadable(path: str, exc: BaseException) -> DataError:
    if isinstance(exc, DataError):
        return exc
    return DataError(f"{path}: the packed stream is broken: {exc}; copy or write it again")
