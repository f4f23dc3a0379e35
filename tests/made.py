"""Small models and data for the tests: made from fixed seeds, in seconds, with TensorFlow's own writers."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

WIDTH, CLASSES, EXAMPLES = 8, 5, 203


@dataclass(frozen=True)
class Examples:
    """The examples that all files of the tests hold."""

    x: np.ndarray  # float32 [203, 8]
    label: np.ndarray  # int64 [203]
    weight: np.ndarray  # float32 [203]
    target: np.ndarray  # float32 [203]

    def columns(self) -> dict[str, np.ndarray]:
        return {"x": self.x, "label": self.label, "weight": self.weight, "target": self.target}


def kernel() -> np.ndarray:
    """Weights of the dense layer, float32 [8, 5]."""
    return np.random.default_rng(1).normal(size=(WIDTH, CLASSES)).astype(np.float32)


def examples() -> Examples:
    """Labels are what the model says of a noisy input, so that it is right more often than not, but not always."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(EXAMPLES, WIDTH)).astype(np.float32)
    noisy = x + rng.normal(scale=0.7, size=x.shape)
    label = np.argmax(noisy @ kernel(), axis=1).astype(np.int64)
    weight = rng.uniform(0.1, 3.0, size=EXAMPLES).astype(np.float32)
    target = (x.sum(axis=1) + rng.normal(size=EXAMPLES)).astype(np.float32)
    return Examples(x, label, weight, target)


def record(columns: Mapping[str, Any]) -> bytes:
    """One example as a serialized tf.train.Example."""
    import tensorflow as tf

    feature = {}
    for name, value in columns.items():
        array = np.asarray(value)
        if array.dtype.kind == "f":
            feature[name] = tf.train.Feature(float_list=tf.train.FloatList(value=array.ravel()))
        elif array.dtype.kind in "iu":
            feature[name] = tf.train.Feature(int64_list=tf.train.Int64List(value=array.ravel()))
        else:
            feature[name] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[bytes(v) for v in array.ravel().tolist()]))
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


def records(columns: Mapping[str, np.ndarray], start: int = 0, stop: int | None = None) -> list[bytes]:
    """Examples [start, stop) as serialized tf.train.Examples."""
    count = len(next(iter(columns.values())))
    return [record({name: array[i] for name, array in columns.items()}) for i in range(start, count if stop is None else stop)]


def write_tfrecord(path: Path, found: Sequence[bytes], *, compress: bool = False) -> Path:
    """Write a file with TensorFlow's writer."""
    import tensorflow as tf

    options = tf.io.TFRecordOptions(compression_type="GZIP") if compress else None
    with tf.io.TFRecordWriter(str(path), options) as writer:
        for data in found:
            writer.write(data)
    return path


def record_offsets(path: Path) -> list[int]:
    """Byte offset of every record of a plain file, and its size; an oracle written apart from the reader."""
    data, at, offsets = path.read_bytes(), 0, [0]
    while at < len(data):
        at += struct.unpack("<Q", data[at : at + 8])[0] + 16
        offsets.append(at)
    return offsets


def flip(path: Path, at: int) -> None:
    """Change one byte of a file."""
    data = bytearray(path.read_bytes())
    data[at] ^= 0xFF
    path.write_bytes(data)


def cut(path: Path, size: int) -> None:
    """Keep the first bytes of a file."""
    path.write_bytes(path.read_bytes()[:size])


def unpack(path: Path) -> bytes:
    """The content of a GZIP file."""
    return gzip.decompress(path.read_bytes())


def save_models(folder: Path) -> None:
    """Write classifier, logits, heads, serialized, regression (SavedModels) and classifier.keras."""
    import keras
    import tensorflow as tf

    class Dense(tf.Module):
        def __init__(self) -> None:
            self.kernel = tf.Variable(kernel())

    row = tf.TensorSpec([None, WIDTH], tf.float32, name="x")
    module = Dense()

    @tf.function(input_signature=[row])
    def probabilities(x: Any) -> Any:
        return {"probabilities": tf.nn.softmax(x @ module.kernel)}

    @tf.function(input_signature=[row])
    def logits(x: Any) -> Any:
        return {"logits": x @ module.kernel}

    @tf.function(input_signature=[row])
    def heads(x: Any) -> Any:
        found = x @ module.kernel
        return {"probabilities": tf.nn.softmax(found), "logits": found, "amount": tf.reduce_sum(x, axis=1)}

    @tf.function(input_signature=[row])
    def amount(x: Any) -> Any:
        return {"amount": tf.reduce_sum(x, axis=1, keepdims=True)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serialized(examples: Any) -> Any:
        x = tf.io.parse_example(examples, {"x": tf.io.FixedLenFeature([WIDTH], tf.float32)})["x"]
        return {"probabilities": tf.nn.softmax(x @ module.kernel)}

    functions = {
        "classifier": probabilities, "logits": logits, "heads": heads, "regression": amount, "serialized": serialized,
    }  # fmt: skip
    for name, function in functions.items():
        tf.saved_model.save(module, str(folder / name), signatures={"serving_default": function})
    model = keras.Sequential(
        [keras.Input((WIDTH,), name="x"), keras.layers.Dense(CLASSES, activation="softmax", use_bias=False, name="probabilities")]
    )
    model.layers[0].set_weights([kernel()])
    model.save(folder / "classifier.keras")


# Uneven on purpose: an empty file, a file of one record, one that is GZIP and so cannot be cut.
FILES = (("a.tfrecord", 77, False), ("b.tfrecord", 0, False), ("c.tfrecord.gz", 50, True), ("d.tfrecord", 1, False), ("e.tfrecord", 75, False))  # fmt: skip


def save_data(folder: Path) -> None:
    """Write the examples as TFRecord files (see FILES) and as all.npz."""
    found = examples().columns()
    at = 0
    for name, count, compress in FILES:
        write_tfrecord(folder / name, records(found, at, at + count), compress=compress)
        at += count
    np.savez(folder / "all.npz", **found)
