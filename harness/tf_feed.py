"""The pipeline of one rank: chunks -> padded batches of features, as one long-lived tf.data dataset.

Built once per rank; it prefetches across chunk borders. Every batch has the same shape: a short one repeats its first
example, so that padding is always something the model can take, and `count` says how many are real.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from harness.data import BAD, ID, KEEP, Feature, Records, Source
from harness.plan import Chunk

__all__ = ["Feed", "pad"]

BLOCK_BATCHES = 16  # batches read on the host at a time: bounds memory where a chunk is a whole GZIP file
BLOCK_EXAMPLES = 4096
RUN_BATCHES = 32  # batches in memory that are described at a time


class Feed:
    """Batches of chunks.

    Args:
      source: where the examples come from.
      wanted: features to parse.
      batch_size: examples a batch.
      threads: of the pipeline.
      skip: whether bad records are skipped; a batch says which under "bad".
    """

    def __init__(
        self, source: Source, wanted: Mapping[str, Feature], batch_size: int, threads: int, *, skip: bool = False
    ) -> None:
        self.source = source.select(wanted, skip=skip)
        self._wanted = wanted
        self._batch_size = batch_size
        self._threads = threads
        self.error: BaseException | None = None  # what reading raised, before TensorFlow wrapped it
        self.records_read = 0
        arrays = source.arrays
        self._tensors = None if arrays is None else {name: tf.constant(arrays[name]) for name in (*wanted, ID)}

    def dataset(self, chunks: Iterable[Chunk]) -> Any:
        """Return a dataset whose elements `unpack` turns into batches."""
        # Of arrays in memory only places come through the pipeline: waking a thread for each would cost more than they do.
        built = self._from_memory(chunks) if self._tensors is not None else self._from_host(chunks).prefetch(4)
        options = tf.data.Options()
        options.threading.private_threadpool_size = self._threads
        options.autotune.enabled = False
        return built.with_options(options)

    def explain(self, start: int, stop: int) -> str | None:
        """Find the first of examples [start, stop) that does not parse; see `Source.explain`."""
        return self.source.explain(start, stop, self._wanted)

    def _from_memory(self, chunks: Iterable[Chunk]) -> Any:
        """Say where batches lie in the arrays; `unpack` cuts them out, so that no data goes through the pipeline."""
        size = self._batch_size

        def describe() -> Iterator[dict[str, np.ndarray]]:
            for run in _runs(chunks, size):
                self.records_read += sum(chunk.stop - chunk.start for chunk in run)
                lines = [
                    (first, min(chunk.stop - first, size), chunk.index, first + size >= chunk.stop)
                    for chunk in run
                    for first in range(chunk.start, chunk.stop, size)
                ]
                yield {"line": np.array(lines, np.int64)}

        signature = {"line": tf.TensorSpec([None, 4], tf.int64)}
        rows = tf.data.Dataset.from_generator(self._guarded(describe), output_signature=signature)
        return rows.prefetch(1).flat_map(tf.data.Dataset.from_tensor_slices)

    def unpack(self, element: Mapping[str, Any]) -> Mapping[str, Any]:
        """Turn an element of the dataset into a batch, inside the compiled step.

        Returns: ids int64 [B], count, chunk, last, features {name: [B, ...]}; where the job skips or filters also
          bad, keep: bool [B].
        """
        if self._tensors is None:
            return element
        size, tensors = self._batch_size, self._tensors
        first, rows, chunk, last = tf.unstack(element["line"])
        count = tf.cast(rows, tf.int32)

        def whole() -> list[Any]:
            # A slice along the first dimension is a view, not a copy, where its start is aligned.
            return [tf.ensure_shape(t[first : first + size], [size, *t.shape[1:]]) for t in tensors.values()]

        def short() -> list[Any]:
            return [pad(t[first : first + tf.cast(count, tf.int64)], count, size) for t in tensors.values()]

        with tf.device("/CPU:0"):
            cut = dict(zip(tensors, tf.cond(count < size, short, whole), strict=True))
        ids = cut.pop(ID)
        return {"ids": ids, "count": count, "chunk": chunk, "last": last > 0, "features": cut}

    def _from_host(self, chunks: Iterable[Chunk]) -> Any:
        """Read on the host, a block of batches at a time; parse in the graph, a batch at a time."""
        size = self._batch_size
        first = next(iter(self.source.read(0, 1, 1)))
        signature = {
            "ids": tf.TensorSpec([None, size], tf.int64),
            "count": tf.TensorSpec([None], tf.int32),
            "chunk": tf.TensorSpec([None], tf.int64),
            "last": tf.TensorSpec([None], tf.bool),
            "raw": {
                name: tf.TensorSpec([None, size, *array.shape[1:]], tf.as_dtype(array.dtype)) for name, array in first.raw.items()
            },
        }

        def blocks() -> Iterator[dict[str, Any]]:
            most = max(1, min(BLOCK_BATCHES, BLOCK_EXAMPLES // size))
            for chunk in chunks:
                held: list[Records] = []
                for records in _batches(self.source.read(chunk.start, chunk.stop, size), size):
                    if len(held) == most:
                        yield self._block(held, chunk, final=False)
                        held = []
                    held.append(records)
                if held:
                    yield self._block(held, chunk, final=True)

        def parse(block: dict[str, Any]) -> dict[str, Any]:
            raw = dict(block.pop("raw"))
            marks = {"bad": raw.pop(BAD)} if BAD in raw else {}
            features = self.source.parse(raw, self._wanted)
            if KEEP in features:
                marks["keep"] = features.pop(KEEP)
            return {**block, **marks, "features": features}

        rows = tf.data.Dataset.from_generator(self._guarded(blocks), output_signature=signature)
        flat = rows.prefetch(1).flat_map(tf.data.Dataset.from_tensor_slices)
        return flat.map(parse, num_parallel_calls=self._threads, deterministic=True)

    def _block(self, held: list[Records], chunk: Chunk, *, final: bool) -> dict[str, Any]:
        """Stack padded batches: [batches, B, ...]."""
        counts = [len(records.ids) for records in held]
        self.records_read += sum(counts)
        return {
            "ids": np.stack([_pad_host(records.ids, self._batch_size) for records in held]),
            "count": np.array(counts, np.int32),
            "chunk": np.full(len(held), chunk.index, np.int64),
            "last": np.arange(len(held)) == (len(held) - 1 if final else -1),
            "raw": {name: np.stack([_pad_host(records.raw[name], self._batch_size) for records in held]) for name in held[0].raw},
        }

    def _guarded(self, generate: Callable[[], Iterator[Any]]) -> Callable[[], Iterator[Any]]:
        """Keep what a generator raises: TensorFlow turns it into a text of its own."""

        def guarded() -> Iterator[Any]:
            try:
                yield from generate()
            except GeneratorExit:
                raise
            except BaseException as exc:
                self.error = exc
                raise

        return guarded


def pad(tensor: Any, count: Any, size: int) -> Any:
    """Bring a batch of `count` examples to `size`, repeating its first; a full one is passed on as it is."""

    def padded() -> Any:
        return tf.gather(tensor, tf.where(tf.range(size) < count, tf.range(size), 0))

    full = tf.cond(count < size, padded, lambda: tensor)
    return tf.ensure_shape(full, [size, *tensor.shape[1:]])


def _runs(chunks: Iterable[Chunk], size: int) -> Iterator[list[Chunk]]:
    """Group chunks into runs of at least RUN_BATCHES batches: what a generator yields costs time however little it is."""
    held: list[Chunk] = []
    batches = 0
    for chunk in chunks:
        held.append(chunk)
        batches += chunk.batches(size)
        if batches >= RUN_BATCHES:
            yield held
            held, batches = [], 0
    if held:
        yield held


def _batches(runs: Iterable[Records], size: int) -> Iterator[Records]:
    """Join runs that a file border cut short: batches are runs of the chunk, not of its files."""
    rest: list[Records] = []
    for records in runs:
        if not rest and len(records.ids) == size:
            yield records
            continue
        rest.append(records)
        while sum(len(part.ids) for part in rest) >= size:
            joined = _join(rest)
            yield _cut(joined, 0, size)
            rest = [_cut(joined, size, None)] if len(joined.ids) > size else []
    if rest:
        yield _join(rest)


def _join(parts: list[Records]) -> Records:
    names = parts[0].raw
    return Records(
        np.concatenate([part.ids for part in parts]),
        {name: np.concatenate([part.raw[name] for part in parts]) for name in names},
    )


def _cut(records: Records, start: int, stop: int | None) -> Records:
    return Records(records.ids[start:stop], {name: array[start:stop] for name, array in records.raw.items()})


def _pad_host(array: np.ndarray, size: int) -> np.ndarray:
    if len(array) == size:
        return array
    return np.concatenate([array, np.repeat(array[:1], size - len(array), axis=0)])
