"""A metric of one's own: what wrong predictions cost, more where the model was sure of itself."""

from __future__ import annotations

from typing import Any, ClassVar

from harness.metrics.classification import ClassMetric
from harness.metrics.contract import Number, ScoreScale, Term, Totals


class OverconfidenceCost(ClassMetric):
    """Mean cost of a prediction: 0 where it is right, else 1, and `sure` more where its probability exceeds `above`."""

    score_scale: ClassVar[ScoreScale] = ScoreScale.PROBABILITY
    summary: ClassVar[str] = "sum of w c / sum of w, c = [wrong] (1 + sure [max p > above])"

    sure: float = 4.0
    above: float = 0.9

    def terms(self, labels: Any, predictions: Any) -> dict[str, Term]:
        """Return the cost of each position."""
        import tensorflow as tf

        wrong = tf.argmax(predictions, axis=-1, output_type=tf.int32) != labels
        confident = tf.reduce_max(predictions, axis=-1) > self.above
        cost = tf.where(wrong, 1.0 + self.sure * tf.cast(confident, tf.float64), 0.0)
        return {"cost": Number(cost, spread=True)}

    def value(self, totals: Totals) -> float:
        """Return the mean."""
        return totals.mean("cost")

    def standard_error(self, totals: Totals) -> float | None:
        """Return that of the mean."""
        return totals.mean_error("cost")
