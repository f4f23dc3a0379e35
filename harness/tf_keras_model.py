"""Keras models: .keras and .h5 files, and models that a factory made; of Keras 3, or of Keras 2 through tf_keras."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from harness.errors import ModelError
from harness.tf_model import Model

__all__ = ["from_file", "from_keras", "keras_of"]


def from_file(path: str, precision: str | None) -> Model:
    """Load a file, with Keras 3 or, where that cannot, with Keras 2. No code from the file is run.

    Raises: ModelError: neither can.
    """
    import keras

    try:
        loaded = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as first:  # noqa: BLE001 - whatever Keras 3 says of a file of Keras 2
        loaded = _by_keras_2(path, first)
    return from_keras(path, _with_precision(path, loaded, precision) if precision else loaded)


def _by_keras_2(path: str, first: Exception) -> Any:
    reason = f"{type(first).__name__}: {' '.join(str(first).split())[:400]}"
    if not _is_keras_2(path):
        raise ModelError(f"{path}: the model cannot be loaded: {reason}") from first
    if _holds_code(path):
        raise ModelError(
            f"{path}: the file holds Python code (a Lambda layer), which is not run; make the model with a factory "
            "(python: package.module:factory) and take the weights alone from the file"
        ) from first
    try:
        import tf_keras
    except ImportError:
        raise ModelError(
            f"{path}: saved by Keras 2, Keras 3 cannot load it ({reason}), and tf_keras is not installed: "
            "pip install 'harness[keras2]'"
        ) from first
    return tf_keras.models.load_model(path, compile=False, safe_mode=True)


def _attributes(path: str) -> dict[str, str]:
    """Return what an .h5 file says of itself; nothing for other files."""
    import h5py

    if not h5py.is_hdf5(path):
        return {}
    with h5py.File(path, "r") as file:
        return {key: value if isinstance(value, str) else bytes(value).decode(errors="replace")
                for key, value in file.attrs.items() if key in ("keras_version", "model_config")}  # fmt: skip


def _is_keras_2(path: str) -> bool:
    import json
    import zipfile

    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if "metadata.json" not in archive.namelist():
                return False
            version = json.loads(archive.read("metadata.json")).get("keras_version", "")
            return str(version).startswith("2.")
    return _attributes(path).get("keras_version", "").startswith("2.")


def _holds_code(path: str) -> bool:
    return '"class_name": "Lambda"' in _attributes(path).get("model_config", "")


def _with_precision(path: str, loaded: Any, precision: str) -> Any:
    """Build the model again with another dtype policy, and the same weights."""
    import keras

    if not isinstance(loaded, keras.Model):
        raise ModelError(f"{path}: precision: {precision}: a model of Keras 2 keeps its own; save it with Keras 3")

    def again(layer: Any) -> Any:
        config = layer.get_config()
        if not isinstance(layer, keras.layers.InputLayer):
            config["dtype"] = precision
        return type(layer).from_config(config)

    copy = keras.models.clone_model(loaded, clone_function=again)
    copy.set_weights(loaded.get_weights())
    return copy


def keras_of(found: Any) -> bool:
    """Whether something is a Keras model, of either generation."""
    return any("keras" in base.__module__.split(".")[0] and base.__name__ == "Model" for base in type(found).__mro__)


def from_keras(path: str, loaded: Any) -> Model:
    """Take a Keras model.

    Raises: ModelError: it does not know its inputs.
    """
    if not getattr(loaded, "inputs", None):
        raise ModelError(
            f"{path}: the Keras model does not know its inputs: build it from keras.Input, or call it once before it is saved"
        )
    inputs = {_name(tensor): tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in loaded.inputs}
    if any(base.__name__ == "Sequential" for base in type(loaded).__mro__):  # it names its layers, not its output
        structure, names, structured = loaded.outputs, [loaded.layers[-1].name], None
    else:
        structure, structured = loaded.output, loaded.input
        names = list(structure) if isinstance(structure, Mapping) else list(loaded.output_names)

    def predict(tensors: Mapping[str, Any]) -> Mapping[str, Any]:
        ordered = [tensors[name] for name in inputs]
        if isinstance(structured, Mapping):
            given: Any = tensors
        else:
            given = ordered[0] if len(ordered) == 1 else ordered
        found = loaded(given, training=False)
        if isinstance(found, Mapping):
            return found
        return dict(zip(names, found if isinstance(found, list | tuple) else [found], strict=True))

    specs = [structure[name] for name in names] if isinstance(structure, Mapping) else tf.nest.flatten(structure)
    outputs = {name: tf.TensorSpec(spec.shape, spec.dtype) for name, spec in zip(names, specs, strict=True)}
    return Model(path, inputs, outputs, predict, "keras")


def _name(tensor: Any) -> str:
    return str(tensor.name).partition(":")[0]
