"""Variances, covariances and square roots of exact totals, in fractions. Pure Python; knows no graph."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

from harness.metrics.contract import Inputs, Metric, Number, Term, Totals, Undefined
from harness.metrics.totals import resolved

__all__ = ["DIGITS", "PairMetric", "Scatter", "root", "rounded_scatter", "scatter", "unresolved"]

DIGITS = 40  # binary digits that the grid of sums leaves of a scatter


def root(x: Fraction) -> float:
    """Return the square root of a fraction that is not negative, correct to the last bit but for ties.

    >>> root(Fraction(9, 4)), root(Fraction(2)) == math.sqrt(2), root(Fraction(1, 10**400))
    (1.5, True, 1e-200)
    """
    if not x:
        return 0.0
    # Scaled by 4^k to at least 128 bits, the whole part of the root has 64: more than a float64 keeps.
    k = max(0, (129 - x.numerator.bit_length() + x.denominator.bit_length() + 1) // 2)
    return float(Fraction(math.isqrt((x.numerator << (2 * k)) // x.denominator), 1 << k))


def scatter(totals: Totals, square: str, total: str, what: str) -> Fraction:
    """Return sum of w (x - mean)^2 from the sums of w x^2 and w x; exact but for the grid on which sums are kept.

    A term that does not lie on the grid is rounded to it once. Where that could be seen in the 12th digit there is no value.

    Args:
      square, total: names of the sums of w x^2 and of w x.
      what: names x, in the plural.
    Raises: Undefined: no weight, or nothing varies.
    """
    if not totals.exact_weight:
        raise Undefined("the total weight is zero")
    squares, rounding = rounded_scatter(totals, square, total)
    if not resolved(squares, rounding, DIGITS):
        raise Undefined(unresolved(what))
    if not squares:
        raise Undefined(f"all {what} are equal")
    return squares


def unresolved(what: str) -> str:
    """Say why there is no value where numbers, named in the plural, may only differ by what the grid took."""
    return f"all {what} are equal, or differ by less than sums on a grid of 2^-128 resolve: scale all numbers by a power of two"


def rounded_scatter(totals: Totals, square: str, total: str) -> tuple[Fraction, Fraction]:
    """Return the scatter, and by how much it may be wrong."""
    mean = totals.on_grid(total) / totals.exact_weight
    off = totals.rounding(total)
    # (t + e)^2 / W differs from t^2 / W by 2 e t / W + e^2 / W
    rounding = totals.rounding(square) + (2 * abs(mean) + off / abs(totals.exact_weight)) * off
    return totals.on_grid(square) - totals.on_grid(total) * mean, rounding


@dataclass(frozen=True)
class Scatter:
    """Sums of w (a - mean a)(b - mean b) over labels y and predictions p; `bias` is mean p - mean y.

    The three sums together may be wrong by `rounding`, of what the grid took.
    """

    yy: Fraction
    pp: Fraction
    yp: Fraction
    bias: Fraction
    rounding: Fraction

    def check(self, size: Fraction, what: str) -> None:
        """Compare the rounding with the size of what a value is divided by.

        Raises: Undefined: it could be seen in the 12th digit.
        """
        if not resolved(size, self.rounding, DIGITS):
            raise Undefined(unresolved(what))

    @classmethod
    def of(cls, totals: Totals) -> Scatter:
        """Read the five sums of `PairMetric.terms`.

        Raises: Undefined: no weight.
        """
        if not totals.exact_weight:
            raise Undefined("the total weight is zero")
        y, p = totals.on_grid("label"), totals.on_grid("prediction")
        yy, of_yy = rounded_scatter(totals, "label_square", "label")
        pp, of_pp = rounded_scatter(totals, "prediction_square", "prediction")
        weight = totals.exact_weight
        mixed = totals.rounding("label") * abs(p) + (abs(y) + totals.rounding("label")) * totals.rounding("prediction")
        rounding = of_yy + of_pp + totals.rounding("product") + mixed / abs(weight)
        return cls(yy, pp, totals.on_grid("product") - y * p / weight, (p - y) / weight, rounding)


class PairMetric(Metric):
    """Base of metrics made of the second moments of labels and predictions.

    Squares and products are error-free pairs, and what is subtracted is subtracted in fractions: an offset common to
    all numbers changes nothing.
    """

    inputs: ClassVar[Inputs] = Inputs.NUMBERS

    def terms(self, labels: Any, predictions: Any) -> dict[str, Term]:
        """Return labels, predictions, their squares and their product."""
        from harness.exact.tf_limbs import two_product

        return {
            "label": Number(labels),
            "prediction": Number(predictions),
            "label_square": Number(*two_product(labels, labels)),
            "prediction_square": Number(*two_product(predictions, predictions)),
            "product": Number(*two_product(labels, predictions)),
        }
