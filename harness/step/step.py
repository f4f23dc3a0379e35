"""The compiled loop: batches -> sums, all in the graph; returns to Python at the end of a chunk, some times a second."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import tensorflow as tf

from harness.errors import JobError
from harness.exact.tf_limbs import exact_graph
from harness.exact.tf_splitmix import hash_ids
from harness.metrics.question import Question
from harness.step.batch import Batch, Group, Masks
from harness.step.carrying import add_in_time
from harness.step.class_labels import ClassLabels
from harness.step.example_choice import ExampleChoice
from harness.step.feed import Feed
from harness.step.forward import Forward, Take
from harness.step.grid import TFGrid
from harness.step.shapes import learn
from harness.step.terms import Terms
from harness.sums.capacity import check_fits, fitting
from harness.sums.grid import GridState
from harness.sums.row_store import RowStore
from harness.sums.rows import thin
from harness.sums.selection import Selection
from harness.sums.sums import LINE, Sums, add_lines

__all__ = ["Call", "Step"]

# A call costs about a millisecond, whatever it does: chunks are evaluated together, up to so many, while they are short.
# Which ones are together differs from run to run; their sum does not.
CALL_S = 0.5
CALL_CHUNKS = 128
SEEN = LINE - 1  # columns of a line that the graph fills in: all but the content hash


@dataclass(frozen=True)
class Call:
    """What one call of the step gives.

    Attributes:
      sums: of its chunks; their grid stays in the graph.
      batches: one line per batch, int64 [batches, 8], see `LINE`; the content hash of the chunk stands in its first line.
      reading_s: of the call, in which the feed was waited for.
      columns: by name, what `take` returned of the real examples, one array [count, ...] a batch; ids under `ID`.
    """

    sums: Sums
    batches: np.ndarray
    reading_s: float = 0.0
    columns: Mapping[str, Sequence[np.ndarray]] = field(default_factory=dict)


class Step:
    """Evaluates one chunk per call, or a few where they are short.

    Args:
      predict: features by name [B, ...] to outputs by name [B, ...], but those that come with the batches; None if all do.
      question: what is asked.
      feed: delivers the batches; it is open.
      allowed_bytes: how large the state may be.
      expected_slices: how many there are at most, as far as that is known.
      take: features and outputs [B, ...] to tensors by column [B, ...] that are handed to the host; None for none.
      eager: run the same loop operation by operation, for debugging.

    Attributes:
      labels: looks up class labels that are text.
      grid: of slices and replicates. choice: of the examples that are kept.
    Raises: JobError: the state is larger, see `memory.check_fits`; or the names of the classes are those of no output.
    """

    def __init__(
        self,
        predict: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None,
        question: Question,
        feed: Feed,
        *,
        allowed_bytes: int = 1 << 62,
        expected_slices: int | None = None,
        take: Take | None = None,
        eager: bool = False,
    ) -> None:
        self._question = question
        self._feed = feed
        self._stream = feed.stream
        self.labels = ClassLabels(question.class_labels, question.classes, question.unknown_label)
        self._forward = Forward(predict, feed.batch_size, take, self.labels)
        terms = Terms(question.metrics, question.bindings, self.labels)
        self.grid = TFGrid(question, expected_slices)
        self.choice = ExampleChoice(question, self.labels)
        self._shapes, traced = learn(self._stream.batch, self._forward, terms, self.grid, self.choice)
        self._terms = terms if eager else traced
        _check_names(question.classes, terms.class_counts)
        self.layouts = self._shapes.layouts
        self.state_bytes = check_fits(self.layouts, self.grid.most_slots, allowed_bytes)
        self.grid.allocate(fitting(self.layouts, allowed_bytes))
        self.choice.allocate()
        self._call: Callable[..., Any] = self._loop
        if not eager:
            self._call = tf.function(self._loop, autograph=False).get_concrete_function(*self._stream.spec)
        self._chunks = 1  # to evaluate in one call
        self._waited_s = feed.waited_s

    def run(self, most: int | None = None) -> Call:
        """Evaluate the chunk that comes next, or a few; returns no batches where there is no more.

        Args:
          most: so many are sure to come, or the end; None is any number.
        Raises: JobError: there are more slices than the job allows. DataError: what was read is not in the data.
        """
        start = time.monotonic()
        chunks = self._chunks if most is None else min(self._chunks, most)
        drawn = self._feed.draw(chunks)
        called = time.monotonic()
        state, lines, rows, values, sizes = self._call(*drawn)
        lines, returned = lines.numpy(), time.monotonic()
        batches = self._feed.seal(lines)
        # Drawing and sealing wait outside the graph, where the feed does not read ahead.
        before_s, self._waited_s = self._waited_s, self._feed.waited_s
        reading_s = called - start + min(max(self._waited_s - before_s, 0.0), returned - called) + time.monotonic() - returned
        sums = Sums(add_lines([batches]), state.numpy(), GridState.zero(self.layouts.grid, self.layouts.draws))
        if self.choice.active:
            *rows, entries = rows
            sums.selection = Selection.of(entries.numpy(), self.layouts.examples.most)
            self.choice.add(sums.selection)
        for (key, layout), packed in zip(self.layouts.rows.items(), rows, strict=True):
            if len(packed):
                table = thin(layout.unpack(packed.numpy()), self._question.rows_kept(key))
                sums.rows[key] = RowStore.of(table, anonymous=self._question.rows_anonymous(key))
        parts = zip(self._shapes.columns, values, sizes, strict=True)
        columns = {name: _by_batch(flat.numpy(), shapes.numpy()) for name, flat, shapes in parts}
        self.grid.settle()
        elapsed_s = time.monotonic() - start
        if elapsed_s < CALL_S / 2 and chunks == self._chunks:
            self._chunks = min(2 * self._chunks, CALL_CHUNKS)
        elif elapsed_s > CALL_S:
            self._chunks = max(self._chunks // 2, 1)
        return Call(sums, batches, reading_s, columns)

    def call_waited_s(self) -> float:
        """Return how long the call under way has waited for batches so far. For another thread, once a call has begun."""
        return max(self._feed.waiting_s - self._waited_s, 0.0)

    def clear(self) -> None:
        """Forget what was evaluated, to begin anew."""
        self.grid.clear()
        self.choice.clear()
        self._chunks = 1  # of the first examples many leave the graph: there is nothing yet that they come after

    def _loop(self, origin: Any, left: Any) -> tuple[Any, ...]:
        """Add up what is left there, see `Stream`.

        Returns: state; lines of batches; the packed rows of each row metric, and of examples; the values of each column, flat;
          their shapes, int32 [batches, rank].
        """
        shapes = self._shapes
        widths, kinds = shapes.row_widths, shapes.columns.values()

        def body(left: Any, state: Any, number: Any, first: Any, lines: Any, *arrays: Any) -> tuple[Any, ...]:
            left, group, columns = self._gather(origin, left, first, arrays[len(widths) :])
            sums, marks, packed = self._sum(group)
            rows = [array.write(number, part) for array, part in zip(arrays[: len(widths)], packed, strict=True)]
            state = add_in_time(self.layouts.state, state, sums, number - 1, shapes.carry_every)
            return left, state, number + 1, first + group.batches, lines.write(number, marks), *rows, *columns

        with tf.device("/CPU:0"):
            arrays = [
                _growing(tf.int64, [SEEN]),
                *(_growing(tf.int64, [width]) for width in widths),
                *(_growing(dtype, []) for dtype, _ in kinds),
                *(_growing(tf.int32, [rank]) for _, rank in kinds),
            ]
            state = tf.zeros([self.layouts.state.size], tf.int64)
        # Arrays begin with an empty part, so that there is always something to put together.
        start = (left, state, tf.constant(1), tf.constant(1), *arrays)
        _, state, _, _, *arrays = tf.while_loop(lambda left, *_: left > 0, body, start)
        lines, *joined = (array.concat() for array in arrays)
        ends = len(widths), len(widths) + len(kinds)
        return state, lines, tuple(joined[: ends[0]]), tuple(joined[ends[0] : ends[1]]), tuple(joined[ends[1] :])

    def _gather(self, origin: Any, left: Any, first: Any, columns: Sequence[Any]) -> tuple[Any, Group, Sequence[Any]]:
        """Predict a group of batches, or what there is up to the end of the chunks.

        Args:
          origin, left: see `Stream`.
          first: number of the first batch in this call.
          columns: arrays of what is handed to the host: the values of each column, then their shapes.
        Returns: how many are left; the group; the arrays.
        """
        specs, size = self._shapes.outputs, self._shapes.group

        def handle(batch: Batch, at: Any, arrays: Sequence[Any]) -> Sequence[Any]:
            outputs = self._forward.outputs(batch)
            written = [array.write(at, outputs[name]) for array, name in zip(arrays[: len(specs)], specs, strict=True)]
            # Flat, and the shape apart: an inner size may differ from batch to batch.
            real = self._forward.columns(batch, outputs).values()
            parts = [*(tf.reshape(tensor, [-1]) for tensor in real), *(tf.shape(tensor)[None] for tensor in real)]
            return [*written, *(array.write(first + at, part) for array, part in zip(arrays[len(specs) :], parts, strict=True))]

        with tf.device("/CPU:0"):
            arrays = [tf.TensorArray(spec.dtype, size, element_shape=spec.shape) for spec in specs.values()]
        names = self._shapes.features
        left, group, filled = self._stream.gather(origin, left, size, names, handle, [*arrays, *columns])
        outputs = {
            name: tf.ensure_shape(tf.reshape(array.stack(), [-1, *spec.shape[1:]]), [size * spec.shape[0], *spec.shape[1:]])
            for (name, spec), array in zip(specs.items(), filled[: len(specs)], strict=True)
        }
        return left, replace(group, outputs=outputs), filled[len(specs) :]

    def _sum(self, group: Group) -> tuple[Any, Any, list[Any]]:
        """Return a group's sums, its lines for the certificate, and its rows."""
        with tf.device("/CPU:0"):
            group = self.labels.skip(replace(group, features=self.labels.look_up(group.features)))
            ids = group.ids
            mask, lines = exact_graph(self._count)(group.places, ids, group.bad, group.keep)
            mask = self.labels.refuse(group.features, mask)
            terms = self._terms(group.features, group.outputs, mask)
            slots, keys = self.grid.add(terms, group.features, ids, mask)
            clusters = [keys[:, None]] if self.grid.clustered else []
            head = tf.concat([ids[:, None], *clusters, tf.cast(slots, tf.int64)], axis=1)
            packed = [tf.concat([tf.gather(head, owner), part], axis=1) for _, part, owner in terms.rows.values()]
            if self.choice.active:
                packed.append(self.choice.choose(group.features, group.outputs, ids, mask, slots))
            return terms.sums(), lines[: group.batches], packed

    def _count(self, places: Any, ids: Any, bad: Any, keep: Any) -> tuple[Any, Any]:
        """Return which rows of a group count, bool [G * B], and what the certificate holds of each batch."""
        real = tf.range(self._feed.batch_size, dtype=tf.int64) < places[:, 1:]
        masks = Masks.of(tf.reshape(real, [-1]), bad, keep)
        hashes, none = hash_ids(ids), tf.zeros_like(ids)
        read, kept = (
            tf.reduce_sum(tf.reshape(tf.where(mask, hashes, none), [self._shapes.group, -1]), axis=1, keepdims=True)
            for mask in (masks.read, masks.kept)
        )
        return masks.kept, tf.concat([places, read, masks.counts(self._shapes.group), kept], axis=1)


def _check_names(names: Sequence[str] | None, counts: Mapping[str, int]) -> None:
    """Compare the number of names of the classes with the outputs that have classes: they are those of one of them.

    Raises: JobError: of none.
    """
    if names is None or not counts or len(names) in counts.values():
        return
    outputs = ", ".join(f"output '{output}' has {count:,}" for output, count in counts.items())
    raise JobError(
        f"data.classes: expected a name for each class, found {len(names):,} names, and {outputs}; where the job has no "
        "data.classes the names are the texts that occur in the labels: list all of them, in the order of the output's columns"
    )


def _growing(dtype: Any, inner: list[int]) -> Any:
    """Return an array of parts [n, ...] that are joined; it has an empty one."""
    array = tf.TensorArray(dtype, 1, True, infer_shape=False, element_shape=[None, *inner])
    return array.write(0, tf.zeros([0, *inner], dtype))


def _by_batch(flat: np.ndarray, shapes: np.ndarray) -> list[np.ndarray]:
    """Cut the values of some batches, each in its own shape.

    Args:
      flat: [sum of the sizes]. shapes: int32 [batches, rank].
    """
    if not len(shapes):
        return []
    ends = np.cumsum([int(np.prod(shape, dtype=np.int64)) for shape in shapes], dtype=np.int64)
    return [part.reshape(shape) for part, shape in zip(np.split(flat, ends[:-1]), shapes.tolist(), strict=True)]
