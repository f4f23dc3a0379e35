"""What a compiled function is doing, as another thread can ask."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from harness.split import Part

__all__ = ["Doing"]


class Doing:
    """A variable that the function sets as it goes on; a microsecond each time."""

    def __init__(self) -> None:
        with tf.device("/CPU:0"):
            self._part = tf.Variable(int(Part.OTHER), dtype=tf.int32, trainable=False)

    def begin(self, part: Part, *tensors: Any) -> Any:
        """Say in the graph that a part begins once these are there; return the operation, for what has to come after it."""
        with tf.device("/CPU:0"), tf.control_dependencies(tensors):
            return self._part.assign(int(part), read_value=False)

    def now(self) -> Part:
        """Return what was begun last."""
        return Part(int(self._part.numpy()))
