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
        found = cached(path, f"lines {STRIDE} {quotes}", lambda: _scan(file, path, quotes=quotes))
        records, start, offsets = int(found[0]), int(found[1]), found[2:]
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
    begins: list[np.ndarray] = []  # offsets of records that a stride begins with
    records = at = 0
    start = 0 if not quotes else -1  # of the first record; -1 while the header is looked for
    within = False  # quotes
    last = 0  # byte of the block before
    line = 0  # where the line under way begins
    skipped_bom = False
    stream = unpacked(file)
    try:
        while block := stream.read(SCAN if at else max(SCAN, len(BOM))):
            data = np.frombuffer(block, np.uint8)
            if not skipped_bom:
                skipped_bom = True
                line = len(BOM) if block.startswith(BOM) else 0
                start = start if quotes else line
            ends = np.flatnonzero(data == NEWLINE)
            if quotes:
                marks = np.flatnonzero(data == QUOTE)
                odd = (np.searchsorted(marks, ends) + within) % 2 == 1
                within = bool((len(marks) + within) % 2)
                ends = ends[~odd]
            starts = np.concatenate([[line], at + ends[:-1] + 1]).astype(np.int64) if len(ends) else np.zeros(0, np.int64)
            lengths = at + ends - starts
            # a carriage return alone is an empty line too
            before = np.where(ends > 0, data[np.maximum(ends - 1, 0)], last)
            returns = (lengths == 1) & (before == RETURN)
            last = int(data[-1])
            starts = starts[(lengths > 0) & ~returns]
            if len(ends):
                line = at + int(ends[-1]) + 1
            if start == -1 and len(starts):
                starts = starts[1:]
                start = int(starts[0]) if len(starts) else -2
            elif start == -2 and len(starts):
                start = int(starts[0])
            begins.append(starts[(-records) % STRIDE :: STRIDE])
            records += len(starts)
            at += len(block)
    except BROKEN as exc:
        raise _unreadable(path, exc) from exc
    if within:
        raise DataError(f"{path}: the file ends within double quotes that began after byte {line}; is it cut off?")
    if at > line:  # the last line has no newline
        if start == -1:
            start = at
        else:
            start = line if start == -2 else start
            if records % STRIDE == 0:
                begins.append(np.array([line], np.int64))
            records += 1
    if start < 0:
        start = at
    if not records:
        start = at
    return np.concatenate([[records, start], *begins, [at]]).astype(np.int64)


def _unreadable(path: str, exc: BaseException) -> DataError:
    if isinstance(exc, DataError):
        return exc
    return DataError(f"{path}: the packed stream is broken: {exc}; copy or write it again")
