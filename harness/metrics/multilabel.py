"""Metrics of several labels at once, each 0 or 1, against a score per label. TensorFlow is imported where the graph is built."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from harness.metrics import shares
from harness.metrics.classification import class_names
from harness.metrics.contract import (
    Count,
    Inputs,
    Metric,
    Number,
    PlainMean,
    Proportion,
    ScoreScale,
    Term,
    Totals,
    Undefined,
    ratio,
)
from harness.metrics.shares import OneVsRest, Share, averaged, support
from harness.metrics.thresholds import RAW_SCORES, check_probability, log_odds, scale_of

__all__ = [
    "ExactMatch", "HammingLoss", "MultilabelAccuracy", "MultilabelFBeta", "MultilabelJaccard", "MultilabelPrecision",
    "MultilabelRecall", "MultilabelSpecificity", "PerLabelMetric",
]  # fmt: skip


class _Decided(Metric):
    """Base of metrics that compare each label with a decision: found where the score exceeds the threshold."""

    inputs: ClassVar[Inputs] = Inputs.MULTILABEL

    threshold: float = Field(0.5, allow_inf_nan=False, description="a label is predicted where its score exceeds this")
    from_logits: bool = Field(False, description="the output holds logits: their probability is compared with the threshold")
    raw_scores: bool = Field(False, description=RAW_SCORES)

    @model_validator(mode="after")
    def _a_logit_has_a_probability(self) -> Self:
        if self.from_logits:
            check_probability(self.threshold)
        return self

    def expected_scale(self) -> ScoreScale:
        """Return what the threshold is compared with."""
        return scale_of([self.threshold], raw_scores=self.raw_scores)

    def found(self, predictions: Any) -> Any:
        """Return which labels are found, int32 [N, L]."""
        import tensorflow as tf

        from harness.exact.tf_subnormals import exceeds, widened

        if self.from_logits:
            return tf.cast(exceeds(widened(predictions), log_odds(self.threshold)), tf.int32)
        return tf.cast(exceeds(predictions, self.threshold), tf.int32)


class PerLabelMetric(_Decided):
    """Base of metrics made of true positives, predicted and labelled positions of each label.

    `average`: the mean of the labels (`macro`, all of them), all labels together (`micro`), by how often each is labelled
    (`weighted`), each label (`per_class`), or the mean of the examples (`samples`), each with all its labels together.
    A share of 0/0 makes an average null, unless `zero_division` says what it counts as (scikit-learn takes 0 and warns).
    A threshold between 0 and 1 is compared with probabilities; any other with scores as they are, as 0 with logits. It is
    rounded to the output's own precision.
    """

    is_proportion: ClassVar[bool] = True  # whether the share of one label is k of n, n given

    average: Literal["macro", "micro", "weighted", "per_class", "samples"] = Field(
        "macro",
        description="macro: mean over labels; weighted: the same, by labels; "
        "micro: of all together; per_class: one value each; samples: mean over examples",
    )
    zero_division: Literal[0, 1] | None = Field(None, description="what 0/0 counts as; null: the value is null, with a reason")

    @field_validator("average", mode="before")
    @classmethod
    def _none_is_per_class(cls, value: Any) -> Any:
        return "per_class" if value in (None, "none") else value

    def share(self, sums: OneVsRest) -> Share:
        """Return the share of one label, or of all together. Works on arrays of numbers as on fractions."""
        raise NotImplementedError

    def terms(self, labels: Any, predictions: Any) -> dict[str, Term]:
        """Mark what is found, labelled and both, for each label; for `samples`, return the share of each example."""
        import tensorflow as tf

        called = self.found(predictions)
        sums = [tf.cast(flags, tf.float64) for flags in (labels * called, called, labels)]
        if self.average != "samples":
            return {name: Number(flags) for name, flags in zip(("hits", "predicted", "labelled"), sums, strict=True)}
        width = tf.fill(tf.shape(labels)[:1], tf.cast(labels.shape[-1], tf.float64))
        hits, predicted, labelled = (tf.reduce_sum(flags, axis=1) for flags in sums)
        share = self.share(OneVsRest(hits, predicted, labelled, width))
        undefined = share.below == 0
        empty = tf.fill(tf.shape(width), tf.cast(self.zero_division or 0, tf.float64))
        value = tf.where(undefined, empty, share.above / tf.where(undefined, tf.ones_like(width), share.below))
        return {"share": Number(value, spread=True), "undefined": Count(tf.cast(undefined, tf.int32), 2)}

    def value(self, totals: Totals) -> float | dict[str, float | None]:
        """Return the average, or the value of each label."""
        if self.average == "samples":
            if self.zero_division is None and totals["undefined"][1]:
                raise Undefined("some examples are 0/0 (zero_division: 0 or 1 says what they count as)")
            return totals.mean("share")
        return averaged(self.counted(totals), self.share, self.average, zero_division=self.zero_division, absent_count=True)

    def counted(self, totals: Totals) -> list[tuple[str, OneVsRest]]:
        """Return name and sums of every label."""
        hits, predicted, labelled = (totals.exact(name) for name in ("hits", "predicted", "labelled"))
        return [
            (name, OneVsRest(hits[i], predicted[i], labelled[i], totals.exact_weight))
            for i, name in enumerate(class_names(totals, len(hits)))
        ]

    def proportion(self, totals: Totals) -> dict[str, Proportion] | None:
        """Return the share of each label as k of n, where those are the value."""
        if self.average != "per_class" or not self.is_proportion:
            return None
        return {name: self.share(sums).proportion for name, sums in self.counted(totals)}

    def class_support(self, totals: Totals) -> dict[str, float] | None:
        """Return how often each label is set, where the value is by label."""
        return support(self.counted(totals)) if self.average == "per_class" else None

    def standard_error(self, totals: Totals) -> float | None:
        """Return that of the mean over examples; the other averages have none."""
        return totals.mean_error("share") if self.average == "samples" else None


class MultilabelAccuracy(PerLabelMetric):
    """Share of the positions where a label is rightly found or rightly not; see `exact_match` for all labels at once.

    scikit-learn's accuracy_score of several labels is `exact_match`.
    """

    summary: ClassVar[str] = "(TP + TN) / n per label, averaged"
    source: ClassVar[str] = "torchmetrics.classification.MultilabelAccuracy, keras.metrics.BinaryAccuracy"

    def share(self, sums: OneVsRest) -> Share:
        """Return what is right over all."""
        return shares.accuracy(sums)


class MultilabelPrecision(PerLabelMetric):
    """Share of what is found that is labelled."""

    summary: ClassVar[str] = "TP / (TP + FP) per label, averaged"
    source: ClassVar[str] = "sklearn.metrics.precision_score"

    def share(self, sums: OneVsRest) -> Share:
        """Return hits over predicted."""
        return shares.precision(sums)


class MultilabelRecall(PerLabelMetric):
    """Share of what is labelled that is found."""

    summary: ClassVar[str] = "TP / (TP + FN) per label, averaged"
    source: ClassVar[str] = "sklearn.metrics.recall_score"

    def share(self, sums: OneVsRest) -> Share:
        """Return hits over labelled."""
        return shares.recall(sums)


class MultilabelSpecificity(PerLabelMetric):
    """Share of what is not labelled that is not found either."""

    summary: ClassVar[str] = "TN / (TN + FP) per label, averaged"
    source: ClassVar[str] = "torchmetrics.classification.MultilabelSpecificity"

    def share(self, sums: OneVsRest) -> Share:
        """Return true negatives over negatives."""
        return shares.specificity(sums)


class MultilabelFBeta(PerLabelMetric):
    """Weighted harmonic mean of precision and recall; recall counts beta times as much."""

    summary: ClassVar[str] = "(1 + b^2) TP / ((1 + b^2) TP + b^2 FN + FP) per label, averaged"
    is_proportion: ClassVar[bool] = False
    source: ClassVar[str] = "sklearn.metrics.fbeta_score"

    beta: float = Field(1.0, gt=0, allow_inf_nan=False, description="how much more recall counts than precision")

    def share(self, sums: OneVsRest) -> Share:
        """Return the ratio in sums of hits, labelled and predicted."""
        exact = isinstance(sums.hits, Fraction)
        return shares.f_beta(sums, Fraction(self.beta) ** 2 if exact else self.beta**2)


class MultilabelJaccard(PerLabelMetric):
    """What is both labelled and found, among what is either."""

    summary: ClassVar[str] = "TP / (TP + FP + FN) per label, averaged"
    source: ClassVar[str] = "sklearn.metrics.jaccard_score"

    def share(self, sums: OneVsRest) -> Share:
        """Return hits over labelled or predicted."""
        return shares.jaccard(sums)


class HammingLoss(_Decided):
    """Share of all labels of all examples that are wrong."""

    summary: ClassVar[str] = "sum of w (labels that differ) / (L sum of w)"
    source: ClassVar[str] = "sklearn.metrics.hamming_loss"

    def terms(self, labels: Any, predictions: Any) -> dict[str, Term]:
        """Return the share of wrong labels of each example."""
        import tensorflow as tf

        wrong = tf.reduce_sum(tf.cast(self.found(predictions) != labels, tf.int32), axis=1)
        # Whole numbers add up without rounding, so the division by L is left to the end.
        every = tf.fill(tf.shape(wrong), tf.cast(labels.shape[-1], tf.float64))
        return {"wrong": Number(tf.cast(wrong, tf.float64), spread=True), "labels": Number(every)}

    def value(self, totals: Totals) -> float:
        """Return the share of wrong labels."""
        return ratio(totals.exact("wrong"), totals.exact("labels"), "the total weight is zero")

    def standard_error(self, totals: Totals) -> float | None:
        """Return that of the mean over examples."""
        error = totals.mean_error("wrong")
        return None if error is None else error / totals.mean("labels")


class ExactMatch(_Decided):
    """Share of examples whose labels are all right, also subset accuracy."""

    summary: ClassVar[str] = "sum of w [all labels right] / sum of w"
    source: ClassVar[str] = "sklearn.metrics.accuracy_score of several labels"
    plain: ClassVar[PlainMean | None] = PlainMean("right", 1)

    def terms(self, labels: Any, predictions: Any) -> dict[str, Term]:
        """Mark each example whose labels are all right."""
        import tensorflow as tf

        right = tf.reduce_all(self.found(predictions) == labels, axis=1)
        return {"right": Count(tf.cast(right, tf.int32), 2)}

    def value(self, totals: Totals) -> float:
        """Return the share of examples."""
        return ratio(totals.part("right", 1), totals.exact_weight, "the total weight is zero")

    def standard_error(self, totals: Totals) -> float | None:
        """Return that of a proportion."""
        return totals.share_error(self.value(totals))

    def proportion(self, totals: Totals) -> Proportion:
        """Return how many are all right, of how many."""
        return totals.proportion(totals.part("right", 1))
