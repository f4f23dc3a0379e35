"""What a ranking gathers by depth: cumulative gains and lift of graded or binary labels, as a table that a report draws.

A group's rows come sorted as for every metric of a ranking; see `ranking.py`. The share of its gain that lies within rank k
is computed from its own rows alone, and the shares of all groups are summed exactly.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from harness.metrics.contract import Lines, Table, Totals, ratio
from harness.metrics.group_mean import ByGroup, Gain, good_labels, group_sums, label_gains
from harness.metrics.groups import Ranked, exact_sum, ratios, segment_sum

__all__ = ["RankingGains"]

COLUMNS = ("ranking", "ideal", "random")


class RankingGains(ByGroup):
    """The share of the gain that lies within rank k, for k from 1 on: of the ranking, of the best order, and of a random one.

    A group adds the share of its own gain; one without gain is left out. In a random order a group of n examples has
    min(k, n) / n of it within rank k. Lift is the share of the ranking over that of a random order; both are means over
    groups.
    """

    takes_replicates: ClassVar[bool] = False
    nothing: ClassVar[str] = "no group has a gain"
    summary: ClassVar[str] = (
        "per k: mean over groups of gain within rank k / gain of the group; lift: that / mean of min(k, n) / n"
    )
    source: ClassVar[str] = "cumulative gain (Jarvelin and Kekalainen 2002) as a share of the whole; of binary labels recall_at_k"

    depth: int = Field(10, ge=1, le=1000, description="the largest k; the table has a line for each from 1 on")
    gain: Gain = Field("linear", description="2^label - 1, or the label")
    ties: Literal["order", "average"] = Field("order", description="equal scores: by example id, or the average of all orders")

    def fold(self, part: Any) -> dict[str, Any]:
        """Sum the shares of the groups of a part, each a float64, at every depth."""
        ranked = Ranked.of(part)
        good = good_labels(ranked.label, self.gain)
        gains = label_gains(np.where(good, ranked.label, 0.0), self.gain)
        best = gains[np.lexsort((-gains, ranked.spread(np.arange(len(ranked.starts)))))]
        if self.ties == "average":
            sizes = np.diff(ranked.ties, append=len(gains))
            gains = np.repeat(segment_sum(gains, ranked.ties) / sizes, sizes)
        whole = ranked.sum(best)
        some = whole > 0
        weights = ranked.weights(some)
        return {
            **group_sums(ranked, 0, ranked.weight(some), ranked.count(some), ranked.count(~some), int((~good).sum())),
            "ranking": self._shares(ranked, gains, whole, some),
            "ideal": self._shares(ranked, best, whole, some),
            "random": _random_shares(ranked.sizes[some], weights, self.depth),
        }

    def _shares(self, ranked: Ranked, gains: np.ndarray, whole: np.ndarray, some: np.ndarray) -> np.ndarray:
        """Sum the shares within each rank over the groups in `some`; object [depth].

        Args:
          gains: float64 [n], in the order of the ranks. whole: float64 [groups], their sums. some: bool [groups].
        """
        sums = np.full(self.depth, Fraction(0), dtype=object)
        within, weights = np.zeros(len(whole)), ranked.weights(some)
        for place in range(self.depth):
            deep = ranked.sizes > place
            within[deep] += gains[ranked.starts[deep] + place]
            # All of a group is all of its gain: adding up in another order may round otherwise.
            shares = np.where(ranked.sizes[some] > place + 1, np.minimum(within[some] / whole[some], 1.0), 1.0)
            sums[place] = exact_sum(shares, weights)
        return sums

    def value(self, totals: Totals) -> Table:
        """Return one line per depth.

        Raises: Undefined: no group has a gain, or a group has no weight of its own.
        """
        self.see_groups(totals)
        weight = totals.exact("weight")
        lines = []
        for place, sums in enumerate(zip(*(totals.exact(name) for name in COLUMNS), strict=True)):
            shares = [ratio(total, weight, self.nothing) for total in sums]
            lines.append((place + 1, *shares, ratio(sums[0], sums[2], self.nothing), ratio(sums[1], sums[2], self.nothing)))
        return Table(("k", *COLUMNS, "lift", "ideal_lift"), tuple(lines))

    def plots(self, totals: Totals) -> tuple[Lines, Lines]:
        """Return the shares by depth, and the lift, held against 1."""
        rows = self.value(totals).rows

        def line(name: str, column: int) -> tuple[str, tuple[tuple[float, float], ...]]:
            return name, tuple((row[0], row[column]) for row in rows)

        gains = (line("ranking", 1), line("best order", 2), line("random order", 3))
        return (
            Lines("k, places of each group", "cumulative gain, as a share", gains),
            Lines("k, places of each group", "lift over a random order", (line("ranking", 4), line("best order", 5)), 1.0),
        )


def _random_shares(sizes: np.ndarray, weights: np.ndarray | None, depth: int) -> np.ndarray:
    """Sum min(k, size) / size over groups, for k from 1 to the depth; object [depth].

    Args:
      sizes: int64 [groups]. weights: of the groups, int64 or object; None where all count alike.

    >>> [float(share) for share in _random_shares(np.array([2, 4]), None, 3)]
    [0.75, 1.5, 1.75]
    """
    distinct, place, times = np.unique(sizes, return_inverse=True, return_counts=True)
    if weights is not None:
        times = np.zeros(len(distinct), object)
        np.add.at(times, place, weights)
    shares = np.full(depth, Fraction(0), dtype=object)
    for k in range(1, depth + 1):
        shares[k - 1] = ratios(np.minimum(k, distinct), distinct, times)
    return shares
