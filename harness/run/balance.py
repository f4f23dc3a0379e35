"""How evenly a plan can be shared out, told before any rank is started. Pure."""

from __future__ import annotations

from harness.plan.plan import Plan
from harness.ranks.schedule import static_share

__all__ = ["busiest_share"]


def busiest_share(plan: Plan, ranks: int) -> float:
    """Return how much the busiest of some ranks does, in even shares: 1.0 is a perfect balance.

    >>> from harness.plan.plan import File
    >>> busiest_share(Plan((File("a", 0, 30), File("b", 0, 10, divisible=False)), 10, 10), 2)
    1.0
    >>> busiest_share(Plan((File("a", 0, 40, divisible=False),), 10, 10), 2)
    2.0
    """
    most = max(sum(chunk.stop - chunk.start for chunk in static_share(plan, rank, ranks)) for rank in range(ranks))
    return most * ranks / plan.examples
