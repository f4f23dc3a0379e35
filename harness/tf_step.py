"""The compiled loop: batches of a chunk -> state, all in the graph; returns to Python once per chunk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from harness.data import Feature, Source
from harness.state import Layout
from harness.tf_feed import pad
from harness.tf_terms import Terms

__all__ = ["ChunkSums", "Step", "canary"]

ROW = 16  # tensors of terms have a multiple of 16 rows: vector functions give other bits in a shorter tail


@dataclass(frozen=True)
class ChunkSums:
    """What one chunk adds: its state, int64 [layout.size], and one line per batch, int64 [batches, 3]: chunk, count, id hash."""

    state: np.ndarray
    seen: np.ndarray


class Step:
    """Evaluates one chunk per call.

    Args:
      predict: features by name [B, ...] to outputs by name [B, ...].
      terms: forms the terms of a batch.
      dataset: of batches, see `Feed.dataset`; its spec fixes all shapes.
      batch_size: examples a batch.
    """

    def __init__(
        self, predict: Callable[[Mapping[str, Any]], Mapping[str, Any]], terms: Terms, dataset: Any, batch_size: int
    ) -> None:
        self._predict = predict
        self._terms = terms
        self._layout: Layout | None = None
        self._batch_size = batch_size
        self._iterator = iter(dataset)
        self._run = tf.function(self._loop, autograph=False).get_concrete_function(self._iterator)

    @property
    def layout(self) -> Layout:
        """The layout of the state."""
        assert self._layout is not None  # traced in __init__
        return self._layout

    def run(self) -> ChunkSums:
        """Evaluate up to the end of the chunk that comes next; nothing is left where there is no more."""
        state, seen = self._run(self._iterator)
        return ChunkSums(state.numpy(), seen.numpy())

    def _loop(self, iterator: Any) -> tuple[Any, Any]:
        def more(go_on: Any, *_: Any) -> Any:
            return go_on

        def body(_: Any, state: Any, number: Any, seen: Any) -> tuple[Any, ...]:
            batch = iterator.get_next_as_optional()

            def evaluate() -> tuple[Any, ...]:
                found = batch.get_value()
                sums, line = self._batch(found)
                return ~found["last"], state + sums, number + 1, seen.write(number, line)

            def nothing() -> tuple[Any, ...]:
                return tf.constant(False), state, number, seen

            return tf.cond(batch.has_value(), evaluate, nothing)

        size = self._size(iterator)
        with tf.device("/CPU:0"):
            seen = tf.TensorArray(tf.int64, 0, dynamic_size=True, element_shape=[3])
            start = (tf.constant(True), tf.zeros([size], tf.int64), tf.constant(0), seen)
        _, state, _, seen = tf.while_loop(more, body, start)
        return state, seen.stack()

    def _size(self, iterator: Any) -> int:
        """Trace one batch on its own, to learn the size of the state."""
        tf.function(lambda batch: self._batch(batch)[0], autograph=False).get_concrete_function(iterator.element_spec)
        return self.layout.size

    def _batch(self, batch: Mapping[str, Any]) -> tuple[Any, Any]:
        size, count = self._batch_size, batch["count"]
        features = batch["features"]
        # At one row, matrix products take another path whose bits depend on the number of threads.
        rows = max(size, 2)
        outputs = self._predict({name: _grow(tensor, size, rows) for name, tensor in features.items()})
        padded = -(-rows // ROW) * ROW
        outputs = {name: _grow(_known(tensor, rows), rows, padded) for name, tensor in outputs.items()}
        mask = tf.range(padded) < count
        terms = self._terms({name: _grow(tensor, size, padded) for name, tensor in features.items()}, outputs, mask)
        self._layout = terms.layout
        with tf.device("/CPU:0"):
            hashes = tf.where(tf.range(size) < count, _hash(batch["ids"]), tf.zeros([size], tf.int64))
            line = tf.stack([batch["chunk"], tf.cast(count, tf.int64), tf.reduce_sum(hashes)])
            sums = terms.sums()
        return sums, line


def _grow(tensor: Any, rows: int, padded: int) -> Any:
    """Add rows that repeat the first, from `rows` to `padded`."""
    return tensor if rows == padded else pad(tensor, tf.constant(rows), padded)


def _known(tensor: Any, rows: int) -> Any:
    """Restore the batch dimension that a signature forgets; an output without one is left to `terms` to refuse."""
    return tf.ensure_shape(tensor, [rows, *tensor.shape[1:]] if tensor.shape.rank else [rows])


def _hash(ids: Any) -> Any:
    """SplitMix64 of int64 [B]; see `plan.hash_ids`. uint64 arithmetic wraps, as it has to."""

    def u64(x: int) -> Any:
        return tf.constant(x, tf.uint64)

    def fold(z: Any, bits: int) -> Any:
        return tf.bitwise.bitwise_xor(z, tf.bitwise.right_shift(z, u64(bits)))

    z = (tf.bitcast(ids, tf.uint64) + u64(1)) * u64(0x9E3779B97F4A7C15)
    z = fold(z, 30) * u64(0xBF58476D1CE4E5B9)
    z = fold(z, 27) * u64(0x94D049BB133111EB)
    return tf.bitcast(fold(z, 31), tf.int64)


def canary(
    predict: Callable[[Mapping[str, Any]], Mapping[str, Any]], source: Source, wanted: Mapping[str, Feature], size: int
) -> int:
    """Predict the first examples and hash the outputs: machines that give other bits give another hash.

    Returns: a signed 64-bit integer.
    """
    records = next(iter(source.read(0, size, size)))
    features = source.parse({name: tf.constant(array) for name, array in records.raw.items()}, wanted)
    rows = max(size, 2)
    outputs = tf.function(predict, autograph=False)({name: _grow(tensor, size, rows) for name, tensor in features.items()})
    total = hashlib.sha256()
    for name in sorted(outputs):
        total.update(outputs[name].numpy().tobytes())
    return int.from_bytes(total.digest()[:8], "little", signed=True)
