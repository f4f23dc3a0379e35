"""The legs of the loop benchmark: the same examples, model, batch size and metrics through the harness and its peers.

Each leg is built in a process of its own, because threads and op determinism are global to TensorFlow. A leg is a
function that makes one pass over all examples and returns its results by metric (none for the bare loops).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cases import CLASSES, METRICS, Case, write_as
from benchmarks.one_rank import Pass, one_rank

__all__ = ["LEGS", "set_threads"]


def harness_leg(case: Case, folder: Path, threads: int, data: str) -> Pass:
    """One rank, through the harness's own parts; every pass starts a new pipeline."""
    saved, _, _ = case.files(folder)
    features = {"image": {"dtype": "float32", "shape": list(case.shape), "image": True}} if case.photos else {}
    path = write_as(case, folder, data)
    files = {
        "files": str(path / "*.npy" if path.is_dir() else path),
        "inputs": {"image": "image"},
        "label": "label",
        "features": features,
    }
    return one_rank({"model": str(saved), "data": files, "metrics": METRICS, "batch_size": case.batch_size}, threads)


def npy_leg(case: Case, folder: Path, threads: int, data: str) -> Pass:
    """The same from .npy files, where the others have the archive: one above 256 MiB is mapped as they are.

    Raises: ValueError: the data are not in memory.
    """
    if data != "memory":
        raise ValueError(f"harness-npy reads the arrays of the archive, not {data}")
    return harness_leg(case, folder, threads, "npy")


def bare_leg(case: Case, folder: Path, threads: int, data: str, *, xla: bool) -> Pass:
    """The limit: a forward pass over whole batches that were cut before, in one compiled loop; no metrics at all.

    What the harness reads of a file is read here too, labels among it. The outputs are consumed by a sum, so that nothing of
    the forward pass can be left out.
    """
    import tensorflow as tf

    set_threads(threads)
    model = _model(case, folder)
    batches = case.examples // case.batch_size
    labels = data != "memory"
    dataset = _batches(case, folder, threads, data, labels=labels)
    forward = tf.function(lambda batch: tf.reduce_sum(model(batch, training=False)), autograph=False, jit_compile=xla)

    @tf.function(autograph=False)
    def loop(iterator: Any) -> Any:
        def body(number: Any, total: Any) -> Any:
            batch = iterator.get_next()
            return number + 1, total + forward(batch[0] if labels else batch)

        return tf.while_loop(lambda number, _: number < batches, body, (0, 0.0))[1]

    def run() -> dict[str, float]:
        loop(iter(dataset)).numpy()
        return {}

    return run


def cut_leg(case: Case, folder: Path, threads: int, data: str) -> Pass:
    """The bare loop without a pipeline: batches are views of one tensor, which saves copying them.

    Raises: ValueError: the data are not in memory.
    """
    if data != "memory":
        raise ValueError(f"bare-cut cuts arrays in memory, not {data}")
    import tensorflow as tf

    set_threads(threads)
    model, (image, _) = _model(case, folder), _arrays(case, folder)
    whole = tf.constant(image)
    size, batches = case.batch_size, len(image) // case.batch_size

    @tf.function(autograph=False)
    def loop() -> Any:
        def body(number: Any, total: Any) -> Any:
            batch = tf.ensure_shape(whole[number * size : (number + 1) * size], [size, *case.shape])
            return number + 1, total + tf.reduce_sum(model(batch, training=False))

        return tf.while_loop(lambda number, _: number < batches, body, (0, 0.0))[1]

    def run() -> dict[str, float]:
        loop().numpy()
        return {}

    return run


def keras_leg(case: Case, folder: Path, threads: int, data: str, *, steps: int = 1, lean: bool = False) -> Pass:
    """`keras.Model.evaluate` with the same metrics, on batches that were cut before; Keras decides on XLA by itself.

    Keras counts in float32. The loss is the cross-entropy. Keras has no macro average of precision and recall, nor a
    confusion matrix: they are Keras metrics written for this; with `lean` the one matrix serves all three averages.
    """
    import keras

    from benchmarks import keras_metrics as own

    set_threads(threads)
    model, dataset = _model(case, folder), _batches(case, folder, threads, data, labels=True)
    matrix = own.ConfusionMatrix(CLASSES, name="confusion_matrix")
    metrics = [
        keras.metrics.SparseCategoricalAccuracy(name="accuracy"),
        keras.metrics.SparseTopKCategoricalAccuracy(3, name="top_k"),
        matrix,
    ]
    if not lean:
        metrics += [
            own.Precision(CLASSES, name="precision"),
            own.Recall(CLASSES, name="recall"),
            own.FScore(CLASSES, name="f_beta"),
        ]
    model.compile(loss="sparse_categorical_crossentropy", metrics=metrics, steps_per_execution=steps)

    def run() -> dict[str, float]:
        found = model.evaluate(dataset, verbose=0, return_dict=True)
        shares = own.shares(np.asarray(matrix.table)) if lean else {n: found[n] for n in ("precision", "recall", "f_beta")}
        return {
            "accuracy": float(found["accuracy"]),
            "top_k": float(found["top_k"]),
            "cross_entropy": float(found["loss"]),
            **{name: float(value) for name, value in shares.items()},
        }

    return run


def set_threads(threads: int) -> None:
    """Give TensorFlow as many threads as a rank of the harness has."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(max(2, threads))


def _model(case: Case, folder: Path) -> Any:
    import keras

    _, keras_file, _ = case.files(folder)
    return keras.saving.load_model(keras_file, compile=False)


def _arrays(case: Case, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    _, _, data = case.files(folder)
    with np.load(data) as archive:
        return archive["image"], archive["label"]


def _batches(case: Case, folder: Path, threads: int, data: str, *, labels: bool) -> Any:
    """Return what one writes who knows tf.data: whole batches of images, and labels where they are asked for."""
    import tensorflow as tf

    size = case.batch_size
    if data == "jpeg":
        return _decoded(case, write_as(case, folder, data), labels=labels)
    if data == "memory":
        image, label = _arrays(case, folder)
        images = image.reshape(-1, size, *case.shape)
        return tf.data.Dataset.from_tensor_slices((images, label.reshape(-1, size)) if labels else images).prefetch(4)
    path = write_as(case, folder, data)
    # Of a dataset whose length it does not know, Keras 3.15 counted one batch too many: its shares were 320/321 of the truth.
    length = tf.data.experimental.assert_cardinality(case.examples // size)
    kind = tf.float32 if case.vocabulary is None else tf.int32
    width = int(np.prod(case.shape))

    def shaped(image: Any, label: Any) -> Any:
        image = tf.cast(tf.reshape(image, [size, *case.shape]), kind)
        return (image, tf.cast(label, tf.int32)) if labels else image

    if data == "tfrecord":
        specs = {
            "image": tf.io.FixedLenFeature([width], tf.float32 if case.vocabulary is None else tf.int64),
            "label": tf.io.FixedLenFeature([], tf.int64),
        }
        records = tf.data.TFRecordDataset(str(path)).batch(size, drop_remainder=True)

        def parse(batch: Any) -> Any:
            found = tf.io.parse_example(batch, specs if labels else {"image": specs["image"]})
            return shaped(found["image"], found.get("label"))

        return records.map(parse, num_parallel_calls=threads).apply(length).prefetch(4)
    import pyarrow.parquet as pq

    def read() -> Any:
        names = ["image", "label"] if labels else ["image"]
        for batch in pq.ParquetFile(path).iter_batches(size, columns=names, use_threads=threads > 1):
            image = batch.column("image").flatten().to_numpy(zero_copy_only=False)
            yield image, batch.column("label").to_numpy() if labels else np.zeros(0, np.int32)

    signature = (tf.TensorSpec([None], kind), tf.TensorSpec([None], tf.int32))
    return tf.data.Dataset.from_generator(read, output_signature=signature).map(shaped).apply(length).prefetch(4)


def _decoded(case: Case, path: Path, *, labels: bool) -> Any:
    """Return the pipeline of Keras' guides for images: one by one, in as many threads as tf.data likes."""
    import tensorflow as tf

    specs = {"image": tf.io.FixedLenFeature([], tf.string), "label": tf.io.FixedLenFeature([], tf.int64)}

    def decode(record: Any) -> Any:
        found = tf.io.parse_single_example(record, specs)
        image = tf.ensure_shape(tf.io.decode_jpeg(found["image"], channels=case.shape[-1]), case.shape)
        image = tf.cast(image, tf.float32)
        return (image, tf.cast(found["label"], tf.int32)) if labels else image

    records = tf.data.TFRecordDataset(str(path)).map(decode, num_parallel_calls=tf.data.AUTOTUNE)
    length = tf.data.experimental.assert_cardinality(case.examples // case.batch_size)
    return records.batch(case.batch_size, drop_remainder=True).apply(length).prefetch(tf.data.AUTOTUNE)


LEGS: dict[str, Callable[[Case, Path, int, str], Pass]] = {
    "harness": harness_leg,
    "harness-npy": npy_leg,
    "bare": partial(bare_leg, xla=False),
    "bare-xla": partial(bare_leg, xla=True),
    "bare-cut": cut_leg,
    "keras": keras_leg,
    "keras-lean": partial(keras_leg, lean=True),
    "keras-steps32": partial(keras_leg, steps=32),
}
