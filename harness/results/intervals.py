"""Intervals from the replicates of a bootstrap. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Interval", "Replicates", "defined", "interval", "quantile", "too_few", "variance"]

Replicates = np.ndarray | Sequence[float | None]  # of one value, by draw; None and NaN for null

DEFINED_SHARE = 0.9  # an interval needs a value in at least so many of the replicates


@dataclass(frozen=True)
class Interval:
    """What the replicates say of one value.

    Attributes:
      low, high: the interval.
      basic_low, basic_high: basic interval, 2 value - high and 2 value - low; None where `method` is not "percentile".
      standard_error: standard deviation over the replicates; None where they are all alike.
      undefined: in how many replicates the value is null.
      reason: why there is no interval; the others are None then.
      method: how `low` and `high` were made; None where there are none.
    """

    low: float | None
    high: float | None
    basic_low: float | None
    basic_high: float | None
    standard_error: float | None
    undefined: int
    reason: str | None = None
    method: str | None = None

    @classmethod
    def none(cls, reason: str, undefined: int = 0) -> Interval:
        """Return no interval, and why.

        >>> Interval.none("no reason").low is None
        True
        """
        return cls(None, None, None, None, None, undefined, reason)


def defined(replicates: Replicates) -> np.ndarray:
    """Return the replicates that are numbers, in order, float64; None, NaN and what is infinite are none.

    >>> defined([2.0, None, 1.0, math.inf]).tolist()
    [1.0, 2.0]
    """
    drawn = np.asarray(replicates, np.float64)  # None becomes NaN
    return np.sort(drawn[np.isfinite(drawn)])


def quantile(ordered: np.ndarray, q: float) -> float:
    """Return the order statistic q (R + 1) of R numbers in order, R >= 2, interpolated linearly; see `interval`.

    >>> quantile(np.array([1.0, 2.0, 3.0]), 0.375)
    1.5
    """
    at = min(max(q * (len(ordered) + 1) - 1, 0.0), float(len(ordered) - 1))
    below = min(int(at), len(ordered) - 2)
    a, b = float(ordered[below]), float(ordered[below + 1])
    return a + (b - a) * (at - below)


def interval(value: float, replicates: Replicates, level: float) -> Interval:
    """Return the percentile interval of a value from its replicates; none where they show no spread.

    The quantile q of R replicates is the order statistic q (R + 1), interpolated linearly (Hyndman and Fan's type 6;
    A. C. Davison, D. V. Hinkley, Bootstrap Methods and their Application, 1997, 5.2.1): the value and R replicates being
    exchangeable, that is what holds the level at finite R. NumPy's default, type 7, takes 1 + q (R - 1), and with 200
    replicates covers 94.1 % for 95 %. Where q (R + 1) lies outside, below 39 replicates at 95 %, the ends are the
    smallest and the largest replicate. A replicate that is infinite counts as null.

    >>> interval(2.0, [1.0, 2.0, 3.0, 4.0, 5.0], 0.5).low, interval(2.0, [1.0, 2.0, 3.0, 4.0, 5.0], 0.5).high
    (1.5, 4.5)
    """
    ordered = defined(replicates)
    missing = len(replicates) - len(ordered)
    if len(ordered) < 2 or len(ordered) < DEFINED_SHARE * len(replicates):
        return Interval.none(f"the value is null in {missing} of {len(replicates)} replicates", missing)
    if ordered[0] == ordered[-1]:
        return Interval.none(
            f"the value is {ordered[0]:g} in every replicate: they show no spread to tell an interval by", missing
        )
    low, high = (quantile(ordered, q) for q in ((1 - level) / 2, (1 + level) / 2))
    return Interval(low, high, 2 * value - high, 2 * value - low, math.sqrt(variance(ordered)), missing, method="percentile")


def variance(ordered: np.ndarray) -> float:
    """Return the variance of two numbers or more, float64; sums are exact.

    >>> variance(np.array([1.0, 2.0, 3.0]))
    1.0
    """
    numbers = ordered.tolist()
    mean = math.fsum(numbers) / len(numbers)
    return math.fsum((x - mean) ** 2 for x in numbers) / (len(numbers) - 1)


def too_few(replicates: int, level: float) -> str:
    """Say what an interval of too few replicates is; nothing where there are enough for its level.

    >>> too_few(39, 0.95), too_few(38, 0.95)
    ('', '; 95 % takes 39 replicates: the ends are the smallest and the largest, and hold less often')
    """
    wanted = math.ceil(round(2 / (1 - level), 9)) - 1
    if replicates >= wanted:
        return ""
    return f"; {100 * level:g} % takes {wanted:,} replicates: the ends are the smallest and the largest, and hold less often"
