"""One classifier, saved in every way that a user may bring it: all give softmax(x @ kernel) of the examples in `made`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests import made

FACTORIES = """
import keras
import tensorflow as tf


def dense(units=5):
    return keras.Sequential([keras.Input((8,), name="x"), keras.layers.Dense(units, activation="softmax", use_bias=False, name="probabilities")])


def function():
    kernel = tf.constant({kernel})

    @tf.function(input_signature=[tf.TensorSpec([None, 8], tf.float32)])
    def predict(x):
        return {{"probabilities": tf.nn.softmax(x @ kernel)}}

    return predict


def nothing():
    return 3


X = tf.TensorSpec([None, 8], tf.float32)


def of_a_dict():
    return tf.function(lambda features: {{"probabilities": features["x"]}}, input_signature=[{{"x": X, "weight": X}}])


def of_a_list():
    return tf.function(lambda rows: rows[0], input_signature=[[X, X]])


def of_ragged():
    return tf.function(lambda x: x.to_tensor(), input_signature=[tf.RaggedTensorSpec([None, None], tf.float32)])


def to_a_tuple():
    return tf.function(lambda x: (x, x), input_signature=[X])


def to_a_nest():
    return tf.function(lambda x: {{"a": x, "b": {{"c": x}}}}, input_signature=[X])
"""


def save(folder: Path) -> None:
    """Write keras2_saved_model, keras2.h5, keras2.keras, estimator, keras3.h5, keras3.weights.h5, float.tflite, one.tflite,
    int8.tflite, versions/{3,20}, signatures and factories.py."""
    import keras
    import tensorflow as tf
    import tf_keras

    kernel, x = made.kernel(), made.examples().x
    old = tf_keras.Sequential(
        [
            tf_keras.layers.InputLayer((made.WIDTH,), name="x"),
            tf_keras.layers.Dense(made.CLASSES, activation="softmax", use_bias=False, name="probabilities"),
        ]
    )
    old.compile(tf_keras.optimizers.legacy.Adam(), "sparse_categorical_crossentropy")
    old.fit(x[:16], made.examples().label[:16], verbose=0)  # makes the optimizer's slots
    old.set_weights([kernel])
    old.save(folder / "keras2_saved_model", save_format="tf")
    old.save(folder / "keras2.h5", save_format="h5")
    old.save(folder / "keras2.keras")
    new = keras.Sequential(
        [
            keras.Input((made.WIDTH,), name="x"),
            keras.layers.Dense(made.CLASSES, activation="softmax", use_bias=False, name="probabilities"),
        ]
    )
    new.set_weights([kernel])
    new.save(folder / "keras3.h5")
    new.save(folder / "keras3.keras")
    new.save_weights(folder / "keras3.weights.h5")
    (folder / "factories.py").write_text(FACTORIES.format(kernel=kernel.tolist()))
    _saved_models(folder, tf, kernel)
    _tflite(folder, tf, x)
    _estimator(folder, tf, kernel)


def _saved_models(folder: Path, tf: Any, kernel: Any) -> None:
    class Dense(tf.Module):
        def __init__(self, scale: float) -> None:
            self.kernel = tf.Variable(kernel * scale)

    for version, scale in ((3, 1.0), (20, -1.0)):  # 20 is higher than 3, as a number
        module = Dense(scale)

        @tf.function(input_signature=[tf.TensorSpec([None, made.WIDTH], tf.float32, name="x")])
        def predict(x: Any, module: Any = module) -> Any:
            return {"probabilities": tf.nn.softmax(x @ module.kernel)}

        tf.saved_model.save(module, str(folder / "versions" / str(version)), signatures={"serving_default": predict})
    module = Dense(1.0)
    halves = [tf.TensorSpec([None, made.WIDTH], tf.float32, name="x"), tf.TensorSpec([None], tf.float32, name="weight")]

    @tf.function(input_signature=halves)
    def two(x: Any, weight: Any) -> Any:
        found = tf.nn.softmax(x @ module.kernel)
        return {
            "probabilities": found,
            "name": tf.strings.as_string(tf.argmax(found, axis=1)),
            "weighted": found * weight[:, None],
        }

    tf.saved_model.save(module, str(folder / "signatures"), signatures={"two": two})


def _tflite(folder: Path, tf: Any, x: Any) -> None:
    source = str(folder / "versions" / "3")
    (folder / "float.tflite").write_bytes(tf.lite.TFLiteConverter.from_saved_model(source).convert())
    loaded = tf.saved_model.load(source)
    one = tf.function(
        lambda x: loaded.signatures["serving_default"](x=x),
        input_signature=[tf.TensorSpec([1, made.WIDTH], tf.float32, name="x")],
    )
    module = tf.Module()
    module.loaded = loaded
    tf.saved_model.save(module, str(folder / "one"), signatures={"serving_default": one})
    (folder / "one.tflite").write_bytes(tf.lite.TFLiteConverter.from_saved_model(str(folder / "one")).convert())
    quantised = tf.lite.TFLiteConverter.from_saved_model(source)
    quantised.optimizations = [tf.lite.Optimize.DEFAULT]
    quantised.representative_dataset = lambda: ([x[i : i + 1]] for i in range(made.EXAMPLES))
    quantised.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    quantised.inference_input_type = quantised.inference_output_type = tf.int8
    (folder / "int8.tflite").write_bytes(quantised.convert())


def _estimator(folder: Path, tf: Any, kernel: Any) -> None:
    """Write what an Estimator exports: a graph of TensorFlow 1, serialized Examples, a lookup table to be initialised."""
    v1 = tf.compat.v1
    (folder / "vocabulary.txt").write_text("zero\none\ntwo\nthree\nfour\n")
    with v1.Graph().as_default(), v1.Session() as session:
        examples = v1.placeholder(tf.string, [None], name="examples")
        x = tf.io.parse_example(examples, {"x": tf.io.FixedLenFeature([made.WIDTH], tf.float32)})["x"]
        found = tf.nn.softmax(x @ v1.get_variable("kernel", initializer=kernel))
        names = tf.lookup.TextFileInitializer(
            str(folder / "vocabulary.txt"),
            tf.int64,
            tf.lookup.TextFileIndex.LINE_NUMBER,
            tf.string,
            tf.lookup.TextFileIndex.WHOLE_LINE,
        )
        best = tf.lookup.StaticHashTable(names, "?").lookup(tf.argmax(found, axis=1))
        session.run([v1.global_variables_initializer(), v1.tables_initializer()])
        builder = v1.saved_model.Builder(str(folder / "estimator"))
        signature = v1.saved_model.predict_signature_def({"examples": examples}, {"probabilities": found, "class": best})
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            {"predict": signature},
            assets_collection=v1.get_collection(v1.GraphKeys.ASSET_FILEPATHS),
            main_op=v1.tables_initializer(),
        )
        builder.save()
    (folder / "vocabulary.txt").unlink()  # the model brings its own copy
