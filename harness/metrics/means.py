"""The base of metrics that are a weighted mean of one number per position."""

from __future__ import annotations

from typing import Any, ClassVar

from harness.metrics.contract import Metric, Number, PlainMean, Term, Totals

__all__ = ["MeanMetric"]


class MeanMetric(Metric):
    """Base of weighted means. A subclass writes `each`; a NaN from it makes the value null, with a reason."""

    plain: ClassVar[PlainMean | None] = PlainMean("each")

    def each(self, labels: Any, predictions: Any) -> Any:
        """Return the number of each position, float64 [N]."""
        raise NotImplementedError

    def terms(self, labels: Any, predictions: Any) -> dict[str, Term]:
        """Return the number of each position."""
        return {"each": Number(self.each(labels, predictions), spread=True)}

    def value(self, totals: Totals) -> Any:
        """Return the mean."""
        return totals.mean("each")

    def standard_error(self, totals: Totals) -> float | None:
        """Return that of the mean."""
        return totals.mean_error("each")
