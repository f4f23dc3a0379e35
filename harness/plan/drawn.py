"""Which examples are evaluated where a job asks for a part of them: a fixed share, drawn by the hash of the id, or the first few.

What is kept is how many are drawn of each block of ids, not which: those are drawn again where they are asked for. Pure integers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from harness.exact.splitmix import hash_ids

__all__ = ["Drawn"]

BLOCK = 1 << 15  # ids hashed at a time: temporaries of 256 KiB stay in the cache
MOST = 1 << 40  # examples, of what is read from a file; what is kept of them takes half a gigabyte


class Drawn:
    """The ids of the examples that are drawn, in ascending order; a slice of it is an array, int64 [n].

    Args:
      examples: of each file.
      share: of all examples; None is all.
      limit: of what is drawn, the first so many; None is all.

    >>> drawn = Drawn([4, 6], 0.5, None)
    >>> len(drawn), drawn[:].tolist(), drawn[2:4].tolist(), drawn.by_file.tolist()
    (6, [1, 2, 4, 5, 6, 8], [4, 5], [2, 4])
    >>> Drawn([4, 6], 0.5, 2)[:].tolist(), Drawn([4, 6], None, 5).by_file.tolist()
    ([1, 2], [4, 1])
    """

    def __init__(self, examples: Sequence[int], share: float | None, limit: int | None) -> None:
        self.examples, self.share, self.limit = tuple(examples), share, limit
        files = np.cumsum([0, *examples], dtype=np.int64)
        self._bound = None if share is None or share == 1 else np.uint64(min(int(share * 2.0**64), 2**64 - 1))
        # Blocks begin where files do, so that what is drawn of a file is known.
        self._starts = np.unique(np.concatenate([files, np.arange(0, files[-1], BLOCK)]))
        self._ends = self._counted(int(files[-1]) if limit is None else limit)
        self.by_file = np.diff(self._ends[np.searchsorted(self._starts, files)])

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` takes; JSON can hold it.

        >>> Drawn([4, 6], 0.5, None).to_dict()
        {'examples': [4, 6], 'share': 0.5, 'limit': None}
        """
        return {"examples": list(self.examples), "share": self.share, "limit": self.limit}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Drawn:
        """Draw what was drawn before.

        Raises: ValueError, TypeError, KeyError: the numbers are none that `to_dict` writes.
        """
        examples, share, limit = raw["examples"], raw["share"], raw["limit"]
        whole = [*examples, 0 if limit is None else limit]
        if not all(type(number) is int and number >= 0 for number in whole) or sum(examples) > MOST:
            raise ValueError("expected whole numbers of examples to draw from")
        if share is not None and not 0 < share <= 1:
            raise ValueError(f"expected a share between 0 and 1, found {share}")
        return cls(examples, share, limit)

    def _counted(self, limit: int) -> np.ndarray:
        """Return how many are drawn before each block, and in all: int64 [blocks + 1]."""
        ends = np.zeros(len(self._starts), np.int64)
        for block in range(len(ends) - 1):
            if ends[block] >= limit:
                ends[block + 1 :] = limit
                break
            ends[block + 1] = min(int(ends[block]) + len(self._ids(block)), limit)
        return ends

    def _ids(self, block: int) -> np.ndarray:
        ids = np.arange(self._starts[block], self._starts[block + 1], dtype=np.int64)
        return ids if self._bound is None else ids[hash_ids(ids) < self._bound]

    def places(self, ids: np.ndarray) -> np.ndarray:
        """Return which of those that are drawn some of them are, by their ids: int64 [n].

        >>> drawn = Drawn([4, 6], 0.5, None)
        >>> drawn.places(np.array([8, 2])).tolist()
        [5, 1]
        """
        places = np.zeros(len(ids), np.int64)
        blocks = np.searchsorted(self._starts, ids, side="right") - 1
        for block in np.unique(blocks).tolist():
            within = blocks == block
            places[within] = self._ends[block] + np.searchsorted(self._ids(block), ids[within])
        return places

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, span: slice) -> np.ndarray:
        start, stop, _ = span.indices(len(self))
        parts = [np.zeros(0, np.int64)]
        block = int(np.searchsorted(self._ends, start, side="right")) - 1
        while start < stop:
            base, end = int(self._ends[block]), min(int(self._ends[block + 1]), stop)
            if start < end:
                parts.append(self._ids(block)[start - base : end - base])
                start = end
            block += 1
        return np.concatenate(parts)
