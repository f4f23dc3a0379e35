"""The examples behind the numbers: of each group the first few in an order, as a bounded monoid. NumPy; knows no graph.

A group is the whole, a slice, or a cell of the confusion matrix. Of each list (the worst, the most confident errors, a random
draw) every group keeps its first examples: by `order`, then by id. Two selections are added by putting them together and keeping
the first few again, so it does not matter how examples were shared out: what is among the first of all is among the first of
its part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from harness.ranks.comm import Comm

__all__ = ["CELL", "HEAD", "ID", "LIST", "SLOT", "ExamplesLayout", "Selection", "reduce_selection"]

# Columns of an entry: number of the list; slot of its slice, 0 for the whole; cell of the confusion matrix, -1 for all of
# them; what it is sorted by, ascending; example id. What is known of the example comes after them.
LIST, SLOT, CELL, ORDER, ID = range(5)
HEAD = 5
GROUP = (LIST, SLOT, CELL)


@dataclass(frozen=True)
class ExamplesLayout:
    """What a selection holds; nothing where the job keeps no examples.

    Attributes:
      lists: their names.
      most: examples of each list in each group.
      sliced: whether slices are groups.
      by_cell: whether cells of the confusion matrix are.
      classes: of label and prediction; 0 where they are no classes.
      columns: name and dtype of the numbers that are known of an example.
      scores: how many scores come after them, and their dtype.
    """

    lists: tuple[str, ...] = ()
    most: int = 0
    sliced: bool = False
    by_cell: bool = False
    classes: int = 0
    columns: tuple[tuple[str, str], ...] = ()
    scores: tuple[int, str] = (0, "float32")

    @property
    def width(self) -> int:
        """Numbers of an entry."""
        return HEAD + len(self.columns) + self.scores[0]

    @property
    def cells(self) -> int:
        """How many cells of the confusion matrix are groups."""
        return self.classes**2 if self.by_cell else 0

    def groups(self, slots: int) -> int:
        """Return how many groups there can be with so many slots, the whole counted."""
        return (slots if self.sliced else 1) + self.cells

    def most_entries(self, slots: int, specs: int, examples: int, chunk: int) -> int:
        """Return how many entries a rank may have to hold: those that are kept, and those that a chunk hands on at the most.

        Args:
          slots: of slices, the whole counted.
          specs: how many slices an example is in.
          examples, chunk: of the plan, and of its largest chunk.
        """
        per_example = 1 + self.by_cell + (specs if self.sliced else 0)
        return len(self.lists) * (min(self.groups(slots) * self.most, examples * per_example) + chunk * per_example)

    def column(self, name: str, table: np.ndarray) -> np.ndarray | None:
        """Return the numbers under a name, [n]; None where the layout has none of that name.

        Args:
          table: int64 [n, width], of a selection.
        """
        for at, (other, dtype) in enumerate(self.columns, start=HEAD):
            if other == name:
                return np.ascontiguousarray(table[:, at]).view(np.dtype(dtype))
        return None

    def scores_of(self, table: np.ndarray) -> np.ndarray:
        """Return the scores, [n, scores]; each entry holds them as float64, which loses none."""
        count, dtype = self.scores
        return np.ascontiguousarray(table[:, self.width - count :]).view(np.float64).astype(dtype)


@dataclass(frozen=True)
class Selection:
    """The first entries of each group. It does not change.

    Attributes:
      table: int64 [n, width], in the order of group, `order` and id.
      most: entries of a group.

    >>> entries = [[0, 0, -1, 7, 3], [0, 0, -1, 2, 9], [0, 0, -1, 2, 4], [0, 1, -1, 9, 9]]
    >>> Selection.of(np.array(entries), 2).table.tolist()
    [[0, 0, -1, 2, 4], [0, 0, -1, 2, 9], [0, 1, -1, 9, 9]]
    """

    table: np.ndarray
    most: int

    @classmethod
    def zero(cls, layout: ExamplesLayout) -> Selection:
        """Return the selection of no examples."""
        return cls(np.zeros([0, layout.width], np.int64), layout.most)

    @classmethod
    def of(cls, table: np.ndarray, most: int) -> Selection:
        """Select of entries in any order."""
        table = table[np.lexsort((table[:, ID], table[:, ORDER], table[:, CELL], table[:, SLOT], table[:, LIST]))]
        return cls(table[_places(table) < most], most)

    def __len__(self) -> int:
        return len(self.table)

    def __add__(self, other: Selection) -> Selection:
        """Return the selection of the examples of both."""
        if not len(self) or not len(other):
            return other if len(other) else self
        return Selection.of(np.concatenate([self.table, other.table]), max(self.most, other.most))

    def renumbered(self, numbers: np.ndarray) -> Selection:
        """Return the same with other numbers of the slots: `numbers[old]` is the new one."""
        table = self.table.copy()
        table[:, SLOT] = numbers[table[:, SLOT]]
        return Selection.of(table, self.most)

    @property
    def places(self) -> np.ndarray:
        """The place of each entry in its list and group, from 0: int64 [n]."""
        return _places(self.table)

    def last(self) -> np.ndarray:
        """Return the last entry of each group that is full, int64 [groups, width]: what comes after it is not kept."""
        return self.table[self.places == self.most - 1]

    def pack(self) -> dict[str, np.ndarray]:
        """Return arrays by name; none of a selection that keeps nothing."""
        return {"examples": self.table, "examples.most": np.array([self.most], np.int64)} if self.most else {}

    @classmethod
    def unpack(cls, arrays: Mapping[str, np.ndarray]) -> Selection:
        """Return the selection that `pack` took apart.

        Raises: ValueError: an array has another shape.
        """
        if "examples" not in arrays:
            return cls.zero(ExamplesLayout())
        table, most = arrays["examples"], arrays["examples.most"]
        if table.dtype != np.int64 or table.ndim != 2 or table.shape[1] < HEAD or most.shape != (1,):
            raise ValueError(f"examples: expected int64 [n, {HEAD} or more], found {table.dtype} {list(table.shape)}")
        return cls(table, int(most[0]))

    def check(self, layout: ExamplesLayout, slots: int) -> None:
        """Compare with a layout that may be of something else.

        Raises: ValueError: it is not a selection of that layout.
        """
        if (self.most, self.table.shape[1]) != (layout.most, layout.width):
            raise ValueError(
                f"examples: expected {layout.most} of {layout.width} numbers, found {self.most} of {self.table.shape[1]}"
            )
        lowest, highest = (0, 0, -1), (len(layout.lists), max(slots, 1), layout.cells)
        for column, low, high in zip(GROUP, lowest, highest, strict=True):
            numbers = self.table[:, column]
            if len(numbers) and not (low <= numbers.min() and numbers.max() < high):
                raise ValueError("examples: an entry is in a group that there is not")
        if not np.array_equal(Selection.of(self.table, self.most).table, self.table):
            raise ValueError("examples: entries are not in their order, or too many")


def _places(table: np.ndarray) -> np.ndarray:
    """Return the place of each entry within its group, of entries in order: int64 [n]."""
    if not len(table):
        return np.zeros(0, np.int64)
    groups = table[:, GROUP]
    starts = np.flatnonzero(np.concatenate([[True], (groups[1:] != groups[:-1]).any(axis=1)]))
    sizes = np.diff(np.append(starts, len(table)))
    return np.arange(len(table)) - np.repeat(starts, sizes)


def reduce_selection(comm: Comm, own: Selection, numbers: np.ndarray) -> Selection:
    """Add up the selections of all ranks. A collective.

    A rank adds up a share of the groups, so that no rank is sent more than the result and its share of what is put in.

    Args:
      own: of this rank.
      numbers: of its slots, as all ranks number them.
    """
    table = own.renumbered(numbers).table
    owner = table[:, GROUP].sum(axis=1) % comm.size
    arrived = comm.alltoall([table[owner == rank] for rank in range(comm.size)])
    share = Selection.of(np.concatenate(arrived), own.most)
    tables = [np.frombuffer(raw, np.int64).reshape(-1, table.shape[1]) for raw in comm.gather(share.table.tobytes())]
    return Selection.of(np.concatenate(tables), own.most)
