"""Load a model, say its inputs and outputs, predict. Knows nothing of data or metrics."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from harness.errors import ModelError, nearest
from harness.job import ModelSpec

__all__ = ["Model", "load"]


@dataclass(frozen=True)
class Model:
    """A model that is ready to predict.

    `inputs` and `outputs` are TensorSpecs by name, the batch dimension first and unknown. `predict` maps tensors by
    input name to tensors by output name, and may be traced into a graph.
    """

    path: str
    inputs: Mapping[str, tf.TensorSpec]
    outputs: Mapping[str, tf.TensorSpec]
    predict: Callable[[Mapping[str, Any]], Mapping[str, Any]]

    @property
    def takes_serialized(self) -> bool:
        """Whether the model parses serialized Examples itself: one input, strings, one per example."""
        specs = list(self.inputs.values())
        return len(specs) == 1 and specs[0].dtype == tf.string and len(specs[0].shape) == 1

    def describe(self) -> str:
        """Write inputs and outputs, one line each."""
        lines = [f"  {kind} {name}: {spec.dtype.name} {list(spec.shape)}" for kind, specs in
                 (("input ", self.inputs), ("output", self.outputs)) for name, spec in specs.items()]  # fmt: skip
        return "\n".join(lines)


def load(path: str, spec: ModelSpec) -> Model:
    """Load a SavedModel folder or a .keras file.

    Args:
      path: as returned by `model_files.resolve`.
      spec: which signature, and whether to compile with XLA.
    Raises: ModelError: it cannot be loaded, or has no such signature.
    """
    try:
        if os.path.isdir(path):
            model = _saved_model(path, spec.signature)
        elif path.endswith(".keras"):
            model = _keras(path)
        else:
            raise ModelError(f"{path}: expected a SavedModel folder or a .keras file")
    except ModelError:
        raise
    except Exception as exc:
        # Whatever a loader raises on a broken file, the user needs the file and the reason.
        reason = " ".join(str(exc).split())[:400]
        raise ModelError(f"{path}: the model cannot be loaded: {type(exc).__name__}: {reason}") from exc
    if spec.jit_compile:
        compiled = tf.function(model.predict, jit_compile=True)
        model = Model(model.path, model.inputs, model.outputs, compiled)
    return model


def _saved_model(path: str, signature: str) -> Model:
    loaded = tf.saved_model.load(path)
    if signature not in loaded.signatures:
        raise ModelError(f"{path}: no signature '{signature}': {nearest(signature, loaded.signatures) or 'it has none'}")
    function = loaded.signatures[signature]
    inputs = function.structured_input_signature[1]
    outputs = function.structured_outputs

    def predict(tensors: Mapping[str, Any]) -> Mapping[str, Any]:
        return function(**tensors)  # the closure also keeps `loaded`, and so its variables, alive

    predict.owner = loaded  # type: ignore[attr-defined]
    return Model(path, dict(inputs), {name: tf.TensorSpec(t.shape, t.dtype) for name, t in outputs.items()}, predict)


def _keras(path: str) -> Model:
    import keras

    loaded = keras.saving.load_model(path, compile=False, safe_mode=True)
    inputs = {tensor.name: tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in loaded.inputs}
    if isinstance(loaded, keras.Sequential):  # it names its layers, not its output
        structure, names = loaded.outputs, [loaded.layers[-1].name]
    else:
        structure = loaded.output
        names = list(structure) if isinstance(structure, Mapping) else list(loaded.output_names)

    def predict(tensors: Mapping[str, Any]) -> Mapping[str, Any]:
        ordered = [tensors[name] for name in inputs]
        given = ordered[0] if len(ordered) == 1 else tensors if isinstance(loaded.input, Mapping) else ordered
        found = loaded(given, training=False)
        if isinstance(found, Mapping):
            return found
        return dict(zip(names, found if isinstance(found, list | tuple) else [found], strict=True))

    specs = tf.nest.flatten(structure)
    return Model(path, inputs, {n: tf.TensorSpec(s.shape, s.dtype) for n, s in zip(names, specs, strict=True)}, predict)
