"""SavedModels: of Keras 3, tf.Module, Keras 2 and Estimators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from harness.errors import ModelError, nearest
from harness.models.model import Model

__all__ = ["from_loaded", "from_saved_model"]

# What tf.saved_model.load says of objects that only Keras 2 knows: optimizer slots are the usual ones.
KERAS_2 = ("add_slot", "_UserObject")


def from_saved_model(path: str, signature: str) -> Model:
    """Load a SavedModel. Lookup tables are initialised by the loader.

    Raises: ModelError: there is no such signature, or Keras 2 is needed and missing.
    """
    try:
        loaded = tf.saved_model.load(path)
    except AttributeError as exc:
        if not any(word in str(exc) for word in KERAS_2):
            raise
        try:
            import tf_keras  # noqa: F401 - registers the classes of Keras 2 with the loader
        except ImportError:
            raise ModelError(
                f"{path}: saved by Keras 2 with its optimizer, which only tf_keras can read, and that is not installed: "
                "pip install 'exact-harness[keras2]', or save the model again without its optimizer (include_optimizer=False)"
            ) from exc
        loaded = tf.saved_model.load(path)
    return from_loaded(path, loaded, signature)


def from_loaded(path: str, loaded: Any, signature: str) -> Model:
    """Take a signature of what was loaded."""
    if signature not in loaded.signatures:
        raise ModelError(f"{path}: no signature '{signature}': {nearest(signature, loaded.signatures) or 'it has none'}")
    function = loaded.signatures[signature]
    inputs = function.structured_input_signature[1]
    outputs = {name: tf.TensorSpec(t.shape, t.dtype) for name, t in function.structured_outputs.items()}

    def predict(tensors: Mapping[str, Any]) -> Mapping[str, Any]:
        outputs: Mapping[str, Any] = function(**tensors)
        return outputs

    predict.owner = loaded  # type: ignore[attr-defined]  # keeps the variables alive
    signatures = {name: _describe(concrete) for name, concrete in loaded.signatures.items()}
    return Model(path, dict(inputs), outputs, predict, "saved_model", signatures, signature)


def _describe(function: Any) -> str:
    def specs(tensors: Mapping[str, Any]) -> str:
        return ", ".join(f"{name}: {spec.dtype.name} {_shape(spec.shape)}" for name, spec in sorted(tensors.items()))

    return f"{specs(function.structured_input_signature[1])} -> {specs(function.structured_outputs)}"


def _shape(shape: Any) -> str:
    return "[...]" if shape.rank is None else f"[{', '.join('?' if size is None else str(size) for size in shape)}]"
