"""Layout and decoding of the state: which columns of the int64 vector belong to which metric. Knows no graph, no ranks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from harness.exact.limbs import CELL, LIMB_BITS, carry, refused, to_fraction
from harness.metrics.contract import Binding, Metric, Totals, Undefined, row_sums
from harness.metrics.status import Status, reasons
from harness.sums.rows import RowTable

__all__ = ["INFINITE", "Counted", "Crossed", "Layout", "Result", "RowLayout", "Status", "Summed", "objections", "result"]


SPREAD = ("^2", "*weight")  # how the names end of what only the standard error needs
INFINITE = "=infinite"  # how the name ends of the count of positions where a number is infinite


NO_SPREAD = "all {n} examples add the same: they show no spread to tell a standard error by"


@dataclass(frozen=True)
class Summed:
    """Columns of exact cells: `shape` numbers of one total."""

    key: tuple[Any, str]  # metric key, or Binding; and the name of the total
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many int64 it takes."""
        return int(np.prod(self.shape, dtype=np.int64)) * CELL


@dataclass(frozen=True)
class Counted:
    """Columns of plain counts: the buckets of one total."""

    key: tuple[Any, str]
    size: int


@dataclass(frozen=True)
class Crossed:
    """Columns of a Gram matrix of so many features: see `contract.GramSums`, then how many examples were refused."""

    key: tuple[Any, str]
    features: int

    @property
    def size(self) -> int:
        """How many int64 it takes."""
        return (self.features + 1) * (self.features + 2) + 1


@dataclass(frozen=True)
class RowLayout:
    """How the step packs a row metric's rows, int64 [n, columns]; floats by their bits.

    The columns are the example id, the cluster's hash, the slot in each slice spec, key, group, weight, values.
    """

    grouped: bool
    weighted: bool
    values: tuple[tuple[str, str], ...]  # name, dtype
    clustered: bool = False

    @property
    def _fixed(self) -> int:
        """How many columns there are beside the slots."""
        return 2 + self.clustered + self.grouped + self.weighted + len(self.values)

    def empty(self, specs: int) -> RowTable:
        """Return no rows, of a job with so many slice specs."""
        return self.unpack(np.zeros([0, self._fixed + specs], np.int64))

    def unpack(self, packed: np.ndarray) -> RowTable:
        """Turn packed rows into a table, its slices still numbered as this rank found them."""
        head = 1 + self.clustered
        specs = packed.shape[1] - self._fixed
        columns = iter(np.ascontiguousarray(packed[:, head + specs :].T))
        key = next(columns).view(np.float64)
        group = next(columns) if self.grouped else None
        weights = next(columns).view(np.float64) if self.weighted else None
        values = {name: column.view(np.dtype(dtype)) for (name, dtype), column in zip(self.values, columns, strict=True)}
        clusters = packed[:, 1].copy() if self.clustered else None
        return RowTable(key, values, packed[:, 0].copy(), packed[:, head : head + specs].copy(), group, weights, clusters)


@dataclass(frozen=True)
class Layout:
    """The state: all cells, then all counts, then Gram matrices."""

    summed: tuple[Summed, ...]
    counted: tuple[Counted, ...]
    shared: tuple[tuple[Any, Any], ...] = ()  # metric or binding, and the one whose columns it shares
    crossed: tuple[Crossed, ...] = ()

    @property
    def cells(self) -> int:
        """How many int64 the cells take, at the start of the state."""
        return sum(part.size for part in self.summed)

    @property
    def size(self) -> int:
        """Length of the state vector."""
        return sum(part.size for part in self.parts)

    @property
    def parts(self) -> tuple[Summed | Counted | Crossed, ...]:
        """All columns, in their order."""
        return (*self.summed, *self.counted, *self.crossed)

    @cached_property
    def _slots(self) -> dict[Any, list[tuple[str, int, Summed | Counted | Crossed]]]:
        slots: dict[Any, list[tuple[str, int, Summed | Counted | Crossed]]] = {}
        at = 0
        for part in self.parts:
            owner, name = part.key
            slots.setdefault(owner, []).append((name, at, part))
            at += part.size
        return slots

    def _slots_of(self, owner: Any) -> list[tuple[str, int, Summed | Counted | Crossed]]:
        return self._slots.get(dict(self.shared).get(owner, owner), [])

    def carry(self, state: np.ndarray) -> np.ndarray:
        """Return the state with its cells carried; see `exact.carry`."""
        out = state.copy()
        out[: self.cells] = carry(state[: self.cells].reshape(-1, CELL)).ravel()
        at = self.size - sum(part.size for part in self.crossed)
        for part in self.crossed:
            low, high = out[at : at + part.size - 1].reshape(2, -1)
            over = low >> LIMB_BITS
            low -= over << LIMB_BITS
            high += over
            at += part.size
        return out

    def totals(self, state: np.ndarray, owner: Any) -> dict[str, np.ndarray]:
        """Decode the totals of a metric (or a binding): arrays of Fraction, or of int64; of a `Gram` for `GramSums.of`."""
        decoded: dict[str, np.ndarray] = {}
        for name, at, part in self._slots_of(owner):
            raw = state[at : at + part.size]
            if isinstance(part, Summed):
                values = np.empty(part.shape, dtype=object)
                values.ravel()[...] = [to_fraction(cell) for cell in raw.reshape(-1, CELL)] if part.shape else None
                decoded[name] = values if part.shape else np.array(to_fraction(raw), dtype=object)
            else:
                decoded[name] = raw
        return decoded

    def counts(self, state: np.ndarray, owner: Any) -> dict[str, np.ndarray]:
        """Return the plain counts of an owner by name, int64 [size]."""
        return {name: state[at : at + part.size] for name, at, part in self._slots_of(owner) if isinstance(part, Counted)}

    def terms(self, owner: Any) -> list[str]:
        """Return the names of an owner's totals, without those that only the standard error or a reason needs."""
        return [name for name, _, _ in self._slots_of(owner) if not name.endswith((*SPREAD, INFINITE))]

    def column(self, owner: Any, name: str) -> Summed | Counted | Crossed | None:
        """Return the column of a total, None where there is none."""
        return next((part for found, _, part in self._slots_of(owner) if found == name), None)

    def refused(self, state: np.ndarray, owner: Any, *, spread: bool = False) -> int:
        """Return how many terms of a metric were NaN, infinite or too large to be summed.

        Args:
          spread: look at the squares that only the standard error needs, instead of all else.
        """
        return sum(
            int(refused(state[at : at + part.size].reshape(-1, CELL)).sum())
            for name, at, part in self._slots_of(owner)
            if isinstance(part, Summed) and name.endswith(SPREAD) == spread
        )


@dataclass(frozen=True)
class Result:
    """What is reported of one metric: its value, or null and why; how many examples, and positions of them, went into it.

    `no_error` says why there is no standard error where there is a formula for one. `totals` are what the value was made of;
    None where it is null.
    """

    value: Any
    reason: str | None
    examples: int
    positions: int
    standard_error: float | None = None
    no_error: str | None = None
    totals: Totals | None = field(default=None, compare=False, repr=False)


def objections(
    layout: Layout, state: np.ndarray, key: str, metric: Metric, binding: Binding, classes: tuple[str, ...] | None
) -> list[str]:
    """Return why a metric has no value, as far as its positions and terms say; see `result`."""
    texts = reasons(layout.totals(state, binding)["status"], metric, classes)
    refused_terms = layout.refused(state, key)
    if texts or not refused_terms:
        return texts
    infinite = sum(int(count.sum()) for name, count in layout.counts(state, key).items() if name.endswith(INFINITE))
    meaning = metric.infinite_term()
    if infinite and meaning:
        return [f"{infinite:,} {meaning}"]
    return [f"{refused_terms} terms are NaN, infinite or not below 2^128"]


def result(
    layout: Layout,
    state: np.ndarray,
    key: str,
    metric: Metric,
    binding: Binding,
    classes: tuple[str, ...] | None,
    rows: Mapping[str, Any] | str | None = None,
) -> Result:
    """Compute the value of one metric.

    Args:
      layout: of the state.
      state: int64 [layout.size], summed over all ranks.
      key, metric, binding: the metric and what it reads.
      classes: names of the classes.
      rows: what the metric's rows were folded to, or why they could not be.
    """
    shared = layout.totals(state, binding)
    status = shared["status"]
    positions = int(status[Status.VALID])
    examples = int(shared["examples"][0]) if "examples" in shared else positions
    texts = objections(layout, state, key, metric, binding, classes)
    if not texts and not positions:
        texts.append("there is nothing to score: every position is ignored")
    if not texts and isinstance(rows, str):
        texts.append(rows)
    if texts:
        return Result(None, "; ".join(texts), examples, positions)
    weight = shared["weight"].item() if "weight" in shared else Fraction(positions)
    squares = shared["weight^2"].item() if "weight^2" in shared else None
    sums = layout.totals(state, key)
    if rows and not isinstance(rows, str):
        sums |= row_sums(rows)
    totals = Totals(sums, positions=positions, weight=weight, classes=classes, examples=examples, weight_squares=squares)
    try:
        # The square of a number of 2^64 is too large for a cell; the number is not.
        error = None if layout.refused(state, key, spread=True) else metric.standard_error(totals)
        if error == 0:  # no spread was seen, which does not mean that there is none
            return Result(metric.value(totals), None, examples, positions, None, NO_SPREAD.format(n=examples), totals)
        return Result(metric.value(totals), None, examples, positions, error, None, totals)
    except Undefined as exc:
        # Where nothing weighs anything, that is why: what a metric makes of its own sums of zero would mislead.
        return Result(None, str(exc) if weight else "the total weight is zero", examples, positions)
