"""Metrics of a number against a number. TensorFlow is imported where the graph is built."""

from __future__ import annotations

from typing import Any, ClassVar

from harness.metrics.contract import Inputs, Metric, Number, PlainMean, Term, Totals, Undefined
from harness.metrics.moments import DIGITS, scatter, unresolved
from harness.metrics.outputs import OF_SEVERAL, ByOutput
from harness.metrics.totals import resolved

__all__ = ["R2", "Mean", "MeanAbsoluteError", "MeanSquaredError", "RootMeanSquaredError"]


class MeanAbsoluteError(ByOutput):
    """Mean distance of prediction and label."""

    summary: ClassVar[str] = "sum of w |y - p| / sum of w"
    source: ClassVar[str] = f"sklearn.metrics.mean_absolute_error{OF_SEVERAL}"
    plain: ClassVar[PlainMean | None] = PlainMean("error")

    def terms(self, labels: Any, predictions: Any) -> dict[str, Term]:
        """Return the distance."""
        import tensorflow as tf

        from harness.exact.tf_subnormals import apart

        return {"error": Number(tf.abs(apart(labels, predictions)), spread=not self.by_output)}

    def value(self, totals: Totals) -> Any:
        """Return the mean."""
        return self.combined(totals, lambda totals: totals.mean("error"))

    def standard_error(self, totals: Totals) -> float | None:
        """Return that of the mean of all; of several outputs ask for a bootstrap."""
        return None if self.by_output else totals.mean_error("error")


class MeanSquaredError(ByOutput):
    """Mean squared distance of prediction and label."""

    summary: ClassVar[str] = "sum of w (y - p)^2 / sum of w"
    source: ClassVar[str] = f"sklearn.metrics.mean_squared_error{OF_SEVERAL}"
    plain: ClassVar[PlainMean | None] = PlainMean("error")

    def terms(self, labels: Any, predictions: Any) -> dict[str, Term]:
        """Return the squared distance."""
        from harness.exact.tf_subnormals import apart, square

        return {"error": Number(square(apart(labels, predictions)), spread=not self.by_output)}

    def value(self, totals: Totals) -> Any:
        """Return the mean."""
        return self.combined(totals, lambda totals: totals.mean("error"))

    def standard_error(self, totals: Totals) -> float | None:
        """Return that of the mean of all; of several outputs ask for a bootstrap."""
        return None if self.by_output else totals.mean_error("error")


class RootMeanSquaredError(MeanSquaredError):
    """Square root of the mean squared distance of prediction and label."""

    summary: ClassVar[str] = "sqrt(sum of w (y - p)^2 / sum of w)"
    source: ClassVar[str] = f"sklearn.metrics.root_mean_squared_error{OF_SEVERAL}"

    def value(self, totals: Totals) -> Any:
        """Return the square root of the mean; of several outputs the mean of their roots."""
        return self.combined(totals, lambda totals: float(totals.mean("error") ** 0.5))

    def standard_error(self, totals: Totals) -> float | None:
        """Return that of the mean squared error, carried through the square root (delta method)."""
        if self.by_output:
            return None
        root, error = self.value(totals), totals.mean_error("error")
        return None if error is None or not root else error / (2 * root)


class R2(ByOutput):
    """Share of the labels' variance that the predictions explain. Exact: nothing cancels, whatever the offset.

    Null where all labels are equal; scikit-learn then says 1 for perfect predictions and 0 for others.
    """

    summary: ClassVar[str] = "1 - sum of w (y - p)^2 / sum of w (y - mean y)^2"
    source: ClassVar[str] = f"sklearn.metrics.r2_score{OF_SEVERAL}"

    def terms(self, labels: Any, predictions: Any) -> dict[str, Term]:
        """Return the squared distance, the label, and the label's square as an error-free pair."""
        from harness.exact.tf_limbs import two_product
        from harness.exact.tf_subnormals import apart, square

        return {
            "residual": Number(square(apart(labels, predictions))),
            "label": Number(labels),
            "square": Number(*two_product(labels, labels)),
        }

    def value(self, totals: Totals) -> Any:
        """Return 1 - residual / (squares - label^2 / weight), in fractions."""
        return self.combined(totals, _r2)


def _r2(totals: Totals) -> float:
    spread = scatter(totals, "square", "label", "labels")
    if not resolved(spread, totals.rounding("residual"), DIGITS):
        raise Undefined(unresolved("labels"))
    return float((spread - totals.on_grid("residual")) / spread)


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
