"""Which chunks a rank evaluates. The only module that turns a rank into work."""

from __future__ import annotations

import numpy as np

from harness.plan import Chunk, Plan

__all__ = ["static_share"]


def static_share(plan: Plan, rank: int, size: int) -> list[Chunk]:
    """Return a rank's chunks: a contiguous run, cut where the examples come closest to equal shares.

    >>> from harness.plan import File
    >>> plan = Plan((File("a", 0, 10),), 2, 2)
    >>> [[chunk.index for chunk in static_share(plan, rank, 3)] for rank in range(3)]
    [[0, 1], [2], [3, 4]]
    """
    middles = (plan.bounds[:-1] + plan.bounds[1:]) / 2
    owners = (middles * size / max(plan.examples, 1)).astype(np.int64)
    return [plan[int(index)] for index in np.flatnonzero(owners == rank)]
