"""The Poisson bootstrap: how often each example is drawn into each replicate, and intervals from the replicates.

A replicate gives every example a multiplicity, Poisson with mean 1, drawn from (seed, example id) alone: the same at
any number of ranks, in any order, in any attempt. Examples of one cluster share theirs (the key is then the cluster's).
Source: N. Chamandy et al., Estimating uncertainty for massive data streams, 2012.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["GOLDEN", "MIX", "THRESHOLDS", "Interval", "interval", "multiplicities"]

GOLDEN = 0x9E3779B97F4A7C15  # SplitMix64's increment and multipliers, as in plan.hash_ids
MIX = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)

# Of a uniform 32-bit integer u the multiplicity is how many of these it reaches: the Poisson(1) distribution function in
# units of 2^-32. Past the last, 2^-32 is not reached: no multiplicity is above 12.
THRESHOLDS = tuple(round(2**32 * math.exp(-1) * sum(1 / math.factorial(j) for j in range(k + 1))) for k in range(12))

DEFINED_SHARE = 0.9  # an interval needs a value in at least so many of the replicates


def multiplicities(keys: np.ndarray, seed: int, replicates: int) -> np.ndarray:
    """Draw how often each key's examples count in each replicate.

    Args:
      keys: int64 [n]: example ids, or hashes of the cluster's key.
      seed, replicates: of the job.
    Returns: int64 [n, replicates].

    >>> multiplicities(np.array([0, 1, 2]), 17, 5).tolist() == multiplicities(np.array([0, 1, 2, 3]), 17, 5)[:3].tolist()
    True
    """
    start = keys.astype(np.int64).view(np.uint64) ^ np.uint64(stream(seed))
    steps = np.arange(1, (replicates + 1) // 2 + 1, dtype=np.uint64) * np.uint64(GOLDEN)
    z = _mix(_mix(start)[:, None] + steps)
    # Each 64-bit hash gives two draws.
    halves = np.stack([z & np.uint64(0xFFFFFFFF), z >> np.uint64(32)], axis=-1).reshape(len(keys), 2 * len(steps))[:, :replicates]
    found = np.zeros(halves.shape, np.int64)
    for threshold in THRESHOLDS:
        found += halves >= np.uint64(threshold)
    return found


def stream(seed: int) -> int:
    """Return the 64-bit constant that sets the streams of one seed apart from those of another."""
    return int(_mix(np.array([seed % 2**64], np.uint64) + np.uint64(GOLDEN))[0])


def _mix(z: np.ndarray) -> np.ndarray:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(MIX[0])
    z = (z ^ (z >> np.uint64(27))) * np.uint64(MIX[1])
    return z ^ (z >> np.uint64(31))


@dataclass(frozen=True)
class Interval:
    """What the replicates say of one value.

    Attributes:
      low, high: percentile interval.
      basic_low, basic_high: basic interval, 2 value - high and 2 value - low.
      standard_error: standard deviation over the replicates.
      undefined: in how many replicates the value is null.
      reason: why there is no interval; the others are None then.
    """

    low: float | None
    high: float | None
    basic_low: float | None
    basic_high: float | None
    standard_error: float | None
    undefined: int
    reason: str | None = None


def interval(value: float, replicates: Sequence[float | None], level: float) -> Interval:
    """Return the interval of a value from its replicates.

    The quantile q of R replicates is the order statistic q (R + 1), interpolated linearly (Hyndman and Fan's type 6;
    A. C. Davison, D. V. Hinkley, Bootstrap Methods and their Application, 1997, 5.2.1): the value and R replicates being
    exchangeable, that is what holds the level at finite R. NumPy's default, type 7, takes 1 + q (R - 1), and with 200
    replicates covers 94.1 % for 95 %. Where q (R + 1) lies outside, below 39 replicates at 95 %, the ends are the
    smallest and the largest replicate. A replicate that is infinite counts as null.

    >>> interval(2.0, [1.0, 2.0, 3.0, 4.0, 5.0], 0.5).low, interval(2.0, [1.0, 2.0, 3.0, 4.0, 5.0], 0.5).high
    (1.5, 4.5)
    """
    defined = np.sort([x for x in replicates if x is not None and math.isfinite(x)])
    missing = len(replicates) - len(defined)
    if len(defined) < 2 or len(defined) < DEFINED_SHARE * len(replicates):
        reason = f"the value is null in {missing} of {len(replicates)} replicates"
        return Interval(None, None, None, None, None, missing, reason)
    low, high = (_quantile(defined, q) for q in ((1 - level) / 2, (1 + level) / 2))
    mean = math.fsum(defined) / len(defined)
    spread = math.sqrt(math.fsum((x - mean) ** 2 for x in defined.tolist()) / (len(defined) - 1))
    return Interval(low, high, 2 * value - high, 2 * value - low, spread, missing)


def _quantile(ordered: np.ndarray, q: float) -> float:
    at = min(max(q * (len(ordered) + 1) - 1, 0.0), float(len(ordered) - 1))
    below = min(int(at), len(ordered) - 2)
    a, b = float(ordered[below]), float(ordered[below + 1])
    return a + (b - a) * (at - below)
