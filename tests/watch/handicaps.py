"""A reader and a model; those of rank 1 are slow where HANDICAP says so. Else they cost processor time alone."""

from __future__ import annotations

import os
import time

import numpy as np

SLOW = os.environ.get("OMPI_COMM_WORLD_RANK") == "1" and os.environ.get("HANDICAP", "")
EXAMPLES, WIDTH = 40_000_000, 64  # for minutes: whoever watches ends it


class Reader:
    """Makes examples up."""

    def __init__(self):
        draws = np.random.default_rng(3)
        self._x = draws.normal(size=(65_536, WIDTH)).astype(np.float32)

    def __len__(self):
        return EXAMPLES

    def read(self, start, stop):
        if SLOW == "reader" and start:
            time.sleep((stop - start) / 2_000)
        rows = np.arange(start, stop) % len(self._x)
        yield {"x": self._x[rows], "label": rows % 10}


def reader():
    return Reader()


def model():
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(1)
    dense = [keras.layers.Dense(256, activation="relu") for _ in range(8)]
    layers = keras.Sequential([keras.Input((WIDTH,)), *dense, keras.layers.Dense(10, activation="softmax")])

    @tf.function(input_signature=[tf.TensorSpec([None, WIDTH], tf.float32, name="x")])
    def predict(x):
        if SLOW == "model":
            delayed = tf.numpy_function(late, [x], tf.float32)
            delayed.set_shape(x.shape)
            x = delayed
        return layers(x)

    def late(array):
        time.sleep(0.05)
        return array

    predict.layers = layers
    return predict
