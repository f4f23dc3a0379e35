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

__all__ = ["LEGS"]

Pass = Callable[[], dict[str, float]]


def harness_leg(case: Case, folder: Path, threads: int, data: str) -> Pass:
    """One rank, through the harness's own parts; every pass starts a new pipeline."""
    from harness.job.job import Job
    from harness.metrics import make
    from harness.plan.certificate import Certificate
    from harness.prepare.opened import open_data
    from harness.prepare.prepare import predictor, prepare_model
    from harness.ranks.comm import SingleComm
    from harness.results.outcome import outcome
    from harness.run.loop import evaluate
    from harness.step import tensorflow as tf_setup
    from harness.sums.accumulator import Accumulator
    from harness.sums.reduction import reduce

    saved, _, _ = case.files(folder)
    features = {"image": {"dtype": "float32", "shape": list(case.shape), "image": True}} if case.photos else {}
    files = {"files": str(write_as(case, folder, data)), "inputs": {"image": "image"}, "label": "label", "features": features}
    job = Job.from_dict(
        {
            "model": str(saved),
            "data": files,
            "metrics": METRICS,
            "batch_size": case.batch_size,
        }
    )
    tf_setup.import_tensorflow()
    tf_setup.set_up(0, threads, job.seed)
    from harness.ranks.share import FixedShare
    from harness.step.build import make_feed
    from harness.step.step import Step

    metrics = make(job.metrics)
    opened = open_data(job)
    prepared = prepare_model(job, metrics, opened)
    feed = make_feed(opened.source, prepared.matched.wanted, job.batch_size, threads)
    share = FixedShare([opened.plan[index] for index in range(len(opened.plan))])
    feed.open(share)
    step = Step(predictor(prepared.model, prepared.matched), prepared.question, feed)

    def run() -> dict[str, float]:
        feed.open(share)
        accumulator, certificate = Accumulator(step.layouts), Certificate(opened.plan)
        evaluate(share, step, accumulator, lambda chunk: None)
        certificate.expect(share.chunks)
        total = accumulator.total()
        certificate.add(total.lines)
        reduced = reduce(SingleComm(), total, step.layouts, prepared.question, certificate, 0)
        if problems := reduced.certificate.problems():
            raise RuntimeError("\n".join(problems))
        values = outcome(reduced, step.layouts, prepared.question).results
        return {key: found.value for key, found in values.items() if isinstance(found.value, float)}

    return run


def bare_leg(case: Case, folder: Path, threads: int, data: str, *, xla: bool) -> Pass:
    """The limit: a forward pass over whole batches that were cut before, in one compiled loop; no metrics at all.

    The outputs are consumed by a sum, so that nothing of the forward pass can be left out.
    """
    import tensorflow as tf

    _threads(threads)
    model = _model(case, folder)
    batches = case.examples // case.batch_size
    dataset = _batches(case, folder, threads, data, labels=False)
    forward = tf.function(lambda batch: tf.reduce_sum(model(batch, training=False)), autograph=False, jit_compile=xla)

    @tf.function(autograph=False)
    def loop(iterator: Any) -> Any:
        def body(number: Any, total: Any) -> Any:
            return number + 1, total + forward(iterator.get_next())

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

    _threads(threads)
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

    _threads(threads)
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


def _threads(threads: int) -> None:
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
    "bare": partial(bare_leg, xla=False),
    "bare-xla": partial(bare_leg, xla=True),
    "bare-cut": cut_leg,
    "keras": keras_leg,
    "keras-lean": partial(keras_leg, lean=True),
    "keras-steps32": partial(keras_leg, steps=32),
}
