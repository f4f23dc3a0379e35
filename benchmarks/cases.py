"""What is measured: models with data in memory. Writes each case as files once; the legs load them from there."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["CASES", "CLASSES", "DATA", "METRICS", "Case", "write", "write_as"]

DATA = ("memory", "tfrecord", "parquet", "jpeg")

CLASSES = 10
SEED = 20
METRICS: list[Any] = [
    "accuracy", {"top_k": {"k": 3}}, "cross_entropy", "precision", "recall", "f_beta", "confusion_matrix",
]  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One model with its data: input shape of an example, batch size, number of examples.

    With a vocabulary the input is int32 in [0, vocabulary), else standard normal float32; of photos it is the pixels of a
    JPEG, from 0 to 255, and the data are TFRecords of encoded images and nothing else.
    """

    name: str
    shape: tuple[int, ...]
    batch_size: int
    examples: int
    vocabulary: int | None = None
    photos: bool = False

    def inputs(self, random: np.random.Generator, examples: int) -> np.ndarray:
        """Draw inputs, [examples, ...]."""
        if self.photos:
            return np.stack([_photo(self.shape, random) for _ in range(examples)]).astype(np.float32)
        if self.vocabulary is None:
            return random.normal(size=(examples, *self.shape)).astype(np.float32)
        return random.integers(0, self.vocabulary, (examples, *self.shape), dtype=np.int32)

    def files(self, folder: Path) -> tuple[Path, Path, Path]:
        """Return where the SavedModel, the .keras file and the data lie."""
        return folder / self.name / "model", folder / self.name / "model.keras", folder / self.name / "data.npz"


CASES = {
    case.name: case
    for case in (
        Case("dense-64-128-10", (64,), 256, 1600 * 256),
        Case("dense-784-512-10", (784,), 256, 320 * 256),
        Case("convnet", (28, 28, 1), 128, 160 * 128),
        Case("mobilenet-96", (96, 96, 3), 32, 16 * 32),
        Case("transformer", (64,), 64, 40 * 64, vocabulary=2000),
        Case("wide-embedding", (26,), 512, 100 * 512, vocabulary=200_000),
        Case("photos", (256, 256, 3), 64, 32 * 64, photos=True),
    )
}


def write(case: Case, folder: Path) -> None:
    """Write model and data of a case; does nothing where they are there already.

    The labels follow the model's own predictions for two thirds of the examples, so that every metric is defined.
    """
    saved, keras_file, data = case.files(folder)
    mark = folder / case.name / "case.json"
    described = json.dumps({"shape": case.shape, "examples": case.examples, "seed": SEED, "balanced": 2})
    if mark.exists() and mark.read_text() == described:
        return
    import keras

    data.parent.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(SEED)
    model = _model(case)
    random = np.random.default_rng(SEED)
    _balance(model, case.inputs(random, 256))
    model.save(keras_file)
    model.export(saved, verbose=False)
    if case.photos:
        _write_photos(case, model, random, data.with_name("data.tfrecord"))
        mark.write_text(described)
        return
    image = case.inputs(random, case.examples)
    guessed = model.predict(image, batch_size=case.batch_size, verbose=0).argmax(axis=1)
    label = np.where(random.random(case.examples) < 2 / 3, guessed, random.integers(0, CLASSES, case.examples))
    np.savez(data, image=image, label=label.astype(np.int32))
    mark.write_text(described)


def write_as(case: Case, folder: Path, data: str) -> Path:
    """Write the examples of a case as DATA names it, images flat; does nothing where that is there and not older.

    Returns: the file; of `npy`, which is what `harness-npy` reads, the folder.
    Raises: ValueError: the case has no such data.
    """
    _, _, archive = case.files(folder)
    if case.photos != (data == "jpeg"):
        raise ValueError(f"the examples of {case.name} cannot be had as {data}: only those of photos, and only as jpeg")
    if case.photos:
        return archive.with_name("data.tfrecord")
    path = archive if data == "memory" else archive.with_name(f"data.{data}")
    if path.exists() and path.stat().st_mtime >= archive.stat().st_mtime:
        return path
    with np.load(archive) as arrays:
        image, label = arrays["image"].reshape(case.examples, -1), arrays["label"]
    part = path.with_name(f".{path.name}")
    if data == "npy":
        part.mkdir(exist_ok=True)
        np.save(part / "image.npy", image.reshape(case.examples, *case.shape))
        np.save(part / "label.npy", label)
    elif data == "tfrecord":
        import tensorflow as tf

        with tf.io.TFRecordWriter(str(part)) as writer:
            for row, number in zip(image, label, strict=True):
                floats = case.vocabulary is None
                held = {"float_list": tf.train.FloatList(value=row)} if floats else {"int64_list": tf.train.Int64List(value=row)}
                features = {
                    "image": tf.train.Feature(**held),
                    "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[number])),
                }
                writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())
    else:
        import pyarrow as pa
        import pyarrow.parquet as pq

        images = pa.FixedSizeListArray.from_arrays(image.ravel(), image.shape[1])
        pq.write_table(pa.table({"image": images, "label": label}), part, row_group_size=1 << 14)
    part.rename(path)
    return path


def _photo(shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    """Draw a picture that compresses as photographs do, 26 kB as a JPEG: eight by eight patches that blend, and some noise."""
    height, width, channels = shape
    patches = random.uniform(0, 255, (9, 9, channels))
    rows, columns = (np.linspace(0, 8, size, endpoint=False) for size in (height, width))
    top, left = rows.astype(int), columns.astype(int)
    down, right = (rows - top)[:, None, None], (columns - left)[None, :, None]
    upper, lower = patches[top], patches[top + 1]
    above, below = (line[:, left] * (1 - right) + line[:, left + 1] * right for line in (upper, lower))
    return np.clip(above * (1 - down) + below * down + random.normal(0, 12, shape), 0, 255).astype(np.uint8)


def _write_photos(case: Case, model: Any, random: np.random.Generator, path: Path) -> None:
    """Write encoded images and labels, a batch at a time: decoded they would take gigabytes."""
    import tensorflow as tf

    part = path.with_name(f".{path.name}")
    with tf.io.TFRecordWriter(str(part)) as writer:
        for _ in range(case.examples // case.batch_size):
            image = case.inputs(random, case.batch_size)
            guessed = model.predict_on_batch(image).argmax(axis=1)
            label = np.where(random.random(len(guessed)) < 2 / 3, guessed, random.integers(0, CLASSES, len(guessed)))
            for pixels, number in zip(image.astype(np.uint8), label.tolist(), strict=True):
                encoded = tf.io.encode_jpeg(pixels, quality=90).numpy()
                features = {
                    "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[encoded])),
                    "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[number])),
                }
                writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())
    part.rename(path)


def _balance(model: Any, image: np.ndarray) -> None:
    """Set the last layer so that an untrained model predicts every class: deep ones hardly tell examples apart."""
    kernel, bias = model.layers[-1].get_weights()
    logits = np.log(model.predict(image, batch_size=32, verbose=0))
    spread = (logits - logits.mean(axis=1, keepdims=True)).std(axis=0).mean()
    kernel *= max(1.0, 1.0 / spread)
    model.layers[-1].set_weights([kernel, bias])
    logits = np.log(model.predict(image, batch_size=32, verbose=0))
    model.layers[-1].set_weights([kernel, bias - logits.mean(axis=0)])


def _model(case: Case) -> Any:
    import keras
    from keras import layers

    image = keras.Input(case.shape, name="image", dtype="float32" if case.vocabulary is None else "int32")
    if case.photos:
        x = layers.Rescaling(1 / 255)(image)
        for filters in (16, 32, 64):
            x = layers.Conv2D(filters, 3, strides=2, activation="relu")(x)
        x = layers.GlobalAveragePooling2D()(x)
    elif case.name == "convnet":
        x = layers.Conv2D(32, 3, activation="relu")(image)
        x = layers.MaxPooling2D()(x)
        x = layers.Conv2D(64, 3, activation="relu")(x)
        x = layers.MaxPooling2D()(x)
        x = layers.Flatten()(x)
    elif case.name == "mobilenet-96":
        x = keras.applications.MobileNetV2(case.shape, include_top=False, weights=None, pooling="avg", input_tensor=image).output
    elif case.name == "transformer":
        assert case.vocabulary is not None
        place = np.arange(case.shape[0])[None]
        x = layers.Embedding(case.vocabulary, 128)(image) + layers.Embedding(case.shape[0], 128)(place)
        for _ in range(2):
            x = layers.LayerNormalization()(x + layers.MultiHeadAttention(4, 32)(x, x))
            x = layers.LayerNormalization()(x + layers.Dense(128)(layers.Dense(512, activation="relu")(x)))
        x = layers.GlobalAveragePooling1D()(x)
    elif case.name == "wide-embedding":
        assert case.vocabulary is not None
        x = layers.Flatten()(layers.Embedding(case.vocabulary, 32)(image))
        x = layers.Dense(256, activation="relu")(x)
    else:
        x = layers.Dense(int(case.name.split("-")[2]), activation="relu")(image)
    return keras.Model(image, layers.Dense(CLASSES, activation="softmax", name="probabilities")(x), name="model")
