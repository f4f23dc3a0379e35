"""How chunks come to ranks: the only module, with `tickets.py`, that turns a rank into work.

Static: shares that are cut before anything is evaluated. Dynamic: tickets, drawn from a counter that all ranks share
while they evaluate. Which rank evaluates a chunk has no influence on the result; so neither has the choice between them.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from harness.plan.plan import Chunk, Plan
from harness.ranks.comm import Comm, Counter
from harness.ranks.counter import shared_counter
from harness.ranks.share import FixedShare, Share
from harness.ranks.tickets import Tickets

__all__ = ["Assigned", "Schedule", "assign", "deal", "static_share"]


class Schedule(StrEnum):
    """How chunks come to ranks."""

    STATIC = "static"
    DYNAMIC = "dynamic"


DEFAULT = Schedule.DYNAMIC
OPENED_BYTES = 1 << 16  # that could be gone through while a file is opened


def static_share(plan: Plan, rank: int, size: int, left: np.ndarray | None = None) -> list[Chunk]:
    """Return a rank's chunks: a contiguous run, cut where the costs (see `Plan.costs`) come closest to equal shares.

    Args:
      plan: all chunks.
      rank, size: whose share.
      left: numbers of the chunks that are to be shared out, ascending; None is all.

    >>> from harness.plan.plan import File
    >>> plan = Plan((File("a", 0, 10),), 2, 2)
    >>> [[chunk.index for chunk in static_share(plan, rank, 3)] for rank in range(3)]
    [[0, 1], [2], [3, 4]]
    >>> [[chunk.index for chunk in static_share(plan, rank, 2, np.array([0, 3, 4]))] for rank in range(2)]
    [[0], [3, 4]]
    """
    chunks = np.arange(len(plan)) if left is None else left
    costs = plan.costs[chunks]
    ends = np.cumsum(costs)
    middles = ends - costs / 2
    owners = (middles * size / max(float(costs.sum()), 1.0)).astype(np.int64)
    return [plan[int(index)] for index in chunks[owners == rank]]


def deal(sizes: Sequence[int], ranks: int, held_bytes: int = 0) -> list[list[int]]:
    """Deal out pieces of files: the largest first, each to the rank that has least.

    Args:
      sizes: bytes of each piece.
      ranks: how many there are.
      held_bytes: what the last rank has to read anyway.
    Returns: by rank the numbers of its pieces, ascending.

    >>> deal([500_000, 900_000, 400_000, 0], 2), deal([10, 10], 3, 30)
    ([[1, 3], [0, 2]], [[0], [1], []])
    """
    loads = [(held_bytes if rank == ranks - 1 and ranks > 1 else 0, rank) for rank in range(ranks)]
    heapq.heapify(loads)
    shares: list[list[int]] = [[] for _ in range(ranks)]
    for number in sorted(range(len(sizes)), key=lambda number: -sizes[number]):
        load, rank = loads[0]
        shares[rank].append(number)
        heapq.heapreplace(loads, (load + sizes[number] + OPENED_BYTES, rank))
    return [sorted(share) for share in shares]


@dataclass(frozen=True)
class Assigned:
    """What a rank evaluates, and how it learns of it.

    Attributes:
      schedule: of all ranks.
      share: its chunks; with tickets those that it has drawn so far.
      counter: that hands out tickets; None where the schedule is static.
      problem: why there are no tickets though the job wants them.
    """

    schedule: Schedule
    share: Share
    counter: Counter | None = None
    problem: str = ""


def assign(comm: Comm, plan: Plan, left: np.ndarray, wanted: Schedule | None) -> Assigned:
    """Share out chunks over all ranks. A collective.

    Args:
      comm: of the ranks.
      plan: all chunks.
      left: numbers of the chunks that are to be shared out, ascending.
      wanted: how; None is what measures better.
    """
    problem = ""
    if comm.size > 1 and (wanted or DEFAULT) is Schedule.DYNAMIC:
        counter, problem = shared_counter(comm)
        if counter is not None:
            return Assigned(Schedule.DYNAMIC, Tickets(plan, left, comm.size, counter), counter)
    return Assigned(Schedule.STATIC, FixedShare(static_share(plan, comm.rank, comm.size, left)), problem=problem)
