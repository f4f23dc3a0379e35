"""Batches that are read on the host and parsed in the graph: one long-lived dataset that prefetches across chunk borders."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.framework import op_def_registry

from harness.data import BAD, KEEP, Feature, Records, Source
from harness.data.block_size import BlockSize
from harness.data.content import ContentHash, signed
from harness.exact.floating_point import with_subnormals
from harness.plan.plan import Chunk
from harness.ranks.share import Share
from harness.step import tensorflow as tf_setup
from harness.step.batch import Batch, Group, Masks
from harness.step.blocks import block_of, read_runs
from harness.step.feed import Feed, Handle, Stream
from harness.step.host_dataset import host_dataset
from harness.step.packed_columns import PackedColumns
from harness.step.wait_clock import WaitClock

__all__ = ["PipelineFeed", "PipelineStream"]

# Said to have a state, and have none that lasts; what those that call functions call is looked at itself.
HARMLESS = {"Assert", "Case", "If", "StatefulPartitionedCall", "While"}
# Said to have none: Python may keep one, or not bear to run in two threads; datasets and some draws hide theirs.
HARMFUL = re.compile("PyFunc|EagerPyFunc|Risc|.*Dataset")
BLOCK_BATCHES = 64  # batches read on the host at a time
BLOCK_EXAMPLES = 16384


class PipelineStream(Stream):
    """Takes batches from an iterator. What is left are chunks; the iterator may end before.

    Args:
      element: the specs of what the iterator gives, see `Batch.element`.
    """

    def __init__(self, element: Mapping[str, Any]) -> None:
        self._element = element

    @property
    def spec(self) -> tuple[Any, Any]:
        """The iterator, and how many chunks to take from it."""
        return tf.data.IteratorSpec(self._element), tf.TensorSpec([], tf.int32)

    @property
    def batch(self) -> Batch:
        """A batch is an element of the iterator."""
        return Batch(**self._element)

    def gather(
        self, origin: Any, left: Any, size: int, names: Sequence[str], handle: Handle, arrays: Sequence[Any]
    ) -> tuple[Any, Group, Sequence[Any]]:
        """Hand out batches up to the end of the chunks, or of the pipeline."""
        specs = tf.nest.flatten(_held(self.batch, names))
        with tf.device("/CPU:0"):
            places = tf.TensorArray(tf.int64, size, element_shape=[2])
            held = [tf.TensorArray(spec.dtype, size, element_shape=spec.shape) for spec in specs]

        def body(left: Any, at: Any, places: Any, *arrays: Any) -> tuple[Any, ...]:
            element = origin.get_next_as_optional()

            def take() -> tuple[Any, ...]:
                batch = Batch(**element.get_value())
                place = tf.stack([batch.chunk, tf.cast(batch.count, tf.int64)])
                tensors = tf.nest.flatten(_held(batch, names))
                written = [array.write(at, tensor) for array, tensor in zip(arrays[: len(held)], tensors, strict=True)]
                rest = handle(batch, at, arrays[len(held) :])
                return left - tf.cast(batch.last, tf.int32), at + 1, places.write(at, place), *written, *rest

            return tf.cond(element.has_value(), take, lambda: (tf.zeros_like(left), at, places, *arrays))

        start = (left, tf.constant(0), places, *held, *arrays)
        left, batches, places, *arrays = tf.while_loop(lambda left, at, *_: (left > 0) & (at < size), body, start)
        stacked = [
            tf.ensure_shape(tf.reshape(array.stack(), [-1, *spec.shape[1:]]), [size * spec.shape[0], *spec.shape[1:]])
            for spec, array in zip(specs, arrays[: len(held)], strict=True)
        ]
        tensors = tf.nest.pack_sequence_as(_held(self.batch, names), stacked)
        return left, Group(batches, places.stack(), **tensors), arrays[len(held) :]


def _is_pure(graph: Any) -> bool:
    """Say whether what a graph computes depends on its inputs alone: a transform of the user's may draw, count or call Python."""
    graph = graph.as_graph_def()
    ops = {node.op for nodes in (graph.node, *(function.node_def for function in graph.library.function)) for node in nodes}
    registered = {op: op_def_registry.get(op) for op in ops - HARMLESS}
    return not any(HARMFUL.match(op) or (known is not None and known.is_stateful) for op, known in registered.items())


def _held(batch: Batch, names: Sequence[str]) -> dict[str, Any]:
    """Return what a group holds of each batch, by attribute."""
    tensors = {name: tensor for name, tensor in batch.element().items() if name in ("ids", "bad", "keep")}
    return {**tensors, "features": {name: batch.features[name] for name in names}}


class PipelineFeed(Feed):
    """Reads on the host and parses in the graph.

    Args:
      source: where the examples come from.
      wanted: features to parse.
      batch_size: examples a batch.
      threads: of the pipeline.
      content: hashes what is read.
    """

    def __init__(
        self,
        source: Source,
        wanted: Mapping[str, Feature],
        batch_size: int,
        threads: int,
        content: ContentHash | None = None,
    ) -> None:
        super().__init__(source, wanted, batch_size, content)
        self._threads = threads
        self._chunks: Iterator[Chunk] = iter(())
        self._clock = WaitClock()
        self._dataset: Any = None
        self._pure = False
        self._columns = PackedColumns({})
        self._iterator: Any = None

    def open(self, share: Share) -> None:
        """Begin to deliver the chunks of a share; the dataset is built once."""
        self._begin()
        self._chunks = share.draw(ahead=True)
        if self._dataset is None:
            self._dataset = self._clock.over(self._bounded(self._batches()))
        # Its elements come from one generator, in order, through operations without a state: threads change nothing in them.
        with tf_setup.op_determinism(False) if self._pure else contextlib.nullcontext():
            self._iterator = iter(self._dataset)

    @property
    def stream(self) -> PipelineStream:
        """What takes batches from the dataset."""
        return PipelineStream(self._dataset.element_spec)

    def draw(self, chunks: int) -> tuple[Any, Any]:
        """Return the iterator and the number."""
        return self._iterator, tf.constant(chunks)

    @property
    def waited_s(self) -> float:
        """That the iterator had no batch ready."""
        return self._clock.seconds

    @property
    def waiting_s(self) -> float:
        """The same at this moment."""
        return self._clock.seconds

    @property
    def dataset(self) -> Any:
        """The batches as a dataset of elements, see `Batch.element`; of a feed that is open, to be gone through once."""
        return self._dataset

    def kept(self) -> Iterator[dict[str, np.ndarray]]:
        """Go through the batches on the host, outside any step: the features of the examples that count, by name."""
        return (features for _, features in self.identified())

    def identified(self) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
        """Go through them with the ids of the examples, int64 [B]."""
        for element in self._iterator:
            batch = Batch(**element)
            masks = Masks.of(tf.range(self.batch_size) < batch.count, batch.bad, batch.keep)
            kept = masks.kept.numpy()
            yield batch.ids.numpy()[kept], {name: tensor.numpy()[kept] for name, tensor in batch.features.items()}

    def _bounded(self, batches: Any) -> Any:
        """Prefetch a few batches, with threads of the pipeline's own."""
        options = tf.data.Options()
        options.threading.private_threadpool_size = self._threads + 1  # one waits for chunks, or reads them
        options.autotune.enabled = False
        return batches.prefetch(4).with_options(options)

    def _batches(self) -> Any:
        """Read on the host, a block of batches at a time; parse in the graph, a batch at a time."""
        size = self.batch_size
        first = next(iter(self.source.read(0, 1, 1)))
        self._columns = PackedColumns(first.raw)
        sample = self._columns.pack({name: np.repeat(array[None], size, axis=1) for name, array in first.raw.items()})
        signature = {
            "ids": tf.TensorSpec([None, size], tf.int64),
            "count": tf.TensorSpec([None], tf.int32),
            "chunk": tf.TensorSpec([None], tf.int64),
            "last": tf.TensorSpec([None], tf.bool),
            "raw": {name: tf.TensorSpec([None, *array.shape[1:]], tf.as_dtype(array.dtype)) for name, array in sample.items()},
        }

        @tf.autograph.experimental.do_not_convert
        def parse(block: dict[str, Any]) -> dict[str, Any]:
            raw = self._columns.unpack(block.pop("raw"))
            bad = raw.pop(BAD, None)
            features = self.source.parse(raw, self.wanted)
            keep = features.pop(KEEP, None)
            return Batch(**block, features=features, bad=bad, keep=keep).element()

        generate = self._guarded(with_subnormals(self._blocks))
        parsed = self._parsed(host_dataset(generate, signature), parse)
        self._pure = all(_is_pure(function.function.graph) for function in parsed._functions())
        if not self._pure:  # op determinism has what follows run one after the other, after a generator that it knows
            parsed = self._parsed(tf.data.Dataset.from_generator(generate, output_signature=signature), parse)
        return parsed

    def _parsed(self, blocks: Any, parse: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
        """Cut blocks into batches, and parse them."""
        batches = blocks.prefetch(1).flat_map(tf.data.Dataset.from_tensor_slices)
        return batches.map(parse, num_parallel_calls=self._threads, deterministic=True)

    def _blocks(self) -> Generator[dict[str, Any], None, None]:
        block_size = BlockSize(self.batch_size, min(BLOCK_BATCHES, BLOCK_EXAMPLES // self.batch_size))
        for chunk in self._chunks:
            self.reading = chunk
            held: Records | None = None
            known, total = self.source.known_content(chunk.index), 0
            for records in read_runs(self.source, chunk, block_size):
                total += self.content.of(records) if known is None else 0
                if held is not None:
                    yield self._block(held, chunk, final=False)
                held = records
            self._contents[chunk.index] = signed(total) if known is None else known  # before its last batch is there
            if held is not None:
                yield self._block(held, chunk, final=True)

    def _block(self, records: Records, chunk: Chunk, *, final: bool) -> dict[str, Any]:
        self.records_read += len(records.ids)
        block = block_of(records, chunk, self.batch_size, final=final)
        return {**block, "raw": self._columns.pack(block["raw"])}

    def _guarded(self, generate: Callable[[], Iterator[Any]]) -> Callable[[], Iterator[Any]]:
        """Keep what a generator raises: TensorFlow turns it into a text of its own."""

        def guarded() -> Iterator[Any]:
            try:
                yield from generate()
            except GeneratorExit:
                raise
            except BaseException as exc:
                self.error = self.error or exc
                raise

        return guarded
