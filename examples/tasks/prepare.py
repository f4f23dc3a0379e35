"""Write the models and data that the pages under docs/tasks/ evaluate: flowers in a table, digits as images.

Both are real: Fisher's irises, and the handwritten digits that scikit-learn ships.
"""

from __future__ import annotations

from pathlib import Path

from harness.step.tensorflow import import_tensorflow

import_tensorflow()  # quietly

import keras  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import tensorflow as tf  # noqa: E402
from sklearn.datasets import load_digits, load_iris  # noqa: E402

HERE = Path(__file__).parent
FEATURES = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
SPECIES = ["setosa", "versicolor", "virginica"]
DIGITS = 1000  # the first 1,000 train the model, the next 100 are evaluated


def main() -> None:
    """Write model/ and data/ beside this file, unless they are there."""
    if (HERE / "data" / "done").exists():
        return
    (HERE / "model").mkdir(exist_ok=True)
    (HERE / "data").mkdir(exist_ok=True)
    keras.utils.set_random_seed(7)
    write_flowers()
    write_digits()
    (HERE / "data" / "done").touch()


def write_flowers() -> None:
    """Write flowers.csv with every second flower, and two models that the others trained: a new one, and one from before."""
    flowers = load_iris()
    new = keras.Sequential([keras.Input((4,), name="x"), keras.layers.Dense(3, activation="softmax", name="scores")])
    new.compile(keras.optimizers.Adam(0.05), "sparse_categorical_crossentropy")
    x, y = flowers.data[::2].astype(np.float32), flowers.target[::2]
    new.fit(x, y, epochs=4, batch_size=15, verbose=0)
    new.save(HERE / "model" / "flowers-old.keras")
    new.fit(x, y, epochs=56, batch_size=15, verbose=0)
    new.save(HERE / "model" / "flowers.keras")
    table = pd.DataFrame(flowers.data[1::2], columns=FEATURES)
    table["garden"] = np.array(["north", "south", "west"])[np.arange(len(table)) % 3]
    table["species"] = np.array(SPECIES)[flowers.target[1::2]]
    table.to_csv(HERE / "data" / "flowers.csv", index=False)


def write_digits() -> None:
    """Write a folder of images a digit, and a model that scales their pixels itself."""
    digits = load_digits()
    pixels = (digits.images * 15.9375).astype(np.uint8)[..., None]
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1), name="image"),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(10, activation="softmax", name="digit"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy")
    model.fit(pixels[:DIGITS], digits.target[:DIGITS], epochs=10, batch_size=50, verbose=0)
    model.save(HERE / "model" / "digits.keras")
    for number in range(DIGITS, DIGITS + 100):
        path = HERE / "data" / "digits" / str(digits.target[number]) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(tf.io.encode_png(pixels[number]).numpy())


if __name__ == "__main__":
    main()
