"""Metrics of several numbers at once: all of them pooled, averaged over outputs, or one value each. Knows no graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any, ClassVar, Literal

from pydantic import Field

from harness.metrics.contract import Binding, Inputs, Metric, Number, PlainMean, Term, Totals, Undefined
from harness.metrics.means import MeanMetric

__all__ = ["OF_SEVERAL", "ByOutput", "MeanByOutput"]

# How the definitions here and there go together.
OF_SEVERAL = "; of several outputs: pooled is that of the arrays raveled, uniform its 'uniform_average', raw its 'raw_values'"

Multioutput = Literal["pooled", "uniform", "raw"]


class ByOutput(Metric):
    """Base of metrics of numbers that may be asked for output by output.

    Of labels and outputs [B, K], `multioutput: pooled` takes every number for a position of its own, and makes one value of
    all of them. `uniform` is the mean of the values of the K outputs, and `raw` those values, named 0 to K - 1:
    scikit-learn's 'uniform_average' and 'raw_values'. A position then has all K numbers: a weight is theirs together, and one
    that is NaN makes the value null. Of [B, T, K] the last dimension is the outputs, and the T before it are positions.
    An output whose value is not defined makes the mean null, and is null itself in `raw`.
    """

    inputs: ClassVar[Inputs] = Inputs.NUMBERS

    multioutput: Multioutput = Field(
        "pooled",
        description="of several outputs: pooled, one value of all numbers; uniform, the mean of their values; raw, each value",
    )

    @property
    def by_output(self) -> bool:
        """Whether each output has a value of its own."""
        return self.multioutput != "pooled"

    def binding(self, output: str, label: str | None, weight: str | None) -> Binding:
        """Return what the metric reads: numbers, or rows of them."""
        binding = super().binding(output, label, weight)
        return replace(binding, inputs=Inputs.MULTIOUTPUT) if self.by_output else binding

    def plain_mean(self) -> PlainMean | None:
        """Return `plain` of pooled numbers."""
        return None if self.by_output else super().plain_mean()

    def combined(self, totals: Totals, value: Callable[[Totals], float]) -> float | dict[str, float | None]:
        """Return the value of all, the mean of the outputs' values, or those by number.

        Args:
          totals: of terms [N], or of terms [N, K] where each output has a value.
          value: makes one value of the totals of terms [N].
        Raises: Undefined: the value of all is not defined; nor is that of an output, or of any.
        """
        return _apart(self.columns(totals), value, self.multioutput) if self.by_output else value(totals)

    def columns(self, totals: Totals) -> list[Totals]:
        """Return the totals of each output, from those of terms [N, K]."""
        width = max((len(totals.on_grid(name)) for name in totals), default=0)
        return [totals.column(number) for number in range(width)]


def _apart(outputs: list[Totals], value: Callable[[Totals], float], multioutput: Multioutput) -> float | dict[str, float | None]:
    """Return the mean of the values of some outputs, rounded once, or those values by number.

    Raises: Undefined: an output has none, and the mean is asked for; or no output has one.
    """
    if not outputs:
        raise Undefined("the total weight is zero")
    values: list[float | None] = []
    reasons = []
    for number, totals in enumerate(outputs):
        try:
            values.append(value(totals))
        except Undefined as exc:
            values.append(None)
            reasons.append(f"output {number}: {exc}")
    if reasons and (multioutput == "uniform" or len(reasons) == len(values)):
        raise Undefined("; ".join(reasons))
    if multioutput == "raw":
        return {str(number): column for number, column in enumerate(values)}
    return float(sum((Fraction(column) for column in values if column is not None), Fraction(0)) / len(values))


class MeanByOutput(ByOutput, MeanMetric):
    """Base of weighted means of one number per position, or per position and output."""

    plain: ClassVar[PlainMean | None] = PlainMean("each")

    def terms(self, labels: Any, predictions: Any) -> dict[str, Term]:
        """Return the number of each position and output."""
        return {"each": Number(self.each(labels, predictions), spread=not self.by_output)}

    def value(self, totals: Totals) -> Any:
        """Return the mean."""
        return self.combined(totals, lambda totals: totals.mean("each"))

    def standard_error(self, totals: Totals) -> float | None:
        """Return that of the mean of all; of several outputs ask for a bootstrap."""
        return None if self.by_output else totals.mean_error("each")
