"""Metrics of the probability of one class against whether it is the label. TensorFlow is imported where the graph is built."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import Any, ClassVar

from pydantic import Field, field_validator

from harness.errors import ShapeError
from harness.metrics.contract import (
    Binding,
    Count,
    Inputs,
    Metric,
    Number,
    PlainMean,
    Proportion,
    ScoreScale,
    Table,
    Term,
    Thresholds,
    Totals,
    Undefined,
    ratio,
)
from harness.metrics.likelihood import EPSILON, impossible
from harness.metrics.means import MeanMetric
from harness.metrics.plots import plain
from harness.metrics.thresholds import RAW_SCORES, log_odds, scale_of

__all__ = [
    "BinaryAccuracy", "BinaryMetric", "Brier", "CalibrationRatio", "CountsAtThresholds", "LogLoss", "NormalisedEntropy",
]  # fmt: skip


class BinaryMetric(Metric):
    """Base of metrics of the probability of class `positive`; an output with one score gives that of class 1."""

    inputs: ClassVar[Inputs] = Inputs.BINARY

    positive: int = Field(1, ge=0, description="the class that counts as positive")
    from_logits: bool = Field(False, description="the output holds logits, not probabilities")
    ignore_label: int | None = Field(None, description="positions with this label are left out")
    one_hot: bool = Field(False, description="the label is one-hot, a row [..., C] with a 1 for its class; all zeros: class -1")


class LogLoss(MeanMetric):
    """Mean negative log likelihood of "is class `positive`", in nats.

    A certain prediction that is wrong has an infinite loss, and the value is null; `epsilon` clips probabilities to
    [epsilon, 1 - epsilon] first, and bounds the loss of logits alike. scikit-learn always clips, at the epsilon of the
    dtype: 2^-23 for float32, 2^-52 for float64. Keras always clips probabilities to [1e-7, 1 - 1e-7], whose
    upper end is 1 - 2^-23 in float32, and never logits. Logits lose no digits.
    """

    # Of classes, not BINARY: that gives probabilities, and of a logit of 40 nothing would be left.
    inputs: ClassVar[Inputs] = Inputs.CLASSES
    score_scale: ClassVar[ScoreScale] = ScoreScale.PROBABILITY
    summary: ClassVar[str] = "- sum of w (y ln p + (1 - y) ln(1 - p)) / sum of w"
    source: ClassVar[str] = "sklearn.metrics.log_loss, keras.metrics.BinaryCrossentropy"

    positive: int = Field(1, ge=0, description="the class that counts as positive")
    from_logits: bool = Field(False, description="the output holds logits, not probabilities")
    ignore_label: int | None = Field(None, description="positions with this label are left out")
    one_hot: bool = Field(False, description="the label is one-hot, a row [..., C] with a 1 for its class; all zeros: class -1")
    epsilon: float = Field(0.0, ge=0, lt=0.5, description=EPSILON)

    def each(self, labels: Any, predictions: Any) -> Any:
        """Return the loss."""
        import tensorflow as tf

        from harness.exact.tf_subnormals import log, widened

        if self.positive >= predictions.shape[-1]:
            raise ShapeError(f"positive={self.positive}, but the output has {predictions.shape[-1]} classes")
        hit = labels == self.positive
        if self.from_logits:
            scores = tf.cast(predictions, tf.float64)
            others = tf.concat([scores[:, : self.positive], scores[:, self.positive + 1 :]], axis=1)
            logit = scores[:, self.positive] - tf.reduce_logsumexp(others, axis=1)
            against = tf.where(hit, -logit, logit)
            # ln(1 + e^x), without overflow
            loss = tf.maximum(against, 0) + tf.math.log1p(tf.exp(-tf.abs(against)))
        else:
            p = widened(predictions[:, self.positive])
            loss = -tf.where(hit, log(p, predictions.dtype), tf.math.log1p(-p))
        if self.epsilon:
            # clip_by_value would turn NaN into a number
            loss = tf.maximum(loss, tf.constant(-math.log1p(-self.epsilon), tf.float64))
            loss = tf.minimum(loss, tf.constant(-math.log(self.epsilon), tf.float64))
        return loss

    def infinite_term(self) -> str | None:
        """Say that the true outcome was held to be impossible."""
        return impossible(from_logits=self.from_logits, epsilon=self.epsilon)


class NormalisedEntropy(LogLoss):
    """Log loss relative to that of always predicting the base rate: below 1 is better than that."""

    summary: ClassVar[str] = "log loss / (- r ln r - (1 - r) ln(1 - r)), r = sum of w y / sum of w"
    source: ClassVar[str] = (
        "X. He et al., Practical lessons from predicting clicks on ads, 2014; torcheval.BinaryNormalizedEntropy"
    )

    def terms(self, labels: Any, predictions: Any) -> dict[str, Term]:
        """Return the loss, and which positions are positive."""
        import tensorflow as tf

        hit = tf.cast(labels == self.positive, tf.int32)
        return {"loss": Number(self.each(labels, predictions)), "labels": Count(hit, 2)}

    def value(self, totals: Totals) -> float:
        """Return the ratio."""
        negative, positive = totals.exact("labels")
        if not positive or not negative:
            raise Undefined(f"no label is {'positive' if not positive else 'negative'}: the base rate has no entropy")
        rate = positive / totals.exact_weight
        entropy = -float(rate) * _log(rate) - float(1 - rate) * _log(1 - rate)
        return totals.mean("loss") / entropy

    def standard_error(self, totals: Totals) -> float | None:
        """Return None: the base rate varies too, ask for a bootstrap."""
        return None


def _log(share: Fraction) -> float:
    """Return ln of a share, also where it is so close to 1 that a float64 is not."""
    return math.log1p(-float(1 - share)) if share > Fraction(1, 2) else math.log(share)


class Brier(BinaryMetric, MeanMetric):
    """Mean squared distance of the probability from what happened."""

    score_scale: ClassVar[ScoreScale] = ScoreScale.PROBABILITY
    summary: ClassVar[str] = "sum of w (p - y)^2 / sum of w"
    source: ClassVar[str] = "sklearn.metrics.brier_score_loss"

    def each(self, labels: Any, predictions: Any) -> Any:
        """Return the squared distance."""
        import tensorflow as tf

        from harness.exact.tf_subnormals import apart, square

        return square(apart(predictions, tf.cast(labels, tf.float64)))


class CalibrationRatio(BinaryMetric):
    """Positives predicted relative to positives found: 1 where predictions are right on the whole."""

    score_scale: ClassVar[ScoreScale] = ScoreScale.PROBABILITY
    summary: ClassVar[str] = "sum of w p / sum of w y"
    source: ClassVar[str] = "X. He et al., 2014 (calibration); torcheval.WeightedCalibration"

    def terms(self, labels: Any, predictions: Any) -> dict[str, Term]:
        """Return the probability, and which positions are positive."""
        return {"probability": Number(predictions), "labels": Count(labels, 2)}

    def value(self, totals: Totals) -> float:
        """Return the ratio of the sums."""
        return ratio(totals.exact("probability"), totals.part("labels", 1), "no label is positive")


class BinaryAccuracy(BinaryMetric):
    """Share of positions where "the probability exceeds `threshold`" is what happened.

    The threshold is compared in float64: 0.1 in float32 exceeds it. With `from_logits`, and a threshold between 0 and 1, the
    log odds are compared with those of the threshold, as `accuracy` does: a logit of 1e-17 is above 0, its probability is 0.5.
    """

    summary: ClassVar[str] = "sum of w [[p > threshold] = y] / sum of w"
    source: ClassVar[str] = "keras.metrics.BinaryAccuracy"
    plain: ClassVar[PlainMean | None] = PlainMean("correct", 1)

    threshold: float = Field(0.5, allow_inf_nan=False, description="positive is predicted where the score exceeds this")
    raw_scores: bool = Field(False, description=RAW_SCORES)

    def expected_scale(self) -> ScoreScale:
        """Return what the threshold is compared with."""
        return scale_of([self.threshold], raw_scores=self.raw_scores)

    def terms(self, labels: Any, predictions: Any) -> dict[str, Term]:
        """Mark the positions that are right."""
        import tensorflow as tf

        from harness.exact.tf_subnormals import difference, exceeds, widened

        if not self._by_odds:
            return {"correct": Count(tf.cast(exceeds(predictions, self.threshold) == (labels == 1), tf.int32), 2)}
        if self.positive >= predictions.shape[-1]:
            raise ShapeError(f"positive={self.positive}, but the output has {predictions.shape[-1]} classes")
        logits = widened(predictions)
        own = logits[:, self.positive]
        others = tf.concat([logits[:, : self.positive], logits[:, self.positive + 1 :]], axis=1)
        odds = difference(own, others[:, 0] if others.shape[1] == 1 else tf.reduce_logsumexp(others, axis=1))
        right = exceeds(odds, log_odds(self.threshold)) == (labels == self.positive)
        return {"correct": Count(tf.cast(right, tf.int32), 2)}

    @property
    def _by_odds(self) -> bool:
        """Whether log odds are compared, which keep what a probability next to 0.5 or 1 loses."""
        return self.from_logits and 0 < self.threshold < 1

    def binding(self, output: str, label: str | None, weight: str | None) -> Binding:
        """Return what the metric reads: logits as they are, where those are compared."""
        binding = super().binding(output, label, weight)
        return replace(binding, inputs=Inputs.CLASSES, positive=1) if self._by_odds else binding

    def value(self, totals: Totals) -> float:
        """Return the share of correct positions."""
        return ratio(totals.part("correct", 1), totals.exact_weight, "the total weight is zero")

    def standard_error(self, totals: Totals) -> float | None:
        """Return that of a proportion."""
        return totals.share_error(self.value(totals))

    def proportion(self, totals: Totals) -> Proportion:
        """Return how many are correct, of how many."""
        return totals.proportion(totals.part("correct", 1))


class CountsAtThresholds(BinaryMetric):
    """True and false positives and negatives where a position is positive if its probability exceeds a threshold.

    Thresholds are compared in float64: a score of 0.1 in float32 exceeds 0.1.
    Precision and recall are empty where they are 0/0; Keras makes them 0.
    """

    summary: ClassVar[str] = "sum of w [y = 1 and p > t], and so on, for each threshold t"
    source: ClassVar[str] = "keras.metrics.TruePositives, FalsePositives, TrueNegatives, FalseNegatives, Precision, Recall"

    thresholds: tuple[float, ...] = Field((0.5,), description="the thresholds to count at")
    raw_scores: bool = Field(False, description=RAW_SCORES)

    def expected_scale(self) -> ScoreScale:
        """Return what the thresholds are compared with."""
        return scale_of(self.thresholds, raw_scores=self.raw_scores)

    @field_validator("thresholds")
    @classmethod
    def _sorted(cls, thresholds: tuple[float, ...]) -> tuple[float, ...]:
        if not thresholds or not all(math.isfinite(t) for t in thresholds):
            raise ValueError("expected at least one threshold, all of them numbers")
        return tuple(sorted(set(thresholds)))

    def terms(self, labels: Any, predictions: Any) -> dict[str, Term]:
        """Count labels by how many thresholds the probability exceeds."""
        from harness.exact.tf_subnormals import searchsorted

        exceeded = searchsorted(self.thresholds, predictions, side="left")
        return {"exceeded": Count(2 * exceeded + labels, 2 * (len(self.thresholds) + 1))}

    def value(self, totals: Totals) -> Table:
        """Return one line per threshold; precision and recall are empty where they are 0/0."""
        sums = totals.exact("exceeded").reshape(-1, 2)
        number = int if totals["exceeded"].dtype.kind == "i" else float
        lines = []
        for i, threshold in enumerate(self.thresholds):
            tn, fn = sums[: i + 1].sum(axis=0)
            fp, tp = sums[i + 1 :].sum(axis=0)
            shares = [float(tp / below) if below else None for below in (tp + fp, tp + fn)]
            lines.append((threshold, *map(number, (tp, fp, tn, fn)), *shares))
        return Table(("threshold", "tp", "fp", "tn", "fn", "precision", "recall"), tuple(lines))

    def plots(self, totals: Totals) -> tuple[Thresholds]:
        """Return the counts at the thresholds."""
        sums = totals.on_grid("exceeded").reshape(-1, 2)
        negative, positive = sums.sum(axis=0)
        above = [sums[i + 1 :].sum(axis=0) for i in range(len(self.thresholds))]
        points = tuple((at, plain(tp), plain(fp)) for at, (fp, tp) in zip(self.thresholds, above, strict=True))
        return (Thresholds(plain(positive), plain(negative), points, "above"),)
