"""Rows: what a rank keeps of its examples for a RowMetric, and what a metric is shown of them when they are sorted.

`RowTable` is what the loop collects and a journal stores; `Part` is what `RowMetric.fold` reduces. Pure NumPy; the way
from one to the other is in `row_reduction.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

__all__ = ["RowTable", "thin"]

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
