"""Curves over thresholds as tables: every distinct score where there are few, else so many, evenly by their number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from harness.metrics.contract import Table, Thresholds, Totals
from harness.metrics.plots import plain
from harness.metrics.staircase import ScoreMetric, Staircase

if TYPE_CHECKING:
    from harness.metrics.row_part import Part

__all__ = ["PrecisionRecallCurve", "RocCurve"]


class _Curve(ScoreMetric):
    """Base of curves: counts at no more than `points` of the distinct scores, the lowest and the highest among them."""

    takes_replicates: ClassVar[bool] = False

    points: int = Field(
        1000, ge=2, le=1_000_000, description="at most so many points, spread evenly; the first and the last are always there"
    )

    def cumulate(self, part: Part) -> dict[str, np.ndarray]:
        """Return also where a distinct score begins, so that each part knows the numbers of its own."""
        distinct = np.zeros(len(part), np.int64)
        distinct[part.ties] = 1
        return {**super().cumulate(part), "distinct": distinct}

    def fold(self, part: Part) -> dict[str, Any]:
        """Return counts and thresholds at the points in this part, zeros at all others."""
        stairs = Staircase.of(part)
        distinct = part.total["distinct"]
        count = min(distinct, self.points)
        # Point i is threshold number round(i (distinct - 1) / (count - 1)), in integers.
        steps = max(1, count - 1)
        numbers = [(2 * i * (distinct - 1) + steps) // (2 * steps) - part.before["distinct"] for i in range(count)]
        columns = {name: np.full(count, 0, object) for name in ("threshold", "tp", "fp")}
        for i, number in enumerate(numbers):
            if 0 <= number < len(stairs):
                columns["threshold"][i] = stairs.threshold(number)
                columns["tp"][i], columns["fp"][i] = int(stairs.tp[number]), int(stairs.fp[number])
        return {**columns, **stairs.totals()}

    def points_of(self, totals: Totals) -> list[tuple[Any, Any, Any]]:
        """Return threshold, true positives and false positives of each point, ascending by threshold."""
        return list(zip(*(totals.exact(name).tolist() for name in ("threshold", "tp", "fp")), strict=True))

    def plots(self, totals: Totals) -> tuple[Thresholds]:
        """Return the counts at the points; rows bring weights in units of their own, which are taken back."""
        positive, negative = self.sides(totals)
        unit = totals.exact_weight / (positive + negative)
        points = [(float(at), plain(tp * unit), plain(fp * unit)) for at, tp, fp in self.points_of(totals)]
        return (Thresholds(plain(positive * unit), plain(negative * unit), tuple(points)),)


class RocCurve(_Curve):
    """True against false positive rate, by falling threshold; the first point lies above every score."""

    summary: ClassVar[str] = "threshold, FP / N, TP / P"
    source: ClassVar[str] = "sklearn.metrics.roc_curve(drop_intermediate=False)"

    def value(self, totals: Totals) -> Table:
        """Return one line per point."""
        positive, negative = self.sides(totals)
        lines = [(float(at), float(fp / negative), float(tp / positive)) for at, tp, fp in self.points_of(totals)]
        return Table(("threshold", "fpr", "tpr"), ((None, 0.0, 0.0), *reversed(lines)))


class PrecisionRecallCurve(_Curve):
    """Precision against recall, by rising threshold; the last point, precision 1 and recall 0, is a convention."""

    summary: ClassVar[str] = "threshold, TP / (TP + FP), TP / P"
    source: ClassVar[str] = "sklearn.metrics.precision_recall_curve"

    def value(self, totals: Totals) -> Table:
        """Return one line per point."""
        positive, _ = self.sides(totals)
        lines = [(float(at), float(tp / (tp + fp)), float(tp / positive)) for at, tp, fp in self.points_of(totals)]
        return Table(("threshold", "precision", "recall"), (*lines, (None, 1.0, 0.0)))
