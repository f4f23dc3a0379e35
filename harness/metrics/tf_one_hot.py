"""One-hot labels in the graph."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from harness.errors import ShapeError
from harness.exact.tf_subnormals import same

__all__ = ["class_of_row"]

NOTHING, NO_CLASS = -1, -2


def class_of_row(labels: Any) -> Any:
    """Return the class that each row marks, int32 [...]; -1 where a row is all zeros, -2 where it marks no one class.

    Args:
      labels: numbers or bool [..., C].
    Raises: ShapeError: there are no rows of numbers.

    >>> class_of_row(tf.constant([[0, 1, 0], [0, 0, 0], [1, 1, 0], [0, 2, 0]])).numpy().tolist()
    [1, -1, -2, -2]
    """
    if labels.dtype == tf.string or len(labels.shape) < 2:
        raise ShapeError(
            f"one_hot: expected a label [B, ..., C] of 0 and 1, found {labels.dtype.name} of rank {len(labels.shape)}"
        )
    if labels.dtype.is_bool:
        labels = tf.cast(labels, tf.int32)
    marked = labels == 1
    clean = tf.reduce_all(marked | same(labels, tf.zeros([], labels.dtype)), axis=-1)
    count = tf.reduce_sum(tf.cast(marked, tf.int32), axis=-1)
    place = tf.argmax(tf.cast(marked, tf.int32), axis=-1, output_type=tf.int32)
    missing = tf.where(clean & (count == 0), NOTHING, NO_CLASS)
    return tf.where(clean & (count == 1), place, missing)
