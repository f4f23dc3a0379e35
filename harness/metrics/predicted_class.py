"""Which class a model predicts: bases of the metrics of a class label. TensorFlow is imported where the graph is built."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from harness.errors import ShapeError
from harness.metrics.contract import Count, CountTotals, Inputs, Metric, Proportion, ScoreScale, Term, Totals
from harness.metrics.shares import Average, OneVsRest, Share, averaged, averaged_draws, support, together
from harness.metrics.thresholds import RAW_SCORES, check_probability, log_odds, scale_of

__all__ = ["ClassMetric", "PerClassMetric", "PredictedClassMetric", "class_names"]


class ClassMetric(Metric):
    """Base of metrics that compare a class label with a score per class.

    An output with one score per position is read as the score of class 1 of two.
    """

    inputs: ClassVar[Inputs] = Inputs.CLASSES
    score_scale: ClassVar[ScoreScale] = ScoreScale.DECISION

    ignore_label: int | None = Field(None, description="positions with this label are left out")
    from_logits: bool = Field(False, description="the output holds logits, not probabilities")
    one_hot: bool = Field(False, description="the label is one-hot, a row [..., C] with a 1 for its class; all zeros: class -1")


class PredictedClassMetric(ClassMetric):
    """Base of metrics that compare a class label with the predicted class.

    The predicted class is the one with the highest score, the lowest index among equals; with `threshold`, class 1
    where its score exceeds the threshold, rounded to the output's own precision, or, with `from_logits`, its probability in
    float64. With `classes`, the output is itself the predicted class, an integer in [0, classes) for each label.
    """

    threshold: float | None = Field(None, description="of two classes, class 1 is predicted where its score exceeds this")
    classes: int | None = Field(None, ge=2, description="how many classes, where the output is the predicted class itself")
    raw_scores: bool = Field(False, description=RAW_SCORES)

    @model_validator(mode="after")
    def _one_way_to_decide(self) -> Self:
        if self.classes is not None and (self.threshold is not None or self.from_logits):
            raise ValueError("classes: the output is the predicted class, threshold and from_logits are for scores")
        if self.raw_scores and self.threshold is None:
            raise ValueError("raw_scores: needs the threshold that scores are compared with")
        if self.from_logits and self.threshold is not None:
            check_probability(self.threshold)
        return self

    def expected_scale(self) -> ScoreScale:
        """Return what decides the class: a threshold, or the highest score."""
        if self.classes is not None:
            return ScoreScale.ANY
        return self.score_scale if self.threshold is None else scale_of([self.threshold], raw_scores=self.raw_scores)

    def size(self, predictions: Any) -> int:
        """Return how many classes there are."""
        return self.classes or int(predictions.shape[-1])

    def predicted(self, predictions: Any) -> Any:
        """Return the predicted class, int32 [N], from scores [N, C] or predicted classes [N].

        Raises: ShapeError: a threshold was given and there are more than two classes.
        """
        import tensorflow as tf

        from harness.exact.tf_subnormals import difference, exceeds, highest, widened

        if self.classes is not None:
            return tf.cast(predictions, tf.int32)
        if self.threshold is None:
            return highest(predictions)
        if predictions.shape[-1] != 2:
            raise ShapeError(f"threshold needs an output of one score or two classes, found {predictions.shape[-1]} classes")
        if self.from_logits:
            odds = difference(widened(predictions[:, 1]), widened(predictions[:, 0]))
            return tf.cast(exceeds(odds, log_odds(self.threshold)), tf.int32)
        return tf.cast(exceeds(predictions[:, 1], self.threshold), tf.int32)


def class_names(totals: Totals | CountTotals, count: int) -> tuple[str, ...]:
    """Return the names of the classes: the job's, else their numbers."""
    names = totals.classes or ()
    return names if len(names) == count else tuple(str(c) for c in range(count))


class PerClassMetric(PredictedClassMetric):
    """Base of metrics made of true positives, predicted and labelled positions of each class.

    A class that is neither labelled nor predicted, or only with weight 0, takes no part in an average (scikit-learn lets
    weight 0 take part). A class whose share is 0/0 makes the average null, unless `zero_division` says what it counts as
    (scikit-learn takes 0 and warns).
    """

    proportions: ClassVar[tuple[Average, ...]] = ()  # averages of which each number is k of n, n given

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

    def statistic(self) -> Hashable:
        """Return what tells these sums apart: all averages are made of the same. Who decides otherwise counts otherwise."""
        decided = type(self).predicted, type(self).size
        return decided, self.threshold, self.from_logits, self.classes

    def terms(self, labels: Any, predictions: Any) -> dict[str, Term]:
        """Count each class where it is labelled, where it is predicted, and where both agree."""
        import tensorflow as tf

        size = self.size(predictions)
        if self.average == "binary" and self.positive >= size:
            raise ShapeError(f"positive={self.positive}, but the output has {size} classes")
        predicted = self.predicted(predictions)
        hit = tf.where(predicted == labels, labels, -1)
        return {"hits": Count(hit, size), "predicted": Count(predicted, size), "labelled": Count(labels, size)}

    @property
    def first_class(self) -> int:
        """The first of the classes that take part."""
        return 0

    def share(self, sums: OneVsRest) -> Share:
        """Return the share of one class, or of all together."""
        raise NotImplementedError

    def value(self, totals: Totals) -> float | dict[str, float | None]:
        """Return the average, or the value of each class."""
        return averaged(self.counted(totals), self.share, self.average, zero_division=self.zero_division, positive=self.positive)

    def values(self, totals: CountTotals) -> list[Any] | None:
        """Return the averages, or the values of each class, of many draws."""
        hits, predicted, labelled = (totals.counts[name][:, self.first_class :] for name in ("hits", "predicted", "labelled"))
        sums = OneVsRest(hits, predicted, labelled, totals.positions[:, None])
        names = class_names(totals, self.first_class + hits.shape[1])[self.first_class :]
        return averaged_draws(names, sums, self.share, self.average, zero_division=self.zero_division, positive=self.positive)

    def proportion(self, totals: Totals) -> Proportion | dict[str, Proportion] | None:
        """Return above and below of each share where an example is at most once in either."""
        if self.average not in self.proportions:
            return None
        classes = self.counted(totals)
        if self.average == "per_class":
            return {name: self.share(sums).proportion for name, sums in classes}
        sums = classes[self.positive][1] if self.average == "binary" else together([sums for _, sums in classes])
        return self.share(sums).proportion

    def class_support(self, totals: Totals) -> dict[str, float] | None:
        """Return how often each class is labelled, where the value is by class."""
        return support(self.counted(totals)) if self.average == "per_class" else None

    def counted(self, totals: Totals) -> list[tuple[str, OneVsRest]]:
        """Return name and sums of every class that takes part."""
        hits, predicted, labelled = (totals.exact(name) for name in ("hits", "predicted", "labelled"))
        every = [
            (name, OneVsRest(hits[c], predicted[c], labelled[c], totals.exact_weight))
            for c, name in enumerate(class_names(totals, len(hits)))
        ]
        return every[self.first_class :]
