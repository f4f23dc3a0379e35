"""Worlds of any size, simulated: how long ranks of unlike speed take with tickets and with shares, against the ideal.

The rule of the tickets is the harness's own; ranks, their speeds and the time are made up.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.ranks.tickets import Draws

__all__ = ["Simulated", "simulate", "table"]

CALL_S = 0.1  # of the compiled step


@dataclass(frozen=True)
class Simulated:
    """What came out of it: seconds until the last rank is done, and at best; draws over all ranks."""

    took_s: float
    ideal_s: float
    draws: int

    @property
    def late(self) -> float:
        """How much longer than the ideal, as a share of it."""
        return self.took_s / self.ideal_s - 1


def simulate(costs: Sequence[float], speeds: Sequence[float], starts: Sequence[float] | None = None) -> Simulated:
    """Let ranks draw chunks until none is left.

    Args:
      costs: of the chunks.
      speeds: cost that each rank does a second.
      starts: when each rank begins; None is all at once.
    """
    order = np.sort(np.asarray(costs, np.float64))[::-1]
    ends = np.concatenate([[0.0], np.cumsum(order)])
    rules = [Draws(ends, len(speeds)) for _ in speeds]
    queues: list[list[int]] = [[] for _ in speeds]
    heads = [0] * len(speeds)
    counter = draws = 0
    begins = list(starts) if starts else [0.0] * len(speeds)
    took_s = 0.0
    events = [(start, rank) for rank, start in enumerate(begins)]
    heapq.heapify(events)
    while events:
        now, rank = heapq.heappop(events)
        rule, queue = rules[rank], queues[rank]
        while counter < len(order) and (number := rule.number()):
            if number > 1:
                rule.saw(counter)
                number = rule.number() or 1
            queue += rule.drew(counter, number)
            counter += number
            draws += 1
        head = heads[rank]
        if head == len(queue):
            continue
        elapsed_s, count = 0.0, 0
        while count < max(1, (rule.held + 1) // 2) and (not count or elapsed_s < CALL_S):
            elapsed_s += order[queue[head + count]] / speeds[rank]
            count += 1
        heads[rank] += count
        rule.did(heads[rank], elapsed_s)
        took_s = max(took_s, now + elapsed_s)
        heapq.heappush(events, (now + elapsed_s, rank))
    return Simulated(took_s, _ideal(float(order.sum()), list(speeds), begins), draws)


def _ideal(cost: float, speeds: list[float], begins: list[float]) -> float:
    """Return when the work is done at best, if it could be cut as finely as one likes."""
    for late in sorted({*begins}, reverse=True):
        working = [(speed, begin) for speed, begin in zip(speeds, begins, strict=True) if begin <= late]
        end = (cost + sum(speed * begin for speed, begin in working)) / sum(speed for speed, _ in working)
        if end >= late:
            return end
    raise AssertionError("the first rank to begin has begun when it ends")


def static(costs: Sequence[float], speeds: Sequence[float]) -> float:
    """Return how long equal shares take."""
    share = sum(costs) / len(speeds)
    return share / min(speeds)


def table() -> str:
    """Simulate worlds of 2 to 4,096 ranks."""
    lines = ["ranks  chunks a rank  slow ranks    static  tickets  draws a rank"]
    for ranks, each, slow in ((2, 128, 1), (16, 60, 1), (256, 60, 16), (4096, 60, 1), (4096, 60, 512), (4096, 240, 512)):
        speeds = [0.25] * slow + [1.0] * (ranks - slow)
        costs = [0.5] * (ranks * each)
        found = simulate(costs, speeds)
        late = static(costs, speeds) / found.ideal_s - 1
        lines.append(f"{ranks:5,}  {each:13}  {slow:10}  {late:+8.1%} {found.late:+8.1%}  {found.draws / ranks:12.1f}")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
