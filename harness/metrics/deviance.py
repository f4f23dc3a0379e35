"""Unit deviances: Poisson, gamma, Tweedie. TensorFlow is imported where the graph is built.

With q = 2 - power and r = (y - p) / p all of them are 2 p^q f(r),

    f(r) = ((1 + r)^q - 1 - q r) / (q (q - 1)) = r^2 / 2 + r^3 (q - 2) / 6 + ...,

with limits (1 + r) ln(1 + r) - r at q = 1 (Poisson) and r - ln(1 + r) at q = 0 (gamma). Near a perfect prediction the
closed form is a small difference of large numbers; there the series is summed instead.

Near q = 0 and q = 1 the closed form is a difference of numbers of the size of 1 / (q (q - 1)). There, with t = ln(y / p) and
E(x) = (e^x - 1) / x, the difference that stays small is formed first:

    p^q f = (p^q t E(q t) - p^(q - 1) (y - p)) / (q - 1)                         near q = 0
    p^q f = (y p^s t E(s t) - p^s (y - p)) / q,                  s = q - 1,      near q = 1.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

from pydantic import Field, field_validator

from harness.metrics.contract import Inputs
from harness.metrics.means import MeanMetric

__all__ = ["GammaDeviance", "PoissonDeviance", "TweedieDeviance"]

NEAR = 0.1  # |r| max(1, |q|) below which the series is used
BESIDE = 0.25  # |q| or |q - 1| up to which no term is divided by it
DEGREE = 18  # each term of the series is less than NEAR times the one before


class _Deviance(MeanMetric):
    """Base of mean deviances.

    A label or prediction outside the family's range has no deviance, and the value is null: predictions must be
    positive (power 0: any), labels positive from power 2, not negative for 1 <= power < 2, any below.
    """

    inputs: ClassVar[Inputs] = Inputs.NUMBERS

    def variance_power(self) -> float:
        """Return the power of the mean that the variance is proportional to."""
        raise NotImplementedError

    def each(self, labels: Any, predictions: Any) -> Any:
        """Return the deviance, NaN outside the family's range."""
        import tensorflow as tf

        from harness.exact.tf_subnormals import apart, square

        power = self.variance_power()
        if power == 0:
            return square(apart(labels, predictions))
        valid = predictions > 0
        if power >= 2:
            valid &= labels > 0
        elif power >= 1:
            valid &= labels >= 0
        q = 2 - power
        # Harmless numbers where there is no deviance, so that only the last line speaks of them.
        y, p = tf.where(valid, labels, tf.ones_like(labels)), tf.where(valid, predictions, tf.ones_like(predictions))
        r = (y - p) / p
        near = tf.abs(r) * max(1.0, abs(q)) < NEAR
        small = tf.where(near, r, tf.zeros_like(r))
        series = 2 * tf.pow(p, tf.constant(q, tf.float64)) * small * small * _series(small, q)
        difference = tf.where(near, series, _closed(y, p, q))
        return tf.where(valid, difference, tf.constant(math.nan, tf.float64))


def _closed(y: Any, p: Any, q: float) -> Any:
    """Return the deviance by its closed form."""
    import tensorflow as tf

    if q == 1:
        return 2 * (tf.math.xlogy(y, y / p) - y + p)
    if q == 0:
        return 2 * (tf.math.log(p / y) + y / p - 1)
    if abs(q) <= BESIDE:
        return 2 * (_power_difference(y, p, q) - tf.pow(p, tf.constant(q - 1, tf.float64)) * (y - p)) / (q - 1)
    if abs(q - 1) <= BESIDE:
        some = y > 0  # a label of 0 has no logarithm, and adds nothing to the first term
        first = y * _power_difference(tf.where(some, y, tf.ones_like(y)), p, q - 1)
        first = tf.where(some, first, tf.zeros_like(y))
        return 2 * (first - tf.pow(p, tf.constant(q - 1, tf.float64)) * (y - p)) / q
    power = tf.constant(q, tf.float64)
    raised = tf.pow(tf.maximum(y, 0), power) / (q * (q - 1))  # a negative label counts as 0 here, see scikit-learn
    return 2 * (raised - y * tf.pow(p, power - 1) / (q - 1) + tf.pow(p, power) / q)


def _power_difference(y: Any, p: Any, a: float) -> Any:
    """Return (y^a - p^a) / a for a that is not 0, as p^a t E(a t) with t = ln(y / p) where that is near 0."""
    import tensorflow as tf

    ratio = y / p
    in_range = (ratio > 1e-300) & (ratio < 1e300)
    t = tf.where(in_range, tf.math.log(tf.where(in_range, ratio, tf.ones_like(ratio))), tf.math.log(y) - tf.math.log(p))
    power = tf.constant(a, tf.float64)
    near = tf.abs(a * t) < 1
    x = tf.where(near, a * t, tf.ones_like(t))
    # expm1(x) / a is t E(x)
    difference = tf.pow(p, power) * tf.math.expm1(x) / a
    return tf.where(near, difference, (tf.pow(y, power) - tf.pow(p, power)) / a)


def _series(r: Any, q: float) -> Any:
    """Return f(r) / r^2 by Horner's rule: coefficients 1/2, then each (q - k) / (k + 1) times the one before."""
    coefficients = [0.5]
    for k in range(2, DEGREE):
        coefficients.append(coefficients[-1] * (q - k) / (k + 1))
    total = coefficients[-1] + 0 * r
    for coefficient in reversed(coefficients[:-1]):
        total = total * r + coefficient
    return total


class TweedieDeviance(_Deviance):
    """Mean deviance of the Tweedie family: power 0 normal, 1 Poisson, 2 gamma, 3 inverse Gaussian.

    A label or prediction outside the family's range has no deviance, and the value is null: predictions must be
    positive (power 0: any), labels positive from power 2, not negative for 1 <= power < 2, any below.
    """

    summary: ClassVar[str] = "sum of w d(y, p) / sum of w, d the unit deviance"
    source: ClassVar[str] = "sklearn.metrics.mean_tweedie_deviance"

    power: float = Field(1.5, allow_inf_nan=False, description="0 normal, 1 Poisson, 2 gamma, 3 inverse Gaussian, and between")

    @field_validator("power")
    @classmethod
    def _has_a_distribution(cls, power: float) -> float:
        if 0 < power < 1:
            raise ValueError("there is no Tweedie distribution with a power between 0 and 1")
        return power

    def variance_power(self) -> float:
        """Return the option."""
        return self.power


class PoissonDeviance(_Deviance):
    """Mean deviance of counts: predictions positive, labels not negative, else the value is null."""

    summary: ClassVar[str] = "sum of w 2 (y ln(y / p) - y + p) / sum of w"
    source: ClassVar[str] = "sklearn.metrics.mean_poisson_deviance"

    def variance_power(self) -> float:
        """Return 1."""
        return 1.0


class GammaDeviance(_Deviance):
    """Mean deviance of positive amounts, which sees relative errors; where one is not positive the value is null."""

    summary: ClassVar[str] = "sum of w 2 (ln(p / y) + y / p - 1) / sum of w"
    source: ClassVar[str] = "sklearn.metrics.mean_gamma_deviance"

    def variance_power(self) -> float:
        """Return 2."""
        return 2.0
