"""Where the records of a file begin: of some of them, so that neither memory nor what ranks are told grows with every record.

A reader begins at the last known record before the one it wants, and goes on from length to length. Where it comes to
the next known one, number and offset have to agree: ids are those of where records were found.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from harness.errors import DataError

__all__ = ["RecordIndex"]

STRIDE = 1024  # records, at most, from one that is known to the next
SPAN = 1 << 18  # bytes, and no more than a record beyond them, that are gone through to find one


@dataclass(frozen=True)
class RecordIndex:
    """Some records of a file, the first among them, and its end.

    Attributes:
      records: their numbers, then how many there are; int64 [n + 1].
      offsets: where they begin, then the file's size; int64 [n + 1].
    """

    records: np.ndarray
    offsets: np.ndarray

    @classmethod
    def of(cls, blocks: Iterable[np.ndarray]) -> RecordIndex:
        """Thin out the offsets of all records, and of the file's end, as they come.

        Args:
          blocks: int64 [n] each, ascending; none has to stay in memory.

        >>> RecordIndex.of([np.arange(2000) * 20, np.arange(2000, 2100) * 20]).records.tolist()
        [0, 1024, 2048, 2099]
        """
        records, offsets = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        count, span, end = 0, -1, 0
        for block in blocks:
            if not len(block):
                continue
            numbers, spans = np.arange(count, count + len(block)), block // SPAN
            known = (numbers % STRIDE == 0) | (np.diff(spans, prepend=span) > 0)
            records.append(numbers[known])
            offsets.append(block[known])
            count, span, end = count + len(block), int(spans[-1]), int(block[-1])
        if records[-1][-1:].tolist() != [count - 1]:
            records.append(np.array([count - 1]))
            offsets.append(np.array([end]))
        return cls(np.concatenate(records), np.concatenate(offsets))

    @classmethod
    def chained(cls, indices: Sequence[RecordIndex]) -> RecordIndex:
        """Return the index of a file from those of its pieces, each of which begins where the one before ends.

        >>> parts = [RecordIndex.of([np.array([0, 20, 40])]), RecordIndex.of([np.array([40, 60])])]
        >>> whole = RecordIndex.chained(parts)
        >>> whole.records.tolist(), whole.offsets.tolist()
        ([0, 2, 3], [0, 40, 60])
        """
        bases = np.cumsum([0, *(index.count for index in indices)])
        records = [index.records[:-1] + base for index, base in zip(indices, bases, strict=False)]
        return cls(
            np.concatenate([*records, bases[-1:]]),
            np.concatenate([*(index.offsets[:-1] for index in indices), indices[-1].offsets[-1:]]),
        )

    @classmethod
    def unpack(cls, packed: np.ndarray) -> RecordIndex:
        """Return what `pack` made one array of."""
        records, offsets = np.split(packed, 2)
        return cls(records, offsets)

    def pack(self) -> np.ndarray:
        """Return one array, int64 [2 (n + 1)]."""
        return np.concatenate([self.records, self.offsets])

    @property
    def count(self) -> int:
        """How many records the file has."""
        return int(self.records[-1])

    def check(self, path: str, entry: int, end: int, places: np.ndarray) -> None:
        """See that records were found where they are known to be.

        Args:
          path: of the file, for the message.
          entry, end: what was read.
          places: where in it records begin, and its end; int64 [n + 1].
        Raises: DataError: they are elsewhere, and so their numbers are not theirs.
        """
        known = self.records[entry : end + 1] - self.records[entry]
        expected = self.offsets[entry : end + 1] - self.offsets[entry]
        if len(places) == known[-1] + 1 and np.array_equal(places[known], expected):
            return
        first = next(
            at
            for at, place in enumerate(known.tolist())
            if place >= len(places) or places[place] != expected[at] or at == len(known) - 1
        )
        raise DataError(
            f"{path}: expected record {self.records[entry + first]} at byte {self.offsets[entry + first]}, found another there; "
            "the file has changed since its records were counted"
        )

    def entry(self, record: int) -> int:
        """Return the number of the last entry that is not behind a record.

        >>> RecordIndex.of([np.arange(2100) * 20]).entry(1300)
        1
        """
        return max(int(np.searchsorted(self.records[:-1], record, side="right")) - 1, 0)

    def begins(self, records: np.ndarray) -> np.ndarray:
        """Return of each of some records the last one that is known and not behind it, int64 [n].

        >>> RecordIndex.of([np.arange(2100) * 20]).begins(np.array([0, 1300, 2050])).tolist()
        [0, 1024, 2048]
        """
        known: np.ndarray = self.records[np.maximum(np.searchsorted(self.records[:-1], records, side="right") - 1, 0)]
        return known

    def reach(self, entry: int, size_bytes: int, stop: int) -> int:
        """Return the entry up to which to read from one on: within so many bytes, where possible, and not far beyond `stop`.

        >>> index = RecordIndex.of([np.arange(2100) * 20])
        >>> index.reach(0, 42_000, 2060), index.reach(0, 1, 2060)
        (3, 1)
        """
        fitting = int(np.searchsorted(self.offsets, self.offsets[entry] + size_bytes, side="right")) - 1
        wanted = int(np.searchsorted(self.records, stop, side="left"))
        return max(min(fitting, wanted), entry + 1)
