"""How fast each reader feeds one rank, against the plain loop of the field over the same files; and whether memory is flat.

Both read everything and parse it into batches of the same features; no model is involved. Legs take turns.

The plain loop is what one writes who knows the library, with as many threads, and it ends where ours does: each batch, x
float32 [B, 64] and label, in a compiled function. For TFRecord and arrays that is tf.data, with a parallel `parse_example` of
whole batches; else Arrow's readers, the types given, streaming where they can, whose blocks are cut into batches and handed to
the function. It checks and promises less: no ids, no CRCs checked apart from TFRecord's, no equal shapes, no place in the
file to name; and a file of JSON lines is in memory as a whole.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.launched import launch

__all__ = ["Compared", "flat_memory", "measure", "table"]

WIDTH = 64
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
        return statistics.median(b / a for a, b in zip(self.ours, self.plain, strict=True))

    @property
    def cpu_ratio(self) -> float:
        """Return the same in processor time: what to look at where the machine is not idle."""
        return statistics.median(b / a for a, b in zip(self.ours_cpu, self.plain_cpu, strict=True))


def measure(name: str, folder: Path, *, examples: int, batch_size: int, rounds: int, threads: int) -> Compared:
    """Measure one format.

    Raises: RuntimeError: the two loops do not see the same numbers.
    """
    path = _write(name, folder, examples)
    ours, plain = _ours(name, path, batch_size, threads), _PLAIN[name](path, batch_size, threads)
    seconds: dict[str, list[float]] = {"ours": [], "plain": []}
    cpu: dict[str, list[float]] = {"ours": [], "plain": []}
    legs = [("ours", ours), ("plain", plain)]
    for number in range(rounds + 1):
        sums = {}
        for leg, loop in legs if number % 2 else legs[::-1]:
            begun, cpu_begun = time.perf_counter(), time.process_time()
            sums[leg] = loop()
            if number:  # the first round warms up
                seconds[leg].append(time.perf_counter() - begun)
                cpu[leg].append(time.process_time() - cpu_begun)
        if sums["ours"] != sums["plain"]:
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
            transform=None, filter=None, asked=[], folder=path.parent,
        )  # fmt: skip
    limit_threads(threads)
    feed = PipelineFeed(source.select(wanted), wanted, batch_size, threads)

    def labels(batch: Any) -> Any:
        return batch["features"]["label"]

    def count(batch: Any) -> Any:
        return batch["count"]

    share = FixedShare([plan[i] for i in range(len(plan))])
    feed.open(share)
    loop = _compiled(feed.dataset, labels, count)

    def run() -> int:
        feed.open(share)
        return loop()

    return run


def _compiled(dataset: Any, label: Callable[[Any], Any], count: Callable[[Any], Any] | None = None) -> Callable[[], int]:
    """Loop over a dataset inside one compiled function, as the step does."""
    import tensorflow as tf

    @tf.function
    def loop(found: Any) -> Any:
        total = tf.constant(0, tf.int64)
        for batch in found:
            values = label(batch)
            if count is not None:
                values = tf.where(tf.range(tf.shape(values)[0]) < count(batch), values, 0)
            total += tf.reduce_sum(values)
        return total

    return lambda: int(loop(dataset))


def _plain_tfrecord(path: Path, batch_size: int, threads: int) -> Callable[[], int]:
    import tensorflow as tf

    specs = {"x": tf.io.FixedLenFeature([WIDTH], tf.float32), "label": tf.io.FixedLenFeature([], tf.int64)}
    dataset = tf.data.TFRecordDataset(str(path)).batch(batch_size)
    dataset = dataset.map(lambda batch: tf.io.parse_example(batch, specs), num_parallel_calls=threads).prefetch(4)
    options = tf.data.Options()
    options.threading.private_threadpool_size = threads
    return _compiled(dataset.with_options(options), lambda batch: batch["label"])


def _plain_arrow(blocks: Callable[[], Any], batch_size: int) -> Callable[[], int]:
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec([None, WIDTH], tf.float32), tf.TensorSpec([None], tf.int64)])
    def step(x: Any, label: Any) -> Any:
        del x
        return tf.reduce_sum(label)

    def loop() -> int:
        total = 0
        for block in blocks():
            *columns, label = (column.to_numpy(zero_copy_only=False) for column in _leaves(block))
            x = columns[0].reshape(-1, WIDTH) if len(columns) == 1 else np.stack(columns, axis=1)
            x = x.astype(np.float32, copy=False)
            for at in range(0, len(x), batch_size):
                total += int(step(x[at : at + batch_size], label[at : at + batch_size]))
        return total

    return loop


def _leaves(block: Any) -> Any:
    for column in block.columns:
        yield column.flatten() if "list" in str(column.type) else column


def _plain_parquet(path: Path, batch_size: int, threads: int) -> Callable[[], int]:
    import pyarrow.parquet as pq

    return _plain_arrow(lambda: pq.ParquetFile(path).iter_batches(64 * batch_size), batch_size)


def _plain_csv(path: Path, batch_size: int, threads: int) -> Callable[[], int]:
    import pyarrow as pa
    import pyarrow.csv as pc

    types = {**{f"x{i}": pa.float32() for i in range(WIDTH)}, "label": pa.int64()}
    return _plain_arrow(
        lambda: pc.open_csv(path, pc.ReadOptions(use_threads=threads > 1), None, pc.ConvertOptions(column_types=types)),
        batch_size,
    )


def _plain_jsonl(path: Path, batch_size: int, threads: int) -> Callable[[], int]:
    import pyarrow.json as pj

    return _plain_arrow(lambda: pj.read_json(path, pj.ReadOptions(use_threads=threads > 1)).to_batches(), batch_size)


def _plain_npy(path: Path, batch_size: int, threads: int) -> Callable[[], int]:
    import tensorflow as tf

    arrays = {key: np.load(path / f"{key}.npy") for key in ("x", "label")}
    return _compiled(tf.data.Dataset.from_tensor_slices(arrays).batch(batch_size).prefetch(4), lambda batch: batch["label"])


_PLAIN = {
    "tfrecord": _plain_tfrecord, "parquet": _plain_parquet, "csv": _plain_csv, "jsonl": _plain_jsonl, "npy": _plain_npy,
}  # fmt: skip
