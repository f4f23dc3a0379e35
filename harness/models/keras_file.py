"""Keras models: .keras and .h5 files, and models that a factory made; of Keras 3, or of Keras 2 through tf_keras."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from harness.errors import ModelError
from harness.models.keras_config import Registered, check
from harness.models.model import Model

__all__ = ["from_file", "from_keras", "keras_of"]


OWN = ("keras", "tf_keras", "tensorflow")  # packages whose registered names are not the user's


def from_file(path: str, precision: str | None) -> Model:
    """Load a file, with Keras 3 or, where that cannot, with Keras 2. No code from the file is run.

    Raises: ModelError: neither can, or the file's configuration names what is not known to be harmless.
    """
    import keras

    try:
        check(path, _registered(keras))
        loaded = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as first:  # noqa: BLE001 - whatever Keras 3 says of a file of Keras 2, which has names of its own
        loaded = _by_keras_2(path, first)
    return from_keras(path, _with_precision(path, loaded, precision) if precision else loaded)


def _by_keras_2(path: str, first: Exception) -> Any:
    reason = f"{type(first).__name__}: {' '.join(str(first).split())[:400]}"
    refusal = first if isinstance(first, ModelError) else None
    if not _is_keras_2(path):
        if refusal:
            raise refusal
        raise ModelError(f"{path}: the model cannot be loaded: {reason}") from first
    try:
        import tf_keras
        from tf_keras.src.saving.serialization_lib import SafeModeScope
    except ImportError:
        if refusal:
            raise refusal from None
        raise ModelError(
            f"{path}: saved by Keras 2, Keras 3 cannot load it ({reason}), and tf_keras is not installed: "
            "pip install 'exact-harness[keras2]'"
        ) from first
    check(path, _registered(tf_keras))  # what is registered with Keras 3 alone it would look for in the module that is named
    with SafeModeScope(safe_mode=True):  # of an .h5 file it forgets the argument
        return tf_keras.models.load_model(path, compile=False, safe_mode=True)


def _registered(loader: Any) -> Registered:
    """Return the look-up of what the user's own code has registered with a loader."""

    def find(name: str) -> Any:
        registered = loader.saving.get_registered_object(name)
        return None if getattr(registered, "__module__", "").partition(".")[0] in OWN else registered

    return find


def _is_keras_2(path: str) -> bool:
    import json
    import zipfile

    import h5py

    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if "metadata.json" not in archive.namelist():
                return False
            version = json.loads(archive.read("metadata.json")).get("keras_version", "")
            return str(version).startswith("2.")
    if not h5py.is_hdf5(path):
        return False
    with h5py.File(path, "r") as file:
        version = file.attrs.get("keras_version", "")
        return (version if isinstance(version, str) else bytes(version).decode(errors="replace")).startswith("2.")


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


def keras_of(candidate: Any) -> bool:
    """Whether something is a Keras model, of either generation."""
    return any("keras" in base.__module__.split(".")[0] and base.__name__ == "Model" for base in type(candidate).__mro__)


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
            arguments: Any = tensors
        else:
            arguments = ordered[0] if len(ordered) == 1 else ordered
        outputs = loaded(arguments, training=False)
        if isinstance(outputs, Mapping):
            return outputs
        return dict(zip(names, outputs if isinstance(outputs, list | tuple) else [outputs], strict=True))

    specs = [structure[name] for name in names] if isinstance(structure, Mapping) else tf.nest.flatten(structure)
    outputs = {name: tf.TensorSpec(spec.shape, spec.dtype) for name, spec in zip(names, specs, strict=True)}
    return Model(path, inputs, outputs, predict, "keras")


def _name(tensor: Any) -> str:
    return str(tensor.name).partition(":")[0]
