"""What a row metric is shown of its rows: sorted, of one slice and replicate. Pure NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property

import numpy as np

from harness.exact.wide_integers import LIMIT, largest, multiply

__all__ = ["Part"]


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
