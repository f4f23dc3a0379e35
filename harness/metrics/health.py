"""What an output of the model looks like: NaN, infinities, zeros, spread, histogram. No labels."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from pydantic import Field, model_validator

from harness.errors import ShapeError
from harness.metrics.contract import Bars, Binding, Count, Inputs, Metric, Number, Table, Term, Totals, Undefined
from harness.metrics.moments import root, rounded_scatter, scatter

__all__ = ["Histogram", "InfinityCount", "NanCount", "StandardDeviation", "Variance", "ZeroCount"]


class _CountOf(Metric):
    """Base of counts of numbers of an output; nothing is left out. Examples count once each, whatever their weight."""

    inputs: ClassVar[Inputs] = Inputs.RAW
    takes_weights: ClassVar[bool] = False

    def binding(self, output: str, label: str | None, weight: str | None) -> Binding:
        """Return what the metric reads: an output, no label."""
        return Binding(self.inputs, self.output or output)

    def marks(self, predictions: Any) -> Any:
        """Return which numbers count, bool [B, ...]."""
        raise NotImplementedError

    def terms(self, labels: Any, predictions: Any) -> dict[str, Term]:
        """Count within each example."""
        import tensorflow as tf

        if not (predictions.dtype.is_floating or predictions.dtype.is_integer or predictions.dtype.is_bool):
            raise ShapeError(f"expected an output of numbers, found {predictions.dtype.name}")
        counted = tf.cast(self.marks(predictions), tf.float64)
        return {"count": Number(tf.reduce_sum(tf.reshape(counted, [counted.shape[0], -1]), axis=1))}

    def value(self, totals: Totals) -> int:
        """Return the count."""
        return int(totals.exact("count"))


class NanCount(_CountOf):
    """How many numbers of an output are NaN."""

    summary: ClassVar[str] = "number of p that are NaN"
    source: ClassVar[str] = "numpy.isnan"

    def marks(self, predictions: Any) -> Any:
        """Mark NaN."""
        import tensorflow as tf

        return tf.math.is_nan(predictions) if predictions.dtype.is_floating else tf.zeros_like(predictions, tf.bool)


class InfinityCount(_CountOf):
    """How many numbers of an output are infinite, of either sign."""

    summary: ClassVar[str] = "number of p that are infinite"
    source: ClassVar[str] = "numpy.isinf"

    def marks(self, predictions: Any) -> Any:
        """Mark infinities."""
        import tensorflow as tf

        return tf.math.is_inf(predictions) if predictions.dtype.is_floating else tf.zeros_like(predictions, tf.bool)


class ZeroCount(_CountOf):
    """How many numbers of an output are zero, of either sign."""

    summary: ClassVar[str] = "number of p that are 0"
    source: ClassVar[str] = "numpy.count_nonzero, the others"

    def marks(self, predictions: Any) -> Any:
        """Mark zeros."""
        import tensorflow as tf

        from harness.exact.tf_subnormals import ordered

        return tf.equal(ordered(predictions), 0)


class Variance(Metric):
    """Variance of an output of the model. Exact: nothing cancels, whatever the offset."""

    inputs: ClassVar[Inputs] = Inputs.OUTPUT
    summary: ClassVar[str] = "sum of w (p - mean p)^2 / (sum of w - ddof)"
    source: ClassVar[str] = "numpy.var; weights count as multiplicities, as in numpy.cov(fweights=...)"

    ddof: int = Field(0, ge=0, description="taken off the number of positions in the divisor")

    def terms(self, labels: Any, predictions: Any) -> dict[str, Term]:
        """Return the output, and its square as an error-free pair."""
        from harness.exact.tf_limbs import two_product

        return {"output": Number(predictions), "square": Number(*two_product(predictions, predictions))}

    def value(self, totals: Totals) -> float:
        """Return the variance; 0 where all numbers are equal."""
        return float(self._variance(totals))

    def _variance(self, totals: Totals) -> Any:
        weight = totals.exact_weight
        if not weight:
            raise Undefined("the total weight is zero")
        if weight <= self.ddof:
            raise Undefined(f"the total weight {float(weight):g} is not above ddof={self.ddof}")
        if rounded_scatter(totals, "square", "output") == (0, 0):
            return 0 * weight
        return scatter(totals, "square", "output", "numbers") / (weight - self.ddof)


class StandardDeviation(Variance):
    """Standard deviation of an output of the model. Exact: nothing cancels, whatever the offset."""

    summary: ClassVar[str] = "sqrt(sum of w (p - mean p)^2 / (sum of w - ddof))"
    source: ClassVar[str] = "numpy.std"

    def value(self, totals: Totals) -> float:
        """Return the root of the variance; 0 where all numbers are equal."""
        return root(self._variance(totals))


class Histogram(Metric):
    """How many numbers of an output lie in each of `bins` bins from `low` to `high`, and how many below and above.

    Bins are [a, b), the last takes `high` too. NaN or an infinity makes the table null: nan_count says how many.
    """

    inputs: ClassVar[Inputs] = Inputs.OUTPUT
    summary: ClassVar[str] = "sum of w [a <= p < b] per bin"
    source: ClassVar[str] = "numpy.histogram"

    bins: int = Field(10, ge=1, le=65536, description="how many bins")
    low: float = Field(0.0, allow_inf_nan=False, description="where the first bin begins")
    high: float = Field(1.0, allow_inf_nan=False, description="where the last bin ends")

    @model_validator(mode="after")
    def _is_a_range(self) -> Histogram:
        edges = self._edges()
        if not (np.diff(edges) > 0).all():
            raise ValueError(f"expected low < high, and room for {self.bins} bins between, found {self.low} and {self.high}")
        return self

    def _edges(self) -> np.ndarray:
        with np.errstate(over="ignore", invalid="ignore"):
            return np.linspace(self.low, self.high, self.bins + 1)

    def terms(self, labels: Any, predictions: Any) -> dict[str, Term]:
        """Return the bin; the first is what lies below, the last what lies above."""
        from harness.exact.tf_subnormals import searchsorted

        # The last bin takes its upper edge: compare with the next number instead.
        edges = np.append(self._edges()[:-1], np.nextafter(self.high, np.inf))
        return {"bins": Count(searchsorted(edges, predictions, side="right"), self.bins + 2)}

    def value(self, totals: Totals) -> Table:
        """Return one line per bin; the open ends of the first and the last are empty."""
        edges = [None, *self._edges().tolist(), None]
        return Table(("low", "high", "weight"), tuple(zip(edges[:-1], edges[1:], totals["bins"].tolist(), strict=True)))

    def plots(self, totals: Totals) -> tuple[Bars]:
        """Return the bins, the open ends among them where something lies there."""
        bars = [bar for bar in self.value(totals).rows if None not in bar[:2] or bar[2]]
        return (Bars("output", tuple((low, high, weight) for low, high, weight in bars)),)
