"""What a user would write without the harness for each of the five most common jobs. A pass reads the data anew, as ours does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cases import CASES
from benchmarks.job_cases import CLASSES, COLUMNS, NEAREST, TOKENS, JobCase
from benchmarks.legs import LEGS, set_threads
from benchmarks.one_rank import Pass

__all__ = ["PEERS"]


def _images(job: JobCase, folder: Path, threads: int) -> Pass:
    """`keras.Model.evaluate` over tf.data with AUTOTUNE, as the loop has it."""
    return LEGS["keras"](CASES["photos"], folder, threads, "jpeg")


def _table(job: JobCase, folder: Path, threads: int) -> Pass:
    """pandas, `keras.Model.predict`, scikit-learn."""
    import pandas as pd
    from sklearn import metrics

    model = _model(folder, threads)
    names = [f"c{number}" for number in range(COLUMNS)]

    def run() -> dict[str, float]:
        frame = pd.read_parquet(folder / job.data)
        x, label = frame[names].to_numpy(np.float32), frame["label"].to_numpy()
        scores = model.predict(x, batch_size=job.batch_size, verbose=0)[:, 0]
        return {
            "binary_accuracy": float(metrics.accuracy_score(label, scores > 0.5)),
            "roc_auc": float(metrics.roc_auc_score(label, scores)),
            "cross_entropy": float(metrics.log_loss(label, scores.astype(np.float64))),
        }

    return run


def _text(job: JobCase, folder: Path, threads: int) -> Pass:
    """`keras.Model.evaluate` over tf.data, records parsed a batch at a time."""
    import keras
    import tensorflow as tf

    from benchmarks import keras_metrics

    model = _model(folder, threads)
    specs = {"tokens": tf.io.FixedLenFeature([TOKENS], tf.int64), "label": tf.io.FixedLenFeature([], tf.int64)}

    def parse(records: Any) -> Any:
        features = tf.io.parse_example(records, specs)
        return tf.cast(features["tokens"], tf.int32), features["label"]

    records = tf.data.TFRecordDataset(str(folder / job.data)).batch(job.batch_size)
    length = tf.data.experimental.assert_cardinality(
        -(-_examples(folder) // job.batch_size)
    )  # else Keras counts a batch too many
    dataset = records.map(parse, num_parallel_calls=tf.data.AUTOTUNE).apply(length).prefetch(tf.data.AUTOTUNE)
    topics = model.output_shape[-1]
    metrics = [
        keras.metrics.SparseCategoricalAccuracy(name="accuracy"),
        keras.metrics.SparseTopKCategoricalAccuracy(3, name="top_k"),
        keras_metrics.FScore(topics, name="f_beta"),
    ]
    return _evaluate(model, dataset, metrics)


def _segmentation(job: JobCase, folder: Path, threads: int) -> Pass:
    """`keras.Model.evaluate` over arrays, with MeanIoU."""
    import keras
    import tensorflow as tf

    model = _model(folder, threads)
    image, label = (np.load(folder / "data" / f"{name}.npy") for name in ("image", "label"))
    dataset = tf.data.Dataset.from_tensor_slices((image, label)).batch(job.batch_size).prefetch(tf.data.AUTOTUNE)
    metrics = [
        keras.metrics.SparseCategoricalAccuracy(name="pixel_accuracy"),
        keras.metrics.MeanIoU(CLASSES, sparse_y_pred=False, name="mean_iou"),
    ]
    return _evaluate(model, dataset, metrics)


def _embeddings(job: JobCase, folder: Path, threads: int) -> Pass:
    """`keras.Model.predict` and scikit-learn's neighbours."""
    from sklearn.neighbors import NearestNeighbors

    model = _model(folder, threads)

    def run() -> dict[str, float]:
        x, label = (np.load(folder / "data" / f"{name}.npy") for name in ("x", "label"))
        vectors = model.predict(x, batch_size=job.batch_size, verbose=0)
        search = NearestNeighbors(n_neighbors=NEAREST, metric="cosine", algorithm="brute").fit(vectors)
        same = label[search.kneighbors(return_distance=False)] == label[:, None]
        able = np.bincount(label)[label] > 1
        return {"first": float(same[able, 0].mean()), "nearest": float(same[able].any(axis=1).mean())}

    return run


def _examples(folder: Path) -> int:
    return int(folder.name.rpartition("-")[2])


def _model(folder: Path, threads: int) -> Any:
    import keras

    set_threads(threads)
    return keras.saving.load_model(folder / "model.keras", compile=False)


def _evaluate(model: Any, dataset: Any, metrics: list[Any]) -> Pass:
    model.compile(loss="sparse_categorical_crossentropy", metrics=metrics)

    def run() -> dict[str, float]:
        values = model.evaluate(dataset, verbose=0, return_dict=True)
        return {name.replace("loss", "cross_entropy"): float(value) for name, value in values.items()}

    return run


PEERS: Mapping[str, Callable[[JobCase, Path, int], Pass]] = {
    "images": _images,
    "table": _table,
    "text": _text,
    "segmentation": _segmentation,
    "embeddings": _embeddings,
}
