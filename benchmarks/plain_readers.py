"""The plain loop of the field over a file of each format.

The plain loop is what one writes who knows the library, with as many threads, and it ends where ours does: each batch, x
float32 [B, 64] and label, in a compiled function. For TFRecord and arrays that is tf.data, with a parallel `parse_example` of
whole batches; else Arrow's readers, the types given, streaming where they can, whose blocks are cut into batches and handed to
the function. It checks and promises less: no ids, no CRCs checked apart from TFRecord's, no equal shapes, no place in the
file to name; and a file of JSON lines is in memory as a whole.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["PLAIN", "WIDTH", "compiled"]

WIDTH = 64  # float32 values of an example


def compiled(dataset: Any, label: Callable[[Any], Any], count: Callable[[Any], Any] | None = None) -> Callable[[], int]:
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
    return compiled(dataset.with_options(options), lambda batch: batch["label"])


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
    return compiled(tf.data.Dataset.from_tensor_slices(arrays).batch(batch_size).prefetch(4), lambda batch: batch["label"])


PLAIN = {
    "tfrecord": _plain_tfrecord, "parquet": _plain_parquet, "csv": _plain_csv, "jsonl": _plain_jsonl, "npy": _plain_npy,
}  # fmt: skip
