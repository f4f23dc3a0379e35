"""Unit deviances: Poisson, gamma, Tweedie. TensorFlow is imported where the graph is built.

With q = 2 - power and r = (y - p) / p all of them are 2 p^q f(r),

    f(r) = ((1 + r)^q - 1 - q r) / (q (q - 1)) = r^2 / 2 + r^3 (q - 2) / 6 + ...,

with limits (1 + r) ln(1 + r) - r at q = 1 (Poisson) and r - ln(1 + r) at q = 0 (gamma). Near a perfect prediction the
closed form is a small difference of large numbers; there the series is summed instead.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

from pydantic import Field, field_validator

from harness.metrics.contract import Inputs
from harness.metrics.means import MeanMetric

__all__ = ["GammaDeviance", "PoissonDeviance", "TweedieDeviance"]

NEAR = 0.1  # |r| max(1, |q|) below which the series is used
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

        power = self.variance_power()
        if power == 0:
            return tf.square(labels - predictions)
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
        found = tf.where(near, series, _closed(y, p, q))
        return tf.where(valid, found, tf.constant(math.nan, tf.float64))


def _closed(y: Any, p: Any, q: float) -> Any:
    """Return the deviance by its closed form."""
    import tensorflow as tf

    if q == 1:
        return 2 * (tf.math.xlogy(y, y / p) - y + p)
    if q == 0:
        return 2 * (tf.math.log(p / y) + y / p - 1)
    power = tf.constant(q, tf.float64)
    raised = tf.pow(tf.maximum(y, 0), power) / (q * (q - 1))  # a negative label counts as 0 here, see scikit-learn
    return 2 * (raised - y * tf.pow(p, power - 1) / (q - 1) + tf.pow(p, power) / q)


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

    power: float = Field(1.5, allow_inf_nan=False, description="the variance is proportional to this power of the mean")

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
