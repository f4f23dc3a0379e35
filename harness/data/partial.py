"""A source of a part of the examples of another, for a quick look."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from harness.data.source import Feature, Place, Records, Source
from harness.plan.drawn import Drawn

__all__ = ["PartialSource", "read_some"]

GAP = 256  # examples between two that are wanted, beyond which they are read apart


def read_some(source: Source, positions: np.ndarray, ids: np.ndarray, size: int) -> Iterator[Records]:
    """Read some examples, and what lies closely between: forwards, and nothing twice.

    Args:
      source: of all.
      positions: of those that are wanted among all, ascending, int64 [n].
      ids: their own, int64 [n].
      size: how many are read at a time.
    """
    if not len(positions):
        return
    breaks = _breaks(source, positions)
    for run, own in zip(np.split(positions, breaks), np.split(ids, breaks), strict=True):
        for records in source.read(int(run[0]), int(run[-1]) + 1, size):
            keep = np.isin(records.ids, own)
            if keep.any():
                words = None if records.words is None else records.words[keep]
                yield Records(records.ids[keep], {name: array[keep] for name, array in records.raw.items()}, words)


def _breaks(source: Source, positions: np.ndarray) -> np.ndarray:
    """Return which of some examples, int64 [n], are read apart from those before: int64 [breaks]."""
    if not _divisible(source, positions):
        return np.zeros(0, np.int64)
    # Whoever reads a run goes on to where reading can begin anew. Only what that leaves out is worth a break.
    begins = source.begins(positions[1:])
    left_out = source.begins(np.maximum(begins - 1, 0)) > positions[:-1]
    return np.flatnonzero((np.diff(positions) > GAP) & left_out) + 1


def _divisible(source: Source, positions: np.ndarray) -> bool:
    starts = np.cumsum([0, *(file.examples for file in source.files)])
    first, last = (int(np.searchsorted(starts, at, side="right")) - 1 for at in (positions[0], positions[-1]))
    return all(file.divisible for file in source.files[first : last + 1])


class PartialSource(Source):
    """Some of the examples of a source; positions among them are asked for, their own ids are handed out.

    Args:
      source: with all examples.
      share, limit: what to draw; see `Drawn`.
    """

    def __init__(self, source: Source, share: float | None, limit: int | None) -> None:
        self._source = source
        self._ids = Drawn([file.examples for file in source.files], share, limit)
        counts = self._ids.by_file.tolist()
        self.files = tuple(replace(file, examples=count) for file, count in zip(source.files, counts, strict=True))

    @property
    def drawn(self) -> Drawn:
        """Ids of the examples."""
        return self._ids

    @property
    def counted(self) -> tuple[str, ...]:
        """As the source."""
        return self._source.counted

    @property
    def flat(self) -> bool:
        """As the source."""
        return self._source.flat

    @property
    def text(self) -> bool:
        """As the source."""
        return self._source.text

    def features(self) -> dict[str, Feature]:
        """As the source."""
        return self._source.features()

    def select(self, wanted: Mapping[str, Feature], *, skip: bool = False) -> Source:
        """Select of the source."""
        chosen = copy.copy(self)
        chosen._source = self._source.select(wanted, skip=skip)
        return chosen

    def read(self, start: int, stop: int, size: int) -> Iterator[Records]:
        """Read what is wanted, and what lies closely between: forwards, and nothing twice."""
        ids = self._ids[start:stop]
        yield from read_some(self._source, ids, ids, size)

    def reads(self, wanted: Mapping[str, Feature]) -> frozenset[str]:
        """As the source."""
        return self._source.reads(wanted)

    def lies_in(self, number: int) -> Place:
        """As the source."""
        return self._source.lies_in(number)

    def parse(self, raw: Mapping[str, Any], wanted: Mapping[str, Feature]) -> dict[str, Any]:
        """As the source."""
        return self._source.parse(raw, wanted)

    def explain(self, start: int, stop: int, wanted: Mapping[str, Feature]) -> str | None:
        """Ask the source about the same run."""
        ids = self._ids[start:stop]
        return self._source.explain(int(ids[0]), int(ids[-1]) + 1, wanted) if len(ids) else None
