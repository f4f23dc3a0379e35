"""The compiled loop: batches -> state, all in the graph; returns to Python at the end of a chunk, some times a second."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from harness.data import ID, Feature, Source
from harness.rows import RowTable
from harness.state import Layout, RowLayout
from harness.tf_feed import pad
from harness.tf_grid import TFGrid
from harness.tf_terms import BatchTerms, Terms

__all__ = ["ChunkSums", "Step", "Take", "canary"]

# A call costs about a millisecond, whatever it does: chunks are evaluated together, up to so many, while they are short.
# Which ones are together differs from run to run; their sum does not.
CALL_S = 0.1
CALL_CHUNKS = 128
Take = Callable[[Mapping[str, Any], Mapping[str, Any]], Mapping[str, Any]]
ROW = 16  # tensors of terms have a multiple of 16 rows: vector functions give other bits in a shorter tail


@dataclass(frozen=True)
class ChunkSums:
    """What the chunks of one call add.

    Attributes:
      state: int64 [layout.size].
      seen: one line per batch, int64 [batches, 3]: chunk, count, id hash.
      rows: by row metric; slices are numbered as this rank found them.
      taken: by column, what `take` returned of the real examples, one array [count, ...] a batch; ids under `ID`.
    """

    state: np.ndarray
    seen: np.ndarray
    rows: Mapping[str, RowTable]
    taken: Mapping[str, Sequence[np.ndarray]] = field(default_factory=dict)


class Step:
    """Evaluates one chunk per call, or a few where they are short.

    Args:
      predict: features by name [B, ...] to outputs by name [B, ...].
      terms: forms the terms of a batch.
      dataset: see `Feed.dataset`; its spec fixes all shapes.
      batch_size: examples a batch.
      grid: takes the same terms by slice and replicate; None where the job has neither.
      unpack: an element of the dataset to a batch, see `Feed.unpack`; None where the elements are batches.
      take: features and outputs [B, ...] to tensors by column [B, ...] that are handed to the host; None for none.
      eager: run the same loop operation by operation, for debugging.
    """

    def __init__(
        self,
        predict: Callable[[Mapping[str, Any]], Mapping[str, Any]],
        terms: Terms,
        dataset: Any,
        batch_size: int,
        grid: TFGrid | None = None,
        unpack: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None,
        take: Take | None = None,
        eager: bool = False,
    ) -> None:
        self._unpack = unpack or dict
        self._predict = predict
        self._terms = terms
        self._batch_size = batch_size
        self._take = take
        self.grid = grid
        self._iterator = iter(dataset)
        self._learn()
        if grid:
            grid.allocate()
        self._run: Callable[..., Any] = (
            self._eagerly
            if eager
            else tf.function(self._loop, autograph=False).get_concrete_function(self._iterator, tf.TensorSpec([], tf.int32))
        )
        self._chunks = 1  # to evaluate in one call

    def restart(self, dataset: Any) -> None:
        """Begin again with another dataset of the same spec."""
        self._iterator = iter(dataset)

    def run(self) -> ChunkSums:
        """Evaluate the chunk that comes next, or a few; returns no batches where there is no more.

        Raises: JobError: there are more slices than the job allows.
        """
        start = time.monotonic()
        state, seen, rows, flat, shapes = self._run(self._iterator, tf.constant(self._chunks))
        found = ChunkSums(
            state.numpy(),
            seen.numpy(),
            {key: layout.unpack(part.numpy()) for (key, layout), part in zip(self.row_layouts.items(), rows, strict=True)},
            {name: _by_batch(f.numpy(), s.numpy()) for name, f, s in zip(self._columns, flat, shapes, strict=True)},
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
            terms, *_, taken = self._form(self._unpack(element))
            self._columns = {name: (tensor.dtype, tensor.shape.rank) for name, tensor in taken.items()}
            self.layout: Layout = terms.layout
            self.row_layouts: dict[str, RowLayout] = {key: layout for key, (layout, _, _) in terms.rows.items()}
            self._row_widths = [int(packed.shape[1]) for _, packed, _ in terms.rows.values()]
            if self.grid:
                self.grid.plan(terms)
            return terms.sums()

        tf.function(trace, autograph=False).get_concrete_function(self._iterator.element_spec)

    def _eagerly(self, iterator: Any, chunks: Any) -> tuple[Any, ...]:
        """Run the loop operation by operation; TensorFlow refuses to put together what is not there."""
        batch = iterator.get_next_as_optional()
        if not batch.has_value():
            rows = tuple(tf.zeros([0, width], tf.int64) for width in self._packed_widths())
            nothing = tuple(
                tf.zeros([0], dtype) if dtype != tf.string else tf.constant([], dtype) for dtype, _ in self._columns.values()
            )
            shapes = tuple(tf.zeros([0, rank], tf.int32) for _, rank in self._columns.values())
            return tf.zeros([self.layout.size], tf.int64), tf.zeros([0, 3], tf.int64), rows, nothing, shapes
        return self._loop(_Resumed(batch, iterator), chunks)

    def _packed_widths(self) -> list[int]:
        specs = len(self.grid.slice_specs) if self.grid else 0
        return [1 + specs + width for width in self._row_widths]

    def _loop(self, iterator: Any, chunks: Any) -> tuple[Any, ...]:
        def more(left: Any, *_: Any) -> Any:
            return left > 0

        def body(left: Any, state: Any, number: Any, seen: Any, *kept: Any) -> tuple[Any, ...]:
            batch = iterator.get_next_as_optional()

            def evaluate() -> tuple[Any, ...]:
                found = self._unpack(batch.get_value())
                sums, line, parts = self._batch(found)
                written = [array.write(number, part) for array, part in zip(kept, parts, strict=True)]
                return left - tf.cast(found["last"], tf.int32), state + sums, number + 1, seen.write(number, line), *written

            def nothing() -> tuple[Any, ...]:
                return tf.zeros_like(left), state, number, seen, *kept

            return tf.cond(batch.has_value(), evaluate, nothing)

        def growing(dtype: Any, shape: list[int | None]) -> Any:
            return tf.TensorArray(dtype, 0, dynamic_size=True, infer_shape=False, element_shape=shape)

        columns = self._columns.values()
        with tf.device("/CPU:0"):
            seen = tf.TensorArray(tf.int64, 0, dynamic_size=True, element_shape=[3])
            rows = [growing(tf.int64, [None, width]) for width in self._packed_widths()]
            flat = [growing(dtype, [None]) for dtype, _ in columns]
            shapes = [growing(tf.int32, [rank]) for _, rank in columns]
            start = (chunks, tf.zeros([self.layout.size], tf.int64), tf.constant(0), seen, *rows, *flat, *shapes)
        _, state, _, seen, *kept = tf.while_loop(more, body, start)
        joined = [array.concat() for array in kept[: len(rows) + len(flat)]]
        stacked = tuple(array.stack() for array in kept[len(rows) + len(flat) :])
        return state, seen.stack(), tuple(joined[: len(rows)]), tuple(joined[len(rows) :]), stacked

    def _form(self, batch: Mapping[str, Any]) -> tuple[BatchTerms, Mapping[str, Any], Any, Any, Mapping[str, Any]]:
        """Predict, and form the terms; also return features, ids, mask, and what is handed to the host."""
        size, count = self._batch_size, batch["count"]
        features = batch["features"]
        # At one row, matrix products take another path whose bits depend on the number of threads.
        rows = max(size, 2)
        outputs = self._predict({name: _grow(tensor, size, rows) for name, tensor in features.items()})
        outputs = {name: _known(tensor, rows) for name, tensor in outputs.items()}
        taken = {ID: batch["ids"], **self._take(features, outputs)} if self._take else {}
        taken = {name: tensor[:count] for name, tensor in taken.items()}
        padded = -(-rows // ROW) * ROW
        outputs = {name: _grow(tensor, rows, padded) for name, tensor in outputs.items()}
        features = {name: _grow(tensor, size, padded) for name, tensor in features.items()}
        mask = tf.range(padded) < count
        return self._terms(features, outputs, mask), features, _grow(batch["ids"], size, padded), mask, taken

    def _batch(self, batch: Mapping[str, Any]) -> tuple[Any, Any, list[Any]]:
        """Return a batch's sums, its line for the certificate, and what is kept of it: rows, values and shapes."""
        terms, features, ids, mask, taken = self._form(batch)
        with tf.device("/CPU:0"):
            hashes = tf.where(mask, _hash(ids), tf.zeros_like(ids))
            line = tf.stack([batch["chunk"], tf.cast(batch["count"], tf.int64), tf.reduce_sum(hashes)])
            head = ids[:, None]
            if self.grid:
                slots, keys = self.grid.add(terms, features, ids, mask)
                head = tf.concat([keys[:, None], tf.cast(slots, tf.int64)], axis=1)
            packed = [tf.concat([tf.gather(head, owner), part], axis=1) for _, part, owner in terms.rows.values()]
            # Flat, and the shape apart: an inner size may differ from batch to batch.
            flat = [tf.reshape(tensor, [-1]) for tensor in taken.values()]
            return terms.sums(), line, [*packed, *flat, *(tf.shape(tensor) for tensor in taken.values())]


class _Resumed:
    """An iterator whose first element has been taken already."""

    def __init__(self, first: Any, rest: Any) -> None:
        self._first = first
        self._rest = rest

    def get_next_as_optional(self) -> Any:
        """Return the first element, then the rest."""
        first, self._first = self._first, None
        return self._rest.get_next_as_optional() if first is None else first


def _by_batch(flat: np.ndarray, shapes: np.ndarray) -> list[np.ndarray]:
    """Cut the values of some batches, each in its own shape.

    Args:
      flat: [sum of the sizes]. shapes: int32 [batches, rank].
    """
    ends = np.cumsum([int(np.prod(shape, dtype=np.int64)) for shape in shapes], dtype=np.int64)
    return (
        [part.reshape(shape) for part, shape in zip(np.split(flat, ends[:-1]), shapes.tolist(), strict=True)]
        if len(shapes)
        else []
    )


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
