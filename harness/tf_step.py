"""The compiled loop: batches -> state, all in the graph; returns to Python at the end of a chunk, some times a second."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from harness.data import Feature, Source
from harness.rows import RowTable
from harness.state import Layout, RowLayout
from harness.tf_feed import pad
from harness.tf_grid import TFGrid
from harness.tf_terms import BatchTerms, Terms

__all__ = ["ChunkSums", "Step", "canary"]

# A call costs about a millisecond, whatever it does: chunks are evaluated together, up to so many, while they are short.
# Which ones are together differs from run to run; their sum does not.
CALL_S = 0.1
CALL_CHUNKS = 128
ROW = 16  # tensors of terms have a multiple of 16 rows: vector functions give other bits in a shorter tail


@dataclass(frozen=True)
class ChunkSums:
    """What the chunks of one call add.

    Attributes:
      state: int64 [layout.size].
      seen: one line per batch, int64 [batches, 3]: chunk, count, id hash.
      rows: by row metric; slices are numbered as this rank found them.
    """

    state: np.ndarray
    seen: np.ndarray
    rows: Mapping[str, RowTable]


class Step:
    """Evaluates one chunk per call, or a few where they are short.

    Args:
      predict: features by name [B, ...] to outputs by name [B, ...].
      terms: forms the terms of a batch.
      dataset: see `Feed.dataset`; its spec fixes all shapes.
      batch_size: examples a batch.
      grid: takes the same terms by slice and replicate; None where the job has neither.
      unpack: an element of the dataset to a batch, see `Feed.unpack`; None where the elements are batches.
    """

    def __init__(
        self,
        predict: Callable[[Mapping[str, Any]], Mapping[str, Any]],
        terms: Terms,
        dataset: Any,
        batch_size: int,
        grid: TFGrid | None = None,
        unpack: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None,
    ) -> None:
        self._unpack = unpack or dict
        self._predict = predict
        self._terms = terms
        self._batch_size = batch_size
        self.grid = grid
        self._iterator = iter(dataset)
        self._learn()
        if grid:
            grid.allocate()
        self._run = tf.function(self._loop, autograph=False).get_concrete_function(self._iterator, tf.TensorSpec([], tf.int32))
        self._chunks = 1  # to evaluate in one call

    def restart(self, dataset: Any) -> None:
        """Begin again with another dataset of the same spec."""
        self._iterator = iter(dataset)

    def run(self) -> ChunkSums:
        """Evaluate the chunk that comes next, or a few; returns no batches where there is no more.

        Raises: JobError: there are more slices than the job allows.
        """
        start = time.monotonic()
        state, seen, *rows = self._run(self._iterator, tf.constant(self._chunks))
        found = ChunkSums(
            state.numpy(),
            seen.numpy(),
            {key: layout.unpack(part.numpy()) for (key, layout), part in zip(self.row_layouts.items(), rows, strict=True)},
        )
        if self.grid:
            self.grid.settle(int(found.seen[:, 1].sum()))
        elapsed_s = time.monotonic() - start
        if elapsed_s < CALL_S / 2:
            self._chunks = min(2 * self._chunks, CALL_CHUNKS)
        elif elapsed_s > CALL_S:
            self._chunks = max(self._chunks // 2, 1)
        return found

    def _learn(self) -> None:
        """Trace one batch on its own, to learn the layout of the state and of the rows."""

        def trace(element: Mapping[str, Any]) -> Any:
            terms, *_ = self._form(self._unpack(element))
            self.layout: Layout = terms.layout
            self.row_layouts: dict[str, RowLayout] = {key: layout for key, (layout, _, _) in terms.rows.items()}
            self._row_widths = [int(packed.shape[1]) for _, packed, _ in terms.rows.values()]
            if self.grid:
                self.grid.plan(terms)
            return terms.sums()

        tf.function(trace, autograph=False).get_concrete_function(self._iterator.element_spec)

    def _loop(self, iterator: Any, chunks: Any) -> tuple[Any, ...]:
        def more(left: Any, *_: Any) -> Any:
            return left > 0

        def body(left: Any, state: Any, number: Any, seen: Any, *rows: Any) -> tuple[Any, ...]:
            batch = iterator.get_next_as_optional()

            def evaluate() -> tuple[Any, ...]:
                found = self._unpack(batch.get_value())
                sums, line, packed = self._batch(found)
                kept = [array.write(number, part) for array, part in zip(rows, packed, strict=True)]
                return left - tf.cast(found["last"], tf.int32), state + sums, number + 1, seen.write(number, line), *kept

            def nothing() -> tuple[Any, ...]:
                return tf.zeros_like(left), state, number, seen, *rows

            return tf.cond(batch.has_value(), evaluate, nothing)

        with tf.device("/CPU:0"):
            seen = tf.TensorArray(tf.int64, 0, dynamic_size=True, element_shape=[3])
            specs = len(self.grid.slice_specs) if self.grid else 0
            widths = [1 + specs + width for width in self._row_widths]
            rows = [tf.TensorArray(tf.int64, 0, True, infer_shape=False, element_shape=[None, width]) for width in widths]
            start = (chunks, tf.zeros([self.layout.size], tf.int64), tf.constant(0), seen, *rows)
        _, state, _, seen, *rows = tf.while_loop(more, body, start)
        return state, seen.stack(), *(array.concat() for array in rows)

    def _form(self, batch: Mapping[str, Any]) -> tuple[BatchTerms, Mapping[str, Any], Any, Any]:
        """Predict, and form the terms; also return features, ids and mask, all with a multiple of ROW rows."""
        size, count = self._batch_size, batch["count"]
        features = batch["features"]
        # At one row, matrix products take another path whose bits depend on the number of threads.
        rows = max(size, 2)
        outputs = self._predict({name: _grow(tensor, size, rows) for name, tensor in features.items()})
        padded = -(-rows // ROW) * ROW
        outputs = {name: _grow(_known(tensor, rows), rows, padded) for name, tensor in outputs.items()}
        features = {name: _grow(tensor, size, padded) for name, tensor in features.items()}
        mask = tf.range(padded) < count
        return self._terms(features, outputs, mask), features, _grow(batch["ids"], size, padded), mask

    def _batch(self, batch: Mapping[str, Any]) -> tuple[Any, Any, list[Any]]:
        """Return a batch's sums, its line for the certificate, and its rows."""
        terms, features, ids, mask = self._form(batch)
        with tf.device("/CPU:0"):
            hashes = tf.where(mask, _hash(ids), tf.zeros_like(ids))
            line = tf.stack([batch["chunk"], tf.cast(batch["count"], tf.int64), tf.reduce_sum(hashes)])
            head = ids[:, None]
            if self.grid:
                slots, keys = self.grid.add(terms, features, ids, mask)
                head = tf.concat([keys[:, None], tf.cast(slots, tf.int64)], axis=1)
            packed = [tf.concat([tf.gather(head, owner), part], axis=1) for _, part, owner in terms.rows.values()]
            return terms.sums(), line, packed


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
