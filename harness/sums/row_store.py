"""Where a rank keeps the rows of one metric while it evaluates: in few bytes, and given back to the system when they go.

Columns are as narrow as their values allow (scores of a float32 model as float32, labels as one byte), in blocks of
memory that is no part of the heap: what is freed is free. Pure NumPy.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.sums.rows import RowTable

__all__ = ["RowStore"]

FIRST_ROWS, MOST_ROWS = 1 << 14, 1 << 20  # of a block
WIDE = {name: np.dtype(np.int64) for name in ("ids", "group", "clusters")}  # ranks send them as they are
INTEGERS = tuple(np.dtype(kind) for kind in ("i1", "i2", "i4", "i8"))


class RowStore:
    """Grows at its end; what it holds does not change.

    Args:
      anonymous: leave ids and clusters out, where nobody asks for them.
    """

    def __init__(self, *, anonymous: bool = False) -> None:
        self._anonymous = anonymous
        self._blocks: list[_Block] = []
        self._wide: set[str] = set()  # columns that have held what float32 cannot

    def __len__(self) -> int:
        return sum(block.used for block in self._blocks)

    def append(self, table: RowTable) -> None:
        """Add rows; all tables have the same columns.

        >>> store = RowStore()
        >>> for key in (0.5, 0.1):
        ...     store.append(RowTable(np.array([key]), {"positive": np.array([1])}, np.array([7]), np.zeros((1, 0), np.int64)))
        >>> found = store.take()
        >>> found.key.tolist(), found.values["positive"].dtype, len(store)
        ([0.5, 0.1], dtype('int8'), 0)
        """
        arrays = table.to_arrays()
        if self._anonymous:
            arrays.pop("ids", None)
            arrays.pop("clusters", None)
        self._extend({name: self._narrow(name, column) for name, column in arrays.items()})

    def _extend(self, columns: dict[str, np.ndarray]) -> None:
        """Copy rows to the end."""
        start, count = 0, len(columns["key"])
        while start < count:
            if not self._blocks or not self._blocks[-1].room:
                self._blocks.append(_Block(columns, min(max(FIRST_ROWS, len(self)), MOST_ROWS)))
            start += self._blocks[-1].fill(columns, start)

    @classmethod
    def of(cls, table: RowTable, *, anonymous: bool = False) -> RowStore:
        """Return a store of some rows."""
        store = cls(anonymous=anonymous)
        store.append(table)
        return store

    def absorb(self, other: RowStore) -> None:
        """Take over the rows of another store, which is left empty. Few are copied, many are moved."""
        blocks, other._blocks = other._blocks, []
        for block in blocks:
            if self._blocks and block.used <= max(self._blocks[-1].room, FIRST_ROWS // 4):
                self._extend({name: column[: block.used] for name, column in block.columns.items()})
            else:
                self._blocks.append(block)

    def renumber(self, numbers: np.ndarray) -> None:
        """Give the slices of all rows other numbers: `numbers[old]` is the new one; the last entry is that of -1."""
        for block in self._blocks:
            block.columns["slices"] = self._narrow("slices", numbers[block.columns["slices"]])

    def copy(self) -> RowStore:
        """Return a store of the same rows, to be changed on its own."""
        store = RowStore(anonymous=self._anonymous)
        store._wide = set(self._wide)
        if len(self):
            store.append(self.table())
        return store

    def table(self) -> RowTable:
        """Return a copy of all rows; at least one."""
        return _joined([{name: column[: block.used] for name, column in block.columns.items()} for block in self._blocks])

    def take(self) -> RowTable:
        """Return all rows, at least one, and hold none of them any longer. All but `values` and `slices` are wide again."""
        blocks, self._blocks = self._blocks, []
        names = list(blocks[0].columns)
        joined: dict[str, np.ndarray] = {}
        for name in names:  # a column at a time, and of each the blocks go as they are copied
            dtype = WIDE.get(name) or _common([block.columns[name].dtype for block in blocks])
            inner = blocks[0].columns[name].shape[1:]
            total = sum(block.used for block in blocks)
            joined[name] = _array((total, *inner), np.dtype(np.float64) if dtype.kind == "f" else dtype)
            at = 0
            for block in blocks:
                joined[name][at : at + block.used] = block.columns.pop(name)[: block.used]
                at += block.used
        return RowTable.from_arrays(joined)

    def _narrow(self, name: str, column: np.ndarray) -> np.ndarray:
        """Return a column in the narrowest dtype that holds it without loss."""
        if column.dtype.kind in "iu":
            low, high = (int(column.min()), int(column.max())) if column.size else (0, 0)
            fits = (dtype for dtype in INTEGERS if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max)
            return column.astype(next(fits, column.dtype), copy=False)
        if name in self._wide or column.dtype != np.float64:
            return column
        with np.errstate(over="ignore", under="ignore"):
            short = column.astype(np.float32)
        if np.array_equal(short, column, equal_nan=True):
            return short
        self._wide.add(name)
        return column


class _Block:
    """Room for some rows.

    Args:
      like: columns of the dtypes and inner shapes to hold.
      rows: how many.
    """

    def __init__(self, like: dict[str, np.ndarray], rows: int) -> None:
        self.columns = {name: _array((rows, *column.shape[1:]), column.dtype) for name, column in like.items()}
        self.used = 0
        self._rows = rows

    @property
    def room(self) -> int:
        return self._rows - self.used

    def fill(self, columns: dict[str, np.ndarray], start: int) -> int:
        """Take rows from `start` on; return how many there was room for."""
        count = min(self.room, len(columns["key"]) - start)
        for name, column in columns.items():
            own = self.columns[name]
            wider = _common([own.dtype, column.dtype])
            if wider != own.dtype:
                grown = _array(own.shape, wider)
                grown[: self.used] = own[: self.used]
                self.columns[name] = own = grown
            own[self.used : self.used + count] = column[start : start + count]
        self.used += count  # last: who copies meanwhile sees whole rows
        return count


def _joined(parts: Sequence[dict[str, np.ndarray]]) -> RowTable:
    return RowTable.from_arrays({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})


def _common(dtypes: Sequence[np.dtype]) -> np.dtype:
    return np.dtype(np.result_type(*dtypes))


def _array(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray[Any, Any]:
    """Return an array of zeros that goes back to the system when it is freed, and takes no memory where nothing is written."""
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if not size:
        return np.zeros(shape, dtype)
    return np.frombuffer(mmap.mmap(-1, size), dtype).reshape(shape)
