"""Medians and ratios of a few repeats, with intervals that assume no distribution: order statistics. Pure.

Of five repeats the median lies between the least and the greatest in 93.75 of 100 benches, whatever the times are distributed
like; the level that so many repeats allow stands beside each interval.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import median

__all__ = ["LEVEL", "Spread", "fewest_repeats", "median_spread", "ratio_spread"]

LEVEL = 0.95  # that is wanted


@dataclass(frozen=True)
class Spread:
    """A number, and where it may lie.

    Attributes:
      value: a median.
      low, high: of its interval; None where there is only one repeat.
      level: that the interval has: less than `LEVEL` where repeats are few.
      repeats: how many it rests on; of a ratio the fewer.
    """

    value: float
    low: float | None
    high: float | None
    level: float | None
    repeats: int


def median_spread(values: Sequence[float]) -> Spread | None:
    """Return the median and the interval of order statistics round it; None of nothing.

    Source: H. A. David, H. N. Nagaraja, Order statistics, section 7.1.

    >>> median_spread([3.0, 1.0, 2.0, 5.0, 4.0])
    Spread(value=3.0, low=1.0, high=5.0, level=0.9375, repeats=5)
    >>> median_spread([2.0])
    Spread(value=2.0, low=None, high=None, level=None, repeats=1)
    """
    ordered, count = sorted(values), len(values)
    if count < 2:
        return Spread(ordered[0], None, None, None, 1) if ordered else None
    left_out, level = 0, 1 - 2 * _binomial_tail(count, 0)
    while left_out + 1 < count / 2 and (narrower := 1 - 2 * _binomial_tail(count, left_out + 1)) >= LEVEL:
        left_out, level = left_out + 1, narrower
    return Spread(median(ordered), ordered[left_out], ordered[count - 1 - left_out], level, count)


def ratio_spread(above: Sequence[float], below: Sequence[float], level: float = LEVEL) -> Spread | None:
    """Return the ratio of two independent groups of repeats: the median of all ratios of pairs, and its interval.

    The interval is exact where the two are distributed alike but for a factor: that of Hodges and Lehmann, by the counts of
    Mann and Whitney, on logarithms. Source: M. Hollander, D. A. Wolfe, Nonparametric statistical methods, section 4.3.

    Args:
      above, below: above 0.
      level: that is wanted; the interval says its own, which is less where repeats are too few.
    Returns: None where one of them is empty.

    >>> ratio_spread([2.0, 4.0], [1.0, 2.0])
    Spread(value=2.0, low=1.0, high=4.0, level=0.6666666666666667, repeats=2)
    """
    if not above or not below or min(below) <= 0:
        return None
    ratios = sorted(first / second for first in above for second in below)
    repeats = min(len(above), len(below))
    if repeats < 2:
        return Spread(median(ratios), None, None, None, repeats)
    counts, left_out = _mann_whitney(len(above), len(below)), 0
    total = sum(counts)
    while 2 * sum(counts[: left_out + 2]) / total <= 1 - level:
        left_out += 1
    reached = 1 - 2 * sum(counts[: left_out + 1]) / total
    return Spread(median(ratios), ratios[left_out], ratios[len(ratios) - 1 - left_out], reached, repeats)


def fewest_repeats(level: float = LEVEL) -> int:
    """Return how many repeats each of two groups needs, so that the interval of their ratio has a level.

    >>> fewest_repeats(0.95), fewest_repeats(0.98)
    (4, 5)
    """
    return next(count for count in itertools.count(2) if 1 - 2 / math.comb(2 * count, count) >= level)


def _binomial_tail(count: int, most: int) -> float:
    """Return the probability of at most so many heads of `count` coins."""
    return float(sum(math.comb(count, heads) for heads in range(most + 1)) / 2**count)


@lru_cache(maxsize=64)
def _mann_whitney(first: int, second: int) -> tuple[int, ...]:
    """Return how many orders of two groups have U = 0, 1, 2, ...

    >>> _mann_whitney(2, 2), sum(_mann_whitney(5, 5))
    ((1, 1, 2, 1, 1), 252)
    """
    # Gaussian binomial coefficient: product of (1 - q^(second + i)) / (1 - q^i).
    counts = [1] + [0] * (first * second)
    for i in range(1, first + 1):
        for place in range(len(counts) - 1, second + i - 1, -1):
            counts[place] -= counts[place - second - i]
        for place in range(i, len(counts)):
            counts[place] += counts[place - i]
    return tuple(counts)
