"""Sums: all that examples add up to, as one monoid. NumPy; knows no graph, no files and no ranks.

What a call of the step adds, what a rank holds, what a segment of the journal stores and what the ranks reduce is the same
thing: lines of the certificate, a state, a grid, rows and a selection of examples. It has a zero and is added in one place. It
has no minus: a selection of the first few could not be taken apart again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from harness.exact.limbs import CELL
from harness.sums.grid import GridLayout, GridState
from harness.sums.layout import Layout, RowLayout
from harness.sums.row_store import RowStore
from harness.sums.rows import RowTable
from harness.sums.selection import ExamplesLayout, Selection

__all__ = ["LINE", "Layouts", "Sums", "add_lines", "renumbering"]

# Columns of a line of the certificate: chunk, count, id hash, kept, filtered, skipped, id hash of those kept, content hash.
LINE = 8
GRID_ARRAYS = ("dense", "buckets", "weighted")


@dataclass(frozen=True)
class Layouts:
    """Where everything lies in the sums of one question.

    Attributes:
      state: of the int64 vector.
      grid: of slices and replicates; without columns where the question has neither.
      rows: of the rows of each row metric.
      specs: how many slice specs there are.
      draws: the whole, and the replicates of the bootstrap.
      examples: of those that are kept to be looked at.
    """

    state: Layout
    grid: GridLayout
    rows: Mapping[str, RowLayout] = field(default_factory=dict)
    specs: int = 0
    draws: int = 1
    examples: ExamplesLayout = field(default_factory=ExamplesLayout)

    @property
    def digest(self) -> str:
        """A SHA-256 of the layouts, in hexadecimal: sums of different ones cannot be added."""
        parts = (CELL, self.state, self.grid, dict(self.rows), self.specs, self.draws)
        return hashlib.sha256(repr((*parts, self.examples) if self.examples.most else parts).encode()).hexdigest()

    def size_bytes(self, slots: int) -> int:
        """Return the memory of state and grid with so many slots, the whole counted."""
        return 8 * self.state.size + self.grid.size_bytes(slots, self.draws)


class Sums:
    """What some examples add up to.

    Attributes:
      state: int64 [layouts.state.size].
      grid: by slot and draw; no slot at all where none was added.
      rows: by row metric; their slices are numbered by the keys of the grid.
      selection: the examples that are kept; their slots are numbered likewise.
    """

    def __init__(
        self,
        lines: np.ndarray,
        state: np.ndarray,
        grid: GridState,
        rows: Mapping[str, RowStore] | None = None,
        selection: Selection | None = None,
    ) -> None:
        self.state = state
        self.grid = grid
        self.rows: dict[str, RowStore] = dict(rows or {})
        self.selection = Selection.zero(ExamplesLayout()) if selection is None else selection
        self._lines = [lines]

    @classmethod
    def zero(cls, layouts: Layouts) -> Sums:
        """Return what nothing adds up to."""
        state = np.zeros(layouts.state.size, np.int64)
        grid = GridState.zero(layouts.grid, layouts.draws)
        return cls(np.zeros([0, LINE], np.int64), state, grid, selection=Selection.zero(layouts.examples))

    @property
    def lines(self) -> np.ndarray:
        """One line a chunk, int64 [chunks, 8], ascending by chunk; see `LINE`."""
        if len(self._lines) > 1:
            self._lines = [add_lines(self._lines)]
        return self._lines[0]

    @property
    def chunks(self) -> np.ndarray:
        """Numbers of the chunks, int64 [chunks]."""
        return self.lines[:, 0]

    @property
    def examples(self) -> int:
        """How many examples were read."""
        return int(self.lines[:, 1].sum())

    def add(self, other: Sums) -> None:
        """Add other sums of the same layouts, which are given up: their rows are moved, not copied."""
        self._lines.append(other.lines)
        self.state = self.state + other.state
        keys = union_of(self.grid.keys, other.grid.keys)
        if self.grid.keys != keys:
            self._renumber(keys)
        if other.grid.keys != keys:
            other._renumber(keys)
        self.grid = self.grid + other.grid
        for key, store in other.rows.items():
            if key in self.rows:
                self.rows[key].absorb(store)
            else:
                self.rows[key] = store
        other.rows = {}
        self.selection = self.selection + other.selection

    def __add__(self, other: Sums) -> Sums:
        """Return the sum of both, which stay as they are."""
        total = self.copy()
        total.add(other.copy())
        return total

    def carry(self, layouts: Layouts) -> None:
        """Carry the cells of state and grid, so that as many sums again can be added."""
        self.state = layouts.state.carry(self.state)
        self.grid = self.grid.carry(layouts.grid)

    def check(self, layouts: Layouts) -> None:
        """Compare with layouts that may be of something else.

        Raises: ValueError: an array has not the shape or the columns that the layouts say.
        """
        zero = GridState.zero(layouts.grid, layouts.draws)
        slots = len(self.grid.keys) + 1 if self.grid.slots else 0
        shapes = {"state": (self.state, (layouts.state.size,))} | {
            f"grid.{name}": (getattr(self.grid, name), (slots, *getattr(zero, name).shape[1:])) for name in GRID_ARRAYS
        }
        for name, (array, shape) in shapes.items():
            if array.dtype != np.int64 or array.shape != shape:
                raise ValueError(f"{name}: expected int64 {list(shape)}, found {array.dtype} {list(array.shape)}")
        for key, store in self.rows.items():
            if key not in layouts.rows:
                raise ValueError(f"there are rows of '{key}', which keeps none")
            layouts.rows[key].check(store.table(), layouts.specs)
        self.selection.check(layouts.examples, slots)

    def copy(self) -> Sums:
        """Return the same sums, to be changed on their own."""
        rows = {key: store.copy() for key, store in self.rows.items()}
        return Sums(self.lines, self.state, self.grid, rows, self.selection)

    def pack(self) -> tuple[list[str], dict[str, np.ndarray]]:
        """Return keys of the slices and arrays by name: the lines first. `unpack` undoes it."""
        arrays = {"lines": self.lines, "state": self.state}
        arrays |= {f"grid.{name}": getattr(self.grid, name) for name in GRID_ARRAYS}
        for key, store in self.rows.items():
            arrays |= {f"rows.{key}\n{name}": column for name, column in store.table().to_arrays().items()}
        return list(self.grid.keys), arrays | self.selection.pack()

    @classmethod
    def unpack(cls, keys: Sequence[str], arrays: Mapping[str, np.ndarray]) -> Sums:
        """Return the sums that `pack` took apart.

        Raises: KeyError, ValueError: an array is missing or has another shape.
        """
        grid = GridState(tuple(keys), *(arrays[f"grid.{name}"] for name in GRID_ARRAYS))
        tables: dict[str, dict[str, np.ndarray]] = {}
        for name, array in arrays.items():
            if name.startswith("rows."):
                key, _, column = name.removeprefix("rows.").rpartition("\n")
                tables.setdefault(key, {})[column] = array
        rows = {key: RowStore.of(RowTable.from_arrays(columns)) for key, columns in tables.items()}
        return cls(arrays["lines"], arrays["state"], grid, rows, Selection.unpack(arrays))

    def _renumber(self, keys: Sequence[str]) -> None:
        """Number slots as `keys` are, in the grid, in rows and in examples."""
        numbers = renumbering(self.grid.keys, keys)
        moved = (numbers[:-1] != np.arange(len(numbers) - 1)).any()
        self.grid = self.grid.placed(keys)
        if moved:  # keys that are only added at the end leave the others' numbers as they are
            for store in self.rows.values():
                store.renumber(numbers)
            self.selection = self.selection.renumbered(numbers)


def add_lines(lines: Iterable[np.ndarray]) -> np.ndarray:
    """Add lines up by chunk: one line a chunk, ascending. Hashes wrap at 2^64.

    >>> first, second = [[5, 2, 7, 2, 0, 0, 7, 4]], [[3, 1, 1, 1, 0, 0, 1, 1], [5, 2, -9, 1, 1, 0, 3, 0]]
    >>> add_lines([np.array(first), np.array(second)]).tolist()
    [[3, 1, 1, 1, 0, 0, 1, 1], [5, 4, -2, 3, 1, 0, 10, 4]]
    """
    every = np.concatenate(list(lines))
    chunks, places = np.unique(every[:, 0], return_inverse=True)
    total = np.zeros([len(chunks), every.shape[1]], np.int64)
    np.add.at(total, places, every)
    total[:, 0] = chunks
    return total


def union_of(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    """Return the keys of both, those of the first in their places.

    >>> union_of(("a", "b"), ("b", "c"))
    ('a', 'b', 'c')
    """
    return first if first == second else tuple(dict.fromkeys([*first, *second]))


def renumbering(here: Sequence[str], everywhere: Sequence[str]) -> np.ndarray:
    """Return the number that each slot has in `everywhere`, int32 [slots + 1]; the last entry keeps -1 what it is.

    >>> renumbering(("b", "a"), ("a", "b", "c")).tolist()
    [0, 2, 1, -1]
    """
    numbers = {key: number for number, key in enumerate(everywhere, start=1)}
    return np.array([0, *(numbers[key] for key in here), -1], np.int32)
