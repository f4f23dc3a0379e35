"""Metrics of how the scores rank the labels of one example. TensorFlow is imported where the graph is built.

Ranks come from one sort per example, not from all pairs of labels. Of labels with equal scores each has the rank of the
last, as in scikit-learn: a tie is never to the model's credit.
"""

from __future__ import annotations

from typing import Any, ClassVar

from harness.metrics.contract import Inputs, Metric, Number, Term, Totals

__all__ = ["CoverageError", "LabelRankingAveragePrecision", "RankingLoss"]


class _Ranking(Metric):
    inputs: ClassVar[Inputs] = Inputs.MULTILABEL

    def each(self, labels: Any, place: Any, true_place: Any) -> Any:
        """Return what each example adds, float64 [N].

        Args:
          labels: float64 [N, L], 0 or 1.
          place: float64 [N, L], how many labels score as high as this one or higher.
          true_place: float64 [N, L], how many of them are 1.
        """
        raise NotImplementedError

    def terms(self, labels: Any, predictions: Any) -> dict[str, Term]:
        """Rank the labels of each example by their scores."""
        import tensorflow as tf

        from harness.exact.tf_subnormals import ordered

        falling = -ordered(predictions)
        order = tf.argsort(falling, axis=1, stable=True)
        place = tf.searchsorted(tf.gather(falling, order, axis=1, batch_dims=1), falling, side="right")
        counted = tf.cumsum(tf.gather(labels, order, axis=1, batch_dims=1), axis=1)
        true_place = tf.gather(counted, place - 1, axis=1, batch_dims=1)
        values = self.each(*(tf.cast(part, tf.float64) for part in (labels, place, true_place)))
        return {"example": Number(values, spread=True)}

    def value(self, totals: Totals) -> float:
        """Return the mean over the examples."""
        return totals.mean("example")

    def standard_error(self, totals: Totals) -> float | None:
        """Return that of the mean."""
        return totals.mean_error("example")


class RankingLoss(_Ranking):
    """Mean share of the pairs of a 1 and a 0 of one example where the 0 scores as high or higher.

    An example whose labels are all 0 or all 1 has no such pair, and loses nothing.
    """

    summary: ClassVar[str] = "mean over examples of [p(0) >= p(1)] over pairs of a label 0 and a label 1"
    source: ClassVar[str] = "sklearn.metrics.label_ranking_loss"

    def each(self, labels: Any, place: Any, true_place: Any) -> Any:
        """Return the share of pairs that are not in order."""
        import tensorflow as tf

        # The zeros that score as high as a one, for each one.
        wrong = tf.reduce_sum(labels * (place - true_place), axis=1)
        ones = tf.reduce_sum(labels, axis=1)
        pairs = ones * (tf.cast(tf.shape(labels)[1], tf.float64) - ones)
        return wrong / tf.maximum(pairs, 1.0)


class CoverageError(_Ranking):
    """Mean number of labels, best scores first, until all that are 1 are covered; 0 where none is."""

    summary: ClassVar[str] = "mean over examples of the largest rank of a label 1"
    source: ClassVar[str] = "sklearn.metrics.coverage_error"

    def each(self, labels: Any, place: Any, true_place: Any) -> Any:
        """Return the largest rank of a label that is 1."""
        import tensorflow as tf

        return tf.reduce_max(labels * place, axis=1)


class LabelRankingAveragePrecision(_Ranking):
    """Mean, over the labels that are 1, of the share of 1 among the labels that score as high or higher.

    An example whose labels are all 0 or all 1 counts as 1.
    """

    summary: ClassVar[str] = "mean over examples of the mean over labels 1 of (rank among labels 1) / rank"
    source: ClassVar[str] = "sklearn.metrics.label_ranking_average_precision_score"

    def each(self, labels: Any, place: Any, true_place: Any) -> Any:
        """Return the average precision of one example."""
        import tensorflow as tf

        ones = tf.reduce_sum(labels, axis=1)
        mean = tf.reduce_sum(labels * true_place / place, axis=1) / tf.maximum(ones, 1.0)
        return tf.where(ones == 0, tf.ones_like(mean), mean)
