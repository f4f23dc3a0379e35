"""Load a model, say its inputs and outputs, predict. Knows nothing of data or metrics.

Each kind of model has a file of its own, loaded when it is needed: SavedModel, Keras (2 and 3), TFLite, a factory.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import tensorflow as tf

from harness.data import Feature
from harness.errors import HarnessError, ModelError
from harness.job.specs import ModelSpec

__all__ = ["Model", "load", "several", "stored"]

PREDICT = Callable[[Mapping[str, Any]], Mapping[str, Any]]


@dataclass(frozen=True)
class Model:
    """A model that is ready to predict.

    `inputs` and `outputs` are TensorSpecs by name, the batch dimension first and unknown. `predict` maps tensors by
    input name to tensors by output name, and may be traced into a graph. `signatures` says of each signature that a file
    has what it takes and gives; `used` is the one at hand.
    """

    path: str
    inputs: Mapping[str, tf.TensorSpec]
    outputs: Mapping[str, tf.TensorSpec]
    predict: PREDICT
    kind: str = "model"
    signatures: Mapping[str, str] = field(default_factory=dict)
    used: str | None = None

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


def load(path: str | None, spec: ModelSpec, folder: Path = Path(".")) -> Model:
    """Load a SavedModel folder, a .keras, .h5 or .tflite file, or what a factory makes.

    Args:
      path: as returned by `model_files.locate`.
      spec: how to load and run it.
      folder: of the job file, where a factory's module is looked for first.
    Raises: ModelError: it cannot be loaded, has no such signature, or an option does not go with its kind.
    """
    where = path or f"python: {spec.python}"
    try:
        model = _load(path, spec, folder)
    except HarnessError:
        raise
    except Exception as exc:
        # Whatever a loader raises on a broken file, the user needs the file and the reason.
        reason = " ".join(str(exc).split())[:400]
        raise ModelError(f"{where}: the model cannot be loaded: {type(exc).__name__}: {reason}") from exc
    if spec.jit_compile:
        if model.kind == "tflite":
            raise ModelError(f"{where}: jit_compile: XLA does not compile TFLite models; leave it out")
        model = replace(model, predict=tf.function(model.predict, jit_compile=True))
    return model


def _load(path: str | None, spec: ModelSpec, folder: Path) -> Model:
    if spec.python is not None:
        from harness.models.factory import from_factory

        return from_factory(path, spec, folder)
    assert path is not None
    if path.endswith((".keras", ".h5", ".hdf5")):
        from harness.models.keras_file import from_file

        return from_file(path, spec.precision)
    if not (os.path.isdir(path) or path.endswith(".tflite")):
        raise ModelError(f"{path}: expected a SavedModel folder, or a .keras, .h5 or .tflite file")
    if spec.precision:
        raise ModelError(
            f"{path}: precision: {spec.precision}: the precision of this model was fixed when it was exported; only Keras models "
            "(.keras, .h5, a factory) can be given another one"
        )
    if path.endswith(".tflite"):
        from harness.models.tflite import from_tflite

        return from_tflite(path, spec.signature)
    from harness.models.saved_model import from_saved_model

    return from_saved_model(path, spec.signature)


def several(models: Mapping[str, Model]) -> Model:
    """Return models as one: it takes the inputs of all, by name, and gives the outputs of each as MODEL/OUTPUT.

    Raises: ModelError: an input of one name is not the same to all.
    """
    inputs: dict[str, tf.TensorSpec] = {}
    asked: dict[str, str] = {}
    for name, model in models.items():
        for key, spec in model.inputs.items():
            held = inputs.setdefault(key, spec)
            first = asked.setdefault(key, name)
            if held.dtype != spec.dtype or held.shape.rank != spec.shape.rank or not held.shape.is_compatible_with(spec.shape):
                raise ModelError(
                    f"models: input '{key}' is {held.dtype.name} {list(held.shape)} to {first} and {spec.dtype.name} "
                    f"{list(spec.shape)} to {name}; models of one job read the same features: evaluate them in jobs of their own"
                )

    def predict(tensors: Mapping[str, Any]) -> Mapping[str, Any]:
        return {
            f"{name}/{key}": found
            for name, model in models.items()
            for key, found in model.predict({key: tensors[key] for key in model.inputs}).items()
        }

    outputs = {f"{name}/{key}": spec for name, model in models.items() for key, spec in model.outputs.items()}
    path = "; ".join(f"{name}: {model.path}" for name, model in models.items())
    signatures = {f"{name}/{key}": said for name, model in models.items() for key, said in model.signatures.items()}
    return Model(path, inputs, outputs, predict, "several", signatures)


def stored(outputs: Mapping[str, Feature]) -> Model:
    """Return a model that gives what it takes: predictions that were made earlier."""
    specs = {name: tf.TensorSpec([None, *each.shape], each.dtype) for name, each in outputs.items()}
    return Model("", specs, specs, dict, "predictions")
