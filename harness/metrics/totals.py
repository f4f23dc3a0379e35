"""Totals: the summed terms of a metric, exact until its value is rounded once. Part of the contract; see `contract.py`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

__all__ = [
    "DIGITS", "ERROR_DIGITS", "ROUNDING", "CountTotals", "Proportion", "Totals", "Undefined", "ratio", "resolved", "row_sums",
]  # fmt: skip

RESOLVED_EXAMPLES = 1 + Fraction(1, 1 << 20)  # an effective number of examples that is more than rounding above 1
# Each square is rounded to float64, by 2^-53 of itself: a spread that is no larger beside them is no spread.
RESOLVED_SQUARES = Fraction(1, 1 << 51)
# A term that does not lie on the grid of 2^-128 is rounded to it, by this much at most.
ROUNDING = Fraction(1, 1 << 129)
DIGITS = 50  # binary digits that the grid leaves of a total
ERROR_DIGITS = 20  # the same of a standard error


class Undefined(Exception):
    """Raised by `value` where the mathematics has no answer: the value is null, with this reason."""


@dataclass(frozen=True)
class Proportion:
    """Says that a value is k of n: `successes` of `trials`, in examples, or in their weight."""

    successes: Fraction
    trials: Fraction


@dataclass(frozen=True)
class CountTotals:
    """The summed counts of one metric without weights, of many draws at once: what `Totals` holds of each.

    Attributes:
      counts: by name, int64 [draws, size].
      positions: how many were summed, int64 [draws], none of them 0.
      classes: names of the classes, where the job gives them.
    """

    counts: Mapping[str, np.ndarray]
    positions: np.ndarray
    classes: tuple[str, ...] | None = None


class Totals(Mapping[str, Any]):
    """The summed terms of one metric, and what all metrics share.

    `totals[name]` is a float64 (scalar or array) for a `Number`, int64 [size] for a `Count` (float64 where examples are
    weighted), correctly rounded from the exact sum. `exact(name)` gives fractions for what must not cancel.

    Args:
      sums: exact sums by name: arrays (dtype object) of Fraction, or int64 counts.
      positions: how many positions were summed.
      examples: how many examples they belong to.
      weight_squares: sum over examples of the square of their weight.
      weight: their total weight; equal to `positions` where nothing is weighted.
      classes: names of the classes, where the job gives them.
      rounded: how many terms of a sum the grid rounded, int64 in the shape of the sum; of none where a name is missing.
    """

    def __init__(
        self,
        sums: Mapping[str, np.ndarray],
        *,
        positions: int,
        weight: Fraction,
        classes: tuple[str, ...] | None = None,
        examples: int | None = None,
        weight_squares: Fraction | None = None,
        rounded: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        self._sums = dict(sums)
        self.positions = positions
        self.examples = positions if examples is None else examples
        self._weight_squares = Fraction(self.examples) if weight_squares is None else weight_squares
        self.exact_weight = weight
        self.classes = classes
        self._rounded = dict(rounded or {})

    def __getitem__(self, name: str) -> Any:
        """Return a total, rounded once.

        Raises: Undefined: the grid leaves too few digits of it; see `exact`.
        """
        sums = self._sums[name]
        self._check(name, ...)
        if sums.dtype != object:
            return sums
        rounded = np.array([float(x) for x in sums.ravel()]).reshape(sums.shape)
        return rounded if sums.shape else float(rounded)

    def __iter__(self) -> Any:
        return iter(self._sums)

    def __len__(self) -> int:
        return len(self._sums)

    @property
    def weight(self) -> float:
        """Total weight of the positions that were summed."""
        return float(self.exact_weight)

    def exact(self, name: str) -> Any:
        """Return a total as Fraction (or an object array of them), not rounded.

        Raises: Undefined: the grid leaves fewer than 50 binary digits of it, or of one of them. Where that is not the
          question, as of sums that are added to larger ones, take `on_grid` and `rounding`.
        """
        self._check(name, ...)
        return self.on_grid(name)

    def part(self, name: str, number: int) -> Fraction:
        """Return one of the numbers of a total, whatever the others are; see `exact`."""
        self._check(name, number)
        part: Fraction = self.on_grid(name)[number]
        return part

    def rounding(self, name: str) -> Any:
        """Return by how much a total may be wrong, as it has been rounded to the grid: in the shape of `on_grid`."""
        count = self._rounded.get(name)
        sums = self._sums[name]
        if count is None:
            count = np.zeros(sums.shape, np.int64)
        bounds = np.array([int(n) * ROUNDING for n in count.ravel()] + [None], dtype=object)[:-1].reshape(sums.shape)
        return bounds if sums.shape else bounds.item()

    def _check(self, name: str, at: Any) -> None:
        if name not in self._rounded:
            return
        counts, sums = np.atleast_1d(self._rounded[name][at]), np.atleast_1d(self._sums[name][at])
        for number in np.flatnonzero(counts).tolist():
            count, total = int(counts.ravel()[number]), sums.ravel()[number]
            if not resolved(total, count * ROUNDING):
                raise Undefined(
                    f"the sum is {float(total):.2g}, and {count:,} of its terms are too small for a grid of 2^-128: scale what "
                    "is scored, and its weights, by a power of two"
                )

    def on_grid(self, name: str) -> Any:
        """Return a total as Fraction (or an object array of them), as the grid has it, however few digits that leaves."""
        sums = self._sums[name]
        if sums.dtype != object:
            sums = np.array([Fraction(int(x)) for x in sums.ravel()], dtype=object).reshape(sums.shape)
        return sums if sums.shape else sums.item()

    def column(self, number: int) -> Totals:
        """Return the totals of one of K columns, where all terms are numbers [N, K]."""
        sums = {name: np.array(self.on_grid(name)[number], dtype=object) for name in self}
        return self._with(sums, {name: np.asarray(counts[number]) for name, counts in self._rounded.items()})

    def renamed(self, names: Mapping[str, str]) -> Totals:
        """Return some of the totals under other names, given by their own."""
        rounded = {new: self._rounded[name] for name, new in names.items() if name in self._rounded}
        return self._with({new: self._sums[name] for name, new in names.items()}, rounded)

    def _with(self, sums: Mapping[str, np.ndarray], rounded: Mapping[str, np.ndarray]) -> Totals:
        return Totals(
            sums,
            positions=self.positions,
            weight=self.exact_weight,
            classes=self.classes,
            examples=self.examples,
            weight_squares=self._weight_squares,
            rounded=rounded,
        )

    def mean(self, name: str) -> float:
        """Return a total over the total weight, rounded once.

        Raises: Undefined: the weight is zero, or the terms are so small that the grid of sums leaves too few digits.
        """
        return ratio(self.exact(name), self.exact_weight, "the total weight is zero")

    def mean_error(self, name: str) -> float | None:
        """Return the standard error of `mean(name)`, None below two examples.

        Of the ratio of sums A / B over examples, by linearisation: sqrt(n / (n - 1) sum of (a - m b)^2) / B, where a is
        an example's weighted value, b its weight and m the mean (W. G. Cochran, Sampling Techniques, 1977, 6.3). n is
        the effective number of examples, B^2 / sum of b^2 (L. Kish, Survey Sampling, 1965, 11.7): one that weighs
        nothing changes nothing, and one that weighs all leaves no error to be told. With weights of 1 that is
        s / sqrt(n). The terms a^2, a b and b^2 are float64 each, their sums exact; None too where they are so small that
        the grid of sums leaves too few digits of them.
        """
        if self.examples < 2 or not self.exact_weight or not self._weight_squares:
            return None
        effective = self.exact_weight**2 / self._weight_squares
        if effective < RESOLVED_EXAMPLES:
            return None
        mean = self.exact(name) / self.exact_weight
        mixed_name = f"{name}*weight" if f"{name}*weight" in self else name
        mixed, raw = self.on_grid(mixed_name), self.on_grid(f"{name}^2")
        squares = raw - 2 * mean * mixed + mean * mean * self._weight_squares
        rounding = self.rounding(f"{name}^2") + 2 * abs(mean) * self.rounding(mixed_name)
        if not resolved(squares, rounding, ERROR_DIGITS):
            return None
        if squares <= raw * RESOLVED_SQUARES:
            return 0.0
        variance = squares * effective / (effective - 1)
        return math.sqrt(variance) / abs(float(self.exact_weight))

    @property
    def effective(self) -> Fraction:
        """How many positions of equal weight say as much as these; all of them where nothing is weighted (L. Kish, see above)."""
        if not self._weight_squares or not self.examples:
            return Fraction(self.positions)
        return self.exact_weight**2 / self._weight_squares * self.positions / self.examples

    def share_error(self, share: float) -> float | None:
        """Return the standard error of a share of unweighted examples, sqrt(p (1 - p) / (n - 1)); None below two."""
        # Both sums agree with n only where every weight is 1.
        if self.examples < 2 or self._weight_squares != self.examples or self.exact_weight != self.examples:
            return None
        return math.sqrt(share * (1 - share) / (self.examples - 1))

    def proportion(self, successes: Any) -> Proportion:
        """Return an exact sum as a share of the total weight."""
        return Proportion(Fraction(successes), self.exact_weight)


def resolved(value: Fraction, rounding: Fraction, digits: int = DIGITS) -> bool:
    """Say whether a value is known to so many binary digits.

    Args:
      rounding: by how much it may be wrong at most.

    >>> resolved(Fraction(0), Fraction(0)), resolved(Fraction(0), Fraction(1, 1 << 129))
    (True, False)
    """
    return rounding * (1 << digits) <= abs(value)


def row_sums(folded: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return what `fold` made of rows as sums of `Totals`: object arrays of Fraction, of one number or several."""
    sums = {}
    for name, number in folded.items():
        if isinstance(number, tuple | np.ndarray):
            sums[name] = np.array([None, *map(Fraction, number)], dtype=object)[1:]
        else:
            sums[name] = np.array(Fraction(number), dtype=object)
    return sums


def ratio(above: Any, below: Any, reason: str) -> float:
    """Divide two exact totals, rounding once.

    Raises: Undefined: the divisor is zero; `reason` says what that means.
    """
    if not below:
        raise Undefined(reason)
    return float(Fraction(above) / Fraction(below))
