"""Batches of chunks for the compiled step: through a pipeline, or cut from arrays that are in memory anyway.

A feed is built once per rank. Every batch has the same shape: a short one repeats its first example, so that padding is
always something the model can take, and `count` says how many are real.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from harness.data import BAD, ID, KEEP, Feature, Records, Source
from harness.data.block_size import BlockSize, size_of
from harness.data.columns import limit_threads
from harness.data.content import ContentHash, signed
from harness.exact.floating_point import with_subnormals
from harness.plan.plan import Chunk

__all__ = ["ArrayFeed", "Feed", "Handle", "PipelineFeed", "make_feed", "pad"]

BLOCK_BATCHES = 64  # batches read on the host at a time
BLOCK_EXAMPLES = 16384

# Takes a batch in the graph, its number in the group and the loop's arrays, and returns the arrays.
Handle = Callable[[Mapping[str, Any], Any, Sequence[Any]], Sequence[Any]]


def make_feed(
    source: Source,
    wanted: Mapping[str, Feature],
    batch_size: int,
    threads: int,
    *,
    skip: bool = False,
    hashed: Mapping[str, Feature] | None = None,
) -> Feed:
    """Return the feed that suits a source.

    Args:
      source: where the examples come from.
      wanted: features to parse.
      batch_size: examples a batch.
      threads: of the pipeline.
      skip: whether bad records are skipped; a batch says which under "bad".
      hashed: features whose contents are certified; None is all that are wanted.
    """
    content = ContentHash(source.reads(wanted if hashed is None else hashed))
    selected = source.select(wanted, skip=skip)
    if selected.arrays is not None:
        return ArrayFeed(selected, wanted, batch_size, content)
    limit_threads(threads)
    return PipelineFeed(selected, wanted, batch_size, threads, content)


class Feed(ABC):
    """Delivers the batches of some chunks, a few chunks a call of the compiled step.

    A batch is a dict of tensors: ids int64 [B], count, chunk, last (of its chunk), features {name: [B, ...]}; where the
    job skips or filters also bad, keep: bool [B].

    Attributes:
      source: where the examples come from.
      batch_size: examples a batch.
      error: what reading raised, before TensorFlow wrapped it.
      reading: the chunk that is read, or was when it raised; None where nothing is read.
      records_read: examples handed out so far.
      content: hashes what is read.
      together: whether `gather` returns ids and features of a group, so that nobody has to keep them.
      ahead: whether a thread of its own asks for chunks before they are drawn.
    """

    together: ClassVar[bool]
    ahead: ClassVar[bool]

    def __init__(
        self, source: Source, wanted: Mapping[str, Feature], batch_size: int, content: ContentHash | None = None
    ) -> None:
        self.source = source
        self.batch_size = batch_size
        self.content = content or ContentHash()
        self.error: BaseException | None = None
        self.reading: Chunk | None = None
        self.records_read = 0
        self._wanted = wanted
        self._contents: dict[int, int] = {}  # by chunk, of those that were read and not evaluated yet

    def sealed(self, seen: np.ndarray) -> np.ndarray:
        """Add the content hashes of the chunks that a call of the step has evaluated.

        Args:
          seen: lines of batches, int64 [n, 6], the chunk first.
        Returns: int64 [n, 7]: the content hash of a chunk stands in its first line, the others have 0.
        """
        contents = np.zeros([len(seen), 1], np.int64)
        chunks, first = np.unique(seen[:, 0], return_index=True)
        for chunk, line in zip(chunks.tolist(), first.tolist(), strict=True):
            contents[line] = self._contents.pop(chunk, 0)
        return np.concatenate([seen, contents], axis=1)

    def explain(self, start: int, stop: int) -> str | None:
        """Find the first of examples [start, stop) that does not parse; see `Source.explain`."""
        return self.source.explain(start, stop, self._wanted)

    @abstractmethod
    def start(self, chunks: Iterable[Chunk]) -> None:
        """Begin to deliver chunks, as they come."""

    @property
    @abstractmethod
    def spec(self) -> Sequence[Any]:
        """What the compiled step takes at each call."""

    @abstractmethod
    def draw(self, chunks: int) -> Sequence[Any]:
        """Return what the compiled step gets for the next chunks, so many at most."""

    def check(self) -> None:
        """See that what was drawn was in the data; see `Source.check`."""
        return None

    @abstractmethod
    def held_back(self, drawn: Sequence[Any]) -> Sequence[Any] | None:
        """Return what was drawn, None where nothing is left in it; for a step that cannot do with nothing."""

    @property
    @abstractmethod
    def element_spec(self) -> Any:
        """What `batch` takes, to trace one on its own."""

    @abstractmethod
    def batch(self, element: Any) -> Mapping[str, Any]:
        """Return the batch of an element."""

    @abstractmethod
    def cursor(self, drawn: Sequence[Any]) -> Any:
        """Return where in what was drawn the step begins, int32."""

    @abstractmethod
    def more(self, drawn: Sequence[Any], cursor: Any) -> Any:
        """Return whether there may be more."""

    @abstractmethod
    def gather(
        self, drawn: Sequence[Any], cursor: Any, group: int, names: Sequence[str], handle: Handle, arrays: Sequence[Any]
    ) -> tuple[Any, Any, Any, Mapping[str, Any], Sequence[Any]]:
        """Hand out batches up to a group, in the graph.

        Args:
          drawn: see `draw`. cursor: where to go on.
          group: batches at most.
          names: features that are wanted of all batches together, where that costs less.
          handle: called with each batch.
          arrays: passed through `handle`.
        Returns: cursor; how many batches; their chunk and count, int64 [group, 2]; ids and features of all of them by
          name, [group * B, ...], or none where `handle` has to keep them; the arrays.
        """


class ArrayFeed(Feed):
    """Cuts batches out of arrays; only where they lie goes through the call.

    Args:
      source: of examples in memory.
      wanted: features to cut.
      batch_size: examples a batch.
    """

    together = True
    ahead = False

    def __init__(
        self, source: Source, wanted: Mapping[str, Feature], batch_size: int, content: ContentHash | None = None
    ) -> None:
        super().__init__(source, wanted, batch_size, content)
        arrays = source.arrays
        if arrays is None:
            raise ValueError("expected a source in memory")
        with tf.device("/CPU:0"):  # where batches are cut: on an accelerator they would not fit, or be fetched back
            self._tensors = {name: _tensor(arrays[name], copy=not source.mapped or name == ID) for name in (*wanted, ID)}
        self._chunks: Iterator[Chunk] = iter(())
        self._drawn: list[Chunk] = []
        self._arrays = {name: arrays[name] for name in (*wanted, ID)}
        self._hasher = ThreadPoolExecutor(1)  # hashes while the compiled step evaluates the same chunks
        self._hashing: Future[dict[int, int]] | None = None

    def start(self, chunks: Iterable[Chunk]) -> None:
        """Begin to deliver chunks, as they come."""
        self._chunks = iter(chunks)
        self._hashing = None
        self._contents.clear()

    def sealed(self, seen: np.ndarray) -> np.ndarray:
        """Wait for the hashes of what was drawn last."""
        self._await_hashes()
        return super().sealed(seen)

    def _await_hashes(self) -> None:
        if self._hashing is not None:
            self._contents |= self._hashing.result()
            self._hashing = None

    def _hashed(self, chunks: Sequence[Chunk]) -> dict[int, int]:
        """Return the content hashes of some chunks."""
        contents = {}
        for chunk in chunks:
            raw = {name: array[chunk.start : chunk.stop] for name, array in self._arrays.items()}
            contents[chunk.index] = signed(self.content.of(Records(raw.pop(ID), raw)))
        return contents

    @property
    def spec(self) -> Sequence[Any]:
        """First example, count, chunk, last of its chunk: of each batch."""
        return (tf.TensorSpec([None, 4], tf.int64),)

    def draw(self, chunks: int) -> Sequence[Any]:
        """Return where the batches of the next chunks lie."""
        size = self.batch_size
        lines = []
        self._await_hashes()  # before the memory of what was hashed is given back
        done, self._drawn = self._drawn, list(islice(self._chunks, chunks))
        self.source.advise(done, self._drawn)
        if self._drawn:
            self._hashing = self._hasher.submit(self._hashed, tuple(self._drawn))
        for chunk in self._drawn:
            self.records_read += chunk.stop - chunk.start
            first = np.arange(chunk.start, chunk.stop, size)
            count = np.minimum(chunk.stop - first, size)
            lines.append(np.stack([first, count, np.full_like(first, chunk.index), first + size >= chunk.stop], axis=1))
        return (tf.constant(np.concatenate(lines) if lines else np.zeros([0, 4], np.int64)),)

    def check(self) -> None:
        """Ask the source."""
        self.source.check()

    def held_back(self, drawn: Sequence[Any]) -> Sequence[Any] | None:
        """Return the lines, if there are any."""
        return drawn if len(drawn[0]) else None

    @property
    def element_spec(self) -> Any:
        """One line."""
        return tf.TensorSpec([4], tf.int64)

    def batch(self, element: Any) -> Mapping[str, Any]:
        """Cut out the batch of a line."""
        size, tensors = self.batch_size, self._tensors
        first, rows, chunk, last = tf.unstack(element)
        count = tf.cast(rows, tf.int32)

        def whole() -> list[Any]:
            # A slice along the first dimension is a view, not a copy, where its start is aligned.
            return [tf.ensure_shape(t[first : first + size], [size, *t.shape[1:]]) for t in tensors.values()]

        def short() -> list[Any]:
            return [pad(t[first : first + rows], count, size) for t in tensors.values()]

        with tf.device("/CPU:0"):
            cut = dict(zip(tensors, tf.cond(count < size, short, whole), strict=True))
        ids = cut.pop(ID)
        return {"ids": ids, "count": count, "chunk": chunk, "last": last > 0, "features": cut}

    def cursor(self, drawn: Sequence[Any]) -> Any:
        """Begin at the first line."""
        return tf.constant(0)

    def more(self, drawn: Sequence[Any], cursor: Any) -> Any:
        """Return whether there are lines left."""
        return cursor < tf.shape(drawn[0])[0]

    def gather(
        self, drawn: Sequence[Any], cursor: Any, group: int, names: Sequence[str], handle: Handle, arrays: Sequence[Any]
    ) -> tuple[Any, Any, Any, Mapping[str, Any], Sequence[Any]]:
        """Hand out batches; what is wanted of all of them is cut once for the group."""
        size = self.batch_size
        with tf.device("/CPU:0"):
            lines = drawn[0][cursor : cursor + group]
            found = tf.shape(lines)[0]
            filled = tf.ensure_shape(tf.pad(lines, [[0, group - found], [0, 0]]), [group, 4])
            offset = tf.range(size, dtype=tf.int64)
            places = tf.where(offset < filled[:, 1:2], filled[:, :1] + offset, filled[:, :1])
            places = tf.reshape(places, [-1])
            together = {name: tf.gather(self._tensors[name], places) for name in (ID, *names)}

        def body(at: Any, *arrays: Any) -> tuple[Any, ...]:
            return at + 1, *handle(self.batch(lines[at]), at, arrays)

        _, *arrays = tf.while_loop(lambda at, *_: at < found, body, (tf.constant(0), *arrays))
        marks = tf.gather(filled, [2, 1], axis=1)
        return cursor + found, found, marks, {"ids": together.pop(ID), **{f"feature {n}": t for n, t in together.items()}}, arrays


class PipelineFeed(Feed):
    """Reads on the host and parses in the graph, as one long-lived tf.data dataset that prefetches across chunk borders.

    Args:
      source: where the examples come from.
      wanted: features to parse.
      batch_size: examples a batch.
      threads: of the pipeline.
    """

    together = False
    ahead = True

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
        self._iterator: Any = None
        self._built: tuple[Iterable[Chunk], Any] | None = None

    def start(self, chunks: Iterable[Chunk]) -> None:
        """Begin to deliver chunks, as they come; what was built for the same ones serves again."""
        self._contents.clear()
        if self._built is None or self._built[0] is not chunks:
            self._built = chunks, self.dataset(chunks)
        self._iterator = iter(self._built[1])

    @property
    def spec(self) -> Sequence[Any]:
        """The iterator, and how many chunks to take from it."""
        return self._iterator, tf.TensorSpec([], tf.int32)

    def draw(self, chunks: int) -> Sequence[Any]:
        """Return the iterator and the number."""
        return self._iterator, tf.constant(chunks)

    def held_back(self, drawn: Sequence[Any]) -> Sequence[Any] | None:
        """Look at the first element."""
        iterator, chunks = drawn
        first = iterator.get_next_as_optional()
        return (_Resumed(first, iterator), chunks) if first.has_value() else None

    @property
    def element_spec(self) -> Any:
        """A batch."""
        return self._iterator.element_spec

    def batch(self, element: Any) -> Mapping[str, Any]:
        """Return the element: it is a batch."""
        return dict(element)

    def cursor(self, drawn: Sequence[Any]) -> Any:
        """Return how many chunks are left to take."""
        return drawn[1]

    def more(self, drawn: Sequence[Any], cursor: Any) -> Any:
        """Return whether chunks are left to take."""
        return cursor > 0

    def gather(
        self, drawn: Sequence[Any], cursor: Any, group: int, names: Sequence[str], handle: Handle, arrays: Sequence[Any]
    ) -> tuple[Any, Any, Any, Mapping[str, Any], Sequence[Any]]:
        """Hand out batches up to the end of the chunks, or of the pipeline."""
        iterator = drawn[0]

        def body(left: Any, at: Any, marks: Any, *arrays: Any) -> tuple[Any, ...]:
            element = iterator.get_next_as_optional()

            def take() -> tuple[Any, ...]:
                batch = self.batch(element.get_value())
                mark = tf.stack([batch["chunk"], tf.cast(batch["count"], tf.int64)])
                return left - tf.cast(batch["last"], tf.int32), at + 1, marks.write(at, mark), *handle(batch, at, arrays)

            return tf.cond(element.has_value(), take, lambda: (tf.zeros_like(left), at, marks, *arrays))

        with tf.device("/CPU:0"):
            marks = tf.TensorArray(tf.int64, group, element_shape=[2])
        start = (cursor, tf.constant(0), marks, *arrays)
        left, at, marks, *arrays = tf.while_loop(lambda left, at, *_: (left > 0) & (at < group), body, start)
        return left, at, marks.stack(), {}, arrays

    def dataset(self, chunks: Iterable[Chunk]) -> Any:
        """Return the batches as a dataset."""
        built = self._read(chunks).prefetch(4)
        options = tf.data.Options()
        options.threading.private_threadpool_size = self._threads + 1  # one waits for chunks, or reads them
        options.autotune.enabled = False
        return built.with_options(options)

    def _read(self, chunks: Iterable[Chunk]) -> Any:
        """Read on the host, a block of batches at a time; parse in the graph, a batch at a time."""
        size = self.batch_size
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

        def blocks() -> Generator[dict[str, Any], None, None]:
            block_size = BlockSize(size, min(BLOCK_BATCHES, BLOCK_EXAMPLES // size))
            for chunk in chunks:
                self.reading = chunk
                held: Records | None = None
                known, total = self.source.known_content(chunk.index), 0
                for records in self._runs(chunk, block_size):
                    total += self.content.of(records) if known is None else 0
                    if held is not None:
                        yield self._block(held, chunk, final=False)
                    held = records
                self._contents[chunk.index] = signed(total) if known is None else known  # before its last batch is there
                if held is not None:
                    yield self._block(held, chunk, final=True)

        @tf.autograph.experimental.do_not_convert
        def parse(block: dict[str, Any]) -> dict[str, Any]:
            raw = dict(block.pop("raw"))
            marks = {"bad": raw.pop(BAD)} if BAD in raw else {}
            features = self.source.parse(raw, self._wanted)
            if KEEP in features:
                marks["keep"] = features.pop(KEEP)
            return {**block, **marks, "features": features}

        rows = tf.data.Dataset.from_generator(self._guarded(with_subnormals(blocks)), output_signature=signature)
        flat = rows.prefetch(1).flat_map(tf.data.Dataset.from_tensor_slices)
        return flat.map(parse, num_parallel_calls=self._threads, deterministic=True)

    def _runs(self, chunk: Chunk, block_size: BlockSize) -> Iterator[Records]:
        """Read a chunk, whole batches at a time; where they turn out to be large, fewer from there on."""
        at = chunk.start
        block_size.begin()
        while at < chunk.stop:
            most = block_size.examples
            for records in _batches(self.source.read(at, chunk.stop, most), most):
                yield records
                at += len(records.ids)
                block_size.learn(len(records.ids), size_of(records.raw.values()))
                if block_size.examples != most:
                    break
            else:
                return  # what is missing, the certificate sees

    def _block(self, records: Records, chunk: Chunk, *, final: bool) -> dict[str, Any]:
        """Cut records into batches, the last one padded: [batches, B, ...]."""
        size, found = self.batch_size, len(records.ids)
        self.records_read += found
        batches = -(-found // size)
        counts = np.full(batches, size, np.int32)
        counts[-1] = found - size * (batches - 1)
        return {
            "ids": _in_batches(records.ids, size),
            "count": counts,
            "chunk": np.full(batches, chunk.index, np.int64),
            "last": np.arange(batches) == (batches - 1 if final else -1),
            "raw": {name: _in_batches(array, size) for name, array in records.raw.items()},
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


class _Resumed:
    """An iterator whose first element has been taken already."""

    def __init__(self, first: Any, rest: Any) -> None:
        self._first = first
        self._rest = rest

    def get_next_as_optional(self) -> Any:
        """Return the first element, then the rest."""
        first, self._first = self._first, None
        return self._rest.get_next_as_optional() if first is None else first


def _tensor(array: np.ndarray, *, copy: bool) -> Any:
    """Make a tensor of an array; without a copy it is the memory in which the array lies, which has to be aligned."""
    return tf.constant(array) if copy else tf.experimental.dlpack.from_dlpack(array.__dlpack__())


def pad(tensor: Any, count: Any, size: int) -> Any:
    """Bring a batch of `count` examples to `size`, repeating its first; a full one is passed on as it is."""

    def padded() -> Any:
        return tf.gather(tensor, tf.where(tf.range(size) < count, tf.range(size), 0))

    full = tf.cond(count < size, padded, lambda: tensor)
    return tf.ensure_shape(full, [size, *tensor.shape[1:]])


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
            yield joined.cut(0, size)
            rest = [joined.cut(size, None)] if len(joined.ids) > size else []
    if rest:
        yield _join(rest)


def _join(parts: list[Records]) -> Records:
    names = parts[0].raw
    return Records(
        np.concatenate([part.ids for part in parts]),
        {name: np.concatenate([part.raw[name] for part in parts]) for name in names},
        None if parts[0].words is None else np.concatenate([part.words for part in parts if part.words is not None]),
    )


def _in_batches(array: np.ndarray, size: int) -> np.ndarray:
    """Cut an array, [n, ...], into batches [batches, B, ...]; a short one repeats its first example."""
    found = len(array)
    if missing := -found % size:
        first = found - found % size
        array = np.concatenate([array, np.repeat(array[first : first + 1], missing, axis=0)])
    return array.reshape(-1, size, *array.shape[1:])
