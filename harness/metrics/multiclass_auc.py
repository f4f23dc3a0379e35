"""Areas under the ROC curves of several classes, exact: each class against the rest, or each pair of classes."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from harness.exact import wide_integers as wide
from harness.metrics.classification import class_names
from harness.metrics.contract import Binding, Inputs, RowMetric, Rows, Term, Totals, Undefined

if TYPE_CHECKING:
    from harness.metrics.row_part import Part

__all__ = ["OneVsOneRocAuc", "OneVsRestRocAuc"]

PAIR = 1 << 32  # a pair of classes (a, b) is the group a * PAIR + b


class _Areas(RowMetric):
    """Base of averages of areas; a group of rows is one curve, sorted by ascending score."""

    inputs: ClassVar[Inputs] = Inputs.CLASSES
    additive: ClassVar[tuple[str, ...] | None] = ("positive",)

    average: Literal["macro", "weighted"] = Field("macro", description="each curve alike, or by how many examples it speaks of")
    from_logits: bool = Field(False, description="the output holds logits, not probabilities: classes go by their log odds")
    ignore_label: int | None = Field(None, description="positions with this label are left out")
    one_hot: bool = Field(False, description="the label is one-hot, a row [..., C] with a 1 for its class; all zeros: class -1")

    def scores(self, predictions: Any) -> Any:
        """Return what examples are ordered by, float64 [N, C]."""
        import tensorflow as tf

        from harness.exact.tf_subnormals import widened

        scores = widened(predictions)
        if not self.from_logits:
            return scores
        columns = [tf.concat([scores[:, :c], scores[:, c + 1 :]], axis=1) for c in range(scores.shape[-1])]
        return scores - tf.stack([tf.reduce_logsumexp(others, axis=1) for others in columns], axis=1)

    def fold(self, part: Part) -> dict[str, Any]:
        """Return of each group twice the pairs won (ties once), and how many are positive and negative."""
        if not len(part):
            return {}
        assert part.group is not None
        p = part.per_tie(part.mass("positive"))
        n = part.per_tie(part.counts) - p
        group = part.group if part.untied else part.group[part.ties]
        starts = np.flatnonzero(np.concatenate([[True], group[1:] != group[:-1]]))
        areas: dict[str, Any] = {}
        for start, stop in zip(starts.tolist(), [*starts[1:].tolist(), len(group)], strict=True):
            positive, negative = p[start:stop], n[start:stop]
            below = wide.cumulative(negative) - negative
            key = int(group[start])
            areas[f"{key} wins"] = 2 * wide.dot(positive, below) + wide.dot(positive, negative)
            areas[f"{key} positive"], areas[f"{key} negative"] = wide.total(positive), wide.total(negative)
        return areas

    def curves(self, totals: Totals) -> dict[int, tuple[Fraction, Fraction, Fraction]]:
        """Return doubled wins, positives and negatives by group, ascending.

        Raises: Undefined: there are none.
        """
        groups = sorted({int(name.split()[0]) for name in totals if name.endswith(" wins")})
        if not groups:
            raise Undefined("there is nothing to score")
        parts = ("wins", "positive", "negative")
        return {group: tuple(Fraction(totals.exact(f"{group} {part}")) for part in parts) for group in groups}  # type: ignore[misc]


class OneVsRestRocAuc(_Areas):
    """Mean over classes of the area under the ROC curve of a class against the rest; ties count by half. Exact.

    A class that no example has, or that all have, has no area: the mean is null. Weighted, a class counts for the weight
    of its examples, and one without any is left out.
    """

    summary: ClassVar[str] = "mean over classes c of P(p_c of an example of c > p_c of another), ties by half"
    source: ClassVar[str] = "sklearn.metrics.roc_auc_score(multi_class='ovr'); T. Fawcett, An introduction to ROC analysis, 2006"

    def terms(self, labels: Any, predictions: Any) -> dict[str, Term]:
        """Keep the score of each position for each class."""
        import tensorflow as tf

        count, classes = predictions.shape
        score = self.scores(predictions)
        positive = tf.cast(labels[:, None] == tf.range(classes), tf.int64)
        group = tf.tile(tf.range(classes, dtype=tf.int64)[None], [count, 1])
        owner = tf.repeat(tf.range(count), classes)
        flat = {"positive": tf.reshape(positive, [-1])}
        return {"rows": Rows(tf.reshape(score, [-1]), flat, tf.reshape(group, [-1]), owner)}

    def value(self, totals: Totals) -> float:
        """Return the mean of the areas, rounded once."""
        curves = self.curves(totals)
        names = class_names(totals, max(curves) + 1)
        total = weight = Fraction(0)
        for c, (wins, positive, negative) in curves.items():
            if not positive and self.average == "weighted":
                continue
            if not positive or not negative:
                who = "no example" if not positive else "every example"
                raise Undefined(f"{who} is of class {names[c]}: its area against the rest is not defined")
            times = positive if self.average == "weighted" else Fraction(1)
            total += times * wins / (2 * positive * negative)
            weight += times
        return float(total / weight)


class OneVsOneRocAuc(_Areas):
    """Mean over pairs of classes of the area between the two, of either one's score; ties count by half. Exact.

    A pair with a class that no example has makes the mean null. Weighted, a pair counts for its examples, and one without
    any is left out. Keeps 2 (C - 1) rows an example.
    """

    summary: ClassVar[str] = "mean over pairs a, b of (A(a|b) + A(b|a)) / 2"
    source: ClassVar[str] = "sklearn.metrics.roc_auc_score(multi_class='ovo'); D. J. Hand, R. J. Till, Machine Learning 45, 2001"
    takes_weights: ClassVar[bool] = False

    def binding(self, output: str, label: str | None, weight: str | None) -> Binding:
        """Return what the metric reads: no weights, Hand and Till define none."""
        return super().binding(output, label, None)

    def terms(self, labels: Any, predictions: Any) -> dict[str, Term]:
        """Keep the scores of each position in the curves of its class against every other, and of every other against it."""
        import tensorflow as tf

        count, classes = predictions.shape
        score = self.scores(predictions)
        step = tf.range(1, classes)
        other = (labels[:, None] + step) % classes  # [N, C - 1], all but its own
        own = tf.cast(tf.repeat(labels[:, None], classes - 1, axis=1), tf.int64)
        wide_other = tf.cast(other, tf.int64)
        mine = tf.repeat(tf.gather(score, labels[:, None], batch_dims=1), classes - 1, axis=1)
        key = tf.concat([mine, tf.gather(score, other, batch_dims=1)], axis=1)
        group = tf.concat([own * PAIR + wide_other, wide_other * PAIR + own], axis=1)
        positive = tf.concat([tf.ones_like(own), tf.zeros_like(own)], axis=1)
        owner = tf.repeat(tf.range(count), 2 * (classes - 1))
        flat = {"positive": tf.reshape(positive, [-1])}
        return {"rows": Rows(tf.reshape(key, [-1]), flat, tf.reshape(group, [-1]), owner)}

    def value(self, totals: Totals) -> float:
        """Return the mean of the areas, rounded once."""
        curves = self.curves(totals)
        classes = 1 + max(max(divmod(group, PAIR)) for group in curves)
        names = class_names(totals, classes)
        nothing = (Fraction(0),) * 3
        total = weight = Fraction(0)
        for a in range(classes):
            for b in range(a + 1, classes):
                first, second = curves.get(a * PAIR + b, nothing), curves.get(b * PAIR + a, nothing)
                here, there = first[1], second[1]  # examples of a, and of b
                if self.average == "weighted" and not here + there:
                    continue
                if not here or not there:
                    missing, left = (b, a) if here else (a, b)
                    raise Undefined(f"no example is of class {names[missing]}: its area against {names[left]} is not defined")
                times = here + there if self.average == "weighted" else Fraction(1)
                total += times * (first[0] + second[0]) / (4 * here * there)
                weight += times
        return float(total / weight)
