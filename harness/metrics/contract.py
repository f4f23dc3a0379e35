"""What a metric is: two pure functions, `terms` and `value`. Knows nothing of ranks, files or the compiled step.

A metric author writes

    terms(labels, predictions) -> what each position adds    TensorFlow ops, no reduction over the batch
    value(totals)              -> what is reported           NumPy and Python, once, after the sum

A position is one thing scored: the example itself, or one pixel, token or output of it. The engine flattens positions
before `terms` sees them, takes out those that are masked, ignored or invalid, applies weights, and sums.

All of the contract can be imported from here: what a metric reads stands in `binding.py`, the kinds of term in `terms.py`,
their sums in `totals.py`, what it can show in `plots.py`.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from harness.metrics.binding import Binding, Inputs, ScoreScale
from harness.metrics.plots import Bars, Confusion, Lines, Plot, Reliability, Thresholds
from harness.metrics.terms import Count, Gram, GramSums, Number, Rows, Term
from harness.metrics.totals import CountTotals, Proportion, Totals, Undefined, ratio, row_sums

__all__ = [
    "Bars", "Binding", "Confusion", "Count", "CountTotals", "Gaps", "Gram", "GramSums", "HostMetric", "Inputs", "Lines", "Metric",
    "Number", "PlainMean", "Plot", "Proportion", "Reliability", "RowMetric", "Rows", "ScoreScale", "Table", "Term", "Thresholds",
    "Totals", "Undefined", "ratio", "row_sums",
]  # fmt: skip


@dataclass(frozen=True)
class Table:
    """A value that is a table: `columns` name the fields, `rows` hold them. Written as a CSV file too."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class PlainMean:
    """Says that a value is one total, or one bucket of a count, over the total weight: `value` of many sums at once."""

    total: str
    bucket: int | None = None


@dataclass(frozen=True)
class Gaps:
    """Says that a value is a norm of signed gaps: the sum of their absolute values, or the largest of them.

    Such a value is biased upwards, and its replicates once more; see `gap_interval`. `values` is float64 [parts], NaN for
    a part without examples.
    """

    values: np.ndarray
    norm: Literal["sum", "largest"]


class Metric(BaseModel):
    """Base of all metrics. The fields of a subclass are its options; those below bind it to the data.

    A subclass sets `inputs`, and writes `terms` and `value`. `terms` is traced once into the compiled step.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    inputs: ClassVar[Inputs]
    takes_weights: ClassVar[bool] = True
    takes_slices: ClassVar[bool] = True
    takes_replicates: ClassVar[bool] = True
    score_scale: ClassVar[ScoreScale] = ScoreScale.ANY  # what `predictions` have to be; see `expected_scale`
    features: ClassVar[tuple[str, ...]] = ()  # options that name further features, given to `terms` by keyword
    extra_outputs: ClassVar[tuple[str, ...]] = ()  # options that name further outputs, likewise
    compares: ClassVar[bool] = False  # whether `terms` gets a second output too, as `baseline`; see `pairs.PairMetric`
    plain: ClassVar[PlainMean | None] = None  # what `value` comes to, where it is no more than that; see `plain_mean`
    no_interval: ClassVar[str | None] = None  # why a bootstrap has no interval for it, though it has replicates
    bound_names: ClassVar[tuple[str, str] | None] = None  # numbers of a value that the exact one lies between, for sure
    summary: ClassVar[str]  # one line: the definition
    source: ClassVar[str] = ""  # where the definition comes from

    name: str | None = Field(None, description="what it is reported as; null: the metric's own name")
    output: str | None = Field(None, description="output of the model; null: its only one")
    label: str | None = Field(None, description="feature that is the label; null: data.label of the job")
    weight: str | Literal[False] | None = Field(
        None, description="feature that weighs examples; null: data.weight of the job; false: none"
    )
    slices: bool = Field(True, description="whether the job's slices report it too")
    bootstrap: bool = Field(True, description="whether the job's bootstrap gives it intervals")

    @property
    def in_slices(self) -> bool:
        """Whether slices report it."""
        return self.takes_slices and self.slices

    @property
    def in_replicates(self) -> bool:
        """Whether the bootstrap draws it."""
        return self.takes_replicates and self.bootstrap

    def binding(self, output: str, label: str | None, weight: str | None) -> Binding:
        """Return what the metric reads: its own names where it has them, else those of the job.

        Options that change how labels and outputs are read (`ignore_label`, `from_logits`, `positive`, `classes`,
        `one_hot`) go along.
        """
        keys = ("ignore_label", "from_logits", "positive", "classes", "one_hot")
        reading = {key: getattr(self, key) for key in keys if hasattr(self, key)}
        also = tuple((option, getattr(self, option)) for option in self.features if getattr(self, option) is not None)
        outputs = tuple((o, getattr(self, o)) for o in self.extra_outputs if getattr(self, o) is not None)
        return Binding(
            self.inputs,
            self.output or output,
            None if self.inputs is Inputs.OUTPUT else self.label or label,
            self.weighing(weight) if self.takes_weights else None,
            scale=ScoreScale.ANY if reading.get("from_logits") else self.expected_scale(),
            also=also,
            outputs=outputs,
            baseline=getattr(self, "baseline", None) if self.compares else None,
            **reading,
        )

    def expected_scale(self) -> ScoreScale:
        """Return what the scores have to be where they are no logits: `score_scale`, unless the options say otherwise.

        With PROBABILITY, `terms` sees scores in [0, 1]: what rounding puts outside is clipped, what lies further out
        never arrives.
        """
        return self.score_scale

    def infinite_term(self) -> str | None:
        """Say what it means where a Number of this metric is infinite, None where nothing in particular.

        Such positions are counted, in whole numbers, and the reason is "N ..." with what this returns.
        """
        return None

    def weighing(self, weight: str | None) -> str | None:
        """Return the feature that weighs: the metric's own, else that of the job; None where either says so."""
        return weight if self.weight is None else self.weight or None

    def terms(self, *args: Any, **also: Any) -> Mapping[str, Term]:
        """Return what each position adds, by name; a subclass writes `terms(self, labels, predictions)`.

        Args:
          args: labels and predictions, see `inputs`.
          also: the features and outputs named by the options in `features` and `extra_outputs`, [B, ...].
        """
        raise NotImplementedError

    def plain_mean(self) -> PlainMean | None:
        """Return `plain` where it speaks of this class's own `value`: who overrides that need not know of it."""
        home = next(kind for kind in type(self).__mro__ if "value" in vars(kind))
        return vars(home).get("plain")

    def statistic(self) -> Hashable | None:
        """Return what tells the terms of this metric apart from those of another that has the same `terms`.

        Metrics that share both, and a binding, are summed once. None: never shared.
        """
        return None

    def standard_error(self, totals: Totals) -> float | None:
        """Return the standard error of the value, None where it has none but by bootstrap."""
        return None

    def proportion(self, totals: Totals) -> Proportion | Mapping[str, Proportion] | None:
        """Return k and n where the value is k of n, of a mapping by its names; None where it is no proportion.

        A proportion near 0 or 1 gets an exact binomial interval, where the bootstrap does not hold.
        """
        return None

    def without_interval(self, totals: Totals) -> str | None:
        """Return why a bootstrap has no interval for these totals, None where it has one: `no_interval` for all of them."""
        return self.no_interval

    def values(self, totals: CountTotals) -> Sequence[Any] | None:
        """Return `value` of many draws at once, with the same bits: None for a draw where it is undefined.

        A bootstrap in a thousand slices has hundreds of thousands of them. Asked of the harness's own metrics only, whose
        terms are all counts. None: one by one.
        """
        return None

    def class_support(self, totals: Totals) -> Mapping[str, float] | None:
        """Return how many positions have the label of each class, or their weight; None where the value is not by class."""
        return None

    def gaps(self, totals: Totals) -> Gaps | None:
        """Return the gaps that the value is a norm of, None where it is none."""
        return None

    def plots(self, totals: Totals) -> Sequence[Plot]:
        """Return what a report shows beside the value: data, not drawing.

        Raises: Undefined: there is nothing to show for these totals.
        """
        return ()

    def value(self, totals: Totals) -> Any:
        """Return what is reported: a number, a mapping from class to number, or a Table.

        Raises: Undefined: the value has no meaning for these totals.
        """
        raise NotImplementedError


class HostMetric(Metric):
    """Base of metrics whose terms come from a library that runs on the host: strings, boxes, alignments.

    Only real examples are passed, never padding. A subclass names its `columns` and writes `host_terms`; the sums
    are then totals like any other.
    """

    inputs: ClassVar[Inputs] = Inputs.RAW
    spread: ClassVar[bool] = False  # whether `Totals.mean_error` is asked for the columns; see `Number`

    def columns(self) -> tuple[str, ...]:
        """Name the numbers that each example adds."""
        raise NotImplementedError

    def host_terms(self, labels: np.ndarray, predictions: np.ndarray, **features: np.ndarray) -> np.ndarray:
        """Return what each example adds, float64 [n, columns].

        Args:
          labels, predictions: [n, ...]; strings are bytes in an object array. n is 0 once, before there is work:
            the time to refuse a dtype or shape with a ShapeError.
          features: those named by the options in `features`, [n, ...].
        """
        raise NotImplementedError


class RowMetric(Metric):
    """Base of metrics that are no sum of fixed size: exact AUC, quantiles, rankings within a group.

    `terms` returns one `Rows`. At the end the rows of all ranks are sorted by (group, key) and cut into parts, one a
    rank, such that equal keys (or, with groups, whole groups) stay together; `fold` reduces each part to exact numbers
    that add up over the parts, and `value` sees their totals.

    What a subclass may declare:
      additive: the values of which only sums over equal keys matter, all of them and all integers: such rows may be
        combined before they travel. None: every row is needed.
      keep: "largest" or "smallest" where only the row with that key matters; see `rows.thin`.
      then_by: the value by which rows are sorted a second time; `carry` says what they take along from the first.
      drawn_by: the feature that the groups are made of, where a bootstrap draws whole groups: all rows of a group then
        have one multiplicity, which is a weight of what the group adds. None: every example is drawn on its own.
      keeps_undrawn: whether `fold` is shown the rows that a replicate did not draw too, with multiplicity 0.
    """

    additive: ClassVar[tuple[str, ...] | None] = None
    keep: ClassVar[Literal["all", "largest", "smallest"]] = "all"
    then_by: ClassVar[str | None] = None

    @property
    def drawn_by(self) -> str | None:
        """See above."""
        return None

    @property
    def keeps_undrawn(self) -> bool:
        """See above."""
        return False

    def cumulate(self, part: Any) -> dict[str, np.ndarray]:
        """Return columns of integers [n] whose totals over all earlier parts `fold` needs; empty for most grouped metrics."""
        return {}

    def carry(self, part: Any) -> np.ndarray:
        """Return what each row takes to the second sort, int64 [n]: `part.values["carried"]` of `fold`."""
        raise NotImplementedError

    def fold(self, part: Any) -> dict[str, Any]:
        """Reduce one sorted part, which may be empty, to exact numbers by name; see `rows.Part`.

        Returns: int, Fraction, or an object array of them, which add up over the parts; or a tuple of them, of which
          the largest counts. What a part has nothing to say of may be missing.
        """
        raise NotImplementedError
