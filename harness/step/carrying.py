"""The state in the graph: the sums of one group after another, carried before they can overflow."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from harness.exact.limbs import CELL, LIMB_BITS
from harness.exact.tf_limbs import carry
from harness.sums.layout import Layout

__all__ = ["add_in_time"]


def add_in_time(layout: Layout, state: Any, sums: Any, number: Any, every: int) -> Any:
    """Add the sums of a group, carrying the state before it can overflow (law 3): int64 [layout.size].

    Args:
      state: of the groups before.
      number: of this group, counted from 0.
      every: how many groups may be added before a carry; see `exact.additions`.
    """
    due = (number > 0) & (number % every == 0)
    return tf.cond(due, lambda: _carried(layout, state), lambda: state) + sums


def _carried(layout: Layout, state: Any) -> Any:
    """Return the state with its cells and Gram matrices carried, int64 [layout.size]; see `Layout.carry`."""
    at = layout.size - sum(part.size for part in layout.crossed)
    parts = [tf.reshape(carry(tf.reshape(state[: layout.cells], [-1, CELL])), [-1]), state[layout.cells : at]]
    half = tf.constant(LIMB_BITS, tf.int64)
    for part in layout.crossed:
        low, high = tf.unstack(tf.reshape(state[at : at + part.size - 1], [2, -1]))
        over = tf.bitwise.right_shift(low, half)
        refused = state[at + part.size - 1 : at + part.size]
        parts += [low - tf.bitwise.left_shift(over, half), high + over, refused]
        at += part.size
    return tf.concat(parts, axis=0)
