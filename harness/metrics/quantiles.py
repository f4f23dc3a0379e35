"""Order statistics and rank correlation, exact: quantiles of errors and outputs, Spearman."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from harness.errors import JobError
from harness.exact import wide_integers as wide
from harness.metrics.contract import Binding, Inputs, RowMetric, Rows, Term, Totals, Undefined
from harness.metrics.outputs import OF_SEVERAL, ByOutput
from harness.metrics.staircase import decimal, first

if TYPE_CHECKING:
    from harness.metrics.row_part import Part

__all__ = ["MedianAbsoluteError", "Quantile", "Spearman"]

Method = Literal[
    "linear", "lower", "higher", "nearest", "midpoint", "inverted_cdf", "averaged_inverted_cdf", "hazen", "weibull",
    "median_unbiased", "normal_unbiased",
]  # fmt: skip

# R. J. Hyndman and Y. Fan, Sample quantiles in statistical packages, 1996: the quantile lies at the place
# q n + alpha + q (1 - alpha - beta), counted from 1, between two neighbours.
PLACES: dict[str, Fraction] = {  # alpha = beta
    "linear": Fraction(1), "lower": Fraction(1), "higher": Fraction(1), "nearest": Fraction(1), "midpoint": Fraction(1),
    "hazen": Fraction(1, 2), "weibull": Fraction(0), "median_unbiased": Fraction(1, 3), "normal_unbiased": Fraction(3, 8),
}  # fmt: skip


class _Ordered(RowMetric):
    """Base of quantiles: finds the two neighbours between which the quantile lies."""

    additive: ClassVar[tuple[str, ...] | None] = ()

    def at(self) -> tuple[Fraction, str]:
        """Return which quantile, in [0, 1], and by which method."""
        raise NotImplementedError

    def cumulate(self, part: Part) -> dict[str, np.ndarray]:
        """Return how much each row counts."""
        return {"all": part.counts}

    def fold(self, part: Part) -> dict[str, Any]:
        """Return the neighbours that are in this part, each times its share in the quantile."""
        all_of_it = part.total["all"]
        mine = wide.total(part.counts)
        if not all_of_it:
            return {"quantile": Fraction(0), "all": 0}
        sums = wide.cumulative(part.counts, part.before["all"])
        total = Fraction(0)
        for place, share in _neighbours(*self.at(), all_of_it):
            if part.before["all"] <= place < part.before["all"] + mine:
                index = first(len(part), lambda i, place=place: int(sums[i]) > place)  # type: ignore[misc]
                total += share * Fraction(float(part.key[index]))
        return {"quantile": total, "all": mine}

    def value(self, totals: Totals) -> float:
        """Return the quantile."""
        if not totals.exact("all"):
            raise Undefined("the total weight is zero")
        return float(totals.exact("quantile"))


def _neighbours(q: Fraction, method: str, n: int) -> list[tuple[int, Fraction]]:
    """Return places in [0, n) of n sorted numbers, and the share of each in the quantile.

    With weights n is their total and a place a point within it: only the inverted distribution functions have a
    meaning then.

    >>> _neighbours(Fraction(1, 2), "linear", 4)
    [(1, Fraction(1, 2)), (2, Fraction(1, 2))]
    >>> _neighbours(Fraction(1, 2), "inverted_cdf", 4)
    [(1, Fraction(1, 1))]
    """
    whole, half = Fraction(1), Fraction(1, 2)
    if method.endswith("inverted_cdf"):
        reach = q * n
        low = max(0, math.ceil(reach) - 1)
        if method == "averaged_inverted_cdf" and reach.denominator == 1 and 0 < reach < n:
            return [(low, half), (low + 1, half)]
        return [(low, whole)]
    alpha = PLACES[method]
    place = min(max(q * n + alpha + q * (1 - 2 * alpha) - 1, Fraction(0)), Fraction(n - 1))
    low, high = math.floor(place), math.ceil(place)
    if method == "lower" or low == high:
        return [(low, whole)]
    if method == "higher":
        return [(high, whole)]
    if method == "nearest":
        return [(round(place), whole)]  # halves to even, as NumPy does
    share = half if method == "midpoint" else place - low
    return [(low, 1 - share), (high, share)]


class MedianAbsoluteError(ByOutput, _Ordered):
    """Median distance of prediction and label; of two middle ones their mean. Exact."""

    summary: ClassVar[str] = "median of |y - p|, by weight"
    source: ClassVar[str] = f"sklearn.metrics.median_absolute_error{OF_SEVERAL}"

    def at(self) -> tuple[Fraction, str]:
        """See `_Ordered.at`."""
        return Fraction(1, 2), "averaged_inverted_cdf"

    def terms(self, labels: Any, predictions: Any) -> dict[str, Term]:
        """Keep the distance; of several outputs a group of rows each."""
        import tensorflow as tf

        from harness.exact.tf_subnormals import difference

        error = tf.abs(difference(labels, predictions))
        if not self.by_output:
            return {"rows": Rows(error, {})}
        count, outputs = error.shape
        group = tf.tile(tf.range(outputs, dtype=tf.int64), [count])
        return {"rows": Rows(tf.reshape(error, [-1]), {}, group, tf.repeat(tf.range(count), outputs))}

    def cumulate(self, part: Part) -> dict[str, np.ndarray]:
        """Return how much each row counts; the rows of an output are in one part."""
        return {} if self.by_output else super().cumulate(part)

    def fold(self, part: Part) -> dict[str, Any]:
        """Return the neighbours that are in this part; of several outputs those of each, under its number."""
        if not self.by_output:
            return super().fold(part)
        quantiles: dict[str, Any] = {}
        for start, stop in zip(part.groups.tolist(), [*part.groups[1:].tolist(), len(part)], strict=False):
            rows = _run(part, slice(start, stop))
            group = int(part.group[start]) if part.group is not None else 0
            quantiles |= {f"{group} {name}": number for name, number in super().fold(rows).items()}
        return quantiles

    def value(self, totals: Totals) -> Any:
        """Return the median; of several outputs their mean, or each."""
        return self.combined(totals, super().value)

    def columns(self, totals: Totals) -> list[Totals]:
        """Return the totals of each output."""
        numbers = sorted({int(name.partition(" ")[0]) for name in totals})
        return [totals.renamed({f"{number} {name}": name for name in ("quantile", "all")}) for number in numbers]


def _run(part: Part, rows: slice) -> Part:
    """Return a run of the rows of a part as a part of its own, which is all there is."""
    weight = None if part.weight is None else part.weight[rows]
    run = replace(
        part, key=part.key[rows], group=None, values={}, multiplicity=part.multiplicity[rows], weight=weight
    )  # fmt: skip
    return replace(run, before={"all": 0}, total={"all": wide.total(run.counts)})


class Quantile(_Ordered):
    """Quantile of the error p - y, of its absolute value, or of the output itself. Exact.

    Weights need `inverted_cdf` or `averaged_inverted_cdf`; the other methods place the quantile between neighbours by
    their number, which a weight does not have.
    """

    inputs: ClassVar[Inputs] = Inputs.NUMBERS
    summary: ClassVar[str] = "the q-th quantile of p - y, |p - y| or p"
    source: ClassVar[str] = "numpy.quantile(..., method=...), of q as it is written: 0.1 is one tenth"

    q: float = Field(0.5, ge=0, le=1, description="which quantile; 0.5 is the median")
    of: Literal["error", "absolute_error", "output"] = Field("absolute_error", description="of what")
    method: Method = Field("linear", description="how to place a quantile between two values, as numpy.quantile")

    def binding(self, output: str, label: str | None, weight: str | None) -> Binding:
        """Return what the metric reads; of the output alone, no label.

        Raises: JobError: the examples are weighted, and the method cannot weigh.
        """
        weight = self.weighing(weight)
        if weight is not None and not self.method.endswith("inverted_cdf"):
            raise JobError(
                f"quantile: method '{self.method}' takes no weights, found weight '{weight}': "
                "use method: inverted_cdf or averaged_inverted_cdf"
            )
        if self.of == "output":
            return Binding(Inputs.OUTPUT, self.output or output, None, weight)
        return Binding(Inputs.NUMBERS, self.output or output, self.label or label, weight)

    def at(self) -> tuple[Fraction, str]:
        """See `_Ordered.at`."""
        return decimal(self.q), self.method

    def without_interval(self, totals: Totals) -> str | None:
        """Return why there is no interval where hardly a number lies beyond the quantile: it is next to an extreme."""
        q = decimal(self.q)
        beyond = totals.effective * min(q, 1 - q)
        if beyond >= 1:
            return None
        return (
            f"of {float(totals.effective):,.6g} numbers {float(beyond):.2g} are expected beyond the quantile {self.q:g}, and at "
            "least 1 is needed: no replicate lies beyond the extreme that was seen, the bootstrap does not hold for it"
        )

    def terms(self, labels: Any, predictions: Any) -> dict[str, Term]:
        """Keep what the quantile is of."""
        import tensorflow as tf

        from harness.exact.tf_subnormals import difference

        if self.of == "output":
            return {"rows": Rows(predictions, {})}
        error = difference(predictions, labels)
        return {"rows": Rows(tf.abs(error) if self.of == "absolute_error" else error, {})}


class Spearman(RowMetric):
    """Rank correlation of labels and predictions; equal numbers share their mean rank. Exact up to the last square root."""

    inputs: ClassVar[Inputs] = Inputs.NUMBERS
    takes_weights: ClassVar[bool] = False
    then_by: ClassVar[str | None] = "label"
    summary: ClassVar[str] = "Pearson correlation of the ranks of y and of p"
    source: ClassVar[str] = "scipy.stats.spearmanr"

    def terms(self, labels: Any, predictions: Any) -> dict[str, Term]:
        """Keep both; they are sorted by the prediction, then by the label."""
        return {"rows": Rows(predictions, {"label": labels})}

    def cumulate(self, part: Part) -> dict[str, np.ndarray]:
        """Return how often each row counts."""
        return {"all": part.counts}

    def carry(self, part: Part) -> np.ndarray:
        """Return the rank by prediction; see `_ranks`."""
        return _ranks(part)

    def fold(self, part: Part) -> dict[str, Any]:
        """Return the sums of squares and products of ranks."""
        by_prediction, by_label, times = part.values["carried"], _ranks(part), part.counts
        return {
            "product": wide.dot(wide.multiply(by_prediction, times), by_label),
            "prediction": wide.dot(wide.multiply(by_prediction, times), by_prediction),
            "label": wide.dot(wide.multiply(by_label, times), by_label),
        }

    def value(self, totals: Totals) -> float:
        """Return product / sqrt(label prediction)."""
        product, label, prediction = (totals.exact(name) for name in ("product", "label", "prediction"))
        for name, scatter in (("labels", label), ("predictions", prediction)):
            if not scatter:
                raise Undefined(f"all {name} are equal, they have no rank")
        # One square root of an exact number: r = sign(product) sqrt(product^2 / (label prediction)).
        return math.copysign(math.sqrt(product**2 / (label * prediction)), product)


def _ranks(part: Part) -> np.ndarray:
    """Return twice the mean rank minus its mean over all, an integer, int64 [n].

    Rows c of one key that follow b others have ranks b + 1 .. b + c, whose mean is b + (c + 1) / 2; the mean of all n
    ranks is (n + 1) / 2. Twice the difference is 2 b + c - n.
    """
    sizes = part.per_tie(part.counts)
    centred = 2 * wide.cumulative(sizes, part.before["all"]) - sizes - part.total["all"]
    return np.repeat(centred, np.diff(part.ties, append=len(part)))
