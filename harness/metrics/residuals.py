"""How errors are distributed, and how they go with the label: tables that a report draws. Exact, from sorted rows."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from harness.exact import wide_integers as wide
from harness.metrics.contract import Inputs, Lines, RowMetric, Rows, Table, Term, Totals, Undefined
from harness.metrics.groups import exact_sum
from harness.metrics.staircase import first

if TYPE_CHECKING:
    from harness.metrics.row_part import Part

__all__ = ["ErrorByLabel", "Residuals"]


class Residuals(RowMetric):
    """The sorted errors p - y, at evenly spaced shares of the examples: the smallest, the largest, and quantiles between.

    A quantile is that of the inverted distribution function, an error that was seen, also where examples are weighted.
    """

    inputs: ClassVar[Inputs] = Inputs.NUMBERS
    takes_replicates: ClassVar[bool] = False
    additive: ClassVar[tuple[str, ...] | None] = ()
    summary: ClassVar[str] = "the q-th quantile of p - y, for q from 0 to 1"
    source: ClassVar[str] = "numpy.quantile(p - y, q, method='inverted_cdf')"

    points: int = Field(101, ge=2, le=10_001, description="how many quantiles, the smallest and the largest error among them")

    def terms(self, labels: Any, predictions: Any) -> dict[str, Term]:
        """Keep the error."""
        from harness.exact.tf_subnormals import difference

        return {"rows": Rows(difference(predictions, labels), {})}

    def cumulate(self, part: Part) -> dict[str, np.ndarray]:
        """Return how much each row counts."""
        return {"all": part.counts}

    def fold(self, part: Part) -> dict[str, Any]:
        """Return the quantiles that are in this part, zeros for all others."""
        total, before, mine = part.total["all"], part.before["all"], wide.total(part.counts)
        quantiles = np.full(self.points, Fraction(0), dtype=object)
        sums = wide.cumulative(part.counts, before)
        for number in range(self.points) if mine else ():
            # Place ceil(q n) - 1, counted from 0, of q = number / (points - 1).
            place = max(-(-number * total // (self.points - 1)) - 1, 0)
            if before <= place < before + mine:
                index = first(len(part), lambda i, place=place: int(sums[i]) > place)  # type: ignore[misc]
                quantiles[number] = Fraction(float(part.key[index]))
        return {"quantiles": quantiles, "all": mine}

    def value(self, totals: Totals) -> Table:
        """Return one line per quantile: the share of the examples, and the error there."""
        if not totals.exact("all"):
            raise Undefined("the total weight is zero")
        shares = (number / (self.points - 1) for number in range(self.points))
        return Table(("share", "residual"), tuple(zip(shares, map(float, totals.exact("quantiles")), strict=True)))

    def plots(self, totals: Totals) -> tuple[Lines]:
        """Return the errors along their shares, held against 0."""
        return (Lines("share of the examples", "prediction - label", (("residual", self.value(totals).rows),), 0.0),)


class ErrorByLabel(RowMetric):
    """Mean error and mean absolute error in bins of the label that hold equally many positions; equal labels stay together.

    Bins are those of the equal-mass calibration errors: a run of equal labels that begins at place s of n lies above edge
    j of B exactly where s > j (n - 1) / B. There is no such definition with weights.
    """

    inputs: ClassVar[Inputs] = Inputs.NUMBERS
    takes_weights: ClassVar[bool] = False
    takes_replicates: ClassVar[bool] = False
    summary: ClassVar[str] = "per bin between quantiles of y: mean of y, of p - y, and of |p - y|"
    source: ClassVar[str] = "numpy.mean over the bins of pandas.cut(y, numpy.quantile(y, ...))"

    bins: int = Field(10, ge=1, le=1024, description="bins of equally many positions")

    def terms(self, labels: Any, predictions: Any) -> dict[str, Term]:
        """Keep the label, and the error with it."""
        from harness.exact.tf_subnormals import difference

        return {"rows": Rows(labels, {"error": difference(predictions, labels)})}

    def cumulate(self, part: Part) -> dict[str, np.ndarray]:
        """Return how often each row counts."""
        return {"all": part.counts}

    def fold(self, part: Part) -> dict[str, Any]:
        """Return the sums of each bin, as far as this part holds it."""
        names = ("weight", "label", "error", "size")
        sums = {name: np.full(self.bins, Fraction(0), dtype=object) for name in names}
        begins = wide.cumulative(part.counts, part.before["all"]) - part.counts
        last, rows = part.total["all"] - 1, [*part.ties.tolist(), len(part)]
        starts = [int(np.searchsorted(begins[part.ties], _first(b, self.bins, last))) for b in range(self.bins)]
        errors = part.values["error"]
        for b, (start, end) in enumerate(zip(starts, [*starts[1:], len(part.ties)], strict=True)):
            at = slice(rows[start], rows[end])
            sums["weight"][b] = wide.total(part.counts[at])
            for name, column in (("label", part.key), ("error", errors), ("size", np.abs(errors))):
                sums[name][b] = exact_sum(column[at], part.counts[at])
        return sums

    def value(self, totals: Totals) -> Table:
        """Return one line per bin that is not empty."""
        columns = [totals.exact(name) for name in ("weight", "label", "error", "size")]
        lines = [
            (int(weight), *(float(total / weight) for total in sums)) for weight, *sums in zip(*columns, strict=True) if weight
        ]
        if not lines:
            raise Undefined("there is nothing to score")
        return Table(("examples", "label", "mean_error", "mean_absolute_error"), tuple(lines))

    def plots(self, totals: Totals) -> tuple[Lines]:
        """Return both errors along the label, held against 0."""
        rows = self.value(totals).rows
        lines = tuple(
            (name, tuple((row[1], row[column]) for row in rows))
            for name, column in (("mean error", 2), ("mean absolute error", 3))
        )
        return (Lines("label", "prediction - label", lines, 0.0),)


def _first(b: int, bins: int, last: int) -> int:
    """Return the least place that lies in bin b or above.

    >>> [_first(b, 2, 9) for b in range(2)]
    [0, 5]
    """
    return 0 if b == 0 else b * last // bins + 1
