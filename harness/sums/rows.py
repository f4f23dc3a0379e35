"""Rows: what a rank keeps of its examples for a RowMetric, and what a metric is shown of them when they are sorted.

`RowTable` is what the loop collects and a journal stores; `Part` is what `RowMetric.fold` reduces. Pure NumPy; the way
from one to the other is in `row_reduce.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property

import numpy as np

from harness.exact.wide_integers import LIMIT, largest, multiply

__all__ = ["Part", "RowTable", "thin"]

VALUE = "value."  # marks the columns of `values` among stored arrays


@dataclass(frozen=True)
class RowTable:
    """Rows of one metric, in any order. All tables of one metric have the same columns.

    Args:
      key: float64 [n], what rows are sorted by, ascending. -0.0 equals 0.0.
      values: numbers by name, float64 or any integer dtype, [n].
      ids: int64 [n], the example id: what the bootstrap draws by, and the order of rows that agree in all else; None where
        nobody asks.
      slices: an integer dtype, [n, J], the number of the slice that a row belongs to, for each slice spec; -1 for none. Numbers
        are global and begin at 1; 0 is the whole and never written here.
      group: int64 [n], rows of one group stay together; None for one group.
      weights: float64 [n], finite; None where every example counts once.
      clusters: int64 [n], the hash of the cluster's value: what the bootstrap draws by instead; None without clusters.
    Raises: ValueError: the columns are not of one length.
    """

    key: np.ndarray
    values: Mapping[str, np.ndarray]
    ids: np.ndarray | None
    slices: np.ndarray
    group: np.ndarray | None = None
    weights: np.ndarray | None = None
    clusters: np.ndarray | None = None

    def __post_init__(self) -> None:
        lengths = {name: column.shape[0] for name, column in self.to_arrays().items()}
        if len(set(lengths.values())) != 1 or self.slices.ndim != 2:
            raise ValueError(f"expected columns of one length and slices [n, J], found {lengths} and slices {self.slices.shape}")

    def __len__(self) -> int:
        return len(self.key)

    @classmethod
    def concat(cls, tables: Sequence[RowTable]) -> RowTable:
        """Put tables of the same columns below each other; at least one.

        >>> one = RowTable(np.array([0.5]), {}, np.array([7]), np.zeros((1, 0), np.int64))
        >>> RowTable.concat([one, one]).ids.tolist()
        [7, 7]
        """
        columns = [table.to_arrays() for table in tables]
        return cls.from_arrays({name: np.concatenate([each[name] for each in columns]) for name in columns[0]})

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the columns by name, as `np.savez` takes them."""
        optional = {"ids": self.ids, "group": self.group, "weights": self.weights, "clusters": self.clusters}
        return {
            "key": self.key,
            "slices": self.slices,
            **{name: column for name, column in optional.items() if column is not None},
            **{VALUE + name: column for name, column in self.values.items()},
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> RowTable:
        """Return the table that `to_arrays` took apart; takes what `np.load` returns."""
        values = {name.removeprefix(VALUE): arrays[name] for name in arrays if name.startswith(VALUE)}
        rest = {name: arrays[name] for name in arrays if not name.startswith(VALUE)}
        return cls(values=values, ids=rest.pop("ids", None), **rest)

    def take(self, index: np.ndarray) -> RowTable:
        """Return some of the rows, by a mask or by their numbers."""
        return RowTable.from_arrays({name: column[index] for name, column in self.to_arrays().items()})


def thin(table: RowTable, keep: str) -> RowTable:
    """Keep what a metric with `RowMetric.keep` needs: of the rows in the same slices the one with the largest key.

    A collector calls it on the rows of a chunk, so that memory stays flat. Not for jobs with a bootstrap, which may
    leave out just the row that was kept. Rows of zero weight go.

    Args:
      table: the rows; without groups.
      keep: "largest", "smallest", or "all", which keeps all.

    >>> table = RowTable(np.array([1.0, 3.0, 2.0]), {}, np.arange(3), np.array([[1], [1], [2]]))
    >>> thin(table, "largest").key.tolist()
    [3.0, 2.0]
    """
    if keep == "all":
        return table
    if table.weights is not None:
        table = table.take(table.weights != 0)
    sign = 1.0 if keep == "largest" else -1.0
    order = np.lexsort((sign * table.key, *table.slices.T))
    lines = table.slices[order]
    last = np.ones(len(order), bool)
    last[:-1] = (lines[1:] != lines[:-1]).any(axis=1)
    kept = order[last]
    if table.weights is not None and len(table):
        # Whether weights can be used is told by the extremes of all of them: which chunks came together must not matter.
        size = np.abs(table.weights)
        extremes = [table.weights.argmin(), table.weights.argmax(), size.argmin(), size.argmax()]
        kept = np.unique(np.concatenate([kept, extremes]))
    return table.take(kept)


@dataclass(frozen=True)
class Part:
    """Rows of one slice and replicate, sorted by (group, key): what one rank holds of them.

    Equal keys (with groups: whole groups) are in one part. Rows that do not count, by weight or multiplicity 0, are
    not there; where `RowMetric.keeps_undrawn`, those of multiplicity 0 are. Rows that agree in group and key are ordered by
    id, then by all else: the order never depends on ranks. Where a metric declares itself `additive`, they may have been
    combined to one: use `counts` and `mass`.

    Args:
      key: float64 [n].
      group: int64 [n], or None.
      values: by name, float64 or int64 [n].
      multiplicity: int64 [n], how often the row counts: 1, or what the replicate at hand drew.
      weight: int64 [n], the weight in multiples of `unit`, None where all count alike.
      unit: what one count is worth.
      combined: whether `values` hold what equal rows add up to, counted in.
      before: totals of the columns of `cumulate` over all earlier parts.
      total: the same over all parts.
    """

    key: np.ndarray
    group: np.ndarray | None
    values: Mapping[str, np.ndarray]
    multiplicity: np.ndarray
    weight: np.ndarray | None = None
    unit: Fraction = Fraction(1)
    combined: bool = False
    before: Mapping[str, int] = field(default_factory=dict)
    total: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.key)

    @cached_property
    def counts(self) -> np.ndarray:
        """Return multiplicity times weight, in units: int64 [n], or object where that passes 64 bits."""
        return self.multiplicity if self.weight is None else multiply(self.multiplicity, self.weight)

    @property
    def weights(self) -> np.ndarray | None:
        """Return the weights as float64 [n], rounded to the unit; None where all count alike."""
        return None if self.weight is None else self.weight * float(self.unit)

    def mass(self, name: str) -> np.ndarray:
        """Return what each row adds to the sum of an integer value, in units: int64 or object [n]."""
        if self.combined:
            return self.values[name]
        alike = self.weight is None and not (self.multiplicity != 1).any()
        return self.values[name] if alike else multiply(self.values[name], self.counts)

    @cached_property
    def ties(self) -> np.ndarray:
        """Return where each run of equal (group, key) starts, int64 [runs]."""
        return _starts(self._differs, len(self))

    @property
    def _differs(self) -> np.ndarray:
        """Return whether row i + 1 differs from row i in (group, key), bool [n - 1]."""
        differs = self.key[1:] != self.key[:-1]
        if self.group is not None:
            differs |= self.group[1:] != self.group[:-1]
        return differs

    @cached_property
    def untied(self) -> bool:
        """Return whether no two rows agree in (group, key); `ties` is every row then, and need not be asked for."""
        return bool(self._differs.all())

    @cached_property
    def groups(self) -> np.ndarray:
        """Return where each group starts, int64 [groups]."""
        if self.group is None:
            return np.zeros(min(len(self), 1), np.int64)
        return _starts(self.group[1:] != self.group[:-1], len(self))

    def per_tie(self, column: np.ndarray) -> np.ndarray:
        """Add up a column of integers, [n], over each run of equal keys: int64 or object [runs]."""
        if self.untied:
            return column
        if column.dtype != object and len(self) * largest(column) >= LIMIT:
            column = column.astype(object)
        sums: np.ndarray = np.add.reduceat(column, self.ties)
        return sums


def _starts(differs: np.ndarray, n: int) -> np.ndarray:
    """Return where runs start, of n rows of which row i + 1 differs from row i where `differs[i]`."""
    if not n:
        return np.zeros(0, np.int64)
    return np.concatenate([np.zeros(1, np.int64), np.flatnonzero(differs) + 1])
