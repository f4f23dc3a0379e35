"""Variances, covariances and square roots of exact totals, in fractions. Pure Python; knows no graph."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

from harness.metrics.contract import Inputs, Metric, Number, Term, Totals, Undefined

__all__ = ["PairMetric", "Scatter", "root", "scatter"]

GRID = Fraction(1, 1 << 128)
RESOLVED = 1 << 40  # a scatter within this factor of its rounding has fewer than 12 good digits


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


def scatter(square: Fraction, total: Fraction, totals: Totals, what: str) -> Fraction:
    """Return sum of w (x - mean)^2 from the sums of w x^2 and w x; exact but for the grid on which sums are kept.

    Each term is rounded once to a grid of 2^-128. That moves the result by at most (1 + |mean|) 2^-128 a term; where this
    could be seen in the 12th digit there is no value.

    Args:
      square, total: exact sums of w x^2 and of w x.
      what: names x, in the plural.
    Raises: Undefined: no weight, or nothing varies.
    """
    if not totals.exact_weight:
        raise Undefined("the total weight is zero")
    mean = total / totals.exact_weight
    squares = square - total * mean
    if squares <= totals.positions * (1 + abs(mean)) * GRID * RESOLVED:
        raise Undefined(f"all {what} are equal, or differ by less than sums on a grid of 2^-128 resolve")
    return squares


@dataclass(frozen=True)
class Scatter:
    """Sums of w (a - mean a)(b - mean b) over labels y and predictions p; `bias` is mean p - mean y."""

    yy: Fraction
    pp: Fraction
    yp: Fraction
    bias: Fraction

    @classmethod
    def of(cls, totals: Totals) -> Scatter:
        """Read the five sums of `PairMetric.terms`; a scatter that is not resolved is 0.

        Raises: Undefined: no weight.
        """
        if not totals.exact_weight:
            raise Undefined("the total weight is zero")
        y, p = totals.exact("label"), totals.exact("prediction")
        product = totals.exact("product") - y * p / totals.exact_weight
        return cls(
            _or_zero(totals.exact("label_square"), y, totals),
            _or_zero(totals.exact("prediction_square"), p, totals),
            product,
            (p - y) / totals.exact_weight,
        )


def _or_zero(square: Fraction, total: Fraction, totals: Totals) -> Fraction:
    try:
        return scatter(square, total, totals, "numbers")
    except Undefined:
        return Fraction(0)


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
