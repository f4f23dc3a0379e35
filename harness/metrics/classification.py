"""Metrics of a class label against a score per class. TensorFlow is imported where the graph is built."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from harness.errors import ShapeError
from harness.metrics.contract import Count, Inputs, Metric, Number, Table, Term, Totals, Undefined, ratio

__all__ = [
    "Accuracy", "ClassMetric", "ConfusionMatrix", "CrossEntropy", "FBeta", "Precision", "Recall", "TopK", "class_names",
]  # fmt: skip

Average = Literal["macro", "micro", "weighted", "per_class", "binary"]


class ClassMetric(Metric):
    """Base of metrics that compare a class label with a score per class.

    An output with one score per position is read as the score of class 1 of two. The predicted class is the one with
    the highest score, the lowest index among equals; with `threshold`, class 1 where its score exceeds the threshold.
    """

    inputs: ClassVar[Inputs] = Inputs.CLASSES

    ignore_label: int | None = Field(None, description="positions with this label are left out")
    from_logits: bool = Field(False, description="the output holds logits, not probabilities")
    threshold: float | None = Field(None, description="of two classes, class 1 is predicted where its score exceeds this")

    def predicted(self, predictions: Any) -> Any:
        """Return the predicted class, int32 [N], from scores [N, C].

        Raises: ShapeError: a threshold was given and there are more than two classes.
        """
        import tensorflow as tf

        if self.threshold is None:
            return tf.argmax(predictions, axis=-1, output_type=tf.int32)
        if predictions.shape[-1] != 2:
            raise ShapeError(f"threshold needs an output of one score or two classes, found {predictions.shape[-1]} classes")
        return tf.cast(predictions[:, 1] > tf.cast(self.threshold, predictions.dtype), tf.int32)


def class_names(totals: Totals, count: int) -> tuple[str, ...]:
    """Return the names of the classes: the job's, else their numbers."""
    names = totals.classes or ()
    return names if len(names) == count else tuple(str(c) for c in range(count))


class Accuracy(ClassMetric):
    """Share of positions whose predicted class is the label."""

    summary: ClassVar[str] = "sum of w [argmax p = y] / sum of w"
    source: ClassVar[str] = "sklearn.metrics.accuracy_score"

    def terms(self, labels: Any, predictions: Any) -> dict[str, Term]:
        """Mark each position whose predicted class is its label."""
        import tensorflow as tf

        return {"correct": Count(tf.cast(self.predicted(predictions) == labels, tf.int32), 2)}

    def value(self, totals: Totals) -> float:
        """Return the share of correct positions."""
        return ratio(totals.exact("correct")[1], totals.exact_weight, "the total weight is zero")

    def standard_error(self, totals: Totals) -> float | None:
        """Return that of a proportion."""
        return totals.share_error(self.value(totals))


class TopK(ClassMetric):
    """Share of positions whose label is among the k highest scores; of equal scores the lower class ranks first."""

    summary: ClassVar[str] = "sum of w [rank of y in p < k] / sum of w"
    source: ClassVar[str] = "sklearn.metrics.top_k_accuracy_score (which ranks equal scores the other way)"

    k: int = Field(5, ge=1, description="how many of the highest scores count")

    def terms(self, labels: Any, predictions: Any) -> dict[str, Term]:
        """Mark each position whose label has fewer than k classes before it."""
        import tensorflow as tf

        if predictions.shape[-1] < self.k:
            raise ShapeError(f"top_k needs at least k={self.k} classes, the output has {predictions.shape[-1]}")
        own = tf.gather(predictions, labels, axis=1, batch_dims=1)[:, None]
        lower = tf.range(predictions.shape[-1]) < labels[:, None]
        before = tf.reduce_sum(tf.cast((predictions > own) | ((predictions == own) & lower), tf.int32), axis=1)
        return {"correct": Count(tf.cast(before < self.k, tf.int32), 2)}

    def value(self, totals: Totals) -> float:
        """Return the share of positions within the first k."""
        return ratio(totals.exact("correct")[1], totals.exact_weight, "the total weight is zero")

    def standard_error(self, totals: Totals) -> float | None:
        """Return that of a proportion."""
        return totals.share_error(self.value(totals))


class CrossEntropy(ClassMetric):
    """Mean negative log likelihood of the label, in nats.

    A label whose probability is exactly 0 has an infinite loss, and the value is null; `epsilon` clips probabilities
    to [epsilon, 1 - epsilon] first, as Keras (1e-7) and scikit-learn do.
    """

    summary: ClassVar[str] = "- sum of w ln p[y] / sum of w, in float64"
    source: ClassVar[str] = "sklearn.metrics.log_loss, keras.metrics.SparseCategoricalCrossentropy"

    epsilon: float = Field(0.0, ge=0, lt=0.5, description="probabilities are clipped to [epsilon, 1 - epsilon]")

    def terms(self, labels: Any, predictions: Any) -> dict[str, Term]:
        """Return the negative log likelihood of each label."""
        import tensorflow as tf

        scores = tf.cast(predictions, tf.float64)
        if self.from_logits:
            own = tf.gather(scores, labels, axis=1, batch_dims=1)
            top = tf.reduce_max(scores, axis=1)
            # ln sum exp, shifted by the largest logit so that nothing overflows
            loss = tf.math.log(tf.reduce_sum(tf.exp(scores - top[:, None]), axis=1)) + (top - own)
            if self.epsilon:
                loss = tf.clip_by_value(loss, -math.log1p(-self.epsilon), -math.log(self.epsilon))
        else:
            own = tf.gather(scores, labels, axis=1, batch_dims=1)
            if self.epsilon:
                own = tf.clip_by_value(own, self.epsilon, 1.0 - self.epsilon)
            loss = -tf.math.log(own)
        return {"loss": Number(loss, spread=True)}

    def value(self, totals: Totals) -> float:
        """Return the mean loss."""
        return totals.mean("loss")

    def standard_error(self, totals: Totals) -> float | None:
        """Return that of the mean."""
        return totals.mean_error("loss")


class _PerClass(ClassMetric):
    """Base of metrics made of true positives, predicted and labelled positions of each class.

    A class that is neither labelled nor predicted takes no part in an average. A class whose share is 0/0 makes the
    average null, unless `zero_division` says what it counts as.
    """

    average: Average = Field(
        "macro",
        description="macro: mean over classes; weighted: the same, by labels; micro: of all classes together; "
        "per_class: one value each; binary: of the class `positive`",
    )
    positive: int = Field(1, ge=0, description="the class that average: binary reports")
    zero_division: Literal[0, 1] | None = Field(None, description="what 0/0 counts as; null: the value is null, with a reason")

    @field_validator("average", mode="before")
    @classmethod
    def _none_is_per_class(cls, value: Any) -> Any:
        return "per_class" if value in (None, "none") else value

    def terms(self, labels: Any, predictions: Any) -> dict[str, Term]:
        """Count each class where it is labelled, where it is predicted, and where both agree."""
        import tensorflow as tf

        size = predictions.shape[-1]
        if self.average == "binary" and self.positive >= size:
            raise ShapeError(f"positive={self.positive}, but the output has {size} classes")
        found = self.predicted(predictions)
        hit = tf.where(found == labels, labels, -1)
        return {"hits": Count(hit, size), "predicted": Count(found, size), "labelled": Count(labels, size)}

    def share(self, hits: Fraction, predicted: Fraction, labelled: Fraction) -> tuple[Fraction, Fraction]:
        """Return numerator and denominator for one class, or for all together."""
        raise NotImplementedError

    def value(self, totals: Totals) -> float | dict[str, float | None]:
        """Return the average, or the value of each class."""
        columns = [totals.exact(name) for name in ("hits", "predicted", "labelled")]
        names = class_names(totals, len(columns[0]))
        if self.average == "micro":
            return self._divide("all classes", *(sum(column, Fraction(0)) for column in columns))
        if self.average == "binary":
            return self._divide(names[self.positive], *(column[self.positive] for column in columns))
        classes = list(zip(names, *columns, strict=True))
        if self.average == "per_class":
            return {name: self._or_none(name, *sums) for name, *sums in classes}
        present = [(name, *sums) for name, *sums in classes if sums[1] or sums[2]]
        if self.average == "weighted":
            # A class without labels has no weight in the average, so its value is not asked for.
            parts = [float(sums[2]) * self._divide(name, *sums) for name, *sums in present if sums[2]]
            total = float(sum((sums[2] for _, *sums in present), Fraction(0)))
        else:
            parts = [self._divide(name, *sums) for name, *sums in present]
            total = float(len(present))
        if not total:
            raise Undefined("no class has any weight")
        return math.fsum(parts) / total

    def _divide(self, name: str, hits: Fraction, predicted: Fraction, labelled: Fraction) -> float:
        above, below = self.share(hits, predicted, labelled)
        if not below and self.zero_division is not None:
            return float(self.zero_division)
        what = "never predicted" if not predicted else "not among the labels"
        return ratio(above, below, f"class {name} is 0/0: {what} (zero_division: 0 or 1 says what it counts as)")

    def _or_none(self, name: str, hits: Fraction, predicted: Fraction, labelled: Fraction) -> float | None:
        try:
            return self._divide(name, hits, predicted, labelled)
        except Undefined:
            return None


class Precision(_PerClass):
    """Share of the positions predicted as a class that have its label."""

    summary: ClassVar[str] = "TP / (TP + FP) per class, averaged"
    source: ClassVar[str] = "sklearn.metrics.precision_score"

    def share(self, hits: Fraction, predicted: Fraction, labelled: Fraction) -> tuple[Fraction, Fraction]:
        """Return hits over predicted."""
        return hits, predicted


class Recall(_PerClass):
    """Share of the positions labelled with a class that are predicted as it."""

    summary: ClassVar[str] = "TP / (TP + FN) per class, averaged"
    source: ClassVar[str] = "sklearn.metrics.recall_score"

    def share(self, hits: Fraction, predicted: Fraction, labelled: Fraction) -> tuple[Fraction, Fraction]:
        """Return hits over labelled."""
        return hits, labelled


class FBeta(_PerClass):
    """Weighted harmonic mean of precision and recall; recall counts beta times as much."""

    summary: ClassVar[str] = "(1 + b^2) TP / ((1 + b^2) TP + b^2 FN + FP) per class, averaged"
    source: ClassVar[str] = "sklearn.metrics.fbeta_score"

    beta: float = Field(1.0, gt=0, allow_inf_nan=False, description="how much more recall counts than precision")

    def share(self, hits: Fraction, predicted: Fraction, labelled: Fraction) -> tuple[Fraction, Fraction]:
        """Return the ratio in sums: TP + FN is `labelled`, TP + FP is `predicted`."""
        square = Fraction(self.beta) ** 2
        return (1 + square) * hits, square * labelled + predicted


class ConfusionMatrix(ClassMetric):
    """Positions (or their weight) by label and predicted class."""

    summary: ClassVar[str] = "M[i, j] = sum of w [y = i and argmax p = j]"
    source: ClassVar[str] = "sklearn.metrics.confusion_matrix"

    def terms(self, labels: Any, predictions: Any) -> dict[str, Term]:
        """Count each pair of label and predicted class."""
        size = predictions.shape[-1]
        return {"pairs": Count(labels * size + self.predicted(predictions), size * size)}

    def value(self, totals: Totals) -> Table:
        """Return one line per label, one column per predicted class."""
        pairs = totals["pairs"]
        size = math.isqrt(len(pairs))
        names = class_names(totals, size)
        lines = pairs.reshape(size, size).tolist()
        return Table(("label", *names), tuple((name, *line) for name, line in zip(names, lines, strict=True)))
