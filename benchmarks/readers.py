"""How fast each reader feeds one rank, against the plain loop of the field over the same files; and whether memory is flat.

Both read everything and parse it into batches of the same features; no model is involved. Legs take turns. `plain_readers` says
what the plain loop is.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.environment import CORES
from benchmarks.launched import launch
from benchmarks.plain_readers import PLAIN, WIDTH, compiled
from benchmarks.turns import forth_and_back, median_ratio, timed

__all__ = ["Compared", "add_arguments", "answer", "flat_memory", "measure", "table"]

LARGE = 4096  # float32 values of an example of the large file: 16 KiB
FORMATS = ("tfrecord", "parquet", "csv", "jsonl", "npy")


@dataclass(frozen=True)
class Compared:
    """Raw seconds of each round, of the harness and of the plain loop; and in processor seconds."""

    name: str
    examples: int
    ours: list[float]
    plain: list[float]
    ours_cpu: list[float]
    plain_cpu: list[float]

    @property
    def ratio(self) -> float:
        """Return the median, over rounds, of how many times as fast the harness is."""
        return median_ratio(self.plain, self.ours)

    @property
    def cpu_ratio(self) -> float:
        """Return the same in processor time: what to look at where the machine is not idle."""
        return median_ratio(self.plain_cpu, self.ours_cpu)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what can be asked."""
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS))
    parser.add_argument("--examples", type=int, default=200_000)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=CORES)
    parser.add_argument("--memory-gib", type=float, default=0.0, help="also read a TFRecord file of so many GiB; is memory flat?")


def answer(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """Measure the formats; whether memory is flat where that is options.

    Returns: raw values and a table.
    """
    sizes = {"examples": options.examples, "batch_size": options.batch_size, "rounds": options.rounds, "threads": options.threads}
    found = [measure(name, options.folder, **sizes) for name in options.formats]
    document: dict[str, Any] = {"formats": [asdict(one) for one in found]}
    lines = table(found)
    if options.memory_gib:
        document["memory"] = flat_memory(options.folder, size_bytes=int(options.memory_gib * 2**30))
        lines += f"\n\nmemory: {document['memory']}"
    return document, lines


def measure(name: str, folder: Path, *, examples: int, batch_size: int, rounds: int, threads: int) -> Compared:
    """Measure one format.

    Raises: RuntimeError: the two loops do not see the same numbers.
    """
    path = _write(name, folder, examples)
    ours, plain = _ours(name, path, batch_size, threads), PLAIN[name](path, batch_size, threads)
    seconds: dict[str, list[float]] = {"ours": [], "plain": []}
    cpu: dict[str, list[float]] = {"ours": [], "plain": []}
    legs = [("ours", ours), ("plain", plain)]
    sums: dict[str, set[int]] = {leg: set() for leg, _ in legs}
    for number, (leg, loop) in forth_and_back(legs, rounds + 1):
        elapsed_s, cpu_s, label_sum = timed(loop)
        sums[leg].add(label_sum)
        if number:  # the first round warms up
            seconds[leg].append(elapsed_s)
            cpu[leg].append(cpu_s)
    if sums["ours"] != sums["plain"] or len(sums["ours"]) > 1:
        raise RuntimeError(f"{name}: the harness read labels that sum to {sums['ours']}, the plain loop {sums['plain']}")
    return Compared(name, examples, seconds["ours"], seconds["plain"], cpu["ours"], cpu["plain"])


def table(found: list[Compared]) -> str:
    """Write rates and ratios as lines of a Markdown table."""
    lines = [
        "| format | harness, examples/s | plain loop | harness / plain | in processor time |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for one in found:
        rates = [one.examples / statistics.median(seconds) for seconds in (one.ours, one.plain)]
        lines.append(f"| {one.name} | {rates[0]:,.0f} | {rates[1]:,.0f} | {one.ratio:.2f} | {one.cpu_ratio:.2f} |")
    return "\n".join(lines)


def flat_memory(folder: Path, *, size_bytes: int, ranks: int = 2) -> dict[str, Any]:
    """Evaluate a large TFRecord file on some ranks, and one of a tenth of its size; return the peak of each rank, in bytes."""
    found: dict[str, Any] = {"ranks": ranks}
    model = folder / "flat-memory-model"
    if not model.exists():
        _write_mean(model)
    for name, size in (("tenth", size_bytes // 10), ("whole", size_bytes)):
        path = folder / f"{name}-{size_bytes}.tfrecord"
        if not path.exists():
            _write_tfrecord(path, size // (4 * LARGE), LARGE)
        data = {"files": str(path), "inputs": {"x": "x"}, "label": "label"}
        job = {"model": str(model), "data": data, "metrics": [{"mean_absolute_error": {"label": "label"}}], "batch_size": 256}
        run = launch(job, folder / f"flat-memory-{name}", ranks)
        found[name] = {"bytes": path.stat().st_size, "peak_bytes": list(run.peak_bytes), "loop_s": run.loop_s}
    found["ratio"] = max(found["whole"]["peak_bytes"]) / max(found["tenth"]["peak_bytes"])
    return found


def _write_mean(model: Path) -> None:
    import tensorflow as tf

    def mean(x: Any) -> Any:
        return {"mean": tf.reduce_mean(x, axis=1)}

    signature = tf.function(mean, [tf.TensorSpec([None, LARGE], tf.float32, name="x")])
    tf.saved_model.save(tf.Module(), str(model), {"serving_default": signature})


def _columns(examples: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(7)
    return {"x": rng.normal(size=(examples, WIDTH)).astype(np.float32), "label": rng.integers(0, 10, examples)}


def _write(name: str, folder: Path, examples: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"readers-{examples}.{name}"
    if path.exists():
        return path
    columns = _columns(examples)
    if name == "tfrecord":
        _write_tfrecord(path, examples, WIDTH)
    elif name == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        x = pa.FixedSizeListArray.from_arrays(columns["x"].ravel(), WIDTH)
        pq.write_table(pa.table({"x": x, "label": columns["label"]}), path, row_group_size=1 << 14)
    elif name == "csv":
        import pandas as pd

        frame = pd.DataFrame(columns["x"], columns=[f"x{i}" for i in range(WIDTH)])
        frame.assign(label=columns["label"]).to_csv(path, index=False)
    elif name == "jsonl":
        import json

        with open(path, "w") as stream:
            for x, label in zip(columns["x"].tolist(), columns["label"].tolist(), strict=True):
                stream.write(json.dumps({"x": x, "label": label}) + "\n")
    else:
        path.mkdir()
        for key, array in columns.items():
            np.save(path / f"{key}.npy", array)
    return path


def _write_tfrecord(path: Path, examples: int, width: int) -> None:
    import tensorflow as tf

    rng = np.random.default_rng(7)
    x = rng.normal(size=(examples, width)).astype(np.float32) if width == WIDTH else None
    label = rng.integers(0, 10, examples)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for i in range(examples):
            row = x[i] if x is not None else rng.random(width, np.float32)
            feature = {
                "x": tf.train.Feature(float_list=tf.train.FloatList(value=row)),
                "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label[i]])),
            }
            writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())


def _ours(name: str, path: Path, batch_size: int, threads: int) -> Callable[[], int]:
    from harness.data import Feature, open_source
    from harness.data.columns import limit_threads
    from harness.data.derive import DerivedSource
    from harness.plan.plan import Plan
    from harness.ranks.share import FixedShare
    from harness.step.pipeline_feed import PipelineFeed

    paths = sorted(str(p) for p in path.iterdir()) if path.is_dir() else [str(path)]
    source: Any = open_source(name, paths)
    plan = Plan(source.files, batch_size, 64 * batch_size)
    wanted: Mapping[str, Any] = {"x": Feature("float32", (WIDTH,)), "label": Feature("int64", ())}
    if name == "csv":  # as a job says it: features: {x: {columns: [x0, x1, ...]}}, each of float32
        source = DerivedSource(
            source, declared={f"x{i}": Feature("float32", ()) for i in range(WIDTH)}, columns={"x": [f"x{i}" for i in range(WIDTH)]},
            transform=None, filter=None, asked={}, folder=path.parent,
        )  # fmt: skip
    limit_threads(threads)
    feed = PipelineFeed(source.select(wanted), wanted, batch_size, threads)

    def labels(batch: Any) -> Any:
        return batch["features"]["label"]

    def count(batch: Any) -> Any:
        return batch["count"]

    share = FixedShare([plan[i] for i in range(len(plan))])
    feed.open(share)
    loop = compiled(feed.dataset, labels, count)

    def run() -> int:
        feed.open(share)
        return loop()

    return run
