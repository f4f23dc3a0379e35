"""Passes over files whose examples nobody can number before: what a pass is, its pieces, and what it finds.

A pass is cut into pieces of a fixed size, so that many may make it; what they find is put together in their order. Knows no
ranks: whoever has several workers deals the pieces out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from harness.data import storage
from harness.data.pass_cache import Entry
from harness.errors import HarnessError

__all__ = ["FileCount", "FilePass", "FilePiece", "Moved", "Span", "combine", "count", "nothing_moved", "pieces_of", "scan_pieces"]

PIECE = 1 << 28  # bytes; a file that is not much larger is one piece

Span = tuple[int, int]  # bytes [start, stop)
Moved = Callable[[int], None]  # called with the bytes that were gone through since the last call


def nothing_moved(size_bytes: int) -> None:
    """Take no notice of progress."""
    del size_bytes


@dataclass(frozen=True)
class FilePass(ABC):
    """A pass over a file that finds where its records begin.

    Attributes:
      path, size_bytes: of the file.
      divisible: whether a piece can be gone through without what lies before it.
    """

    path: str
    size_bytes: int
    divisible: bool

    @property
    @abstractmethod
    def kind(self) -> str:
        """What is looked for, with the options it depends on: the cache keeps it under this name."""

    @property
    def spans(self) -> list[Span]:
        """The pieces. They depend on the file alone, so that what is found does not depend on who looks.

        >>> from harness.data.lines import LinesPass
        >>> LinesPass("a", 10, True, quotes=False).spans
        [(0, 10)]
        """
        number = max(1, round(self.size_bytes / PIECE)) if self.divisible else 1
        return list(pairwise(self.size_bytes * at // number for at in range(number + 1)))

    @abstractmethod
    def scan(self, span: Span, moved: Moved = nothing_moved) -> Any:
        """Go through a piece; return what `join` puts together.

        Raises: DataError: the file cannot be read, or is not what it should be.
        """

    @abstractmethod
    def join(self, parts: Sequence[Any]) -> np.ndarray:
        """Put together what was found in all pieces: int64 [n].

        Raises: DataError: the file is not what it should be.
        """


@dataclass(frozen=True)
class FileCount:
    """A file that is counted, or has to be.

    Attributes:
      way: how it is gone through.
      entry: where the cache keeps what that finds.
      numbers: what was found, int64 [n]; None while nobody has looked.
      beside: whether it was found in an index beside the file.
    """

    way: FilePass
    entry: Entry
    numbers: np.ndarray | None = None
    beside: bool = False

    @classmethod
    def look(cls, way: FilePass) -> FileCount:
        """Return what the cache holds of a file."""
        entry = Entry.of(way.path, way.kind)
        return cls(way, entry, entry.load())

    @property
    def found(self) -> np.ndarray:
        """What was found, where somebody has looked."""
        assert self.numbers is not None
        return self.numbers

    def join(self, parts: Sequence[Any]) -> FileCount:
        """Put together what was found in the pieces, and keep it in the cache.

        Args:
          parts: of each piece what was found, or why it could not be gone through.
        Raises: HarnessError: that of the first piece that has one; DataError: see `FilePass.join`.
        """
        for part in parts:
            if isinstance(part, HarnessError):
                raise part
        numbers = self.way.join(parts)
        self.entry.store(numbers)
        return replace(self, numbers=numbers)


@dataclass(frozen=True)
class FilePiece:
    """A piece of a file that has to be counted.

    Attributes:
      number: of the file among those of the job.
      way, span: how and where it is gone through.
    """

    number: int
    way: FilePass
    span: Span

    @property
    def size_bytes(self) -> int:
        """How many bytes it has."""
        return self.span[1] - self.span[0]


def pieces_of(counts: Sequence[FileCount]) -> list[FilePiece]:
    """Return the pieces of all files that have to be counted, in their order."""
    return [
        FilePiece(number, file.way, span) for number, file in enumerate(counts) if file.numbers is None for span in file.way.spans
    ]


def scan_pieces(
    pieces: Sequence[FilePiece], moved: Moved = nothing_moved, check: Callable[[FilePass], None] | None = None
) -> list[Any]:
    """Go through pieces, in threads; return of each what was found, or why it could not be gone through.

    Args:
      pieces: in the order of the files. Those of files behind one that is not what it should be are left out.
      moved: called from the threads.
      check: called before each piece; it may raise a HarnessError, as a scan may.
    """
    failed: set[int] = set()

    def scan(piece: FilePiece) -> Any:
        if any(number < piece.number for number in failed.copy()):
            return None  # the job fails already; which file it names is decided by their order
        try:
            if check is not None:
                check(piece.way)
            return piece.way.scan(piece.span, moved)
        except HarnessError as exc:
            failed.add(piece.number)
            return exc

    return storage.map_files(scan, pieces)


def combine(counts: Sequence[FileCount], pieces: Sequence[FilePiece], parts: Sequence[Any]) -> list[FileCount]:
    """Put together what was found in the pieces.

    Args:
      counts: of all files, in their order; an error is that of the first that has one.
      pieces, parts: all pieces, and what was found in each.
    Raises: HarnessError: see `FileCount.join`.
    """
    by_file: dict[int, list[Any]] = {}
    for piece, part in zip(pieces, parts, strict=True):
        by_file.setdefault(piece.number, []).append(part)

    def join(number: int) -> FileCount:
        return counts[number].join(by_file[number]) if number in by_file else counts[number]

    return storage.map_files(join, range(len(counts)))


def count(counts: Sequence[FileCount]) -> list[FileCount]:
    """Count what is not counted yet, in this process.

    Raises: DataError: that of the first file that is not what it should be.
    """
    pieces = pieces_of(counts)
    return combine(counts, pieces, scan_pieces(pieces))
