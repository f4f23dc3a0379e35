"""How much larger one number is than another, with interval and p-value: paired within replicates, or not. Pure.

Both numbers saw the same examples in the same replicates, so the interval is that of the difference within replicates: what
makes both good or bad together cancels. A p-value is two-sided, of no difference.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from harness.comparison.sides import Number
from harness.exact.mcnemar import mcnemar
from harness.results.binomial import clopper_pearson
from harness.results.intervals import defined, interval, variance

__all__ = [
    "FEWEST", "FEW_DIFFER", "NO_REPLICATES", "TOO_FEW", "Difference", "by_counts", "discordant_examples", "drawn_differences",
    "few_differ", "nearly_normal", "paired", "skewness", "student", "unpaired", "with_skewness", "without_skewness",
]  # fmt: skip

# Below so many examples that are right on one side only, replicates promise too much: that none of m is drawn has
# probability e^-m, that all m fall to one side 2^-m.
FEW_DISCORDANT = 20
# Of so few examples replicates of anything else promise too much: their spread is too small, and hides what is rare.
FEWEST = 30
FEW_ONE_SIDED = 4
NO_REPLICATES = "no replicates were kept"
TOO_FEW = f"replicates of fewer than {FEWEST} examples promise too much"
# A difference that some replicates do not show, and none shows the other way round: a handful of examples makes it, and who of
# them is drawn decides.
FEW_DIFFER = "so few examples make the difference that some replicates show none: they promise too much"
# Skewness and excess kurtosis of replicates up to which they are taken for normal.
NEARLY_NORMAL = (0.5, 1.0)


@dataclass(frozen=True)
class Difference:
    """A difference.

    Attributes:
      value: second less first.
      low, high: interval; None where there is none.
      standard_error: of the difference.
      p: of no difference, two-sided; None where there is none.
      method: how `p` was made: "normal", "replicates", "discordant counts".
      reason: why there is no interval.
    """

    value: float
    low: float | None = None
    high: float | None = None
    standard_error: float | None = None
    p: float | None = None
    method: str | None = None
    reason: str | None = None


def paired(first: Number, second: Number, level: float, *, counted: bool) -> Difference:
    """Return the difference of two numbers of the same draws; both have values.

    Args:
      first, second: with replicates.
      level: of the interval.
      counted: every example adds 0 or 1 to each number, and is drawn on its own.
    """
    value, drawn = second.above(first), drawn_differences(first, second)
    if isinstance(drawn, str):
        return Difference(value, reason=drawn)
    percentiles = interval(value, drawn, level)
    if counted and first.examples == second.examples:
        discordant, error = discordant_examples(value, drawn, first.examples)
        if discordant is not None:
            return by_counts(value, discordant, first.examples, level, error)
    if min(first.examples, second.examples) < FEWEST:
        return Difference(value, reason=TOO_FEW)
    if not counted and few_differ(drawn):
        return Difference(value, reason=FEW_DIFFER)
    if percentiles.reason is not None or percentiles.standard_error is None:
        return Difference(value, reason=percentiles.reason)
    p, method = _p_value(value, percentiles.standard_error, drawn, first.examples)
    return Difference(value, percentiles.low, percentiles.high, percentiles.standard_error, p, method)


def unpaired(first: Number, second: Number, level: float) -> Difference:
    """Return the difference of two numbers of independent examples; both have values."""
    value = second.above(first)
    if refusal := first.no_difference or second.no_difference:
        return Difference(value, reason=refusal)
    if first.standard_error is None or second.standard_error is None:
        return Difference(value, reason="a side has no standard error")
    error = math.hypot(first.standard_error, second.standard_error)
    if error == 0:
        return Difference(value, reason="neither side shows any spread")
    if (fewest := min(first.examples, second.examples)) < FEWEST:
        return Difference(value, reason=TOO_FEW)
    reach = student(NormalDist().inv_cdf((1 + level) / 2), fewest - 1) * error
    p = _tails(_deviate(abs(value) / error, fewest - 1))
    return Difference(value, value - reach, value + reach, error, p, "normal")


def drawn_differences(first: Number, second: Number) -> np.ndarray | str:
    """Return second less first in each replicate, or why there is no such thing."""
    if refusal := first.no_difference or second.no_difference:
        return refusal
    if first.replicates is None or second.replicates is None:
        return NO_REPLICATES
    return second.replicates - first.replicates


def few_differ(drawn: np.ndarray) -> bool:
    """Say whether a few examples make a difference: some replicates show none, all others are on one side of it.

    None of m examples is drawn with probability e^-m: 2 % where there are four.

    >>> few_differ(np.array([0.0, 0.1, 0.2])), few_differ(np.array([-0.1, 0.0, 0.2])), few_differ(np.array([0.1, 0.2]))
    (True, False, False)
    """
    ordered = defined(drawn)
    if not len(ordered) or ordered[0] == ordered[-1] or 0.0 not in (ordered[0], ordered[-1]):
        return False
    return bool((ordered == 0).mean() >= math.exp(-FEW_ONE_SIDED))


def discordant_examples(value: float, drawn: np.ndarray, examples: int) -> tuple[float | None, float | None]:
    """Return on how many examples only one side is right, as the spread of the replicates tells, and that spread.

    Of m of n examples that differ by one, and a difference d of all, a replicate has the variance (m / n - d^2) / n. The
    number is None where there are so many that replicates hold, of examples enough.
    """
    ordered = defined(drawn)
    if len(ordered) < 2:
        return None, None
    spread = variance(ordered)
    discordant = examples * (examples * spread + value * value)
    few = discordant < FEW_DISCORDANT or examples < FEWEST
    return (min(discordant, examples) if few else None), math.sqrt(spread) or None


def by_counts(value: float, discordant: float, examples: int, level: float, error: float | None) -> Difference:
    """Return a difference by how many examples are right on one side only, as the spread of the replicates tells.

    The interval is that of Clopper and Pearson of each of the two counts, each erring by half: it holds its level and more.
    """
    ahead = round(value * examples)  # how many more are right on the second side
    extra = max(round((discordant - abs(ahead)) / 2), 0)
    first_only, second_only = extra + max(-ahead, 0), extra + max(ahead, 0)
    each = (1 + level) / 2
    first_low, first_high = _exact(first_only, examples, each)
    second_low, second_high = _exact(second_only, examples, each)
    low, high = second_low - first_high, second_high - first_low
    return Difference(value, low, high, error, mcnemar(first_only, second_only), "discordant counts")


@lru_cache(maxsize=4096)  # slices of one size ask for the same
def _exact(successes: int, trials: int, level: float) -> tuple[float, float]:
    return clopper_pearson(successes, trials, level)


def _p_value(value: float, error: float, drawn: np.ndarray, examples: int) -> tuple[float, str]:
    """Return a p-value and how it was made: by Student's t where replicates look normal, else by counting them.

    Means of few skewed examples lie far from 0 on one side too often. What t is without that is taken where it is less.
    R replicates cannot give a p-value below 2 / (R + 1).
    """
    ordered = defined(drawn)
    if nearly_normal(ordered):
        t = value / error
        least = min(abs(t), abs(without_skewness(t, skewness(ordered))))
        return _tails(_deviate(least, min(len(ordered), examples) - 1)), "normal"
    below, above = int((ordered <= 0).sum()), int((ordered >= 0).sum())
    return min(2 * (1 + min(below, above)) / (len(ordered) + 1), 1.0), "replicates"


def nearly_normal(ordered: np.ndarray) -> bool:
    """Say whether replicates have about the skewness and the kurtosis of normal ones."""
    centred = ordered - math.fsum(ordered.tolist()) / len(ordered)
    second, third, fourth = (math.fsum((centred**power).tolist()) / len(ordered) for power in (2, 3, 4))
    if second == 0:
        return False
    return abs(third / second**1.5) <= NEARLY_NORMAL[0] and abs(fourth / second**2 - 3) <= NEARLY_NORMAL[1]


def skewness(ordered: np.ndarray) -> float:
    """Return the skewness of replicates; 0 where they show no spread."""
    centred = ordered - math.fsum(ordered.tolist()) / len(ordered)
    second, third = (math.fsum((centred**power).tolist()) / len(ordered) for power in (2, 3))
    return third / second**1.5 if second else 0.0


def without_skewness(t: float, skewness: float) -> float:
    """Return Student's t of a mean as it would be of examples that are not skewed.

    Args:
      skewness: of the mean, as its replicates have it.

    Source: P. Hall, On the removal of skewness by transformation, Journal of the Royal Statistical Society B 54, 1992.

    >>> without_skewness(-4.0, 0.0), round(without_skewness(-4.0, 0.3), 3), round(without_skewness(4.0, 0.3), 3)
    (-4.0, -2.563, 5.863)
    """
    return t + skewness * t**2 / 3 + skewness**2 * t**3 / 27 + skewness / 6


def with_skewness(t: float, skewness: float) -> float:
    """Return the t that `without_skewness` brings to a given one.

    >>> round(with_skewness(without_skewness(-4.0, 0.3), 0.3), 12), with_skewness(2.0, 0.0)
    (-4.0, 2.0)
    """
    if abs(skewness) < 1e-6:
        return t
    return 3 * (math.cbrt(1 + skewness * (t - skewness / 6)) - 1) / skewness


def _deviate(t: float, freedom: int) -> float:
    """Return the normal deviate with the tail of Student's t, to a thousandth where there are ten degrees of freedom.

    A standard error of R replicates is itself uncertain, by 1 / sqrt(2 R) of it.

    Source: D. L. Wallace, Bounds on normal approximations to Student's and the chi-square distributions, Annals of
    Mathematical Statistics 30, 1959.

    >>> round(_deviate(2.0, 199), 4), round(_deviate(4.0, 199), 4)
    (1.9876, 3.918)
    """
    return (8 * freedom + 1) / (8 * freedom + 3) * math.sqrt(freedom * math.log1p(t * t / freedom))


def student(deviate: float, freedom: int) -> float:
    """Return Student's t with the tail of a normal deviate: `_deviate` the other way round.

    >>> round(student(1.959964, 29), 2), round(_deviate(student(3.0, 29), 29), 6)
    (2.05, 3.0)
    """
    normal = deviate * (8 * freedom + 3) / (8 * freedom + 1)
    return math.copysign(math.sqrt(freedom * math.expm1(normal * normal / freedom)), deviate)


def _tails(deviate: float) -> float:
    """Return the probability of a normal deviate so far from 0, either way.

    >>> round(_tails(1.959964), 6)
    0.05
    """
    return math.erfc(deviate / math.sqrt(2))
