"""Totals: the summed terms of a metric, exact until its value is rounded once. Part of the contract; see `contract.py`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

__all__ = ["RESOLVED_MEAN", "Proportion", "Totals", "Undefined", "ratio", "row_sums"]

RESOLVED_EXAMPLES = 1 + Fraction(1, 1 << 20)  # an effective number of examples that is more than rounding above 1
# Each square is rounded to float64, by 2^-53 of itself: a spread that is no larger beside them is no spread.
RESOLVED_SQUARES = Fraction(1, 1 << 51)
# Each term is rounded to a grid of 2^-128. A mean, or a mean square, below this has fewer than three good digits.
RESOLVED_MEAN = Fraction(1, 1 << 118)


class Undefined(Exception):
    """Raised by `value` where the mathematics has no answer: the value is null, with this reason."""


@dataclass(frozen=True)
class Proportion:
    """Says that a value is k of n: `successes` of `trials`, in examples, or in their weight."""

    successes: Fraction
    trials: Fraction


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
    ) -> None:
        self._sums = dict(sums)
        self.positions = positions
        self.examples = positions if examples is None else examples
        self._weight_squares = Fraction(self.examples) if weight_squares is None else weight_squares
        self.exact_weight = weight
        self.classes = classes

    def __getitem__(self, name: str) -> Any:
        sums = self._sums[name]
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
        """Return a total as Fraction (or an object array of them), not rounded."""
        sums = self._sums[name]
        if sums.dtype != object:
            sums = np.array([Fraction(int(x)) for x in sums.ravel()], dtype=object).reshape(sums.shape)
        return sums if sums.shape else sums.item()

    def column(self, number: int) -> Totals:
        """Return the totals of one of K columns, where all terms are numbers [N, K]."""
        return self._with({name: np.array(self.exact(name)[number], dtype=object) for name in self})

    def renamed(self, names: Mapping[str, str]) -> Totals:
        """Return some of the totals under other names, given by their own."""
        return self._with({new: self._sums[name] for name, new in names.items()})

    def _with(self, sums: Mapping[str, np.ndarray]) -> Totals:
        return Totals(
            sums,
            positions=self.positions,
            weight=self.exact_weight,
            classes=self.classes,
            examples=self.examples,
            weight_squares=self._weight_squares,
        )

    def mean(self, name: str) -> float:
        """Return a total over the total weight, rounded once.

        Raises: Undefined: the weight is zero, or the terms are so small that the grid of sums leaves no digits.
        """
        total = self.exact(name)
        if total and abs(total) < self.positions * RESOLVED_MEAN:
            raise Undefined(f"the sum is {float(total):.2g}, too small for a grid of 2^-128: scale what is scored")
        return ratio(total, self.exact_weight, "the total weight is zero")

    def mean_error(self, name: str) -> float | None:
        """Return the standard error of `mean(name)`, None below two examples.

        Of the ratio of sums A / B over examples, by linearisation: sqrt(n / (n - 1) sum of (a - m b)^2) / B, where a is
        an example's weighted value, b its weight and m the mean (W. G. Cochran, Sampling Techniques, 1977, 6.3). n is
        the effective number of examples, B^2 / sum of b^2 (L. Kish, Survey Sampling, 1965, 11.7): one that weighs
        nothing changes nothing, and one that weighs all leaves no error to be told. With weights of 1 that is
        s / sqrt(n). The terms a^2, a b and b^2 are float64 each, their sums exact; None too where they are so small that
        the grid of sums leaves no digits of them.
        """
        if self.examples < 2 or not self.exact_weight or not self._weight_squares:
            return None
        least = self.examples * RESOLVED_MEAN
        if self._weight_squares < least or (self.exact(name) and self.exact(f"{name}^2") < least):
            return None
        effective = self.exact_weight**2 / self._weight_squares
        if effective < RESOLVED_EXAMPLES:
            return None
        mean = self.exact(name) / self.exact_weight
        mixed = self.exact(f"{name}*weight") if f"{name}*weight" in self else self.exact(name)
        raw = self.exact(f"{name}^2")
        squares = raw - 2 * mean * mixed + mean * mean * self._weight_squares
        if squares <= raw * RESOLVED_SQUARES:
            return 0.0
        variance = squares * effective / (effective - 1)
        return math.sqrt(variance) / abs(float(self.exact_weight))

    def share_error(self, share: float) -> float | None:
        """Return the standard error of a share of unweighted examples, sqrt(p (1 - p) / (n - 1)); None below two."""
        # Both sums agree with n only where every weight is 1.
        if self.examples < 2 or self._weight_squares != self.examples or self.exact_weight != self.examples:
            return None
        return math.sqrt(share * (1 - share) / (self.examples - 1))

    def proportion(self, successes: Any) -> Proportion:
        """Return an exact sum as a share of the total weight."""
        return Proportion(Fraction(successes), self.exact_weight)


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
