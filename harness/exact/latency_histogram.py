"""Durations as counts in fixed buckets: they add up exactly over threads, processes and time, and know percentiles. Pure.

A bucket is a microsecond wide up to 128 of them, then 64 buckets go to each doubling: no duration is misplaced by more than
1/64. It is the layout of HdrHistogram (G. Tene), with 6 bits of precision.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import NormalDist

__all__ = ["LatencyHistogram", "LatencyTimeline", "Percentile"]

HALF = 64  # buckets of a doubling
WINDOWS = 32  # of a timeline, at most


@dataclass(frozen=True)
class Percentile:
    """A percentile of durations, in milliseconds.

    Attributes:
      value: the middle of the bucket that it is in.
      low, high: its interval, whatever the distribution is; None where there are too few durations for that end.
    """

    value: float
    low: float | None
    high: float | None


@dataclass
class LatencyHistogram:
    """Counts of durations.

    Attributes:
      counts: by the first microsecond of the bucket.
    """

    counts: Counter[int] = field(default_factory=Counter)

    @classmethod
    def from_json(cls, document: Mapping[str, int]) -> LatencyHistogram:
        """Return what `to_json` wrote."""
        return cls(Counter({int(start): count for start, count in document.items()}))

    def to_json(self) -> dict[str, int]:
        """Return the counts by the first microsecond of their buckets, ascending; empty buckets are left out."""
        return {str(start): self.counts[start] for start in sorted(self.counts)}

    @property
    def total(self) -> int:
        """How many durations there are."""
        return self.counts.total()

    def add(self, seconds: float) -> None:
        """Count a duration."""
        self.counts[bucket_start(round(1e6 * max(seconds, 0.0)))] += 1

    def __add__(self, other: LatencyHistogram) -> LatencyHistogram:
        return LatencyHistogram(self.counts + other.counts)

    def percentile(self, share: float, level: float = 0.95) -> Percentile | None:
        """Return the least duration that so large a share of all is not above; None where there are none.

        The interval lies between two order statistics, whose places are quantiles of a binomial: no distribution of the
        durations is assumed, but that they are independent. W. J. Conover, Practical Nonparametric Statistics, 1999, 3.2.

        Args:
          share: 0 < share < 1. level: of the interval.

        >>> histogram = LatencyHistogram()
        >>> for milliseconds in range(1, 1001):
        ...     histogram.add(milliseconds / 1000)
        >>> histogram.percentile(0.5), histogram.percentile(0.999)
        (Percentile(value=501.76, low=466.944, high=532.48), Percentile(value=995.328, low=991.232, high=None))
        """
        total = self.total
        if not total:
            return None
        low, high = order_statistics(total, share, level)
        start, width = self._at(min(math.ceil(share * total - 1e-9), total))
        return Percentile(
            (start + width / 2) / 1000,
            None if low < 1 else self._at(low)[0] / 1000,
            None if high > total else sum(self._at(high)) / 1000,
        )

    def _at(self, place: int) -> tuple[int, int]:
        """Return first microsecond and width of the bucket of a duration, by its place in ascending order, from 1 on."""
        below = 0
        for start in sorted(self.counts):
            below += self.counts[start]
            if below >= place:
                return start, bucket_width(start)
        raise ValueError(f"expected a place of at most {below}, found {place}")


class LatencyTimeline:
    """Histograms of windows of time, never more than `WINDOWS` of them: then two become one, and windows twice as long.

    >>> timeline = LatencyTimeline()
    >>> for moment in (0.0, 0.5, 40.0, 70.0):
    ...     timeline.add(moment, 0.001)
    >>> timeline.window_s, {place: histogram.total for place, histogram in timeline.windows.items()}
    (4, {0: 2, 10: 1, 17: 1})
    """

    def __init__(self) -> None:
        self.window_s = 1
        self.windows: dict[int, LatencyHistogram] = {}

    def add(self, moment_s: float, seconds: float) -> None:
        """Count a duration that ended at a moment, seconds since the beginning."""
        while int(moment_s) // self.window_s >= WINDOWS:
            self._coarsen()
        self.windows.setdefault(int(moment_s) // self.window_s, LatencyHistogram()).add(seconds)

    def _coarsen(self) -> None:
        halved: dict[int, LatencyHistogram] = {}
        for place, histogram in self.windows.items():
            halved[place // 2] = halved.get(place // 2, LatencyHistogram()) + histogram
        self.windows, self.window_s = halved, 2 * self.window_s


def bucket_start(microseconds: int) -> int:
    """Return the first microsecond of a bucket.

    >>> [bucket_start(time) for time in (0, 127, 128, 129, 1000, 10**6)]
    [0, 127, 128, 128, 1000, 999424]
    """
    shift = max(microseconds.bit_length() - HALF.bit_length(), 0)
    return microseconds >> shift << shift


def bucket_width(start: int) -> int:
    """Return how many microseconds a bucket has.

    >>> [bucket_width(start) for start in (0, 127, 128, 1000, 999424)]
    [1, 1, 2, 8, 8192]
    """
    return 1 << max(start.bit_length() - HALF.bit_length(), 0)


def order_statistics(total: int, share: float, level: float) -> tuple[int, int]:
    """Return the places between which a quantile lies with at least a confidence; 0 and total + 1 are beyond the ends.

    >>> order_statistics(100, 0.5, 0.95), order_statistics(100, 0.99, 0.95)
    ((40, 61), (97, 101))
    """
    tail = (1 - level) / 2
    return _quantile(total, share, tail), _quantile(total, share, 1 - tail) + 1


def _quantile(total: int, share: float, probability: float) -> int:
    """Return the least k with P(X <= k) >= probability, X binomial.

    Beyond a million durations the normal law tells the place to a few of them, which lie in one bucket.
    """
    if total > 10**6:
        spread = math.sqrt(total * share * (1 - share))
        return min(max(math.ceil(total * share + NormalDist().inv_cdf(probability) * spread), 0), total)
    odds, cumulated = math.log(share) - math.log1p(-share), 0.0
    log_choose = total * math.log1p(-share)
    for count in range(total + 1):
        cumulated += math.exp(log_choose)
        if cumulated >= probability:
            return count
        log_choose += math.log(total - count) - math.log(count + 1) + odds if count < total else 0.0
    return total
