"""Which chunks a rank evaluates. The only module that turns a rank into work."""

from __future__ import annotations

import numpy as np

from harness.plan import Chunk, Plan

__all__ = ["static_share"]


def static_share(plan: Plan, rank: int, size: int, left: np.ndarray | None = None) -> list[Chunk]:
    """Return a rank's chunks: a contiguous run, cut where the examples come closest to equal shares.

    Args:
      plan: all chunks.
      rank, size: whose share.
      left: numbers of the chunks that are to be shared out, ascending; None is all.

    >>> from harness.plan import File
    >>> plan = Plan((File("a", 0, 10),), 2, 2)
    >>> [[chunk.index for chunk in static_share(plan, rank, 3)] for rank in range(3)]
    [[0, 1], [2], [3, 4]]
    >>> [[chunk.index for chunk in static_share(plan, rank, 2, np.array([0, 3, 4]))] for rank in range(2)]
    [[0], [3, 4]]
    """
    chunks = np.arange(len(plan)) if left is None else left
    sizes = np.diff(plan.bounds)[chunks]
    ends = np.cumsum(sizes)
    middles = ends - sizes / 2
    owners = (middles * size / max(int(sizes.sum()), 1)).astype(np.int64)
    return [plan[int(index)] for index in chunks[owners == rank]]
