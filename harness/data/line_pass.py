"""The pass over a file of lines: where its records begin, in pieces that know nothing of each other.

A piece of a CSV file may begin within double quotes, where newlines are part of a field: it is gone through once and seen
both ways, and `join`, which knows how the piece before ends, takes the right one. Empty lines are no records.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.data.counting import FilePass, Moved, Span, nothing_moved
from harness.data.packed_stream import unpacked
from harness.data.range_file import RangeFile, open_range
from harness.data.record_index import RecordIndex
from harness.errors import DataError

__all__ = ["BOM", "BROKEN", "LinesPass", "unreadable"]

STRIDE = 256  # of so many records one offset is kept
SCAN = 1 << 22  # bytes looked at a time
BOM = b"\xef\xbb\xbf"
NEWLINE, RETURN, QUOTE = 10, 13, 34
BROKEN = (EOFError, zlib.error, OSError)
UNKNOWN = -1  # of an offset: it lies in an earlier piece, or nowhere


@dataclass(frozen=True)
class LinePiece:
    """What a piece holds, if it begins within quotes, or if it does not.

    Attributes:
      head: where the line ends that begins in an earlier piece; UNKNOWN where it does not end here.
      before: the byte before that end; UNKNOWN where it lies in an earlier piece.
      records: how many begin and end here.
      numbers, offsets: of some of them, the first two among them: int64 [n].
      line: where the line begins that is under way at the end; UNKNOWN where it begins in an earlier piece.
      within: whether the piece ends within quotes.
      last: the last byte.
      end: bytes from the start of the file on; of the unpacked content where the file is packed.
    """

    head: int
    before: int
    records: int
    numbers: np.ndarray
    offsets: np.ndarray
    line: int
    within: bool
    last: int
    end: int


@dataclass(frozen=True)
class LinesPass(FilePass):
    """A pass over a file of lines.

    Args:
      quotes: whether the first line is a header and newlines between double quotes are part of a field (CSV).
    """

    quotes: bool = False

    @property
    def kind(self) -> str:
        """Some records of each file; offsets are of the unpacked content where it is packed."""
        return f"lines thinned {STRIDE} {self.quotes}"

    def scan(self, span: Span, moved: Moved = nothing_moved) -> list[LinePiece]:
        """Go through a piece; return what it holds if it begins outside quotes, and if it begins within."""
        start, _ = span
        states = [False, True] if self.quotes and start else [False]
        views = [_PieceView(start, within=state, quotes=self.quotes) for state in states]
        with open_range(self.path) as file:
            try:
                for block in self._blocks(file, span, moved):
                    data = np.frombuffer(block, np.uint8)
                    ends = np.flatnonzero(data == NEWLINE)
                    quotes = np.flatnonzero(data == QUOTE) if self.quotes else ends[:0]
                    for view in views:
                        view.add(data, ends, quotes)
            except BROKEN as exc:
                raise unreadable(self.path, exc) from exc
        return [view.piece() for view in views]

    def _blocks(self, file: RangeFile, span: Span, moved: Moved) -> Iterator[bytes]:
        if not self.divisible:
            stream = unpacked(file)
            while block := stream.read(max(SCAN, len(BOM))):
                yield block
            moved(self.size_bytes)
            return
        start, stop = span
        while start < stop and (block := file.read(start, min(start + max(SCAN, len(BOM)), stop))):
            yield block
            moved(len(block))
            start += len(block)

    def join(self, parts: Sequence[Sequence[LinePiece]]) -> np.ndarray:
        """Number the records of all pieces; the header is record -1, and is left out.

        Raises: DataError: the file ends within quotes.
        """
        count, line, end = -1 if self.quotes else 0, 0, 0
        within, last = False, 0
        numbers, offsets = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for views in parts:
            piece = views[within]
            before = last if piece.before == UNKNOWN else piece.before
            if piece.head != UNKNOWN and _is_filled(piece.head - line, before):
                numbers.append(np.array([count]))
                offsets.append(np.array([line]))
                count += 1
            numbers.append(piece.numbers + count)
            offsets.append(piece.offsets)
            count += piece.records
            line = line if piece.line == UNKNOWN else piece.line
            within, last, end = piece.within, piece.last, piece.end
        if within:
            raise DataError(f"{self.path}: the file ends within double quotes that began after byte {line}; is it cut off?")
        if _is_filled(end - line, last) and count >= 0:  # the last line has no newline, and is no header
            if count % STRIDE == 0:
                numbers.append(np.array([count]))
                offsets.append(np.array([line]))
            count += 1
        records, begins = np.concatenate(numbers), np.concatenate(offsets)
        known = records >= 0
        return RecordIndex(np.append(records[known], max(count, 0)), np.append(begins[known], end)).pack()


class _PieceView:
    """Finds where the lines of a piece begin, block by block.

    Args:
      start: the piece's first byte.
      within: whether that lies within quotes.
      quotes: see `LinesPass`.
    """

    def __init__(self, start: int, *, within: bool, quotes: bool) -> None:
        self._start, self._size = start, 0
        self._within = within
        self._head, self._before = UNKNOWN, UNKNOWN
        self._line = UNKNOWN if start else 0
        self._records = 0
        self._ahead = 1 if quotes and not start else 0  # lines before record 0
        self._kept: list[tuple[np.ndarray, np.ndarray]] = []
        self._last = 0

    def add(self, data: np.ndarray, newlines: np.ndarray, quotes: np.ndarray) -> None:
        """Go through a block.

        Args:
          data: its bytes, uint8 [n], n > 0.
          newlines, quotes: where in it they are, int64 [n].
        """
        if not self._start and not self._size and data[: len(BOM)].tobytes() == BOM:
            self._line = len(BOM)
        base = self._start + self._size
        ends = self._ends(newlines, quotes)
        if len(ends):
            begins = np.concatenate([[self._line], base + ends[:-1] + 1]).astype(np.int64)
            before = np.where(ends > 0, data[np.maximum(ends - 1, 0)].astype(np.int64), self._last if self._size else UNKNOWN)
            if self._line == UNKNOWN:
                self._head, self._before = base + int(ends[0]), int(before[0])
                begins, before, lengths = begins[1:], before[1:], base + ends[1:] - begins[1:]
            else:
                lengths = base + ends - begins
            self._keep(begins[_is_filled(lengths, before)])
            self._line = base + int(ends[-1]) + 1
        self._size += len(data)
        self._last = int(data[-1])

    def _ends(self, newlines: np.ndarray, quotes: np.ndarray) -> np.ndarray:
        """Return where in a block lines end."""
        inside = (np.searchsorted(quotes, newlines) + self._within) % 2 == 1
        self._within = bool((len(quotes) + self._within) % 2)
        ends: np.ndarray = newlines[~inside]
        return ends

    def _keep(self, begins: np.ndarray) -> None:
        """Number the lines that begin there, and keep some: each STRIDE-th record, and the first two, one may be the header."""
        numbers = np.arange(-(self._records - self._ahead) % STRIDE, len(begins), STRIDE)
        if self._records < 2:
            numbers = np.union1d(numbers, np.arange(min(2 - self._records, len(begins))))
        self._kept.append((self._records + numbers, begins[numbers]))
        self._records += len(begins)

    def piece(self) -> LinePiece:
        """Return what the blocks held."""
        numbers, offsets = zip(*self._kept, strict=True) if self._kept else ((), ())
        return LinePiece(
            self._head, self._before, self._records,
            np.concatenate([np.zeros(0, np.int64), *numbers]), np.concatenate([np.zeros(0, np.int64), *offsets]),
            self._line, self._within, self._last, self._start + self._size,
        )  # fmt: skip


def _is_filled(length: Any, before: Any) -> Any:
    """Say whether lines hold anything: a carriage return alone is an empty line too.

    Args:
      length: bytes without the newline, int or int64 [n].
      before: the byte before the newline.

    >>> _is_filled(np.array([0, 1, 1, 2]), np.array([97, RETURN, 97, RETURN])).tolist()
    [False, False, True, True]
    """
    return (length > 0) & ((length != 1) | (before != RETURN))


def unreadable(path: str, exc: BaseException) -> DataError:
    """Return the error that a packed file cannot be unpacked, or what it was already said to be."""
    if isinstance(exc, DataError):
        return exc
    return DataError(f"{path}: the packed stream is broken: {exc}; copy or write it again")
