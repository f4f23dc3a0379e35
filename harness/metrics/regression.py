"""Metrics of a number against a number. TensorFlow is imported where the graph is built."""

from __future__ import annotations

from typing import Any, ClassVar

from harness.metrics.contract import Inputs, Metric, Number, PlainMean, Term, Totals, Undefined, ratio

__all__ = ["R2", "Mean", "MeanAbsoluteError", "MeanSquaredError", "RootMeanSquaredError"]


class _Numbers(Metric):
    inputs: ClassVar[Inputs] = Inputs.NUMBERS


class MeanAbsoluteError(_Numbers):
    """Mean distance of prediction and label."""

    summary: ClassVar[str] = "sum of w |y - p| / sum of w"
    source: ClassVar[str] = "sklearn.metrics.mean_absolute_error"
    plain: ClassVar[PlainMean | None] = PlainMean("error")

    def terms(self, labels: Any, predictions: Any) -> dict[str, Term]:
        """Return the distance."""
        import tensorflow as tf

        return {"error": Number(tf.abs(labels - predictions), spread=True)}

    def value(self, totals: Totals) -> float:
        """Return the mean."""
        return totals.mean("error")

    def standard_error(self, totals: Totals) -> float | None:
        """Return that of the mean."""
        return totals.mean_error("error")


class MeanSquaredError(_Numbers):
    """Mean squared distance of prediction and label."""

    summary: ClassVar[str] = "sum of w (y - p)^2 / sum of w"
    source: ClassVar[str] = "sklearn.metrics.mean_squared_error"
    plain: ClassVar[PlainMean | None] = PlainMean("error")

    def terms(self, labels: Any, predictions: Any) -> dict[str, Term]:
        """Return the squared distance."""
        import tensorflow as tf

        return {"error": Number(tf.square(labels - predictions), spread=True)}

    def value(self, totals: Totals) -> float:
        """Return the mean."""
        return totals.mean("error")

    def standard_error(self, totals: Totals) -> float | None:
        """Return that of the mean."""
        return totals.mean_error("error")


class RootMeanSquaredError(MeanSquaredError):
    """Square root of the mean squared distance of prediction and label."""

    summary: ClassVar[str] = "sqrt(sum of w (y - p)^2 / sum of w)"
    source: ClassVar[str] = "sklearn.metrics.root_mean_squared_error"

    def value(self, totals: Totals) -> float:
        """Return the square root of the mean."""
        return float(totals.mean("error") ** 0.5)

    def standard_error(self, totals: Totals) -> float | None:
        """Return that of the mean squared error, carried through the square root (delta method)."""
        root, error = self.value(totals), totals.mean_error("error")
        return None if error is None or not root else error / (2 * root)


class R2(_Numbers):
    """Share of the labels' variance that the predictions explain. Exact: nothing cancels, whatever the offset."""

    summary: ClassVar[str] = "1 - sum of w (y - p)^2 / sum of w (y - mean y)^2"
    source: ClassVar[str] = "sklearn.metrics.r2_score"

    def terms(self, labels: Any, predictions: Any) -> dict[str, Term]:
        """Return the squared distance, the label, and the label's square as an error-free pair."""
        import tensorflow as tf

        from harness.tf_exact import two_product

        square, low = two_product(labels, labels)
        return {
            "residual": Number(tf.square(labels - predictions)),
            "label": Number(labels),
            "square": Number(square, low),
        }

    def value(self, totals: Totals) -> float:
        """Return 1 - residual / (squares - label^2 / weight), in fractions."""
        if not totals.exact_weight:
            raise Undefined("the total weight is zero")
        scatter = totals.exact("square") - totals.exact("label") ** 2 / totals.exact_weight
        return ratio(scatter - totals.exact("residual"), scatter, "all labels are equal")


class Mean(Metric):
    """Mean of an output of the model."""

    inputs: ClassVar[Inputs] = Inputs.OUTPUT
    summary: ClassVar[str] = "sum of w p / sum of w"

    def terms(self, labels: Any, predictions: Any) -> dict[str, Term]:
        """Return the output itself."""
        return {"output": Number(predictions, spread=True)}

    def value(self, totals: Totals) -> float:
        """Return the mean."""
        return totals.mean("output")

    def standard_error(self, totals: Totals) -> float | None:
        """Return that of the mean."""
        return totals.mean_error("output")
