"""Whether probabilities mean what they say: calibration errors and the reliability curve.

A bin needs three sums: how many positions, how many hits, and their confidence. With bins of equal width the first two
are a histogram; only the confidence is a number per bin, and costs a column of exact cells each. Bins of equal mass
depend on the order of all confidences: they are made of sorted rows.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from harness.exact import wide_integers as wide
from harness.metrics.calibration_bins import (
    Bin,
    CalibrationMetric,
    curve_line,
    expected_gap,
    filled_bins,
    gaps_of,
    largest_gap,
)
from harness.metrics.contract import (
    Count,
    Gaps,
    Number,
    RowMetric,
    Rows,
    Table,
    Term,
    Totals,
)
from harness.metrics.groups import exact_sum

if TYPE_CHECKING:
    from harness.metrics.row_part import Part

__all__ = [
    "EqualMassExpectedCalibrationError", "EqualMassMaximumCalibrationError", "EqualMassReliabilityCurve",
    "ExpectedCalibrationError", "MaximumCalibrationError", "ReliabilityCurve",
]  # fmt: skip


class _EqualWidth(CalibrationMetric):
    """Base of those with bins of equal width: (low, high], and the first takes 0 too, as scikit-learn's calibration_curve."""

    def terms(self, labels: Any, predictions: Any) -> dict[str, Term]:
        """Return the bin and whether it is a hit, and the confidence in the column of its bin."""
        import tensorflow as tf

        confidence, hit = self.confidence(labels, predictions)
        edges = np.linspace(0, 1, self.bins + 1)
        bin_ = tf.searchsorted(tf.constant(edges[1:-1], tf.float64), confidence, side="left")
        own = bin_[:, None] == tf.range(self.bins)
        return {
            "bins": Count(2 * bin_ + tf.cast(hit, tf.int32), 2 * self.bins),
            "confidence": Number(tf.where(own, confidence[:, None], tf.zeros([1, self.bins], tf.float64))),
        }

    def summed(self, totals: Totals) -> list[Bin]:
        """Return the bins that are not empty.

        Raises: Undefined: all are.
        """
        sums, roundings = (array.reshape(-1, 2) for array in (totals.on_grid("bins"), totals.rounding("bins")))
        roundings = totals.rounding("confidence") + roundings.sum(axis=1)
        return filled_bins(sums.sum(axis=1), sums[:, 1], totals.on_grid("confidence"), roundings)


class ExpectedCalibrationError(_EqualWidth):
    """Mean distance of confidence and accuracy over bins, each by its weight.

    A bin is (a, b], the first takes 0 too; edges are compared in float64.
    """

    summary: ClassVar[str] = "sum over bins of |sum of w hit - sum of w confidence| / sum of w"
    source: ClassVar[str] = "C. Guo et al., On calibration of modern neural networks, 2017; torchmetrics.CalibrationError"

    def value(self, totals: Totals) -> float:
        """Return the mean distance."""
        return expected_gap(self.summed(totals))

    def gaps(self, totals: Totals) -> Gaps:
        """Return the gaps of the bins."""
        return gaps_of(self.summed(totals), self.bins, largest=False)


class MaximumCalibrationError(_EqualWidth):
    """Largest distance of confidence and accuracy over the bins that are not empty.

    A bin is (a, b], the first takes 0 too; edges are compared in float64.
    """

    summary: ClassVar[str] = "maximum over bins of |sum of w hit - sum of w confidence| / sum of w in the bin"
    source: ClassVar[str] = "C. Guo et al., 2017; torchmetrics.CalibrationError(norm='max')"
    no_interval: ClassVar[str | None] = (
        "the largest gap is that of a bin with few examples, and no bootstrap tells how far it is from the true one; "
        "equal_mass_maximum_calibration_error has an interval"
    )

    def value(self, totals: Totals) -> float:
        """Return the largest distance."""
        return largest_gap(self.summed(totals))


class ReliabilityCurve(_EqualWidth):
    """Mean confidence and share of hits in each bin that is not empty.

    A bin is (low, high], the first takes 0 too; edges are compared in float64. The confidence is empty where the grid of sums
    leaves too few digits of it.
    """

    summary: ClassVar[str] = "per bin: sum of w hit / sum of w, sum of w confidence / sum of w"
    source: ClassVar[str] = "sklearn.calibration.calibration_curve"

    def value(self, totals: Totals) -> Table:
        """Return one line per bin: its edges, weight, confidence and share of hits."""
        edges = np.linspace(0, 1, self.bins + 1).tolist()
        number = int if totals["bins"].dtype.kind == "i" else float
        lines = [(edges[b.number], edges[b.number + 1], *curve_line(b, number)) for b in self.summed(totals)]
        return Table(("low", "high", "weight", "confidence", "accuracy"), tuple(lines))


class _EqualMass(CalibrationMetric, RowMetric):
    """Base of those with bins of equally many positions; equal confidences are never torn apart.

    The edges are quantiles of the confidence, with linear interpolation, as in scikit-learn: edge j of B lies at the
    place j (n - 1) / B of the n sorted confidences, counted from 0, and a bin is (edge, next edge]. A run of equal
    confidences that begins at place s lies above edge j exactly where s > j (n - 1) / B, so the edges themselves are
    not needed. There is no such definition with weights.
    """

    takes_weights: ClassVar[bool] = False
    additive: ClassVar[tuple[str, ...] | None] = ("hit",)

    def terms(self, labels: Any, predictions: Any) -> dict[str, Term]:
        """Return a row per position: the confidence, and whether it is a hit."""
        import tensorflow as tf

        confidence, hit = self.confidence(labels, predictions)
        return {"rows": Rows(confidence, {"hit": tf.cast(hit, tf.int64)})}

    def cumulate(self, part: Part) -> dict[str, np.ndarray]:
        """Return how often each row counts."""
        return {"all": part.counts}

    def fold(self, part: Part) -> dict[str, Any]:
        """Return the sums of each bin, as far as this part holds it."""
        sums = {name: np.full(self.bins, Fraction(0), dtype=object) for name in ("weight", "hits", "confidence")}
        begins = wide.cumulative(part.counts, part.before["all"]) - part.counts
        last = part.total["all"] - 1
        rows = [*part.ties.tolist(), len(part)]
        # The first run of each bin: as many runs as there are bins, not as there are rows, are looked at in Python.
        starts = [int(np.searchsorted(begins[part.ties], _first(b, self.bins, last))) for b in range(self.bins)]
        ends = [*starts[1:], len(part.ties)]
        mass = part.mass("hit")
        for b, (start, end) in enumerate(zip(starts, ends, strict=True)):
            at = slice(rows[start], rows[end])
            sums["weight"][b], sums["hits"][b] = wide.total(part.counts[at]), wide.total(mass[at])
            sums["confidence"][b] = exact_sum(part.key[at], part.counts[at])
        return sums

    def summed(self, totals: Totals) -> list[Bin]:
        """Return the bins that are not empty.

        Raises: Undefined: all are.
        """
        return filled_bins(totals.exact("weight"), totals.exact("hits"), totals.exact("confidence"))


def _first(b: int, bins: int, last: int) -> int:
    """Return the least place that lies in bin b or above: above b (n - 1) / B, and for the first bin 0.

    >>> [_first(b, 2, 9) for b in range(2)]
    [0, 5]
    """
    return 0 if b == 0 else b * last // bins + 1


class EqualMassExpectedCalibrationError(_EqualMass):
    """Mean distance of confidence and accuracy over bins that hold equally many positions. Exact."""

    summary: ClassVar[str] = "sum over bins of |sum of hit - sum of confidence| / n, bins between quantiles of the confidence"
    source: ClassVar[str] = (
        "J. Nixon et al., Measuring calibration in deep learning, 2019; bins of sklearn.calibration.calibration_curve"
    )

    def value(self, totals: Totals) -> float:
        """Return the mean distance."""
        return expected_gap(self.summed(totals))

    def gaps(self, totals: Totals) -> Gaps:
        """Return the gaps of the bins."""
        return gaps_of(self.summed(totals), self.bins, largest=False)


class EqualMassMaximumCalibrationError(_EqualMass):
    """Largest distance of confidence and accuracy over bins that hold equally many positions. Exact."""

    summary: ClassVar[str] = "maximum over bins of |sum of hit - sum of confidence| / positions in the bin"
    source: ClassVar[str] = "J. Nixon et al., 2019; bins of sklearn.calibration.calibration_curve(strategy='quantile')"

    def value(self, totals: Totals) -> float:
        """Return the largest distance."""
        return largest_gap(self.summed(totals))

    def gaps(self, totals: Totals) -> Gaps:
        """Return the gaps of the bins."""
        return gaps_of(self.summed(totals), self.bins, largest=True)


class EqualMassReliabilityCurve(_EqualMass):
    """Mean confidence and share of hits in bins that hold equally many positions. Exact."""

    summary: ClassVar[str] = "per bin between quantiles of the confidence: sum of hit / positions, sum of confidence / positions"
    source: ClassVar[str] = "sklearn.calibration.calibration_curve(strategy='quantile')"

    def value(self, totals: Totals) -> Table:
        """Return one line per bin: how many positions, their confidence and share of hits."""
        lines = [(b.number, *curve_line(b, int)) for b in self.summed(totals)]
        return Table(("bin", "weight", "confidence", "accuracy"), tuple(lines))
