"""The models of the kits: small networks in Keras whose weights are keyed draws, not what an initialiser makes.

A function here is what `model.python` of a kit's job names. Beside layers of drawn weights each model has a path that knows
the rule of the data, so that its metrics are far from chance, and a wrong result is seen in them. Keras is imported where a
model is made.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.bench.keyed_noise import small_integers, weights
from harness.bench.kit_data import CLASSES, FEATURES, MASKS, PATCH, SIDE, TOKENS, VOCABULARY, colours, patterns, teacher

__all__ = ["integer", "ranking", "segmentation", "table", "text", "vision"]

WIDTH = 64
HEADS = 4


def vision() -> Any:
    """Return a convolutional network: images [B, 32, 32, 3] to scores of ten classes."""
    import keras

    layers = keras.layers
    image = keras.Input((SIDE, SIDE, 3), name="image")
    hidden = layers.Conv2D(16, 3, padding="same", activation="relu", name="conv1")(image)
    hidden = layers.Conv2D(32, 3, strides=2, padding="same", activation="relu", name="conv2")(hidden)
    hidden = layers.Conv2D(64, 3, strides=2, padding="same", activation="relu", name="conv3")(hidden)
    drawn = layers.Dense(CLASSES, name="drawn")(layers.GlobalAveragePooling2D()(hidden))
    patches = layers.Flatten()(layers.AveragePooling2D(PATCH)(image))
    known = layers.Dense(CLASSES, use_bias=False, name="known")(patches)
    model = keras.Model(image, layers.Softmax(name="scores", dtype="float32")(layers.Add()([known, drawn])))
    return _with_weights(model, 1, {"known": patterns().reshape(CLASSES, -1).T * 4.0})


def table() -> Any:
    """Return a perceptron with two hidden layers: rows [B, 16] to the probability of class 1."""
    import keras

    rows, score = _perceptron(2, 0.25)
    probability = keras.layers.Activation("sigmoid", name="probability", dtype="float32")(score)
    return _with_weights(keras.Model(rows, probability), 2, {"known": teacher(21)[:, None] / 8})


def ranking() -> Any:
    """Return a perceptron: documents [B, 16] to a score."""
    import keras

    rows, score = _perceptron(3, 0.25)
    return _with_weights(keras.Model(rows, score), 3, {"known": teacher(31)[:, None] / 8})


def _perceptron(hidden_layers: int, scale: float) -> tuple[Any, Any]:
    """Return the input [B, 16] and the score [B] of a perceptron with a linear path beside it."""
    import keras

    layers = keras.layers
    rows = hidden = keras.Input((FEATURES,), name="x")
    for number in range(hidden_layers):
        hidden = layers.Dense(WIDTH, activation="relu", name=f"hidden{number}")(hidden)
    drawn = layers.Rescaling(scale)(layers.Dense(1, name="drawn")(hidden))
    score = layers.Add()([layers.Dense(1, use_bias=False, name="known")(rows), drawn])
    return rows, layers.Reshape((), name="score", dtype="float32")(score)


def text() -> Any:
    """Return a causal transformer of one block: tokens [B, 32] to logits [B, 32, 256]."""
    import keras

    layers = keras.layers
    tokens = keras.Input((TOKENS,), dtype="int32", name="tokens")
    embedded = layers.Embedding(VOCABULARY, WIDTH, name="embedding")(tokens)
    attended = layers.MultiHeadAttention(HEADS, WIDTH // HEADS, name="attention")(embedded, embedded, use_causal_mask=True)
    hidden = layers.LayerNormalization(name="norm")(layers.Add()([embedded, attended]))
    hidden = layers.Dense(4 * WIDTH, activation="relu", name="hidden")(hidden)
    drawn = layers.Dense(VOCABULARY, name="drawn")(hidden)
    known = layers.Embedding(VOCABULARY, VOCABULARY, name="known")(tokens)
    model = keras.Model(tokens, layers.Add(name="logits", dtype="float32")([known, drawn]))
    follows = np.zeros((VOCABULARY, VOCABULARY), np.float32)
    for step in range(4):
        follows[np.arange(VOCABULARY), (5 * np.arange(VOCABULARY) + step) % VOCABULARY] = 5.0
    fixed = {"known": follows, "norm/gamma": np.ones(WIDTH, np.float32)}
    return _with_weights(model, 4, fixed)


def segmentation() -> Any:
    """Return a convolutional network: images [B, 32, 32, 3] to scores of four classes for every pixel."""
    import keras

    layers = keras.layers
    image = keras.Input((SIDE, SIDE, 3), name="image")
    hidden = layers.Conv2D(16, 3, padding="same", activation="relu", name="conv1")(image)
    hidden = layers.Conv2D(16, 3, padding="same", activation="relu", name="conv2")(hidden)
    drawn = layers.Conv2D(MASKS, 1, name="drawn")(hidden)
    near = layers.AveragePooling2D(5, strides=1, padding="same")(image)
    known = layers.Conv2D(MASKS, 1, use_bias=False, name="known")(near)
    scores = layers.Softmax(name="scores", dtype="float32")(layers.Add()([known, drawn]))
    return _with_weights(keras.Model(image, scores), 5, {"known": colours().T[None, None] * 4.0})


def integer() -> Any:
    """Return a perceptron that computes in whole numbers: rows [B, 16] to scores of ten classes.

    Every product and every sum is a whole number below 2^24, so float32 holds it exactly and the order of the sum does not
    matter; factors have at most 8 bits, so hardware that cuts factors to TensorFloat-32 changes nothing either:
    16 x 8 x 4 = 512 in the hidden layer, cut to 64, and 64 x 64 x 4 + 16 x 8 x 2 x 64 = 32,768 in the scores.
    """
    import keras

    layers = keras.layers
    rows = keras.Input((FEATURES,), name="x")
    hidden = layers.Dense(WIDTH, use_bias=False, activation="relu", name="hidden")(rows)
    cut = keras.ops.floor(hidden * 0.125)
    drawn = layers.Dense(CLASSES, use_bias=False, name="drawn")(cut)
    known = layers.Dense(CLASSES, use_bias=False, name="known")(rows)
    model = keras.Model(rows, layers.Add(name="scores", dtype="float32")([known * 64.0, drawn]))
    marks = small_integers(62, np.arange(CLASSES), FEATURES, 5) - 2
    fixed = {
        "hidden": small_integers(65, np.arange(FEATURES), WIDTH, 8) - 4,
        "drawn": small_integers(66, np.arange(WIDTH), CLASSES, 8) - 4,
        "known": marks.T,
    }
    return _with_weights(model, 6, fixed)


def _with_weights(model: Any, seed: int, fixed: dict[str, np.ndarray]) -> Any:
    """Give a model its weights: those of `fixed` by layer, or layer/variable, and drawn ones for all others.

    A drawn weight stays below a power of two near 1 / sqrt(inputs), so that what a layer puts out is of the size of what
    it takes.
    """
    for number, variable in enumerate(model.weights):
        layer, name = variable.path.split("/")[-2:]
        array = fixed.get(layer, fixed.get(f"{layer}/{name}"))
        if array is None:
            shape = tuple(variable.shape)
            inputs = int(np.prod(shape[:-1])) if len(shape) > 1 else 256  # a bias is small
            array = weights(1000 * seed + number, shape, 2.0 ** -round(np.log2(inputs) / 2))
        variable.assign(np.asarray(array, np.float32))
    return model
