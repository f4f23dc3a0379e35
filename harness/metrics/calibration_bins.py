"""Bins of confidence: their sums, their gaps, and the base of the metrics made of them. TensorFlow where the graph is built."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from harness.errors import ShapeError
from harness.metrics.contract import Binding, Gaps, Inputs, Metric, Reliability, ScoreScale, Totals, Undefined
from harness.metrics.plots import plain
from harness.metrics.totals import resolved

__all__ = ["Bin", "CalibrationMetric", "curve_line", "expected_gap", "filled_bins", "gaps_of", "largest_gap"]


UNRESOLVED = "all gaps are too small for sums on a grid of 2^-128"


@dataclass(frozen=True)
class Bin:
    """Sums over one bin that is not empty."""

    number: int
    weight: Fraction
    hits: Fraction
    confidence: Fraction
    rounding: Fraction = Fraction(0)  # by how much the three may be wrong, as the grid rounded what was added up

    @property
    def gap(self) -> Fraction:
        """How far hits and confidence lie apart."""
        return abs(self.hits - self.confidence)


def expected_gap(bins: list[Bin]) -> float:
    """Return the sum of the gaps over the total weight.

    Raises: Undefined: the grid leaves too few digits of it.
    """
    gaps = sum((b.gap for b in bins), Fraction(0))
    if not resolved(gaps, sum((b.rounding for b in bins), Fraction(0))):
        raise Undefined(UNRESOLVED)
    return float(gaps / sum((b.weight for b in bins), Fraction(0)))


def largest_gap(bins: list[Bin]) -> float:
    """Return the largest gap, each over the weight of its bin.

    Raises: Undefined: the grid leaves too few digits of it.
    """
    largest = max(b.gap / b.weight for b in bins)
    if not resolved(largest, max(b.rounding / b.weight for b in bins)):
        raise Undefined(UNRESOLVED)
    return float(largest)


def gaps_of(bins: list[Bin], size: int, *, largest: bool) -> Gaps:
    """Return the gap of each of so many bins: as a share of all, or of the bin's own weight; NaN where a bin is empty."""
    total = sum((b.weight for b in bins), Fraction(0))
    values = np.full(size, np.nan)
    for b in bins:
        values[b.number] = float((b.hits - b.confidence) / (b.weight if largest else total))
    return Gaps(values, "largest" if largest else "sum")


class CalibrationMetric(Metric):
    """Base of metrics of confidence against hits per bin.

    Without `positive` the confidence is the highest probability, and a hit is that its class is the label (the lowest
    class among equals); with `positive` it is the probability of that class, and a hit is that it is the label.
    """

    inputs: ClassVar[Inputs] = Inputs.CLASSES
    score_scale: ClassVar[ScoreScale] = ScoreScale.PROBABILITY

    bins: int = Field(15, ge=1, le=1024, description="bins of equal width from 0 to 1")
    positive: int | None = Field(None, ge=0, description="calibration of this class's score; null: of the highest score")
    from_logits: bool = Field(False, description="the output holds logits, not probabilities")
    ignore_label: int | None = Field(None, description="positions with this label are left out")
    one_hot: bool = Field(False, description="the label is one-hot, a row [..., C] with a 1 for its class; all zeros: class -1")

    def binding(self, output: str, label: str | None, weight: str | None) -> Binding:
        """Return what the metric reads; `positive` changes what is made of it, not how it is read."""
        return replace(super().binding(output, label, weight), positive=1)

    def summed(self, totals: Totals) -> list[Bin]:
        """Return the bins that are not empty."""
        raise NotImplementedError

    def plots(self, totals: Totals) -> tuple[Reliability]:
        """Return the bins."""
        return (Reliability(tuple((b.number, *curve_line(b, plain)) for b in self.summed(totals))),)

    def confidence(self, labels: Any, predictions: Any) -> tuple[Any, Any]:
        """Return the confidence, float64 [N], and which are hits, bool [N]."""
        import tensorflow as tf

        from harness.exact.tf_subnormals import highest, widened

        if self.positive is not None and self.positive >= predictions.shape[-1]:
            raise ShapeError(f"positive={self.positive}, but the output has {predictions.shape[-1]} classes")
        scores = predictions
        if self.from_logits:
            scores = tf.cast(predictions, tf.float64)
            powers = tf.exp(scores - tf.reduce_max(scores, axis=-1, keepdims=True))
            scores = powers / tf.reduce_sum(powers, axis=-1, keepdims=True)
        if self.positive is None:
            predicted = highest(predictions)
            return widened(tf.gather(scores, predicted, axis=-1, batch_dims=1)), predicted == labels
        return widened(scores[:, self.positive]), labels == self.positive


def filled_bins(weights: Any, hits: Any, confidences: Any, roundings: Any = None) -> list[Bin]:
    """Return the bins that are not empty.

    Args:
      roundings: by how much the others may be wrong together; None where nothing was rounded.
    Raises: Undefined: all are.
    """
    columns = zip(weights, hits, confidences, [0] * len(weights) if roundings is None else roundings, strict=True)
    filled = [Bin(i, *map(Fraction, sums)) for i, sums in enumerate(columns) if sums[0]]
    if not filled:
        raise Undefined("the total weight is zero")
    return filled


def curve_line(b: Bin, number: Callable[[Fraction], float]) -> tuple[float, float | None, float]:
    """Return weight, mean confidence and share of hits of a bin; `number` makes the weight a number.

    The confidence is None where the grid leaves too few digits of it.
    """
    confidence = float(b.confidence / b.weight) if resolved(b.confidence, b.rounding) else None
    return number(b.weight), confidence, float(b.hits / b.weight)
