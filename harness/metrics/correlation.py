"""Metrics of how labels and predictions vary together. Exact: an offset common to all numbers changes nothing."""

from __future__ import annotations

from typing import Any, ClassVar

from harness.metrics.contract import Inputs, Metric, Number, Term, Totals, Undefined, ratio
from harness.metrics.moments import PairMetric, Scatter, root, scatter, unresolved
from harness.metrics.outputs import OF_SEVERAL, ByOutput
from harness.metrics.totals import resolved

__all__ = ["Concordance", "ExplainedVariance", "MeanBias", "Pearson"]


class ExplainedVariance(ByOutput, PairMetric):
    """Share of the labels' variance that the predictions explain, their mean error set aside.

    Null where all labels are equal; scikit-learn then says 1 for perfect predictions and 0 for others.
    """

    summary: ClassVar[str] = "1 - variance of (y - p) / variance of y, weighted"
    source: ClassVar[str] = f"sklearn.metrics.explained_variance_score{OF_SEVERAL}"

    def value(self, totals: Totals) -> Any:
        """Return 1 - (yy - 2 yp + pp) / yy, in fractions."""
        return self.combined(totals, _explained)


def _explained(totals: Totals) -> float:
    residuals = Scatter.of(totals)
    yy = scatter(totals, "label_square", "label", "labels")
    residuals.check(yy, "labels")
    return ratio(2 * residuals.yp - residuals.pp, yy, "all labels are equal")


class Pearson(PairMetric):
    """Linear correlation of label and prediction."""

    summary: ClassVar[str] = "covariance of y and p / (standard deviation of y x standard deviation of p), weighted"
    source: ClassVar[str] = (
        "scipy.stats.pearsonr, of all numbers as one sample where an example has several (scipy takes one of each column)"
    )

    def value(self, totals: Totals) -> float:
        """Return the root of yp^2 / (yy pp), with the sign of yp: one rounding at the end."""
        yy = scatter(totals, "label_square", "label", "labels")
        pp = scatter(totals, "prediction_square", "prediction", "predictions")
        both = Scatter.of(totals)
        both.check(min(yy, pp), "labels or predictions")
        size = min(root(both.yp * both.yp / (yy * pp)), 1.0)  # the grid may take it past 1 in the last digit
        return -size if both.yp < 0 else size


class Concordance(PairMetric):
    """Agreement of label and prediction: correlation, less for another mean or another spread."""

    summary: ClassVar[str] = "2 cov(y, p) / (var y + var p + (mean y - mean p)^2), weighted, variances over the whole weight"
    source: ClassVar[str] = "L. I.-K. Lin, Biometrics 45 (1989) 255; torchmetrics.ConcordanceCorrCoef divides by n - 1 instead"

    def value(self, totals: Totals) -> float:
        """Return the coefficient, in fractions."""
        scatter = Scatter.of(totals)
        spread = scatter.yy + scatter.pp
        scatter.check(spread, "labels and predictions")
        if not spread:
            raise Undefined("all labels are equal, and so are all predictions")
        return ratio(2 * scatter.yp, spread + totals.exact_weight * scatter.bias**2, "all labels and predictions are equal")


class MeanBias(Metric):
    """Mean of prediction minus label: by how much predictions are too high."""

    inputs: ClassVar[Inputs] = Inputs.NUMBERS
    summary: ClassVar[str] = "sum of w (p - y) / sum of w"
    source: ClassVar[str] = "the mean bias error of forecasting"

    def terms(self, labels: Any, predictions: Any) -> dict[str, Term]:
        """Return both apart: their difference would be rounded."""
        return {"label": Number(labels), "prediction": Number(predictions)}

    def value(self, totals: Totals) -> float:
        """Return the mean difference."""
        difference = totals.on_grid("prediction") - totals.on_grid("label")
        if not resolved(difference, totals.rounding("prediction") + totals.rounding("label")):
            raise Undefined(unresolved("labels and predictions"))
        return ratio(difference, totals.exact_weight, "the total weight is zero")
