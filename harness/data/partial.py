"""A part of the examples, for a quick look: a fixed share, drawn by the hash of the example id, or the first few."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from harness.data.source import Feature, Place, Records, Source
from harness.exact.splitmix import hash_ids

__all__ = ["PartialSource", "draw"]

HASH_BLOCK = 1 << 20
GAP = 256  # examples between two that are wanted, beyond which they are read apart


def draw(examples: int, share: float | None, limit: int | None) -> np.ndarray:
    """Choose examples.

    Args:
      examples: how many there are.
      share: of them; None is all.
      limit: of what is drawn, the first so many; None is all.
    Returns: ids in ascending order, int64 [n].

    >>> draw(10, 0.5, None).tolist(), draw(10, 0.5, 2).tolist()
    ([1, 2, 4, 5, 6, 8], [1, 2])
    """
    if share is None or share == 1:
        return np.arange(examples if limit is None else min(limit, examples), dtype=np.int64)
    bound = np.uint64(min(int(share * 2.0**64), 2**64 - 1))
    parts, count = [], 0
    for start in range(0, examples, HASH_BLOCK):
        ids = np.arange(start, min(start + HASH_BLOCK, examples), dtype=np.int64)
        parts.append(ids[hash_ids(ids) < bound])
        count += len(parts[-1])
        if limit is not None and count >= limit:
            break
    chosen = np.concatenate([np.zeros(0, np.int64), *parts])
    return chosen if limit is None else chosen[:limit]


class PartialSource(Source):
    """Some of the examples of a source; positions among them are asked for, their own ids are handed out.

    Args:
      source: with all examples.
      share, limit: what to draw; see `draw`. A rank that is sent this draws for itself.
    """

    def __init__(self, source: Source, share: float | None, limit: int | None) -> None:
        self._source, self._share, self._limit = source, share, limit
        self._ids = ids = self._draw()
        starts = np.cumsum([0, *(file.examples for file in source.files)])
        counts = np.diff(np.searchsorted(ids, starts))
        self.files = tuple(replace(file, examples=int(count)) for file, count in zip(source.files, counts, strict=True))

    def _draw(self) -> np.ndarray:
        return draw(sum(file.examples for file in self._source.files), self._share, self._limit)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the ids."""
        return {name: value for name, value in self.__dict__.items() if name != "_ids"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._ids = self._draw()

    @property
    def drawn(self) -> np.ndarray:
        """Ids of the examples, ascending, int64 [n]."""
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
        """Read what is wanted, and what lies closely between."""
        ids = self._ids[start:stop]
        if not len(ids):
            return
        breaks = np.flatnonzero(np.diff(ids) > GAP) + 1
        for run in np.split(ids, breaks if self._divisible(ids) else []):
            for records in self._source.read(int(run[0]), int(run[-1]) + 1, size):
                keep = np.isin(records.ids, run)
                if keep.any():
                    words = None if records.words is None else records.words[keep]
                    yield Records(records.ids[keep], {name: array[keep] for name, array in records.raw.items()}, words)

    def _divisible(self, ids: np.ndarray) -> bool:
        starts = np.cumsum([0, *(file.examples for file in self._source.files)])
        first, last = (int(np.searchsorted(starts, at, side="right")) - 1 for at in (ids[0], ids[-1]))
        return all(file.divisible for file in self.files[first : last + 1])

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
