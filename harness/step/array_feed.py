"""Batches cut from arrays that are in memory anyway, or mapped into it: only where they lie goes through a call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any

import numpy as np
import tensorflow as tf

from harness.data import ID, Feature, Records, Source
from harness.data.content import ContentHash, signed
from harness.plan.plan import Chunk
from harness.ranks.share import Share
from harness.step.array_tensor import AlignedTensor, ArrayTensor, ByteTensor
from harness.step.batch import Batch, Group
from harness.step.feed import Feed, Handle, Stream

__all__ = ["ArrayFeed", "ArrayStream"]


class ArrayStream(Stream):
    """Cuts batches out of tensors. What is left are lines: first example, count, chunk, last of its chunk, of each batch.

    Args:
      tensors: all examples by feature, and their ids under `ID`.
      batch_size: examples a batch.
    """

    def __init__(self, tensors: Mapping[str, ArrayTensor], batch_size: int) -> None:
        self.tensors = tensors
        self._batch_size = batch_size

    @property
    def spec(self) -> tuple[Any, Any]:
        """The lines of the call, and how many."""
        return tf.TensorSpec([None, 4], tf.int64), tf.TensorSpec([], tf.int32)

    @property
    def batch(self) -> Batch:
        """The features' own shapes, with the batch first."""
        size, specs = self._batch_size, {name: tensor.spec for name, tensor in self.tensors.items()}
        features = {name: tf.TensorSpec([size, *spec.shape], spec.dtype) for name, spec in specs.items()}
        number = tf.TensorSpec([], tf.int64)
        return Batch(features.pop(ID), tf.TensorSpec([], tf.int32), number, tf.TensorSpec([], tf.bool), features)

    def cut(self, line: Any) -> Batch:
        """Cut out the batch of a line, int64 [4]."""
        size, tensors = self._batch_size, self.tensors
        first, rows, chunk, last = tf.unstack(line)
        count = tf.cast(rows, tf.int32)

        def whole() -> list[Any]:
            return [tensor.cut(first, size) for tensor in tensors.values()]

        def short() -> list[Any]:
            return [tensor.pad(first, rows, size) for tensor in tensors.values()]

        with tf.device("/CPU:0"):
            features = dict(zip(tensors, tf.cond(count < size, short, whole), strict=True))
        return Batch(features.pop(ID), count, chunk, last > 0, features)

    def gather(
        self, origin: Any, left: Any, size: int, names: Sequence[str], handle: Handle, arrays: Sequence[Any]
    ) -> tuple[Any, Group, Sequence[Any]]:
        """Hand out batches; what is wanted of all of them is cut once for the group."""
        rows = self._batch_size
        with tf.device("/CPU:0"):
            start = tf.shape(origin)[0] - left
            lines = origin[start : start + size]
            batches = tf.shape(lines)[0]
            filled = tf.ensure_shape(tf.pad(lines, [[0, size - batches], [0, 0]]), [size, 4])
            offset = tf.range(rows, dtype=tf.int64)
            examples = tf.where(offset < filled[:, 1:2], filled[:, :1] + offset, filled[:, :1])
            examples = tf.reshape(examples, [-1])
            ids, *features = (self.tensors[name].gather(examples) for name in (ID, *names))
            predicted = tf.TensorArray(tf.int64, size, element_shape=[rows])

        def body(at: Any, predicted: Any, *arrays: Any) -> tuple[Any, ...]:
            batch = self.cut(lines[at])
            return at + 1, predicted.write(at, batch.ids), *handle(batch, at, arrays)

        _, predicted, *arrays = tf.while_loop(lambda at, *_: at < batches, body, (tf.constant(0), predicted, *arrays))
        with tf.device("/CPU:0"):
            # What the model saw and what the terms read were cut apart: an id is certified where both are of one example.
            ids = tf.where(ids == tf.reshape(predicted.stack(), [size * rows]), ids, tf.constant(-1, tf.int64))
        places = tf.gather(filled, [2, 1], axis=1)
        return left - batches, Group(batches, places, ids, dict(zip(names, features, strict=True))), arrays


class ArrayFeed(Feed):
    """Cuts batches out of arrays, and hashes them meanwhile.

    Args:
      source: of examples in memory.
      wanted: features to cut.
      batch_size: examples a batch.
      content: hashes what is read.
    """

    def __init__(
        self, source: Source, wanted: Mapping[str, Feature], batch_size: int, content: ContentHash | None = None
    ) -> None:
        super().__init__(source, wanted, batch_size, content)
        arrays = source.arrays
        if arrays is None:
            raise ValueError("expected a source in memory")
        with tf.device("/CPU:0"):  # where batches are cut: on an accelerator they would not fit, or be fetched back
            tensors = {name: _tensor(source, name, arrays[name]) for name in (*wanted, ID)}
        self._stream = ArrayStream(tensors, batch_size)
        self._chunks: Iterator[Chunk] = iter(())
        self._drawn: list[Chunk] = []
        self._arrays = {name: arrays[name] if source.mapped else _held(tensors[name].tensor, arrays[name]) for name in tensors}
        self._known: dict[Chunk, int] = {}  # hashes of chunks that an earlier opening has read; of copies, which stay as they are
        self._hasher = ThreadPoolExecutor(1)  # hashes while the compiled step evaluates the same chunks
        self._hashing: Future[dict[int, int]] | None = None

    def open(self, share: Share) -> None:
        """Begin to deliver the chunks of a share."""
        self._hashing = None
        self._begin()
        self._chunks = share.draw(ahead=False)

    @property
    def stream(self) -> ArrayStream:
        """What cuts the batches."""
        return self._stream

    def draw(self, chunks: int) -> tuple[Any, Any]:
        """Return where the batches of the next chunks lie, and how many there are."""
        self._await_hashes()  # before the memory of what was hashed is given back
        done, self._drawn = self._drawn, list(islice(self._chunks, chunks))
        self.source.advise(done, self._drawn)
        if self._drawn:
            self._hashing = self._hasher.submit(self._hashed, tuple(self._drawn))
        lines = _lines(self._drawn, self.batch_size)
        self.records_read += int(lines[:, 1].sum())
        return tf.constant(lines), tf.constant(len(lines), tf.int32)

    def seal(self, lines: np.ndarray) -> np.ndarray:
        """See that what was drawn was in the data, and add its content hashes.

        Raises: DataError: see `Source.check`.
        """
        self.source.check()  # after all of it was read, and before it counts
        self._await_hashes()
        return super().seal(lines)

    def _await_hashes(self) -> None:
        if self._hashing is not None:
            self._contents |= self._hashing.result()
            self._hashing = None

    def _hashed(self, chunks: Sequence[Chunk]) -> dict[int, int]:
        """Return the content hashes of some chunks."""
        contents = {}
        for chunk in chunks:
            if (known := self._known.get(chunk)) is None:
                raw = {name: array[chunk.start : chunk.stop] for name, array in self._arrays.items()}
                known = signed(self.content.of(Records(raw.pop(ID), raw)))
                if not self.source.mapped:
                    self._known[chunk] = known
            contents[chunk.index] = known
        return contents


def _lines(chunks: Sequence[Chunk], size: int) -> np.ndarray:
    """Cut chunks into batches, at once: there may be a thousand chunks a call.

    Returns: first example, count, chunk, last of its chunk; int64 [batches, 4].

    >>> _lines([Chunk(3, 10, 15), Chunk(4, 15, 17)], 4).tolist()
    [[10, 4, 3, 0], [14, 1, 3, 1], [15, 2, 4, 1]]
    """
    index, start, stop = np.array([(c.index, c.start, c.stop) for c in chunks], np.int64).reshape(-1, 3).T
    batches = -(-(stop - start) // size)
    index, start, stop = (np.repeat(column, batches) for column in (index, start, stop))
    before = np.repeat(np.cumsum(batches) - batches, batches)
    first = start + (np.arange(len(index)) - before) * size
    return np.stack([first, np.minimum(stop - first, size), index, first + size >= stop], axis=1)


def _held(tensor: Any, array: np.ndarray) -> np.ndarray:
    """Return what is evaluated as an array, whatever the caller does to theirs: the tensor's own memory, or else a copy."""
    shared = array.dtype.kind in "biuf" and array.dtype.isbuiltin == 1  # neither of another byte order nor of a package's own
    return np.asarray(memoryview(tensor)) if shared else array.copy()


def _tensor(source: Source, name: str, array: np.ndarray) -> ArrayTensor:
    """Make a tensor of an array: of what is mapped without a copy."""
    if name in source.leads:
        return ByteTensor(source.leads[name], array)
    return AlignedTensor(array, copy=not source.mapped or name == ID)
