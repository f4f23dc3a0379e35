"""The sums of the grid in the graph: int64 variables on the CPU that grow with the slots and are carried in time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from harness.exact.limbs import CELL, carry
from harness.exact.tf_limbs import carry as carry_cells
from harness.sums.grid import GridLayout, GridState

__all__ = ["TRASH", "GridVariables", "for_each", "in_parts", "scatter"]

TRASH = 1  # slots in front of the first: what belongs to no slot is added there
FIRST_SLOTS = 16  # that are allocated; doubled when there are more
PART_NUMBERS = 1 << 21  # of the products of rows with all draws that are made at once


class GridVariables:
    """Sums of a few slots; there are more of them when there are more slots.

    Args:
      layout: of the columns.
      draws: the whole, and the replicates.
      most_slots: that there may be.
      carry_every: groups that may be added before a carry.

    Attributes:
      dense: int64 [slots, draws * layout.dense].
      buckets: int64 [slots * layout.scattered, draws], without the last dimension where there is one draw.
      weighted: int64 [slots * layout.weighted_buckets, draws * CELL].
      additions: groups since the last carry, int64 [].
    """

    def __init__(self, layout: GridLayout, draws: int, most_slots: int, carry_every: int) -> None:
        self._layout = layout
        self._draws = draws
        self._most_slots = most_slots
        self._carry_every = carry_every
        rows = TRASH + min(FIRST_SLOTS, most_slots)
        with tf.device("/CPU:0"):
            self.dense = _growing([rows, draws * layout.dense])
            # Without draws one number each: adding a scalar to a vector is several times faster than rows of one.
            self.buckets = _growing([rows * layout.scattered] + ([draws] if draws > 1 else []))
            self.weighted = _growing([rows * layout.weighted_buckets, draws * CELL])
            self.additions = tf.Variable(tf.zeros([], tf.int64), trainable=False)

    def grow(self, slots: Any) -> Any:
        """Allocate so many slots, in the graph; twice as many as there were, so that it is seldom done."""
        layout = self._layout
        held = tf.shape(self.dense.value(), tf.int64)[0] - TRASH
        slots = tf.minimum(slots, self._most_slots)
        added = tf.minimum(tf.maximum(slots, 2 * held), self._most_slots) - held

        def enlarge() -> Any:
            sums = ((self.dense, 1), (self.buckets, layout.scattered), (self.weighted, layout.weighted_buckets))
            for variable, rows in sums:
                value = variable.value()
                zeros = tf.zeros(tf.concat([[added * rows], tf.shape(value, tf.int64)[1:]], axis=0), tf.int64)
                variable.assign(tf.concat([value, zeros], axis=0))
            return tf.constant(True)

        return tf.cond(slots > held, enlarge, lambda: tf.constant(False))

    def empty(self) -> None:
        """Take all sums away."""
        for variable in (self.dense, self.buckets, self.weighted, self.additions):
            variable.assign(tf.zeros_like(variable))

    def carry_in_time(self) -> None:
        """Carry before one more group could overflow a limb, in the graph: a call may be of any length."""
        layout, draws = self._layout, self._draws
        numbers = sum(column.size for column in layout.numbers)

        def carry_all() -> Any:
            dense = tf.reshape(self.dense.value(), [-1, layout.dense])
            cells = tf.reshape(carry_cells(tf.reshape(dense[:, :numbers], [-1, CELL])), [-1, numbers])
            joined = tf.concat([cells, dense[:, numbers:]], axis=1)
            self.dense.assign(tf.reshape(joined, [-1, draws * layout.dense]))
            weighted = carry_cells(tf.reshape(self.weighted.value(), [-1, CELL]))
            self.weighted.assign(tf.reshape(weighted, [-1, draws * CELL]))
            return tf.ones([], tf.int64)

        if numbers or layout.weighted:
            self.additions.assign(tf.cond(self.additions < self._carry_every, lambda: self.additions + 1, carry_all))

    def fetch(self, keys: Sequence[str]) -> GridState:
        """Return the sums of the whole and of the slots with these keys, cells carried."""
        used, draws, layout = len(keys) + 1, self._draws, self._layout
        begin, end = TRASH, TRASH + used
        dense = self.dense[begin:end].numpy().reshape(used, draws, layout.dense)
        numbers = sum(column.size for column in layout.numbers)
        dense[..., :numbers] = carry(dense[..., :numbers].reshape(-1, CELL)).reshape(used, draws, numbers)
        buckets = self.buckets[begin * layout.scattered : end * layout.scattered].numpy().reshape(used, layout.scattered, draws)
        weighted = self.weighted[begin * layout.weighted_buckets : end * layout.weighted_buckets].numpy().reshape(-1, CELL)
        return GridState(tuple(keys), dense, buckets, carry(weighted).reshape(used, layout.weighted_buckets, draws, CELL))


def scatter(variable: Any, rows: Any, updates: Any) -> None:
    """Add rows of a matrix, or numbers of a vector, in place."""
    if 0 not in updates.shape:
        tf.raw_ops.ResourceScatterAdd(resource=variable.handle, indices=rows, updates=updates)


def for_each(add: Callable[[Any], None], rows: Any) -> None:
    """Call `add(row)` for each row of a matrix [n, B], one after the other; it is traced once, however many there are."""

    def body(number: Any) -> list[Any]:
        add(rows[number])
        return [number + 1]

    if rows.shape[0] == 1:
        add(rows[0])
    elif rows.shape[0]:
        tf.while_loop(lambda number: number < rows.shape[0], body, [tf.constant(0)], parallel_iterations=1)


def in_parts(add: Callable[[Any, int], None], rows: int, width: int) -> None:
    """Call `add(start, size)` for runs of rows whose products with all draws, so wide each, stay small."""
    size = max(1, min(rows, PART_NUMBERS // max(width, 1)))
    whole = rows // size

    def body(number: Any) -> list[Any]:
        add(number * size, size)
        return [number + 1]

    if whole > 1:
        tf.while_loop(lambda number: number < whole, body, [tf.constant(0)], parallel_iterations=1)
    else:
        add(0, size)
    if rows % size:
        add(whole * size, rows % size)


def _growing(shape: list[int]) -> Any:
    """Make a variable of zeros whose first dimension may grow."""
    return tf.Variable(tf.zeros(shape, tf.int64), trainable=False, shape=[None, *shape[1:]])
