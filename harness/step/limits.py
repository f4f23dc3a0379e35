"""What a rank can do at most: the model alone on a batch that is in memory, and reading alone without a prediction.

Both run in the graph, as the compiled loop does. Knows nothing of other ranks, and writes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from harness.plan.plan import Chunk
from harness.ranks.share import FixedShare
from harness.step.batch import pad

if TYPE_CHECKING:
    from harness.step.build import Built
    from harness.step.feed import Feed

__all__ = ["Rate", "bare_forward", "read_alone"]

MEASURE_S = 0.5  # that one sample takes, about
SAMPLES = 3
MOST_OPENINGS = 64  # of a share that is read in no time
GROUP = 8  # batches that the stream hands out at a time


@dataclass(frozen=True)
class Rate:
    """So many examples in so many seconds: one sample.

    Attributes:
      examples: that went through.
      seconds: that it took.
    """

    examples: int
    seconds: float


def bare_forward(built: Built, batch_size: int, moved: Callable[[], None] = lambda: None) -> list[Rate]:
    """Predict the first batch of the job again and again: no reading, no metrics.

    Batches of the loop do not wait for each other, as in the compiled step.

    Args:
      built: the step of the rank.
      batch_size: examples a batch.
      moved: called at each sign of progress.
    """
    canary, rows = built.predict_canary, max(batch_size, 2)
    features = {
        name: pad(tensor, tf.shape(tensor)[0], rows) if tensor.shape[0] != rows else tensor
        for name, tensor in canary.features.items()
    }

    def body(at: Any, seen: Any) -> tuple[Any, Any]:
        return at + 1, seen + tf.add_n([_touched(tensor) for tensor in canary.predict(features).values()])

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([], tf.int32)])
    def loop(batches: Any) -> Any:
        return tf.while_loop(lambda at, _: at < batches, body, (tf.constant(0), tf.constant(0.0, tf.float64)))[1]

    def timed(batches: int) -> float:
        start = time.monotonic()
        loop(tf.constant(batches)).numpy()
        moved()
        return time.monotonic() - start

    timed(1)  # compiles
    batches, elapsed_s = 1, timed(1)
    while elapsed_s < MEASURE_S / 4:
        batches *= 2
        elapsed_s = timed(batches)
    batches = max(1, round(batches * MEASURE_S / elapsed_s))
    return [Rate(batches * batch_size, timed(batches)) for _ in range(SAMPLES)]


def read_alone(feed: Feed, chunks: Sequence[Chunk], moved: Callable[[], None] = lambda: None) -> list[Rate]:
    """Read and parse chunks again, as the loop has them, and predict nothing.

    A sample is one opening of the feed, up to some time. Its first call starts the pipeline, and is not counted where
    others come after it.

    Args:
      feed: of the rank; whatever it was open for is over.
      chunks: of the rank.
      moved: called at each sign of progress.
    Returns: nothing where the rank has no chunks.
    """
    samples: list[Rate] = []
    if not chunks:
        return samples
    feed.open(FixedShare(chunks))
    drain = _drain(feed)
    spent_s = 0.0
    while len(samples) < MOST_OPENINGS and (spent_s < SAMPLES * MEASURE_S or not samples):
        if samples:
            feed.open(FixedShare(chunks))
        rate = _read_once(feed, drain, moved)
        samples.append(rate)
        spent_s += max(rate.seconds, 1e-9)
    return samples


def _read_once(feed: Feed, drain: Callable[..., Any], moved: Callable[[], None]) -> Rate:
    start = begun = time.monotonic()
    first = int(drain(*feed.draw(1)))
    examples, chunks = 0, 1
    begun = time.monotonic()
    while time.monotonic() - begun < MEASURE_S:
        called = time.monotonic()
        count = int(drain(*feed.draw(chunks)))
        moved()
        if not count:
            break
        examples += count
        if time.monotonic() - called < MEASURE_S / 8:
            chunks *= 2
    ended = time.monotonic()
    return Rate(examples, ended - begun) if examples else Rate(first, ended - start)


def _drain(feed: Feed) -> Callable[..., Any]:
    """Return a compiled function that takes what `Feed.draw` returns, and counts the examples in it."""
    stream = feed.stream

    def handle(batch: Any, _at: Any, arrays: Sequence[Any]) -> Sequence[Any]:
        examples, seen = arrays
        touched = [_touched(tensor) for tensor in batch.features.values()]
        return [examples + tf.cast(batch.count, tf.int64), seen + tf.add_n(touched) if touched else seen]

    def body(origin: Any, left: Any, examples: Any, seen: Any) -> tuple[Any, Any, Any]:
        left, _, arrays = stream.gather(origin, left, GROUP, (), handle, [examples, seen])
        return left, *arrays

    def loop(origin: Any, left: Any) -> Any:
        start = (left, tf.constant(0, tf.int64), tf.constant(0.0, tf.float64))
        _, examples, seen = tf.while_loop(lambda left, *_: left > 0, lambda *state: body(origin, *state), start)
        # Never true; so that the graph cannot leave out what is looked at.
        return tf.where(tf.equal(seen, tf.constant(-0.123456789, tf.float64)), examples - 1, examples)

    compiled = tf.function(loop, autograph=False).get_concrete_function(*stream.spec)

    def drain(origin: Any, left: Any) -> Any:
        return compiled(origin, left).numpy()

    return drain


def _touched(tensor: Any) -> Any:
    """Return a number, float64 [], that needs the tensor to be there."""
    first = tf.reshape(tensor, [-1])[:1]
    number = tf.strings.length(first) if first.dtype == tf.string else first
    return tf.reduce_sum(tf.cast(number, tf.float64))
