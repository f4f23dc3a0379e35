"""Whether probabilities mean what they say: calibration errors and the reliability curve, over bins of equal width.

A bin needs three sums: how many positions, how many hits, and their confidence. The first two are a histogram; only
the confidence is a number per bin, and costs a column of exact cells each.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from harness.errors import ShapeError
from harness.metrics.binary import probability
from harness.metrics.contract import Binding, Count, Inputs, Metric, Number, Table, Term, Totals, Undefined, ratio

__all__ = ["ExpectedCalibrationError", "MaximumCalibrationError", "ReliabilityCurve"]


class _Calibration(Metric):
    """Base of metrics of confidence against hits per bin.

    Without `positive` the confidence is the highest probability, and a hit is that its class is the label (the lowest
    class among equals); with `positive` it is the probability of that class, and a hit is that it is the label. Bins
    are (low, high] and the first takes 0 too, as in scikit-learn's calibration_curve.
    """

    inputs: ClassVar[Inputs] = Inputs.CLASSES

    bins: int = Field(15, ge=1, le=1024, description="bins of equal width from 0 to 1")
    positive: int | None = Field(None, ge=0, description="calibration of this class's score; null: of the highest score")
    from_logits: bool = Field(False, description="the output holds logits, not probabilities")
    ignore_label: int | None = Field(None, description="positions with this label are left out")

    def binding(self, output: str, label: str | None, weight: str | None) -> Binding:
        """Return what the metric reads; `positive` changes what is made of it, not how it is read."""
        return replace(super().binding(output, label, weight), positive=1)

    def terms(self, labels: Any, predictions: Any) -> dict[str, Term]:
        """Return the bin and whether it is a hit, and the confidence in the column of its bin."""
        import tensorflow as tf

        if self.positive is not None and self.positive >= predictions.shape[-1]:
            raise ShapeError(f"positive={self.positive}, but the output has {predictions.shape[-1]} classes")
        scores = tf.cast(predictions, tf.float64)
        if self.from_logits:
            powers = tf.exp(scores - tf.reduce_max(scores, axis=-1, keepdims=True))
            scores = powers / tf.reduce_sum(powers, axis=-1, keepdims=True)
        if self.positive is None:
            found = tf.argmax(predictions, axis=-1, output_type=tf.int32)
            confidence, hit = tf.reduce_max(scores, axis=-1), found == labels
        else:
            confidence, hit = scores[:, self.positive], labels == self.positive
        confidence = probability(confidence)
        edges = np.linspace(0, 1, self.bins + 1)
        bin_ = tf.searchsorted(tf.constant(edges[1:-1], tf.float64), confidence, side="left")
        own = bin_[:, None] == tf.range(self.bins)
        return {
            "bins": Count(2 * bin_ + tf.cast(hit, tf.int32), 2 * self.bins),
            "confidence": Number(tf.where(own, confidence[:, None], tf.zeros([1, self.bins], tf.float64))),
        }

    def columns(self, totals: Totals) -> list[tuple[int, Fraction, Fraction, Fraction]]:
        """Return bin, weight, hits and confidence of each bin that is not empty.

        Raises: Undefined: all are.
        """
        sums = totals.exact("bins").reshape(-1, 2)
        found = [
            (i, misses + hits, hits, confidence)
            for i, ((misses, hits), confidence) in enumerate(zip(sums, totals.exact("confidence"), strict=True))
            if misses + hits
        ]
        if not found:
            raise Undefined("the total weight is zero")
        return found


class ExpectedCalibrationError(_Calibration):
    """Mean distance of confidence and accuracy over bins, each by its weight."""

    summary: ClassVar[str] = "sum over bins of |sum of w hit - sum of w confidence| / sum of w"
    source: ClassVar[str] = "C. Guo et al., On calibration of modern neural networks, 2017; torchmetrics.CalibrationError"

    def value(self, totals: Totals) -> float:
        """Return the mean distance."""
        gaps = sum((abs(hits - confidence) for _, _, hits, confidence in self.columns(totals)), Fraction(0))
        return ratio(gaps, totals.exact_weight, "the total weight is zero")


class MaximumCalibrationError(_Calibration):
    """Largest distance of confidence and accuracy over the bins that are not empty."""

    summary: ClassVar[str] = "maximum over bins of |sum of w hit - sum of w confidence| / sum of w in the bin"
    source: ClassVar[str] = "C. Guo et al., 2017; torchmetrics.CalibrationError(norm='max')"

    def value(self, totals: Totals) -> float:
        """Return the largest distance."""
        return float(max(abs(hits - confidence) / weight for _, weight, hits, confidence in self.columns(totals)))


class ReliabilityCurve(_Calibration):
    """Mean confidence and share of hits in each bin that is not empty."""

    summary: ClassVar[str] = "per bin: sum of w hit / sum of w, sum of w confidence / sum of w"
    source: ClassVar[str] = "sklearn.calibration.calibration_curve"

    def value(self, totals: Totals) -> Table:
        """Return one line per bin: its edges, weight, confidence and share of hits."""
        edges = np.linspace(0, 1, self.bins + 1).tolist()
        number = int if totals["bins"].dtype.kind == "i" else float
        lines = [
            (edges[i], edges[i + 1], number(weight), float(confidence / weight), float(hits / weight))
            for i, weight, hits, confidence in self.columns(totals)
        ]
        return Table(("low", "high", "weight", "confidence", "accuracy"), tuple(lines))
