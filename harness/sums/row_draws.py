"""How often each replicate of a bootstrap draws each row: by example, by cluster, or by whole groups. Pure NumPy.

What is drawn has a key, and all rows with that key the same multiplicity: a rank that holds some of them needs nothing of
the others. Keys are the clusters where the job names them; else the groups of a metric that is drawn by groups; else the
examples' ids. The rows of a group share one multiplicity, so clusters must hold whole groups.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

__all__ = ["Multiplicities", "RowDraws", "group_starts", "torn_groups"]

Multiplicities = Callable[[np.ndarray], np.ndarray]  # keys int64 [n] -> how often each replicate drew them, int64 [n, R]

KEY_BLOCK = 1 << 13  # keys whose multiplicities are drawn at once: of 100 replicates 6.5 MB


@dataclass(frozen=True)
class RowDraws:
    """Multiplicities of all replicates.

    Args:
      table: [R, keys], of the narrowest unsigned dtype.
      sizes: int64 [keys], how many rows follow each other with that key; None where each row has its own.
    """

    table: np.ndarray
    sizes: np.ndarray | None = None

    @classmethod
    def of_keys(cls, multiplicities: Multiplicities, keys: np.ndarray | None) -> RowDraws:
        """Draw every row by its own key, int64 [n].

        >>> RowDraws.of_keys(lambda keys: np.stack([keys, keys + 1], axis=1), np.array([0, 3])).times(2).tolist()
        [1, 4]
        """
        if keys is None:
            raise ValueError("a bootstrap needs the ids of the rows")
        return cls(_draw(multiplicities, keys))

    @classmethod
    def of_groups(cls, multiplicities: Multiplicities, group: np.ndarray, clusters: np.ndarray | None) -> RowDraws:
        """Draw whole groups, of rows in order of their group: by its cluster, which all its rows share, or by itself.

        >>> RowDraws.of_groups(lambda keys: keys[:, None], np.array([5, 5, 7]), None).times(1).tolist()
        [5, 5, 7]
        """
        starts = group_starts(group)
        keys = group if clusters is None else clusters
        return cls(_draw(multiplicities, keys[starts]), np.diff(starts, append=len(group)))

    @property
    def replicates(self) -> int:
        """Return R."""
        return len(self.table)

    def times(self, replicate: int) -> np.ndarray:
        """Return how often a replicate, counted from 1, has each row: [n]."""
        drawn: np.ndarray = self.table[replicate - 1]
        return drawn if self.sizes is None else np.repeat(drawn, self.sizes)


def _draw(multiplicities: Multiplicities, keys: np.ndarray) -> np.ndarray:
    """Return how often each replicate draws each key: [R, keys], a byte each as long as no number needs more.

    Each block is narrowed before the next is drawn: as they come, 100 replicates of a million rows are 800 MB.
    """
    table = None
    for start in range(0, max(1, len(keys)), KEY_BLOCK):  # at least one block, which may be empty: it tells R
        block = np.asarray(multiplicities(keys[start : start + KEY_BLOCK]))
        dtype = np.min_scalar_type(int(block.max(initial=0)))
        if table is None:
            table = np.empty((block.shape[1], len(keys)), dtype)
        elif dtype.itemsize > table.itemsize:
            table = table.astype(dtype)
        table[:, start : start + len(block)] = block.T
    assert table is not None  # there is at least one block
    return table


def group_starts(group: np.ndarray) -> np.ndarray:
    """Return where each group starts, of rows in order of their group: int64 [groups].

    >>> group_starts(np.array([5, 5, 7])).tolist()
    [0, 2]
    """
    return np.flatnonzero(np.concatenate([[True], group[1:] != group[:-1]])[: len(group)])


def torn_groups(group: np.ndarray, clusters: np.ndarray) -> tuple[int, int]:
    """Return how many groups have rows of several clusters, and how many groups there are; rows in order of their group.

    >>> torn_groups(np.array([5, 5, 7, 7]), np.array([1, 1, 1, 2]))
    (1, 2)
    """
    starts = group_starts(group)
    first = np.repeat(clusters[starts], np.diff(starts, append=len(group)))
    return len(np.unique(group[clusters != first])), len(starts)
