"""Models of the usual layers, of Keras 3 and of tf_keras, saved by Keras itself: they load, and predict what they did."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.job.specs import ModelSpec
from harness.models import keras_names
from harness.models.keras_config import CODE, check

FORMS = [(3, ".keras"), (3, ".h5"), (2, ".keras"), (2, ".h5")]


def keras_of(generation: int) -> Any:
    import keras
    import tf_keras

    return keras if generation == 3 else tf_keras


def images(k: Any, newer: bool | None) -> Any:
    """Convolutions, norms, pools, augmentation, regularizers, constraints, operations on tensors, a model in a model."""
    layers, inputs = k.layers, k.Input((16, 16, 3), name="x")
    x = layers.Rescaling(1 / 255)(inputs)
    x = layers.RandomFlip()(x)
    x = layers.Conv2D(
        4, 3, padding="same", activation="gelu", kernel_initializer="he_normal", kernel_regularizer=k.regularizers.L1L2(0.1, 0.2),
        kernel_constraint=k.constraints.MaxNorm(2),
    )(x)  # fmt: skip
    x = layers.BatchNormalization()(x)
    y = layers.SeparableConv2D(4, 3, padding="same", depthwise_initializer=k.initializers.Orthogonal())(layers.ReLU(6.0)(x))
    y = layers.LeakyReLU()(layers.DepthwiseConv2D(3, padding="same")(y))
    x = layers.Add()([x, y])
    if newer is not None:
        x = x[:, :, 1:15] * 0.5 + 1.0
    x = layers.Concatenate()([layers.MaxPooling2D()(x), layers.AveragePooling2D(2)(x)])
    x = layers.Conv2DTranspose(3, 2)(layers.ZeroPadding2D()(layers.Dropout(0.2)(layers.GroupNormalization(4)(x))))
    x = layers.UpSampling2D()(layers.Cropping2D(1)(layers.SpatialDropout2D(0.1)(x)))
    x = layers.GlobalAveragePooling2D()(layers.Resizing(8, 8)(x))
    inner = k.Sequential([layers.Dense(6, activation="swish"), layers.LayerNormalization(), layers.PReLU()], name="inner")
    x = inner(x)
    x = x if newer is None else (k.ops.relu(k.ops.reshape(x, (-1, 6))) if newer else reshaped(x)) - x
    return k.Model(inputs, layers.Softmax()(layers.Dense(3)(x)))


def reshaped(x: Any) -> Any:
    import tensorflow as tf

    return tf.nn.relu(tf.reshape(x, [-1, 6])) + tf.reduce_mean(x, axis=1, keepdims=True)


def sequences(k: Any, newer: bool | None) -> Any:
    """Recurrent layers in wrappers, attention, embeddings and masks."""
    layers, inputs = k.layers, k.Input((7,), dtype="int64", name="x")
    x = layers.Embedding(20, 8, mask_zero=False, embeddings_regularizer="l2")(inputs)
    x = layers.Bidirectional(layers.LSTM(4, return_sequences=True, recurrent_activation="hard_sigmoid"), merge_mode="sum")(x)
    x = layers.GRU(4, return_sequences=True, reset_after=True)(x)
    x = layers.RNN(layers.StackedRNNCells([layers.LSTMCell(4), layers.GRUCell(4)]), return_sequences=True)(x)
    x = layers.TimeDistributed(layers.Dense(4, activation=k.activations.tanh))(x)
    x = layers.Add()([x, layers.MultiHeadAttention(2, 4)(x, x)])
    x = x if newer is None else layers.Attention()([x, x])
    x = layers.Add()([x, layers.AdditiveAttention()([x, x])])
    x = layers.Conv1D(4, 3, padding="causal", dilation_rate=2)(x)
    x = layers.GaussianNoise(0.1)(x)
    x = layers.SimpleRNN(4)(x if newer is None else layers.Masking()(x))
    x = layers.Flatten()(layers.RepeatVector(2)(layers.Reshape((4,))(x)))
    return k.Model(inputs, layers.Dense(2, activation="sigmoid", kernel_constraint="non_neg")(layers.UnitNormalization()(x)))


def columns(k: Any, newer: bool | None) -> Any:
    """Preprocessing, with vocabularies in the file; a dtype policy of its own; layers that combine."""
    layers, inputs = k.layers, k.Input((3,), name="x")
    normal = layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[1.0, 4.0, 9.0])(inputs)
    buckets = layers.Discretization(bin_boundaries=[-1.0, 0.0, 1.0])(inputs)
    coded = layers.CategoryEncoding(4, output_mode="multi_hot")(buckets)
    looked = layers.IntegerLookup(vocabulary=[0, 1, 2], output_mode="count")(buckets)
    hashed = layers.CategoryEncoding(5, output_mode="count")(layers.Hashing(5)(buckets))
    if newer is None:
        coded = looked = hashed = normal
    if newer:
        looked, hashed, coded = (k.ops.cast(part, "float32") for part in (looked, hashed, coded))
    x = layers.Concatenate()([normal, coded, looked, hashed])
    x = layers.Dense(4, dtype="mixed_float16" if newer else None, name="half")(x)
    x = layers.Maximum()([x, layers.Multiply()([x, x])])
    x = layers.ActivityRegularization(0.1)(layers.Dot(1)([x, layers.Average()([x, x])]))
    return k.Model(inputs, layers.Activation("linear", dtype="float32")(layers.ELU()(x)))


KINDS = {"images": images, "sequences": sequences, "columns": columns}


def data(kind: str) -> np.ndarray:
    rng = np.random.default_rng(1)
    if kind == "sequences":
        return rng.integers(0, 20, (4, 7))
    shape = (4, 16, 16, 3) if kind == "images" else (4, 3)
    return rng.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", FORMS)
def test_the_usual_layers_load_and_predict_what_they_did(form, kind, tmp_path):
    from harness.models.loading import load

    k = keras_of(form[0])
    newer = None if form == (3, ".h5") else form[0] == 3  # operations on tensors Keras 3 writes to .h5 and cannot read
    model = KINDS[kind](k, newer)
    model.compile(k.optimizers.Adam(k.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)), "mse", metrics=["mae"])
    path = tmp_path / f"m{form[1]}"
    model.save(path)
    x = data(kind)
    loaded = load(str(path), ModelSpec(path=str(path)))
    (found,) = loaded.predict({name: x for name in loaded.inputs}).values()
    np.testing.assert_allclose(np.asarray(found), np.asarray(model(x, training=False)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("generation", [2, 3])
def test_text_with_its_vocabulary_in_the_file(generation, tmp_path):
    from harness.models.loading import load

    k = keras_of(generation)
    inputs = k.Input((1,), dtype="string", name="x")
    words = k.layers.TextVectorization(vocabulary=["a", "b"], output_sequence_length=3)(inputs)
    k.Model(inputs, k.layers.Flatten()(k.layers.Embedding(5, 2)(words))).save(tmp_path / "m.keras")
    loaded = load(str(tmp_path / "m.keras"), ModelSpec(path="m"))
    (found,) = loaded.predict({"x": np.array([["a b"], ["b c"]])}).values()
    assert np.asarray(found).shape == (2, 6)


@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_ragged_and_other_functions_of_tensorflow(ending, tmp_path):
    import tensorflow as tf

    k = keras_of(2)
    inputs = k.Input((8,), name="x")
    x = tf.einsum("bi,bj->bij", inputs, inputs)
    x = tf.concat(
        [tf.math.reduce_sum(x, 1), tf.linalg.trace(x)[:, None], tf.image.resize(tf.expand_dims(x, -1), (2, 4))[:, 0, :, 0]], 1
    )
    x = tf.where(x > 0, x, -tf.sqrt(tf.abs(x))) / 2.0
    ragged = tf.RaggedTensor.from_tensor(tf.expand_dims(x, -1))
    k.Model(inputs, ragged.to_tensor()).save(tmp_path / f"m{ending}")
    check(str(tmp_path / f"m{ending}"), lambda name: None)


@pytest.mark.parametrize("name", ["MobileNetV3Small"])
@pytest.mark.parametrize("generation", [2, 3])
def test_applications_are_let_in(generation, name, tmp_path):
    k = keras_of(generation)
    config = getattr(k.applications, name)(weights=None, input_shape=(96, 96, 3), classes=2)
    path = tmp_path / "m.keras"
    write_configuration(path, k.saving.serialize_keras_object(config))
    check(str(path), lambda name: None)


def write_configuration(path: Path, config: Any) -> None:
    import zipfile

    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(config))


@pytest.mark.parametrize("generation", [2, 3])
def test_every_public_layer_and_part_was_looked_at(generation):
    """One that is new has to be put into one list or the other, by somebody who has looked at what it does."""
    k = keras_of(generation)
    kinds = ("layers", "initializers", "regularizers", "constraints", "optimizers", "losses", "metrics")
    public = {name for kind in kinds for name, held in vars(getattr(k, kind)).items() if inspect.isclass(held)}
    assert len(public) > 200
    assert public - keras_names.CLASSES <= set(CODE)
    assert not keras_names.CLASSES & set(CODE)
