"""Whether decoding grows with a rank's threads: images of one fixed cost are read, decoded and handed out, and nothing is predicted.

    python -m benchmarks.decoding FOLDER IMAGES THREADS

Every image is the same JPEG of 512x512, so that each costs as much. Each number of threads has a process of its own, on as
many cores: on one core a thread that waits costs nothing, on two it would work.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.environment import CORES
from benchmarks.turns import forth_and_back, median_ratio
from benchmarks.worker import Worker, serve

__all__ = ["Measured", "add_arguments", "answer", "measure", "table"]

SHAPE = (512, 512, 3)
DECODED = (64, 64, 3)  # so that it is the processor that limits, not memory
BATCH = 16


@dataclass(frozen=True)
class Measured:
    """Seconds and processor seconds of each round, by threads."""

    images: int
    seconds: Mapping[int, Sequence[float]]
    cpu_seconds: Mapping[int, Sequence[float]]

    def ratio(self, threads: int) -> float:
        """Return the median, over rounds, of how many times as fast so many threads are as the fewest."""
        return median_ratio(self.seconds[min(self.seconds)], self.seconds[threads])

    def document(self) -> dict[str, Any]:
        """Return everything as JSON can hold it."""
        return {**asdict(self), "ratio": {threads: self.ratio(threads) for threads in self.seconds}}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what can be asked."""
    powers = [1 << number for number in range(CORES.bit_length())]
    parser.add_argument("--threads", type=int, nargs="+", default=powers, help="powers of two up to the cores")
    parser.add_argument("--images", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=3)


def answer(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """Measure.

    Returns: raw values and a table.
    """
    found = measure(options.folder, threads=options.threads, images=options.images, rounds=options.rounds)
    return found.document(), table(found)


def measure(folder: Path, *, threads: Sequence[int], images: int, rounds: int) -> Measured:
    """Measure; a first round warms up.

    Raises: RuntimeError: a process failed, or not every image was seen.
    """
    _write(folder, images)
    words = ["benchmarks.decoding", str(folder), str(images)]
    workers = {number: Worker(f"{number} threads", [*words, str(number)], f"0-{number - 1}") for number in threads}
    found = Measured(images, {number: [] for number in threads}, {number: [] for number in threads})
    try:
        for turn, number in forth_and_back(list(threads), rounds + 1):
            elapsed_s, cpu_s, seen = workers[number].measure()
            if seen["images"] != images:
                raise RuntimeError(f"{number} threads saw {seen['images']:g} of {images} images")
            if turn:
                found.seconds[number].append(elapsed_s)
                found.cpu_seconds[number].append(cpu_s)
    finally:
        for worker in workers.values():
            worker.close()
    return found


def table(found: Measured) -> str:
    """Write rates and ratios as lines of a Markdown table."""
    lines = [
        f"| threads | images/s | over {min(found.seconds)} | ms of a processor an image |",
        "| ---: | ---: | ---: | ---: |",
    ]
    for threads, seconds in found.seconds.items():
        cost_ms = 1000 * statistics.median(found.cpu_seconds[threads]) / found.images
        rate = found.images / statistics.median(seconds)
        lines.append(f"| {threads} | {rate:,.0f} | {found.ratio(threads):.2f} | {cost_ms:.2f} |")
    return "\n".join(lines)


def _write(folder: Path, images: int) -> Path:
    path = folder / "decoding" / f"{images}.tfrecord"
    if not path.exists():
        import tensorflow as tf

        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(3).normal(scale=12, size=SHAPE)
        ramp = np.linspace(0, 255, SHAPE[0])[:, None, None]
        jpeg = tf.io.encode_jpeg(np.clip(ramp + noise, 0, 255).astype(np.uint8)).numpy()
        feature = {"image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[jpeg]))}
        record = tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()
        part = path.with_suffix(".part")
        with tf.io.TFRecordWriter(str(part)) as writer:
            for _ in range(images):
                writer.write(record)
        part.rename(path)
    return path


def main(folder: str, images: str, threads: str) -> None:
    """Build the feed of a rank with so many threads, and serve."""
    from benchmarks.plain_readers import compiled
    from harness.data import Feature, open_source
    from harness.data.source import Kind
    from harness.plan.plan import Plan
    from harness.ranks.share import FixedShare
    from harness.step import tensorflow as tf_setup

    tf_setup.import_tensorflow()
    tf_setup.set_up(0, int(threads), 0)
    from harness.step.pipeline_feed import PipelineFeed

    source = open_source("tfrecord", [str(_write(Path(folder), int(images)))])
    wanted = {"image": Feature("float32", DECODED, Kind.IMAGE)}
    feed = PipelineFeed(source.select(wanted), wanted, BATCH, int(threads))
    plan = Plan(source.files, BATCH, 4 * BATCH)
    share = FixedShare([plan[index] for index in range(len(plan))])
    feed.open(share)
    import tensorflow as tf

    # Of each image a single number: the sum goes over one for an image.
    loop = compiled(
        feed.dataset,
        lambda batch: tf.cast(batch["features"]["image"][:, 0, 0, 0] > -1, tf.int64),
        lambda batch: batch["count"],
    )

    def run() -> dict[str, float]:
        feed.open(share)
        return {"images": float(loop())}

    serve(run)


if __name__ == "__main__":
    main(*sys.argv[1:])
