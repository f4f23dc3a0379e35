"""Make the digits example: train a small convolutional network, export it, and write the other digits as TFRecord files.

Real handwritten digits: the 1,797 that scikit-learn ships (UCI Optical Recognition of Handwritten Digits, test part).
"""

from __future__ import annotations

from pathlib import Path

from harness.step.tensorflow import import_tensorflow

import_tensorflow()  # quietly

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from sklearn.datasets import load_digits  # noqa: E402

HERE = Path(__file__).parent
TRAINED = 1000  # the first 1,000 train the model, the other 797 are evaluated
SHARDS = (310, 0, 17, 254, 1, 215)  # uneven on purpose, one of them empty
WRITERS = 13


def main() -> None:
    """Write model/ and data/ beside this file, unless they are there."""
    if (HERE / "data" / "done").exists():
        return
    keras.utils.set_random_seed(7)
    digits = load_digits()
    images = (digits.images / 16.0).astype(np.float32)[..., None]
    labels = digits.target.astype(np.int64)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1), name="image"),
            keras.layers.Conv2D(16, 3, activation="relu"),
            keras.layers.Conv2D(32, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(10, activation="softmax", name="probabilities"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(images[:TRAINED], labels[:TRAINED], epochs=12, batch_size=32, verbose=0)
    model.export(HERE / "model", verbose=False)

    (HERE / "data").mkdir(exist_ok=True)
    at = TRAINED
    for number, count in enumerate(SHARDS):
        with tf.io.TFRecordWriter(str(HERE / "data" / f"digits-{number:02d}.tfrecord")) as writer:
            for index in range(at, at + count):
                writer.write(serialize(images[index], int(labels[index]), index % WRITERS))
        at += count
    assert at == len(images)
    (HERE / "data" / "done").touch()
    print(f"trained on {TRAINED} digits, wrote {len(images) - TRAINED} in {len(SHARDS)} files")


def serialize(image: np.ndarray, label: int, writer: int) -> bytes:
    """Return one digit as a serialized tf.train.Example."""
    feature = {
        "image": tf.train.Feature(float_list=tf.train.FloatList(value=image.ravel())),
        "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
        "writer": tf.train.Feature(int64_list=tf.train.Int64List(value=[writer])),
    }
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


if __name__ == "__main__":
    main()
