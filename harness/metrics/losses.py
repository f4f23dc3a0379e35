"""Regression losses: logarithmic, relative, robust. TensorFlow is imported where the graph is built."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

from pydantic import Field

from harness.metrics.contract import Inputs, Metric, Number, Term, Totals, ratio
from harness.metrics.means import MeanMetric
from harness.metrics.outputs import OF_SEVERAL, MeanByOutput

__all__ = [
    "Huber", "LogCosh", "MeanAbsolutePercentageError", "MeanSquaredLogError", "Pinball", "RootMeanSquaredLogError",
    "SymmetricMeanAbsolutePercentageError", "WeightedAbsolutePercentageError",
]  # fmt: skip


class MeanSquaredLogError(MeanByOutput):
    """Mean squared difference of ln(1 + y) and ln(1 + p). A number of -1 or less has none, and the value is null."""

    summary: ClassVar[str] = "sum of w (ln(1 + y) - ln(1 + p))^2 / sum of w"
    source: ClassVar[str] = f"sklearn.metrics.mean_squared_log_error{OF_SEVERAL}; Keras first raises both to at least 1e-7"

    def each(self, labels: Any, predictions: Any) -> Any:
        """Return the squared difference of logarithms."""
        import tensorflow as tf

        from harness.exact.tf_subnormals import apart, square

        # ln(1 + y) - ln(1 + p) = ln(1 + (y - p) / (1 + p)), which keeps its digits where the two are close
        relative = apart(labels, predictions) / (1 + predictions)
        near = (tf.abs(relative) < 0.5) & (predictions > -1)
        close = tf.math.log1p(tf.where(near, relative, tf.zeros_like(relative)))
        return square(tf.where(near, close, tf.math.log1p(labels) - tf.math.log1p(predictions)))


class RootMeanSquaredLogError(MeanSquaredLogError):
    """Square root of the mean squared difference of ln(1 + y) and ln(1 + p)."""

    summary: ClassVar[str] = "sqrt(sum of w (ln(1 + y) - ln(1 + p))^2 / sum of w)"
    source: ClassVar[str] = f"sklearn.metrics.root_mean_squared_log_error{OF_SEVERAL}"

    def value(self, totals: Totals) -> Any:
        """Return the square root of the mean; of several outputs the mean of their roots."""
        return self.combined(totals, lambda totals: math.sqrt(totals.mean("each")))

    def standard_error(self, totals: Totals) -> float | None:
        """Return that of the mean, carried through the square root (delta method)."""
        if self.by_output:
            return None
        root, error = self.value(totals), totals.mean_error("each")
        return None if error is None or not root else error / (2 * root)


class MeanAbsolutePercentageError(MeanByOutput):
    """Mean error relative to the label.

    `definition: sklearn` gives a share, labels raised to at least 2^-52 in size; `definition: keras` gives per cent,
    labels raised to at least 1e-7. Labels of 0 give huge values either way: see weighted_absolute_percentage_error.
    """

    summary: ClassVar[str] = "sum of w |y - p| / max(|y|, epsilon) / sum of w; times 100 with definition: keras"
    source: ClassVar[str] = (
        f"keras.metrics.MeanAbsolutePercentageError; sklearn.metrics.mean_absolute_percentage_error{OF_SEVERAL}"
    )

    definition: Literal["sklearn", "keras"] = Field("sklearn", description="whose definition: a share, or per cent")

    def each(self, labels: Any, predictions: Any) -> Any:
        """Return the relative error."""
        import tensorflow as tf

        from harness.exact.tf_subnormals import apart

        epsilon, unit = (2.0**-52, 1.0) if self.definition == "sklearn" else (1e-7, 100.0)
        return unit * (tf.abs(apart(labels, predictions)) / tf.maximum(tf.abs(labels), tf.constant(epsilon, tf.float64)))


class SymmetricMeanAbsolutePercentageError(MeanMetric):
    """Mean error relative to the mean size of label and prediction, between 0 and 2; 0 where both are 0."""

    inputs: ClassVar[Inputs] = Inputs.NUMBERS
    summary: ClassVar[str] = "sum of w 2 |y - p| / (|y| + |p|) / sum of w"
    source: ClassVar[str] = "torchmetrics.SymmetricMeanAbsolutePercentageError (which raises |y| + |p| to at least 1.17e-6)"

    def each(self, labels: Any, predictions: Any) -> Any:
        """Return the relative error."""
        import tensorflow as tf

        y, p = labels / 2, predictions / 2  # so that no sum overflows
        return 2 * tf.math.divide_no_nan(tf.abs(y - p), tf.abs(y) + tf.abs(p))


class WeightedAbsolutePercentageError(Metric):
    """Sum of the errors relative to the sum of the labels' sizes."""

    inputs: ClassVar[Inputs] = Inputs.NUMBERS
    summary: ClassVar[str] = "sum of w |y - p| / sum of w |y|"
    source: ClassVar[str] = "torchmetrics.WeightedMeanAbsolutePercentageError"

    def terms(self, labels: Any, predictions: Any) -> dict[str, Term]:
        """Return the error and the label's size."""
        import tensorflow as tf

        from harness.exact.tf_subnormals import apart

        return {"error": Number(tf.abs(apart(labels, predictions))), "size": Number(tf.abs(labels))}

    def value(self, totals: Totals) -> float:
        """Return the ratio of the sums."""
        return ratio(totals.exact("error"), totals.exact("size"), "all labels are zero, or the total weight is")


class Huber(MeanMetric):
    """Mean of a loss that is squared up to an error of `delta`, and linear beyond."""

    inputs: ClassVar[Inputs] = Inputs.NUMBERS
    summary: ClassVar[str] = "sum of w h(y - p) / sum of w; h(e) = e^2 / 2 where |e| <= delta, else delta (|e| - delta / 2)"
    source: ClassVar[str] = "keras.losses.Huber"

    delta: float = Field(1.0, gt=0, allow_inf_nan=False, description="where the loss turns from squared to linear")

    def each(self, labels: Any, predictions: Any) -> Any:
        """Return the loss."""
        import tensorflow as tf

        from harness.exact.tf_subnormals import apart, square

        error = tf.abs(apart(labels, predictions))
        return tf.where(error <= self.delta, square(error) / 2, self.delta * (error - self.delta / 2))


class LogCosh(MeanMetric):
    """Mean logarithm of the hyperbolic cosine of the error: nearly squared when small, linear when large."""

    inputs: ClassVar[Inputs] = Inputs.NUMBERS
    summary: ClassVar[str] = "sum of w ln cosh(y - p) / sum of w"
    source: ClassVar[str] = "keras.metrics.LogCoshError"

    def each(self, labels: Any, predictions: Any) -> Any:
        """Return the loss; neither form overflows, and neither loses digits where it is used."""
        import tensorflow as tf

        from harness.exact.tf_subnormals import apart, square

        error = tf.abs(apart(labels, predictions))
        small = tf.minimum(error, tf.ones_like(error))
        # cosh e - 1 = (e^e - 1)^2 / (2 e^e), the first e the number
        near = tf.math.log1p(square(tf.math.expm1(small)) / (2 * tf.exp(small)))
        far = error + tf.math.log1p(tf.exp(-2 * error)) - math.log(2)
        return tf.where(error < 1, near, far)


class Pinball(MeanByOutput):
    """Mean loss of a predicted quantile: `alpha` times the error where the label is higher, 1 - alpha where it is lower."""

    summary: ClassVar[str] = "sum of w (alpha max(y - p, 0) + (1 - alpha) max(p - y, 0)) / sum of w"
    source: ClassVar[str] = f"sklearn.metrics.mean_pinball_loss{OF_SEVERAL}"

    alpha: float = Field(0.5, ge=0, le=1, description="the quantile that is predicted")

    def each(self, labels: Any, predictions: Any) -> Any:
        """Return the loss."""
        import tensorflow as tf

        from harness.exact.tf_subnormals import apart

        error = apart(labels, predictions)
        return tf.where(error > 0, self.alpha * error, (self.alpha - 1) * error)
