"""Layout and decoding of the state: which columns of the int64 vector belong to which metric. Knows no graph, no ranks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from harness.exact.limbs import CELL, LIMB_BITS, carry, refused, rounded, to_fraction
from harness.metrics.status import Status
from harness.sums.rows import RowTable

__all__ = ["INFINITE", "Counted", "Crossed", "Layout", "RowLayout", "Status", "Summed"]


SPREAD = ("^2", "*weight")  # how the names end of what only the standard error needs
INFINITE = "=infinite"  # how the name ends of the count of positions where a number is infinite


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

    def check(self, table: RowTable, specs: int) -> None:
        """Compare rows with this layout; ids and clusters may be left out, see `RowStore`.

        Raises: ValueError: they have other columns.
        """
        wanted, columns = self.empty(specs).to_arrays(), table.to_arrays()
        if set(wanted) - {"ids", "clusters"} != set(columns) - {"ids", "clusters"} or not set(columns) <= set(wanted):
            raise ValueError(f"rows: expected {sorted(wanted)}, found {sorted(columns)}")
        for name, column in columns.items():
            if column.dtype.kind != wanted[name].dtype.kind or column.shape[1:] != wanted[name].shape[1:]:
                raise ValueError(f"rows: {name}: expected {wanted[name].dtype}, found {column.dtype} {list(column.shape)}")

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

    def rounded(self, state: np.ndarray, owner: Any) -> dict[str, np.ndarray]:
        """Return how many terms of an owner's sums the grid rounded, by name, int64 in the shape of the sum; no name for none."""
        counts = {}
        for name, at, part in self._slots_of(owner):
            if isinstance(part, Summed) and (count := rounded(state[at : at + part.size].reshape(-1, CELL))).any():
                counts[name] = count.reshape(part.shape)
        return counts

    def counts(self, state: np.ndarray, owner: Any) -> dict[str, np.ndarray]:
        """Return the plain counts of an owner by name, int64 [size]."""
        return {name: state[at : at + part.size] for name, at, part in self._slots_of(owner) if isinstance(part, Counted)}

    def terms(self, owner: Any) -> list[str]:
        """Return the names of an owner's totals, without those that only the standard error or a reason needs."""
        return [name for name, _, _ in self._slots_of(owner) if not name.endswith((*SPREAD, INFINITE))]

    def column(self, owner: Any, name: str) -> Summed | Counted | Crossed | None:
        """Return the column of a total, None where there is none."""
        return next((part for term, _, part in self._slots_of(owner) if term == name), None)

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
