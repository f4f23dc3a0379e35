"""What a metric is: two pure functions, `terms` and `value`. Knows nothing of ranks, files or the compiled step.

A metric author writes

    terms(labels, predictions) -> what each position adds    TensorFlow ops, no reduction over the batch
    value(totals)              -> what is reported           NumPy and Python, once, after the sum

A position is one thing scored: the example itself, or one pixel, token or output of it. The engine flattens positions
before `terms` sees them, takes out those that are masked, ignored or invalid, applies weights, and sums.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "Binding",
    "Count",
    "Gaps",
    "Gram",
    "GramSums",
    "HostMetric",
    "Inputs",
    "Metric",
    "Number",
    "PlainMean",
    "Proportion",
    "RowMetric",
    "Rows",
    "ScoreScale",
    "Table",
    "Term",
    "Totals",
    "Undefined",
    "ratio",
    "row_sums",
]


RESOLVED_EXAMPLES = 1 + Fraction(1, 1 << 20)  # an effective number of examples that is more than rounding above 1
# Each square is rounded to float64, by 2^-53 of itself: a spread that is no larger beside them is no spread.
RESOLVED_SQUARES = Fraction(1, 1 << 51)
# Each term is rounded to a grid of 2^-128. A mean, or a mean square, below this has fewer than three good digits.
RESOLVED_MEAN = Fraction(1, 1 << 118)


class Inputs(Enum):
    """What a metric reads, and so what makes a position invalid."""

    CLASSES = "labels int32 [N] in [0, C), predictions [N, C]; where the binding has classes, int32 [N] in [0, C)"
    BINARY = "labels int32 [N], 1 where positive else 0; predictions float64 [N], the score of the positive class"
    MULTILABEL = "labels int32 [N, L], each 0 or 1; predictions [N, L]"
    NUMBERS = "labels float64 [N], predictions float64 [N]"
    MULTIOUTPUT = "labels float64 [N, K], predictions float64 [N, K]: K numbers of each position"
    OUTPUT = "no labels, predictions float64 [N]; NaN and infinite ones are invalid"
    RAW = "labels and predictions as they are, [B, ...], of any dtype; one position an example, all valid"


class ScoreScale(Enum):
    """What range a metric expects scores in; a position where they are not in it is counted apart, the value is null."""

    ANY = "any numbers: they are only compared with each other, or with a number of their own scale"
    DECISION = "any numbers; but one score a position is that of class 1 of two, p against 1 - p, and so in [0, 1]"
    PROBABILITY = "in [0, 1]; where there is one for each of several classes that exclude each other, they sum to 1"


class Undefined(Exception):
    """Raised by `value` where the mathematics has no answer: the value is null, with this reason."""


@dataclass(frozen=True)
class Number:
    """A number per position and column; `values` is float [N] or [N, K]. Summed exactly.

    `low` is what rounding took from `values`, where the two are an error-free pair: both are added to the same sum.
    `spread` asks for what the standard error of the mean needs too; `values` is [N] then. See `Totals.mean_error`.
    """

    values: Any
    low: Any = None
    spread: bool = False


@dataclass(frozen=True)
class Count:
    """A bucket per position; `index` is integer [N] in [0, size), or negative for none."""

    index: Any
    size: int


@dataclass(frozen=True)
class Rows:
    """Rows kept by the rank that saw them, for what is no sum of fixed size; see `RowMetric`.

    `key` is float64 [N], what rows are sorted by, ascending; `values` are numbers by name, float64 or int64 [N];
    `group` is int64 [N]: rows of one group stay together (None: one group). Where `per_row` is given, int64 [N], each
    row belongs to that position (a position may have no row, or several), else row i belongs to position i.
    """

    key: Any
    values: Mapping[str, Any]
    group: Any = None
    per_row: Any = None


@dataclass(frozen=True)
class Gram:
    """Sums of features and of all products of two, for covariances of many; `values` is float [B, D], an example a position.

    Features are rounded once, to multiples of `largest` 2^-22, a power of two times 2^-22; then everything is integers:
    a product is at most 2^44, 512 of them add up below 2^53 in a float64 matrix product, and go into the state as 32 low
    bits and the rest. An example with a feature that is NaN or not below `largest` is left out and counted. `GramSums`
    reads the total. No weights, slices or replicates: a metric with it takes none.
    """

    values: Any
    largest: float

    BITS: ClassVar[int] = 22
    BLOCK: ClassVar[int] = 512


@dataclass(frozen=True)
class GramSums:
    """What a `Gram` adds up to, in units of `largest` 2^-22 for sums and its square for products; exact integers.

    Attributes:
      examples, refused: how many were summed, and how many left out.
      upper: low and high part of the upper triangle of [x, 1]^T [x, 1], row by row, int64 [2, (D + 1) (D + 2) / 2].
      features: D.
    """

    examples: int
    refused: int
    upper: np.ndarray
    features: int

    @classmethod
    def of(cls, raw: np.ndarray) -> GramSums:
        """Read a total, int64 [(D + 1) (D + 2) + 1]."""
        upper = raw[:-1].reshape(2, -1)
        examples = int(upper[0, -1]) + (int(upper[1, -1]) << 32)
        return cls(examples, int(raw[-1]), upper, (math.isqrt(8 * upper.shape[1] + 1) - 1) // 2 - 1)

    def row(self, number: int) -> np.ndarray:
        """Return row i of the matrix from the diagonal on: products with x_i, ..., x_D, then the sum of x_i; object ints."""
        width = self.features + 1
        start = number * width - number * (number - 1) // 2
        low, high = self.upper[:, start : start + width - number].astype(object)
        row: np.ndarray = low + high * (1 << 32)
        return row


Term = Number | Count | Rows | Gram


@dataclass(frozen=True)
class Binding:
    """Which output, label and weight a metric reads, by name; metrics with the same binding share their positions."""

    inputs: Inputs
    output: str
    label: str | None = None
    weight: str | None = None
    ignore_label: int | None = None
    from_logits: bool = False
    positive: int = 1  # the positive class, of BINARY inputs
    classes: int | None = None  # an integer output is the predicted class, one of so many
    one_hot: bool = False  # a class label is a row [..., C] with a 1 for its class
    also: tuple[tuple[str, str], ...] = ()  # further features that `terms` reads, by the option that names them
    outputs: tuple[tuple[str, str], ...] = ()  # further outputs that `terms` reads, likewise
    scale: ScoreScale = ScoreScale.ANY  # what the scores have to be, as they are read


@dataclass(frozen=True)
class Table:
    """A value that is a table: `columns` name the fields, `rows` hold them. Written as a CSV file too."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


class Totals(Mapping[str, Any]):
    """The summed terms of one metric, and what all metrics share.

    `totals[name]` is a float64 (scalar or array) for a `Number`, int64 [size] for a `Count` (float64 where examples are
    weighted), correctly rounded from the exact sum. `exact(name)` gives fractions for what must not cancel.

    Args:
      sums: exact sums by name: arrays (dtype object) of Fraction, or int64 counts.
      positions: how many positions were summed.
      examples: how many examples they belong to.
      weight_squares: sum over examples of the square of their weight.
      weight: their total weight; equal to `positions` where nothing is weighted.
      classes: names of the classes, where the job gives them.
    """

    def __init__(
        self,
        sums: Mapping[str, np.ndarray],
        *,
        positions: int,
        weight: Fraction,
        classes: tuple[str, ...] | None = None,
        examples: int | None = None,
        weight_squares: Fraction | None = None,
    ) -> None:
        self._sums = dict(sums)
        self.positions = positions
        self.examples = positions if examples is None else examples
        self._weight_squares = Fraction(self.examples) if weight_squares is None else weight_squares
        self.exact_weight = weight
        self.classes = classes

    def __getitem__(self, name: str) -> Any:
        sums = self._sums[name]
        if sums.dtype != object:
            return sums
        rounded = np.array([float(x) for x in sums.ravel()]).reshape(sums.shape)
        return rounded if sums.shape else float(rounded)

    def __iter__(self) -> Any:
        return iter(self._sums)

    def __len__(self) -> int:
        return len(self._sums)

    @property
    def weight(self) -> float:
        """Total weight of the positions that were summed."""
        return float(self.exact_weight)

    def exact(self, name: str) -> Any:
        """Return a total as Fraction (or an object array of them), not rounded."""
        sums = self._sums[name]
        if sums.dtype != object:
            sums = np.array([Fraction(int(x)) for x in sums.ravel()], dtype=object).reshape(sums.shape)
        return sums if sums.shape else sums.item()

    def column(self, number: int) -> Totals:
        """Return the totals of one of K columns, where all terms are numbers [N, K]."""
        return self._with({name: np.array(self.exact(name)[number], dtype=object) for name in self})

    def renamed(self, names: Mapping[str, str]) -> Totals:
        """Return some of the totals under other names, given by their own."""
        return self._with({new: self._sums[name] for name, new in names.items()})

    def _with(self, sums: Mapping[str, np.ndarray]) -> Totals:
        return Totals(
            sums,
            positions=self.positions,
            weight=self.exact_weight,
            classes=self.classes,
            examples=self.examples,
            weight_squares=self._weight_squares,
        )

    def mean(self, name: str) -> float:
        """Return a total over the total weight, rounded once.

        Raises: Undefined: the weight is zero, or the terms are so small that the grid of sums leaves no digits.
        """
        total = self.exact(name)
        if total and abs(total) < self.positions * RESOLVED_MEAN:
            raise Undefined(f"the sum is {float(total):.2g}, too small for a grid of 2^-128: scale what is scored")
        return ratio(total, self.exact_weight, "the total weight is zero")

    def mean_error(self, name: str) -> float | None:
        """Return the standard error of `mean(name)`, None below two examples.

        Of the ratio of sums A / B over examples, by linearisation: sqrt(n / (n - 1) sum of (a - m b)^2) / B, where a is
        an example's weighted value, b its weight and m the mean (W. G. Cochran, Sampling Techniques, 1977, 6.3). n is
        the effective number of examples, B^2 / sum of b^2 (L. Kish, Survey Sampling, 1965, 11.7): one that weighs
        nothing changes nothing, and one that weighs all leaves no error to be told. With weights of 1 that is
        s / sqrt(n). The terms a^2, a b and b^2 are float64 each, their sums exact; None too where they are so small that
        the grid of sums leaves no digits of them.
        """
        if self.examples < 2 or not self.exact_weight or not self._weight_squares:
            return None
        least = self.examples * RESOLVED_MEAN
        if self._weight_squares < least or (self.exact(name) and self.exact(f"{name}^2") < least):
            return None
        effective = self.exact_weight**2 / self._weight_squares
        if effective < RESOLVED_EXAMPLES:
            return None
        mean = self.exact(name) / self.exact_weight
        mixed = self.exact(f"{name}*weight") if f"{name}*weight" in self else self.exact(name)
        raw = self.exact(f"{name}^2")
        squares = raw - 2 * mean * mixed + mean * mean * self._weight_squares
        if squares <= raw * RESOLVED_SQUARES:
            return 0.0
        variance = squares * effective / (effective - 1)
        return math.sqrt(variance) / abs(float(self.exact_weight))

    def share_error(self, share: float) -> float | None:
        """Return the standard error of a share of unweighted examples, sqrt(p (1 - p) / (n - 1)); None below two."""
        # Both sums agree with n only where every weight is 1.
        if self.examples < 2 or self._weight_squares != self.examples or self.exact_weight != self.examples:
            return None
        return math.sqrt(share * (1 - share) / (self.examples - 1))

    def proportion(self, successes: Any) -> Proportion:
        """Return an exact sum as a share of the total weight."""
        return Proportion(Fraction(successes), self.exact_weight)


def row_sums(folded: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return what `fold` made of rows as sums of `Totals`: object arrays of Fraction, of one number or several."""
    sums = {}
    for name, number in folded.items():
        if isinstance(number, tuple | np.ndarray):
            sums[name] = np.array([None, *map(Fraction, number)], dtype=object)[1:]
        else:
            sums[name] = np.array(Fraction(number), dtype=object)
    return sums


def ratio(above: Any, below: Any, reason: str) -> float:
    """Divide two exact totals, rounding once.

    Raises: Undefined: the divisor is zero; `reason` says what that means.
    """
    if not below:
        raise Undefined(reason)
    return float(Fraction(above) / Fraction(below))


@dataclass(frozen=True)
class PlainMean:
    """Says that a value is one total, or one bucket of a count, over the total weight: `value` of many sums at once."""

    total: str
    bucket: int | None = None


@dataclass(frozen=True)
class Proportion:
    """Says that a value is k of n: `successes` of `trials`, in examples, or in their weight."""

    successes: Fraction
    trials: Fraction


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
    plain: ClassVar[PlainMean | None] = None  # what `value` comes to, where it is no more than that; see `plain_mean`
    no_interval: ClassVar[str | None] = None  # why a bootstrap has no interval for it, though it has replicates
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

    def gaps(self, totals: Totals) -> Gaps | None:
        """Return the gaps that the value is a norm of, None where it is none."""
        return None

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
