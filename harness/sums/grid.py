"""The grid: the state once more for every slice and every replicate. Arrays and keys; knows no graph and no ranks.

A slot is a slice; slot 0 is the whole. A draw is a set of multiplicities; draw 0 counts every example once, the others
are the bootstrap's replicates. The grid holds a state for each pair.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.errors import JobError
from harness.exact.limbs import CELL, carry
from harness.job.specs import SliceFeature, SlicesSpec
from harness.sums.layout import Counted, Layout, Summed

__all__ = ["ESCAPES", "PART_END", "SPEC_END", "GridLayout", "GridState", "SliceKey", "decode", "most_slices", "too_many", "union"]

SPEC_END, PART_END = "\x1e", "\x1f"  # set the parts of a slot's key apart
# A text may hold what sets parts apart: within a cross it is written otherwise, in this order, and read back in reverse.
ESCAPES = (("\x1a", "\x1a0"), (PART_END, "\x1a1"))


@dataclass(frozen=True)
class GridLayout:
    """Where the columns of the state lie in the arrays of the grid.

    Attributes:
      numbers: exact columns, dense.
      histograms: counts of several positions per example, dense.
      buckets: counts of one position per example, scattered.
      weighted: counts of weighted positions, scattered cells.
    """

    numbers: tuple[Summed, ...]
    histograms: tuple[Counted, ...]
    buckets: tuple[Counted, ...]
    weighted: tuple[Summed, ...]
    state: Layout

    @property
    def dense(self) -> int:
        """Width of the dense part."""
        return sum(c.size for c in self.numbers) + sum(c.size for c in self.histograms)

    @property
    def scattered(self) -> int:
        """How many buckets there are."""
        return sum(c.size for c in self.buckets)

    @property
    def weighted_buckets(self) -> int:
        """How many weighted buckets there are."""
        return sum(c.size // CELL for c in self.weighted)

    def size_bytes(self, slots: int, draws: int) -> int:
        """Return the memory of a grid."""
        return 8 * slots * draws * (self.dense + self.scattered + CELL * self.weighted_buckets)

    @property
    def columns(self) -> tuple[Summed | Counted, ...]:
        """All columns that each slot and draw has."""
        return (*self.numbers, *self.histograms, *self.buckets, *self.weighted)


@dataclass(frozen=True)
class SliceKey:
    """One slice: the features it is cut by, and their values: integers, strings, or buckets as text."""

    features: tuple[str, ...]
    values: tuple[int | str, ...]


@dataclass(frozen=True)
class GridState:
    """Sums by slot and draw, int64: dense [slots, draws, D], buckets [slots, C, draws], weighted [slots, W, draws, CELL]."""

    keys: tuple[str, ...]  # of the slots from 1 on
    dense: np.ndarray
    buckets: np.ndarray
    weighted: np.ndarray

    @classmethod
    def zero(cls, layout: GridLayout, draws: int) -> GridState:
        """Return the grid that nothing was added to: it has no slot, not even that of the whole."""
        return cls(
            (),
            np.zeros([0, draws, layout.dense], np.int64),
            np.zeros([0, layout.scattered, draws], np.int64),
            np.zeros([0, layout.weighted_buckets, draws, CELL], np.int64),
        )

    @property
    def slots(self) -> int:
        """How many slots there are, the whole counted; 0 where nothing was added."""
        return len(self.dense)

    def placed(self, keys: Sequence[str]) -> GridState:
        """Return the same sums among other slots: zero where this one has none."""
        numbers = {key: number for number, key in enumerate(keys, start=1)}
        rows = np.array([0, *(numbers[key] for key in self.keys)], np.int64)[: self.slots]

        def place(array: np.ndarray) -> np.ndarray:
            out = np.zeros([len(keys) + 1, *array.shape[1:]], np.int64)
            out[rows] = array
            return out

        return GridState(tuple(keys), place(self.dense), place(self.buckets), place(self.weighted))

    def __add__(self, other: GridState) -> GridState:
        """Return the sum of both, which have the same keys."""
        if not self.slots or not other.slots:
            return self if self.slots else other
        return GridState(self.keys, self.dense + other.dense, self.buckets + other.buckets, self.weighted + other.weighted)

    def carry(self, layout: GridLayout) -> GridState:
        """Return the same sums with their cells carried; see `limbs.carry`."""
        numbers = sum(column.size for column in layout.numbers)
        dense = self.dense.copy()
        dense[..., :numbers] = carry(dense[..., :numbers].reshape(-1, CELL)).reshape(*dense.shape[:2], numbers)
        weighted = carry(self.weighted.reshape(-1, CELL)).reshape(self.weighted.shape)
        return GridState(self.keys, dense, self.buckets, weighted)

    def flat(self) -> np.ndarray:
        """Return all sums as one vector."""
        return np.concatenate([self.dense.ravel(), self.buckets.ravel(), self.weighted.ravel()])

    def unflat(self, vector: np.ndarray) -> GridState:
        """Return a state of this shape from a vector."""
        a, b, c = np.split(vector, [self.dense.size, self.dense.size + self.buckets.size])
        return GridState(self.keys, a.reshape(self.dense.shape), b.reshape(self.buckets.shape), c.reshape(self.weighted.shape))

    def column(self, slot: int, column: Counted | Summed, layout: GridLayout) -> np.ndarray | None:
        """Return the sums of a column in all draws of a slot, int64 [draws, column.size]; None where they are not here."""
        at = 0
        dense: tuple[Summed | Counted, ...] = (*layout.numbers, *layout.histograms)
        for other in dense:
            if other == column:
                return self.dense[slot, :, at : at + column.size]
            at += other.size
        at = 0
        for bucket in layout.buckets:
            if bucket == column:
                return self.buckets[slot, at : at + column.size].T
            at += bucket.size
        return None

    def state(self, slot: int, draw: int, layout: GridLayout) -> np.ndarray:
        """Return the state of one slot and draw, int64; zero for metrics that the grid leaves out, without Gram matrices."""
        columns_of: dict[Counted | Summed, np.ndarray] = {}
        sections: tuple[tuple[Sequence[Counted | Summed], np.ndarray], ...] = (
            ((*layout.numbers, *layout.histograms), self.dense[slot, draw]),
            (layout.buckets, self.buckets[slot, :, draw]),
            (layout.weighted, self.weighted[slot, :, draw].ravel()),
        )
        for columns, sums in sections:
            at = 0
            for column in columns:
                columns_of[column] = sums[at : at + column.size]
                at += column.size
        parts: list[Counted | Summed] = [*layout.state.summed, *layout.state.counted]
        return np.concatenate([columns_of[part] if part in columns_of else np.zeros(part.size, np.int64) for part in parts])


def decode(key: str, spec: SlicesSpec) -> SliceKey:
    """Read a slot's key: which spec, which values; buckets by their bounds."""
    number, _, rest = key.partition(SPEC_END)
    features = spec.by[int(number)]
    values = tuple(_value(part, feature) for part, feature in zip(_parts(rest, features), features, strict=True))
    return SliceKey(tuple(feature.feature for feature in features), values)


def _parts(text: str, features: Sequence[SliceFeature]) -> list[str]:
    """Cut the values out of a slot's key, which begin with their kinds."""
    if len(features) == 1:
        return [text]
    parts = text.split(PART_END)
    for plain, escaped in reversed(ESCAPES):
        parts = [part.replace(escaped, plain) for part in parts]
    return parts


def _value(part: str, feature: SliceFeature) -> int | str:
    kind, text = part[0], part[1:]
    if kind == "s":
        # Bytes that are no UTF-8 are kept apart while slices are summed, and shown as escapes.
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    if kind == "i":
        return int(text)
    bounds = [f"{b:g}" for b in feature.buckets or ()]
    at = int(text)
    if at > len(bounds):
        return "nan"
    low = bounds[at - 1] if at else "-inf"
    high = bounds[at] if at < len(bounds) else "inf"
    return f"[{low}, {high})"


def union(keys: Sequence[Sequence[str]], spec: SlicesSpec) -> list[str]:
    """Unite the keys that the ranks found, in the order of the report.

    Raises: JobError: there are more than the job allows.
    """
    united = sorted({key for some in keys for key in some}, key=lambda key: sort_key(key, spec))
    if len(united) > spec.maximum:
        raise too_many(len(united), spec)
    return united


def sort_key(key: str, spec: SlicesSpec) -> tuple[object, ...]:
    """Order slices by spec, then by value; buckets by their bounds, not their text."""
    number, _, rest = key.partition(SPEC_END)
    parts = _parts(rest, spec.by[int(number)])
    return int(number), tuple((part[0], int(part[1:]) if part[0] in "ib" else part[1:]) for part in parts)


def most_slices(spec: SlicesSpec, examples: int, classes: Mapping[str, int]) -> int:
    """Return how many slices there can be, as far as the job and the plan tell before the run.

    Args:
      spec: of the job.
      examples: of the plan; each is in one slice of each cross.
      classes: of features whose values are classes, how many there are. A value that is no class makes a slice more.

    >>> spec = SlicesSpec.model_validate([["city"], [{"feature": "age", "buckets": [30]}, "label"]])
    >>> most_slices(spec, 60, {}), most_slices(spec, 60, {"label": 5}), most_slices(spec, 10**6, {})
    (120, 75, 1000)
    """
    total = 0
    for features in spec.by:
        # Buckets are one more than their bounds, and NaN has one of its own.
        known = [len(f.buckets) + 2 if f.buckets is not None else classes.get(f.feature, examples) for f in features]
        total += min(examples, math.prod(known))
    return min(spec.maximum, total)


def too_many(count: int, spec: SlicesSpec, fitting: int | None = None) -> JobError:
    """Say that there are more slices than allowed, or than fit into memory, and what to do."""
    by = "; ".join(" x ".join(feature.feature for feature in features) for features in spec.by)
    wanted, remedy = f"at most {spec.maximum} slices", "raise slices.maximum"
    if fitting is not None and fitting < spec.maximum:
        wanted, remedy = f"at most {fitting} slices, for more do not fit into memory", "start fewer ranks a machine"
    return JobError(
        f"slices: expected {wanted}, found {count} or more (by {by}); "
        f"cut numeric features into buckets, leave a feature out, or {remedy}"
    )
