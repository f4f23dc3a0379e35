"""How far a number may lie from where it was seen, with a given confidence on each side. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import NormalDist

import numpy as np

from harness.comparison.difference import (
    FEW_DIFFER,
    FEWEST,
    NO_REPLICATES,
    TOO_FEW,
    by_counts,
    discordant_examples,
    drawn_differences,
    few_differ,
    nearly_normal,
    skewness,
    student,
    with_skewness,
)  # fmt: skip
from harness.comparison.sides import Number
from harness.results.binomial import clopper_pearson
from harness.results.intervals import DEFINED_SHARE, defined, quantile, variance

__all__ = ["ALIKE", "Bounds", "bounds_of", "bounds_of_difference", "bounds_of_gap"]

MANY = 1000  # right and wrong examples, from which on a proportion is taken for normal
ALIKE = "both have the same value in every replicate: there is no spread to judge by"
FEWEST_BEYOND = 5  # replicates that have to lie beyond a percentile for it to be one


@dataclass(frozen=True)
class Bounds:
    """A value and its bounds, each of which the truth lies beyond with at most the same probability.

    Attributes:
      low, high: None where there are none.
      standard_error: None where it is not known.
      reason: why there are none.
    """

    value: float
    low: float | None = None
    high: float | None = None
    standard_error: float | None = None
    reason: str | None = None


def bounds_of(number: Number, tail: float, *, counted: bool) -> Bounds:
    """Return the bounds of a number.

    Args:
      number: not null.
      tail: probability of each side.
      counted: every example adds 0 or 1, and is drawn on its own.
    """
    assert number.value is not None
    right = round(number.value * number.examples)
    if counted and min(right, number.examples - right) > MANY:
        return _by_error(
            number.value, math.sqrt(number.value * (1 - number.value) / (number.examples - 1)), tail, number.examples - 1
        )
    if counted:
        low, high = clopper_pearson(right, number.examples, 1 - 2 * tail)
        return Bounds(number.value, low, high, number.standard_error)
    if number.no_interval is not None:
        return Bounds(number.value, reason=number.no_interval)
    if number.replicates is not None:
        return _by_replicates(number.value, number.replicates, tail, number.examples)
    if number.standard_error is None:
        return Bounds(number.value, reason="there are neither replicates nor a standard error: evaluate with a bootstrap")
    if number.examples < FEWEST:
        return Bounds(number.value, reason=TOO_FEW)
    return _by_error(number.value, number.standard_error, tail, number.examples - 1)


def bounds_of_difference(first: Number, second: Number, tail: float, *, counted: bool) -> Bounds:
    """Return the bounds of second less first, of the same draws; see `bounds_of`."""
    value, drawn = second.above(first), drawn_differences(first, second)
    if isinstance(drawn, str):
        return Bounds(value, reason=f"{drawn}: evaluate both with a bootstrap" if drawn == NO_REPLICATES else drawn)
    if counted and first.examples == second.examples:
        discordant, error = discordant_examples(value, drawn, first.examples)
        if discordant is not None:
            found = by_counts(value, discordant, first.examples, 1 - 2 * tail, error)
            return Bounds(value, found.low, found.high, error)
    if not drawn.any():  # a NaN counts
        return Bounds(value, reason=ALIKE)
    if not counted and few_differ(drawn):
        return Bounds(value, reason=FEW_DIFFER)
    return _by_replicates(value, drawn, tail, first.examples)


def bounds_of_gap(numbers: Sequence[Number], tail: float, *, counted: bool) -> Bounds:
    """Return the bounds of how far the largest of some numbers lies above the smallest; they are of different examples.

    The gap is at most as large as the largest bound of any pair, each at the whole tail: all of them would have to hold. It
    is at least as large as the largest lower bound, each at its share of the tail.
    """
    pairs = len(numbers) * (len(numbers) - 1) // 2
    whole, shared = ([bounds_of(number, each, counted=counted) for number in numbers] for each in (tail, tail / pairs))
    values = [bounds.value for bounds in whole]
    gap = max(values) - min(values)
    if refused := next((bounds for bounds in whole if bounds.low is None), None):
        return Bounds(gap, reason=refused.reason)
    high = max(max(abs(end) for end in _between(a, b)) for a, b in combinations(whole, 2))
    if any(bounds.low is None for bounds in shared):  # too few replicates for so small a tail: a gap is at least nothing
        return Bounds(gap, 0.0, high)
    low = max(max(ends[0], -ends[1]) for ends in (_between(a, b) for a, b in combinations(shared, 2)))
    return Bounds(gap, max(low, 0.0), high)


def _between(first: Bounds, second: Bounds) -> tuple[float, float]:
    """Return the bounds of second less first, which are of different examples, from the bounds of each.

    Source: R. G. Newcombe, Interval estimation for the difference between independent proportions, Statistics in Medicine
    17, 1998.
    """
    assert first.low is not None and first.high is not None and second.low is not None and second.high is not None
    value = second.value - first.value
    low = value - math.hypot(second.value - second.low, first.high - first.value)
    return low, value + math.hypot(second.high - second.value, first.value - first.low)


def _by_error(value: float, error: float, tail: float, freedom: int) -> Bounds:
    reach = student(NormalDist().inv_cdf(1 - tail), freedom) * error
    return Bounds(value, value - reach, value + reach, error)


def _by_replicates(value: float, drawn: np.ndarray, tail: float, examples: int) -> Bounds:
    """Return bounds by percentiles where enough replicates lie beyond them, else by their spread where that looks normal."""
    if examples < FEWEST:
        return Bounds(value, reason=TOO_FEW)
    ordered = defined(drawn)
    if len(ordered) < 2 or len(ordered) < DEFINED_SHARE * len(drawn):
        return Bounds(value, reason=f"the value is null in {len(drawn) - len(ordered)} of {len(drawn)} replicates")
    if ordered[0] == ordered[-1]:
        return Bounds(value, reason=f"it is {ordered[0]:g} in every replicate: they show no spread")
    error, freedom = math.sqrt(variance(ordered)), min(len(ordered), examples) - 1
    if tail * (len(ordered) + 1) >= FEWEST_BEYOND:
        return _for_skewness(Bounds(value, quantile(ordered, tail), quantile(ordered, 1 - tail), error), ordered, tail, freedom)
    if nearly_normal(ordered):
        return _for_skewness(_by_error(value, error, tail, freedom), ordered, tail, freedom)
    wanted = math.ceil(FEWEST_BEYOND / tail)
    return Bounds(
        value, reason=f"a bound of {tail:.2g} takes {wanted:,} replicates, found {len(ordered):,}; raise bootstrap.replicates"
    )


def _for_skewness(bounds: Bounds, ordered: np.ndarray, tail: float, freedom: int) -> Bounds:
    """Return bounds that reach further to the side to which replicates are skewed: where few examples are large, others
    like them may be missing; see `difference.without_skewness`.
    """
    assert bounds.low is not None and bounds.high is not None and bounds.standard_error is not None
    skewed = skewness(ordered)
    reach = student(NormalDist().inv_cdf(1 - tail), freedom)
    end = bounds.value - with_skewness(-reach if skewed > 0 else reach, skewed) * bounds.standard_error
    return replace(bounds, high=max(bounds.high, end)) if skewed > 0 else replace(bounds, low=min(bounds.low, end))
