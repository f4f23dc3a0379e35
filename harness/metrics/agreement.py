"""Metrics of chance-corrected agreement between labels and predicted classes. TensorFlow is imported where the graph is built.

None of them needs the confusion matrix: its margins and its diagonals do, so that a thousand classes cost thousands of
sums, not a million. The values are formed in fractions, where what is near chance would cancel.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator

from harness.metrics.classification import PredictedClassMetric
from harness.metrics.contract import Count, CountTotals, Term, Totals, Undefined, ratio

__all__ = ["BalancedAccuracy", "CohenKappa", "MatthewsCorrelation"]


class _Agreement(PredictedClassMetric):
    """Base: the margins of the confusion matrix, and its diagonals."""

    def terms(self, labels: Any, predictions: Any) -> dict[str, Term]:
        """Count labels, predicted classes, and the distance between the two."""
        import tensorflow as tf

        size = self.size(predictions)
        predicted = self.predicted(predictions)
        return {
            "labelled": Count(labels, size),
            "predicted": Count(predicted, size),
            "distance": Count(tf.abs(labels - predicted), size),
        }


class BalancedAccuracy(PredictedClassMetric):
    """Mean recall of the classes that occur among the labels.

    `adjusted` moves chance to 0 and leaves 1 where it is, by the number of classes among the labels.
    """

    summary: ClassVar[str] = "mean over labelled classes of TP / (TP + FN); adjusted: (mean - 1/C) / (1 - 1/C)"
    source: ClassVar[str] = "sklearn.metrics.balanced_accuracy_score"

    adjusted: bool = Field(False, description="take chance to 0: (value - 1/C) / (1 - 1/C)")

    def terms(self, labels: Any, predictions: Any) -> dict[str, Term]:
        """Count each class where it is labelled, and where it is found too."""
        import tensorflow as tf

        size = self.size(predictions)
        hit = tf.where(self.predicted(predictions) == labels, labels, -1)
        return {"hits": Count(hit, size), "labelled": Count(labels, size)}

    def value(self, totals: Totals) -> float:
        """Return the mean recall."""
        pairs = zip(totals.exact("hits"), totals.exact("labelled"), strict=True)
        recalls = [hits / labelled for hits, labelled in pairs if labelled]
        if not recalls:
            raise Undefined("the total weight is zero")
        total = sum(recalls, Fraction(0))
        if self.adjusted:
            return ratio(total - 1, len(recalls) - 1, "there is one class among the labels: chance is perfect")
        return float(total / len(recalls))


class CohenKappa(_Agreement):
    """Agreement beyond what the margins give by chance.

    `weights` says how much a disagreement counts: all alike (null), its distance in class numbers (`linear`), or the
    square of it (`quadratic`). Distances are between class numbers, whether or not a class occurs: scikit-learn, unless
    it is given all `labels`, numbers only those that occur.
    """

    summary: ClassVar[str] = "1 - sum of d(i, j) M[i, j] / sum of d(i, j) row[i] column[j] / n"
    source: ClassVar[str] = "sklearn.metrics.cohen_kappa_score(labels=range(C))"

    weights: Literal["linear", "quadratic"] | None = Field(
        None, description="how much a disagreement counts: by distance of the classes, or its square; null: all alike"
    )

    @field_validator("weights", mode="before")
    @classmethod
    def _none_is_plain(cls, value: Any) -> Any:
        return None if value == "none" else value

    def value(self, totals: Totals) -> float:
        """Return 1 - observed / expected disagreement."""
        rows, columns = totals.on_grid("labelled"), totals.on_grid("predicted")
        distance = totals.on_grid("distance")
        total = totals.exact_weight
        numbers = range(len(rows))
        if self.weights is None:
            observed = sum(distance[1:], Fraction(0))
            expected = total**2 - sum(rows * columns)
        elif self.weights == "linear":
            observed = sum(d * distance[d] for d in numbers)
            # |i - j| counts the cuts between two classes that i and j lie on either side of.
            expected = below_row = below_column = Fraction(0)
            for row, column in zip(rows, columns, strict=True):
                below_row += row
                below_column += column
                expected += below_row * (total - below_column) + below_column * (total - below_row)
        else:
            observed = sum(d * d * distance[d] for d in numbers)
            mixed = sum(i * rows[i] for i in numbers) * sum(i * columns[i] for i in numbers)
            expected = total * sum(i * i * (rows[i] + columns[i]) for i in numbers) - 2 * mixed
        return ratio(expected - observed * total, expected, "all labels and predictions are one class: chance is perfect")

    def values(self, totals: CountTotals) -> list[float | None] | None:
        """Return those of many draws, where the weights do not make the sums too large for 64 bits."""
        rows, columns, distance = (totals.counts[name] for name in ("labelled", "predicted", "distance"))
        total, number = totals.positions, np.arange(rows.shape[1])
        largest = {None: 1, "linear": len(number), "quadratic": 2 * len(number) ** 2}[self.weights]
        if int(total.max(initial=0)) ** 2 * largest >= 1 << 62:
            return None
        if self.weights is None:
            observed = distance[:, 1:].sum(axis=1)
            expected = total**2 - (rows * columns).sum(axis=1)
        elif self.weights == "linear":
            observed = distance @ number
            below_rows, below_columns = np.cumsum(rows, axis=1), np.cumsum(columns, axis=1)
            expected = (below_rows * (total[:, None] - below_columns) + below_columns * (total[:, None] - below_rows)).sum(axis=1)
        else:
            observed = distance @ number**2
            expected = total * ((rows + columns) @ number**2) - 2 * (rows @ number) * (columns @ number)
        pairs = zip((expected - observed * total).tolist(), expected.tolist(), strict=True)
        return [above / below if below else None for above, below in pairs]


class MatthewsCorrelation(_Agreement):
    """Correlation of labels and predicted classes (phi for two classes, R_K for more; J. Gorodkin, 2004).

    Null where all labels, or all predictions, are one class; scikit-learn then gives 0.
    """

    summary: ClassVar[str] = "(n sum M[i, i] - sum row[i] column[i]) / sqrt((n^2 - sum row^2) (n^2 - sum column^2))"
    source: ClassVar[str] = "sklearn.metrics.matthews_corrcoef"

    def value(self, totals: Totals) -> float:
        """Return covariance over the root of the variances."""
        rows, columns = totals.on_grid("labelled"), totals.on_grid("predicted")
        square = totals.exact_weight**2
        covariance = totals.on_grid("distance")[0] * totals.exact_weight - sum(rows * columns)
        of_labels, of_predictions = square - sum(rows * rows), square - sum(columns * columns)
        for variance, what in ((of_labels, "labels"), (of_predictions, "predictions")):
            if not variance:
                raise Undefined(f"all {what} are one class")
        # Squared first, so that one division is rounded and nothing overflows under the root.
        size = math.sqrt(Fraction(covariance**2) / (of_labels * of_predictions))
        return math.copysign(min(size, 1.0), covariance) if covariance else 0.0

    def values(self, totals: CountTotals) -> list[float | None] | None:
        """Return those of many draws, where the squares fit into 64 bits."""
        rows, columns = totals.counts["labelled"], totals.counts["predicted"]
        if int(totals.positions.max(initial=0)) >= 1 << 31:
            return None
        square = totals.positions**2
        covariances = (totals.counts["distance"][:, 0] * totals.positions - (rows * columns).sum(axis=1)).tolist()
        variances = [(square - (margin * margin).sum(axis=1)).tolist() for margin in (rows, columns)]
        values: list[float | None] = []
        for covariance, of_labels, of_predictions in zip(covariances, *variances, strict=True):
            if not of_labels or not of_predictions:
                values.append(None)
                continue
            size = math.sqrt(covariance**2 / (of_labels * of_predictions))
            values.append(math.copysign(min(size, 1.0), covariance) if covariance else 0.0)
        return values
