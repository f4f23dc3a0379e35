"""The five most common jobs: images, a table, text, segmentation, embeddings. Writes their data and models once.

Each is what a user would evaluate: data as they are kept, a model that is small, so that what is round it shows, and the
metrics of the task.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import cases

__all__ = ["CLASSES", "COLUMNS", "JOBS", "NEAREST", "TOKENS", "JobCase"]

SEED = 21
COLUMNS = 40  # of the table
TOKENS, VOCABULARY, TOPICS = 128, 20_000, 8  # of a text
SIDE, CLASSES = 512, 20  # of an image that is segmented, and classes of its pixels
PIXELS, VECTOR, IDENTITIES = 256, 64, 500  # what an embedding is made of, its length, and how many labels there are
NEAREST = 5
BLOCK = 1 << 16  # examples written at a time

Write = Callable[[Path, int], None]


@dataclass(frozen=True)
class JobCase:
    """One job.

    Attributes:
      name: of the job.
      examples: how many are evaluated where nothing else is said.
      batch_size: of the harness and of its peer.
      data: name of the file.
      keys: of the job, but for the files, model and batch size; `inputs`, `features` and `label` are those of `data`.
      write: writes data and model to a folder.
    """

    name: str
    examples: int
    batch_size: int
    data: str
    keys: Mapping[str, Any]
    write: Write

    def folder(self, root: Path, examples: int) -> Path:
        """Return where data and model lie; writes them where they are not there."""
        folder = root / "jobs" / f"{self.name}-{examples}"
        if not (folder / "whole").exists():
            folder.mkdir(parents=True, exist_ok=True)
            self.write(folder, examples)
            (folder / "whole").touch()
        return folder

    def job(self, folder: Path) -> dict[str, Any]:
        """Return the job as YAML would have it."""
        data = {"files": str(folder / self.data), "label": "label", **self.keys["data"]}
        return {**self.keys, "data": data, "model": str(folder / "model.keras"), "batch_size": self.batch_size}


def _save(folder: Path, inputs: Any, outputs: Any) -> Any:
    import keras

    model = keras.Model(inputs, outputs)
    model.save(folder / "model.keras")
    return model


def _blocks(examples: int) -> Iterator[tuple[np.random.Generator, int]]:
    """Cut examples into blocks; give each its own draws and its size."""
    for start in range(0, examples, BLOCK):
        yield np.random.default_rng([SEED, start]), min(BLOCK, examples - start)


def _labels(model: Any, x: np.ndarray, random: np.random.Generator, classes: int) -> np.ndarray:
    """Draw labels that follow the model's predictions for two thirds of the examples."""
    scores = model.predict(x, batch_size=1024, verbose=0)
    predicted = scores.argmax(axis=-1) if scores.shape[-1] > 1 else scores[..., 0] > np.median(scores)
    drawn = random.integers(0, classes, predicted.shape)
    return np.where(random.random(predicted.shape) < 2 / 3, predicted, drawn).astype(np.int64)


def _write_images(folder: Path, examples: int) -> None:
    """Link what the case `photos` of the loop has."""
    case = cases.CASES["photos"]
    cases.write(case, folder)
    (folder / "data.tfrecord").symlink_to(folder / "photos" / "data.tfrecord")
    (folder / "model.keras").symlink_to(folder / "photos" / "model.keras")


def _write_table(folder: Path, examples: int) -> None:
    """Write columns of float32 and a label of two classes as one Parquet file."""
    import keras
    import pyarrow as pa
    import pyarrow.parquet as pq

    keras.utils.set_random_seed(SEED)
    inputs = keras.Input((COLUMNS,), name="x")
    hidden = keras.layers.Dense(64, activation="relu")(inputs)
    model = _save(folder, inputs, keras.layers.Dense(1, activation="sigmoid")(hidden))
    names = [f"c{number}" for number in range(COLUMNS)]
    schema = pa.schema([(name, pa.float32()) for name in names] + [("label", pa.int64())])
    with pq.ParquetWriter(folder / "data.parquet", schema) as writer:
        for random, size in _blocks(examples):
            x = random.normal(size=(size, COLUMNS)).astype(np.float32)
            columns = [*x.T, _labels(model, x, random, 2)]
            writer.write_table(pa.table([pa.array(column) for column in columns], schema=schema))


def _write_text(folder: Path, examples: int) -> None:
    """Write token ids and a topic as TFRecords; words that are frequent in a language are frequent here."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(SEED)
    inputs = keras.Input((TOKENS,), name="tokens", dtype="int32")
    x = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(VOCABULARY, 64)(inputs))
    x = keras.layers.Dense(64, activation="relu")(8 * x)
    model = _save(folder, inputs, keras.layers.Dense(TOPICS, activation="softmax")(x))
    with tf.io.TFRecordWriter(str(folder / "data.tfrecord")) as writer:
        for random, size in _blocks(examples):
            tokens = np.minimum(random.zipf(1.3, (size, TOKENS)), VOCABULARY - 1)
            for row, label in zip(tokens, _labels(model, tokens, random, TOPICS).tolist(), strict=True):
                features = {
                    "tokens": tf.train.Feature(int64_list=tf.train.Int64List(value=row)),
                    "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
                }
                writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())


def _write_segmentation(folder: Path, examples: int) -> None:
    """Write images and the class of each pixel, uint8, as .npy files."""
    import keras

    keras.utils.set_random_seed(SEED)
    inputs = keras.Input((SIDE, SIDE, 3), name="image", dtype="uint8")
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.Conv2D(16, 3, strides=4, padding="same", activation="relu")(x)
    x = keras.layers.Conv2D(CLASSES, 1)(x)
    model = _save(folder, inputs, keras.layers.Softmax()(keras.layers.UpSampling2D(4)(8 * x)))
    random = np.random.default_rng(SEED)
    (folder / "data").mkdir(exist_ok=True)
    images = random.integers(0, 256, (examples, SIDE, SIDE, 3), dtype=np.uint8)
    labels = np.empty((examples, SIDE, SIDE), np.uint8)
    for number, image in enumerate(images):
        labels[number] = _labels(model, image[None], random, CLASSES)[0]
    np.save(folder / "data" / "image.npy", images)
    np.save(folder / "data" / "label.npy", labels)


def _write_embeddings(folder: Path, examples: int) -> None:
    """Write noisy views of some hundred identities, as .npy files."""
    import keras

    keras.utils.set_random_seed(SEED)
    inputs = keras.Input((PIXELS,), name="x")
    x = keras.layers.Dense(128, activation="relu")(inputs)
    _save(folder, inputs, keras.layers.Dense(VECTOR)(x))
    random = np.random.default_rng(SEED)
    identities = random.normal(size=(IDENTITIES, PIXELS))
    label = random.integers(0, IDENTITIES, examples)
    x = identities[label] + random.normal(scale=1.4, size=(examples, PIXELS))
    (folder / "data").mkdir(exist_ok=True)
    np.save(folder / "data" / "x.npy", x.astype(np.float32))
    np.save(folder / "data" / "label.npy", label)


TABLE = {"x": {"dtype": "float32", "columns": [f"c{number}" for number in range(COLUMNS)]}}
IMAGE = {"image": {"dtype": "float32", "shape": [256, 256, 3], "image": True}}
JOBS: Mapping[str, JobCase] = {
    job.name: job
    for job in (
        JobCase(
            "images", 2048, 64, "data.tfrecord",
            {"data": {"inputs": {"image": "image"}, "features": IMAGE}, "metrics": cases.METRICS},
            _write_images,
        ),
        JobCase(
            "table", 400_000, 1024, "data.parquet",
            {"data": {"inputs": {"x": "x"}, "features": TABLE}, "metrics": ["binary_accuracy", "roc_auc", "cross_entropy"]},
            _write_table,
        ),
        JobCase(
            "text", 65_536, 256, "data.tfrecord",
            {"data": {"inputs": {"tokens": "tokens"}}, "metrics": ["accuracy", {"top_k": {"k": 3}}, "cross_entropy", "f_beta"]},
            _write_text,
        ),
        JobCase(
            "segmentation", 64, 4, "data/*.npy",
            {"data": {"inputs": {"image": "image"}}, "metrics": ["pixel_accuracy", "mean_iou", "iou", "confusion_matrix", "cross_entropy"]},
            _write_segmentation,
        ),
        JobCase(
            "embeddings", 10_240, 256, "data/*.npy",
            {
                "data": {"inputs": {"x": "x"}},
                "metrics": [{"retrieval_recall": {"k": 1, "name": "first"}}, {"retrieval_recall": {"k": NEAREST, "name": "nearest"}}],
            },
            _write_embeddings,
        ),
    )
}  # fmt: skip
