"""The smallest and the largest number of an output: rows of which one is kept. TensorFlow is not needed for them."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from harness.metrics.contract import Inputs, RowMetric, Rows, Term, Totals, Undefined

if TYPE_CHECKING:
    from harness.metrics.row_part import Part

__all__ = ["Maximum", "Minimum"]


class _Extreme(RowMetric):
    inputs: ClassVar[Inputs] = Inputs.OUTPUT
    additive: ClassVar[tuple[str, ...] | None] = ()
    # B. Efron, R. J. Tibshirani, An Introduction to the Bootstrap, 1993, 7.4: most replicates are the extreme itself.
    no_interval: ClassVar[str | None] = "no replicate lies beyond the extreme that was seen: the bootstrap does not hold for it"

    def terms(self, labels: Any, predictions: Any) -> dict[str, Term]:
        """Keep the output; the collector keeps one row of many."""
        return {"rows": Rows(predictions, {})}


class Maximum(_Extreme):
    """Largest value of an output."""

    keep: ClassVar[Literal["all", "largest", "smallest"]] = "largest"
    summary: ClassVar[str] = "max p, where the weight is not zero"
    source: ClassVar[str] = "numpy.max"

    def fold(self, part: Part) -> dict[str, Any]:
        """Return the last key."""
        return {"largest": (Fraction(float(part.key[-1])),)} if len(part) else {}

    def value(self, totals: Totals) -> float:
        """Return the largest."""
        if "largest" not in totals:
            raise Undefined("the total weight is zero")
        return float(totals.exact("largest")[0])


class Minimum(_Extreme):
    """Smallest value of an output."""

    keep: ClassVar[Literal["all", "largest", "smallest"]] = "smallest"
    summary: ClassVar[str] = "min p, where the weight is not zero"
    source: ClassVar[str] = "numpy.min"

    def fold(self, part: Part) -> dict[str, Any]:
        """Return the first key, negated: of tuples the largest counts."""
        return {"largest": (-Fraction(float(part.key[0])),)} if len(part) else {}

    def value(self, totals: Totals) -> float:
        """Return the smallest."""
        if "largest" not in totals:
            raise Undefined("the total weight is zero")
        return -float(totals.exact("largest")[0]) + 0.0
