"""Sorts rows over all ranks: which rank takes which keys, and the way there. Knows nothing of metrics.

A sample sort: every rank sorts its rows and passes a regular sample of them; all choose the same splitters from it;
rows between two splitters go to one rank. Equal keys are never cut, so a rank may get more than its share where
single keys hold many rows.
"""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np

from harness.ranks.comm import Comm, joined

__all__ = ["Route", "gather"]

SAMPLES = 128  # a rank; a rank's share then exceeds the fair one by about 1 %, ties apart


def gather(comm: Comm, item: Any) -> list[Any]:
    """Return what every rank passed, by rank. Ranks of one job trust each other: this never comes from outside."""
    return [pickle.loads(data) for data in comm.gather(pickle.dumps(item, pickle.HIGHEST_PROTOCOL))]


class Route:
    """The way of one table's rows to the ranks where they are sorted.

    Making it is a collective, and so is each `move`.

    Args:
      comm: the ranks.
      key: float64 [n], what rows are sorted by; not NaN.
      group: int64 [n], what they are sorted by before that and what is never cut; None to cut between keys.
      is_sorted: whether this rank's rows are in order already.
    Attributes:
      key, group: those that arrive here, in order.
    """

    def __init__(self, comm: Comm, key: np.ndarray, group: np.ndarray | None, *, is_sorted: bool = False) -> None:
        self._comm = comm
        self._order: np.ndarray | None = None if is_sorted else _argsort(key, group)
        self._merge: np.ndarray | None = None
        if comm.size == 1:
            self.key = self.move(key)
            self.group = None if group is None else self.move(group)
            return
        lead = key if group is None else group
        lead = lead if self._order is None else lead[self._order]
        self._cuts = np.searchsorted(lead, _splitters(comm, lead), side="left")
        arrived = self.move(key)
        arrived_group = None if group is None else self.move(group)
        self._merge = _argsort(arrived, arrived_group)
        self.key = arrived[self._merge]
        self.group = None if arrived_group is None else arrived_group[self._merge]

    def move(self, column: np.ndarray) -> np.ndarray:
        """Send a column, [n] or [n, ...], to where its rows belong; return what arrives here, in order of (group, key)."""
        if self._order is not None:
            column = column[self._order]
        if self._comm.size > 1:
            column = joined(self._comm.alltoall(np.split(column, self._cuts)))
        return column if self._merge is None else column[self._merge]


def _argsort(key: np.ndarray, group: np.ndarray | None) -> np.ndarray:
    # stable: what arrives is one sorted run per rank, which a merge sort finds
    return np.argsort(key, kind="stable") if group is None else np.lexsort((key, group))


def _splitters(comm: Comm, lead: np.ndarray) -> np.ndarray:
    """Choose size - 1 values, such that rank r takes rows in [splitter r - 1, splitter r)."""
    rows = sum(gather(comm, len(lead)))
    # A sample stands for the same number of rows on every rank.
    step = max(1, rows // (SAMPLES * comm.size))
    sample = np.sort(np.concatenate(gather(comm, lead[step // 2 :: step])))
    if not len(sample):
        return np.zeros(comm.size - 1, lead.dtype)
    return sample[[len(sample) * rank // comm.size for rank in range(1, comm.size)]]
