"""Metrics of a class label against a score per class. TensorFlow is imported where the graph is built."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator

from harness.errors import ShapeError
from harness.metrics import shares
from harness.metrics.contract import (
    Confusion,
    Count,
    Number,
    PlainMean,
    Proportion,
    ScoreScale,
    Table,
    Term,
    Totals,
    ratio,
)
from harness.metrics.likelihood import EPSILON, impossible
from harness.metrics.predicted_class import ClassMetric, PerClassMetric, PredictedClassMetric, class_names
from harness.metrics.shares import Average, OneVsRest, Share

__all__ = [
    "Accuracy", "ClassMetric", "ConfusionMatrix", "CrossEntropy", "FBeta", "Jaccard", "PerClassMetric",
    "Precision", "PredictedClassMetric", "Recall", "Specificity", "TopK", "class_names",
]  # fmt: skip


class Accuracy(PredictedClassMetric):
    """Share of positions whose predicted class is the label."""

    summary: ClassVar[str] = "sum of w [argmax p = y] / sum of w"
    source: ClassVar[str] = "sklearn.metrics.accuracy_score"
    plain: ClassVar[PlainMean | None] = PlainMean("correct", 1)

    def terms(self, labels: Any, predictions: Any) -> dict[str, Term]:
        """Mark each position whose predicted class is its label."""
        import tensorflow as tf

        return {"correct": Count(tf.cast(self.predicted(predictions) == labels, tf.int32), 2)}

    def value(self, totals: Totals) -> float:
        """Return the share of correct positions."""
        return ratio(totals.part("correct", 1), totals.exact_weight, "the total weight is zero")

    def standard_error(self, totals: Totals) -> float | None:
        """Return that of a proportion."""
        return totals.share_error(self.value(totals))

    def proportion(self, totals: Totals) -> Proportion:
        """Return how many are correct, of how many."""
        return totals.proportion(totals.part("correct", 1))


class TopK(ClassMetric):
    """Share of positions whose label is among the k highest scores; of equal scores the lower class ranks first."""

    summary: ClassVar[str] = "sum of w [rank of y in p < k] / sum of w"
    source: ClassVar[str] = "sklearn.metrics.top_k_accuracy_score (which ranks equal scores the other way)"
    plain: ClassVar[PlainMean | None] = PlainMean("correct", 1)

    k: int = Field(5, ge=1, description="how many of the highest scores count")

    def terms(self, labels: Any, predictions: Any) -> dict[str, Term]:
        """Mark each position whose label has fewer than k classes before it."""
        import tensorflow as tf

        from harness.exact.tf_limbs import exact_graph
        from harness.exact.tf_subnormals import ordered

        if predictions.shape[-1] < self.k:
            raise ShapeError(
                f"the output has {predictions.shape[-1]} classes, fewer than k={self.k}; of so many the label is always among "
                f"the first: say {{top_k: {{k: K}}}} with a K below {predictions.shape[-1]}, or leave top_k out"
            )

        def correct(labels: Any, predictions: Any) -> Any:
            scores = ordered(predictions)
            own = tf.gather(scores, labels, axis=1, batch_dims=1)[:, None]
            lower = tf.range(scores.shape[-1]) < labels[:, None]
            before = tf.reduce_sum(tf.cast((scores > own) | ((scores == own) & lower), tf.int32), axis=1)
            return tf.cast(before < self.k, tf.int32)

        return {"correct": Count(exact_graph(correct)(labels, predictions), 2)}

    def value(self, totals: Totals) -> float:
        """Return the share of positions within the first k."""
        return ratio(totals.part("correct", 1), totals.exact_weight, "the total weight is zero")

    def standard_error(self, totals: Totals) -> float | None:
        """Return that of a proportion."""
        return totals.share_error(self.value(totals))

    def proportion(self, totals: Totals) -> Proportion:
        """Return how many are correct, of how many."""
        return totals.proportion(totals.part("correct", 1))


class CrossEntropy(ClassMetric):
    """Mean negative log likelihood of the label, in nats.

    A label whose probability is exactly 0 has an infinite loss, and the value is null; `epsilon` clips probabilities
    to [epsilon, 1 - epsilon] first, and bounds the loss of logits alike. scikit-learn always clips, at the epsilon of the
    dtype: 2^-23 for float32, 2^-52 for float64. Keras divides each row by its sum, then always clips at 1e-7,
    and never clips logits. Positions with `ignore_label` are left out of the sum and of what divides it,
    as by `ignore_class` of keras.losses; `ignore_class` of keras.metrics adds zeros for them and divides by all positions.
    """

    score_scale: ClassVar[ScoreScale] = ScoreScale.PROBABILITY
    summary: ClassVar[str] = "- sum of w ln p[y] / sum of w, in float64"
    source: ClassVar[str] = "sklearn.metrics.log_loss, keras.metrics.SparseCategoricalCrossentropy"
    plain: ClassVar[PlainMean | None] = PlainMean("loss")

    epsilon: float = Field(0.0, ge=0, lt=0.5, description=EPSILON)

    def infinite_term(self) -> str | None:
        """Say that a label was held to be impossible."""
        return impossible(from_logits=self.from_logits, epsilon=self.epsilon)

    def terms(self, labels: Any, predictions: Any) -> dict[str, Term]:
        """Return the negative log likelihood of each label."""
        import tensorflow as tf

        from harness.exact.tf_subnormals import log, widened

        own = widened(tf.gather(predictions, labels, axis=1, batch_dims=1))
        if self.from_logits:
            scores = tf.cast(predictions, tf.float64)
            top = tf.reduce_max(scores, axis=1)
            # ln sum exp, shifted by the largest logit so that nothing overflows
            loss = tf.math.log(tf.reduce_sum(tf.exp(scores - top[:, None]), axis=1)) + (top - own)
            if self.epsilon:
                loss = tf.clip_by_value(loss, -math.log1p(-self.epsilon), -math.log(self.epsilon))
        else:
            if self.epsilon:
                own = tf.clip_by_value(own, self.epsilon, 1.0 - self.epsilon)
            loss = -log(own, predictions.dtype)
        return {"loss": Number(loss, spread=True)}

    def value(self, totals: Totals) -> float:
        """Return the mean loss."""
        return totals.mean("loss")

    def standard_error(self, totals: Totals) -> float | None:
        """Return that of the mean."""
        return totals.mean_error("loss")


class Precision(PerClassMetric):
    """Share of the positions predicted as a class that have its label."""

    summary: ClassVar[str] = "TP / (TP + FP) per class, averaged"
    source: ClassVar[str] = "sklearn.metrics.precision_score"
    proportions: ClassVar[tuple[Average, ...]] = ("binary", "per_class", "micro")

    def share(self, sums: OneVsRest) -> Share:
        """Return hits over predicted."""
        return shares.precision(sums)


class Recall(PerClassMetric):
    """Share of the positions labelled with a class that are predicted as it."""

    summary: ClassVar[str] = "TP / (TP + FN) per class, averaged"
    source: ClassVar[str] = "sklearn.metrics.recall_score"
    proportions: ClassVar[tuple[Average, ...]] = ("binary", "per_class", "micro")

    def share(self, sums: OneVsRest) -> Share:
        """Return hits over labelled."""
        return shares.recall(sums)


class Specificity(PerClassMetric):
    """Share of the positions not labelled with a class that are not predicted as it either; also true negative rate."""

    summary: ClassVar[str] = "TN / (TN + FP) per class, averaged"
    source: ClassVar[str] = "torchmetrics.classification.MulticlassSpecificity"
    proportions: ClassVar[tuple[Average, ...]] = ("binary", "per_class")

    def share(self, sums: OneVsRest) -> Share:
        """Return true negatives over negatives."""
        return shares.specificity(sums)


class FBeta(PerClassMetric):
    """Weighted harmonic mean of precision and recall; recall counts beta times as much."""

    summary: ClassVar[str] = "(1 + b^2) TP / ((1 + b^2) TP + b^2 FN + FP) per class, averaged"
    source: ClassVar[str] = "sklearn.metrics.fbeta_score"

    beta: float = Field(1.0, gt=0, allow_inf_nan=False, description="how much more recall counts than precision")

    def share(self, sums: OneVsRest) -> Share:
        """Return the ratio in sums of hits, labelled and predicted."""
        square = Fraction(self.beta) ** 2
        # A whole number keeps the counts of many draws whole.
        return shares.f_beta(sums, square.numerator if square.denominator == 1 and square < 1 << 16 else square)


class Jaccard(PerClassMetric):
    """Positions where label and prediction agree on a class, among those where either names it."""

    summary: ClassVar[str] = "TP / (TP + FP + FN) per class, averaged"
    source: ClassVar[str] = "sklearn.metrics.jaccard_score"
    proportions: ClassVar[tuple[Average, ...]] = ("binary", "per_class")

    def share(self, sums: OneVsRest) -> Share:
        """Return hits over labelled or predicted."""
        return shares.jaccard(sums)


class ConfusionMatrix(PredictedClassMetric):
    """Positions (or their weight) by label and predicted class.

    `normalize` divides by the sum of the line (`true`), of the column (`pred`) or of all (`all`). A line or column without
    any weight is null; scikit-learn makes it 0.
    """

    summary: ClassVar[str] = "M[i, j] = sum of w [y = i and argmax p = j]; normalize: over its line, its column, or all"
    source: ClassVar[str] = "sklearn.metrics.confusion_matrix"

    normalize: Literal["true", "pred", "all"] | None = Field(
        None, description="divide by the total of each label (true), of each prediction (pred), or of all"
    )

    @field_validator("normalize", mode="before")
    @classmethod
    def _yaml_reads_true(cls, value: Any) -> Any:
        return "true" if value is True else value  # normalize: true, without quotes

    def terms(self, labels: Any, predictions: Any) -> dict[str, Term]:
        """Count each pair of label and predicted class."""
        size = self.size(predictions)
        return {"pairs": Count(labels * size + self.predicted(predictions), size * size)}

    def value(self, totals: Totals) -> Table:
        """Return one line per label, one column per predicted class."""
        size = math.isqrt(len(totals["pairs"]))
        names = class_names(totals, size)
        if self.normalize is None:
            lines = totals["pairs"].reshape(size, size).tolist()
        else:
            pairs = totals.exact("pairs").reshape(size, size)
            below = {"true": pairs.sum(axis=1, keepdims=True), "pred": pairs.sum(axis=0, keepdims=True), "all": pairs.sum()}
            divisors = np.broadcast_to(np.asarray(below[self.normalize], dtype=object), pairs.shape)
            lines = [
                [float(pair / divisor) if divisor else None for pair, divisor in zip(*row, strict=True)]
                for row in zip(pairs, divisors, strict=True)
            ]
        return Table(("label", *names), tuple((name, *line) for name, line in zip(names, lines, strict=True)))

    def plots(self, totals: Totals) -> tuple[Confusion]:
        """Return the matrix itself, whatever `normalize` divides by."""
        size = math.isqrt(len(totals["pairs"]))
        return (Confusion(tuple(class_names(totals, size)), tuple(map(tuple, totals["pairs"].reshape(size, size).tolist()))),)
