"""Metrics of two models on the same examples: which of them is right, and how far apart they are.

Each reads a second output, the baseline's, at the same positions. TensorFlow is imported where the graph is built.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from harness.exact.mcnemar import mcnemar
from harness.metrics.contract import Count, Inputs, Metric, Number, PlainMean, Proportion, Rows, Term, Totals, Undefined, ratio
from harness.metrics.extremes import Maximum
from harness.metrics.means import MeanMetric
from harness.metrics.predicted_class import PredictedClassMetric

if TYPE_CHECKING:
    from harness.metrics.row_part import Part

__all__ = ["FlipRate", "LargestPredictionDifference", "McNemar", "PairMetric", "PredictionDifference", "WithinTolerance"]


class PairMetric(Metric):
    """Base of metrics that compare an output with that of a baseline, at the same positions.

    In a job of several models each model but the baseline reports it. A position counts where both outputs are valid, and
    the options say of both how they are read.
    """

    compares: ClassVar[bool] = True

    baseline: str | None = Field(
        None, description="the model that is compared with, or MODEL/OUTPUT; of one model another output; null: the first model"
    )


class McNemar(PairMetric, PredictedClassMetric):
    """On how many positions both models are right, one of them alone, and none; and the p-value of McNemar's exact test.

    `only_right` is what this model alone has right, `only_baseline_right` what the baseline alone has. `p` is two-sided, of
    both being right equally often. It takes examples for independent: where they have several positions each, as pixels
    and tokens are, there is no p. Examples are counted, not weighed, and it has no interval: `bootstrap` is false.
    """

    takes_weights: ClassVar[bool] = False
    takes_replicates: ClassVar[bool] = False
    summary: ClassVar[str] = "counts of [p = y] and [b = y], b of the baseline; p: twice P(X <= the fewer), X binomial with 1/2"
    source: ClassVar[str] = "statsmodels.stats.contingency_tables.mcnemar(exact=True); scipy.stats.binomtest"

    bootstrap: bool = Field(False, description="it takes none: it is a test of its own")

    def terms(self, labels: Any, predictions: Any, baseline: Any) -> dict[str, Term]:
        """Count both right, one alone, none."""
        import tensorflow as tf

        wrong = [tf.cast(self.predicted(scores) != labels, tf.int32) for scores in (predictions, baseline)]
        return {"pairs": Count(2 * wrong[0] + wrong[1], 4)}

    def value(self, totals: Totals) -> dict[str, float]:
        """Return the four counts, and the p-value where every example is one position."""
        both_right, only_right, only_baseline_right, both_wrong = map(int, totals.exact("pairs"))
        value: dict[str, float] = {
            "both_right": both_right,
            "only_right": only_right,
            "only_baseline_right": only_baseline_right,
            "both_wrong": both_wrong,
        }
        return value | ({"p": mcnemar(only_baseline_right, only_right)} if totals.positions == totals.examples else {})


class FlipRate(PairMetric, PredictedClassMetric):
    """Share of positions whose predicted class is another one than the baseline's."""

    summary: ClassVar[str] = "sum of w [argmax p != argmax b] / sum of w, b of the baseline"
    plain: ClassVar[PlainMean | None] = PlainMean("flipped", 1)

    def terms(self, labels: Any, predictions: Any, baseline: Any) -> dict[str, Term]:
        """Mark each position that is decided otherwise."""
        import tensorflow as tf

        del labels
        return {"flipped": Count(tf.cast(self.predicted(predictions) != self.predicted(baseline), tf.int32), 2)}

    def value(self, totals: Totals) -> float:
        """Return the share of positions that are decided otherwise."""
        return ratio(totals.part("flipped", 1), totals.exact_weight, "the total weight is zero")

    def standard_error(self, totals: Totals) -> float | None:
        """Return that of a proportion."""
        return totals.share_error(self.value(totals))

    def proportion(self, totals: Totals) -> Proportion:
        """Return how many are decided otherwise, of how many."""
        return totals.proportion(totals.part("flipped", 1))


class PredictionDifference(PairMetric, MeanMetric):
    """Mean absolute difference of an output from the baseline's; of several numbers an example each is a position."""

    inputs: ClassVar[Inputs] = Inputs.OUTPUT
    summary: ClassVar[str] = "sum of w |p - b| / sum of w, b of the baseline"

    def terms(self, labels: Any, predictions: Any, baseline: Any) -> dict[str, Term]:  # type: ignore[override]
        """Return the absolute difference of each position."""
        del labels
        return {"each": Number(_apart(baseline, predictions), spread=True)}


class LargestPredictionDifference(PairMetric, Maximum):
    """Largest absolute difference of an output from the baseline's."""

    summary: ClassVar[str] = "max |p - b|, b of the baseline, where the weight is not zero"
    source: ClassVar[str] = ""

    def terms(self, labels: Any, predictions: Any, baseline: Any) -> dict[str, Term]:  # type: ignore[override]
        """Keep the absolute difference; the collector keeps one row of many."""
        del labels
        return {"rows": Rows(_apart(baseline, predictions), {})}

    def fold(self, part: Part) -> dict[str, Any]:
        """Return the last key."""
        if len(part) and part.key[-1] == math.inf:
            return {"infinite": (1,)}
        return super().fold(part)

    def value(self, totals: Totals) -> float:
        """Return the largest."""
        if "infinite" in totals:
            raise Undefined("the largest difference is above what a float64 holds")
        return super().value(totals)


class WithinTolerance(PairMetric):
    """Share of the numbers of an output that lie no further from the baseline's than a tolerance allows."""

    inputs: ClassVar[Inputs] = Inputs.OUTPUT
    summary: ClassVar[str] = "sum of w [|p - b| <= atol + rtol |b|] / sum of w, b of the baseline"
    source: ClassVar[str] = "numpy.isclose"
    plain: ClassVar[PlainMean | None] = PlainMean("within", 1)

    atol: float = Field(1e-6, ge=0, allow_inf_nan=False, description="how far apart numbers may be, whatever their size")
    rtol: float = Field(1e-5, ge=0, allow_inf_nan=False, description="how far apart for each unit of the baseline's size")

    def terms(self, labels: Any, predictions: Any, baseline: Any) -> dict[str, Term]:
        """Mark each position that is within the tolerance."""
        import tensorflow as tf

        del labels
        reference = tf.cast(baseline, tf.float64)
        within = _apart(baseline, predictions) <= self.atol + self.rtol * tf.abs(reference)
        return {"within": Count(tf.cast(within, tf.int32), 2)}

    def value(self, totals: Totals) -> float:
        """Return the share of positions that are within the tolerance."""
        return ratio(totals.part("within", 1), totals.exact_weight, "the total weight is zero")

    def standard_error(self, totals: Totals) -> float | None:
        """Return that of a proportion."""
        return totals.share_error(self.value(totals))

    def proportion(self, totals: Totals) -> Proportion:
        """Return how many are within the tolerance, of how many."""
        return totals.proportion(totals.part("within", 1))


def _apart(baseline: Any, predictions: Any) -> Any:
    import tensorflow as tf

    from harness.exact.tf_subnormals import apart

    return tf.abs(apart(baseline, predictions))
