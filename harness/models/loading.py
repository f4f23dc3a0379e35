"""Load a job's models. Knows nothing of data or metrics.

Each kind of model has a file of its own, loaded when it is needed: SavedModel, Keras (2 and 3), TFLite, a factory.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import tensorflow as tf

from harness.data import Feature
from harness.errors import HarnessError, ModelError
from harness.job.specs import ModelSpec
from harness.models.model import PREDICT, Model

__all__ = ["load", "several", "stored"]


def load(path: str | None, spec: ModelSpec, folder: Path = Path(".")) -> Model:
    """Load a SavedModel folder, a .keras, .h5 or .tflite file, what a factory makes, or what an endpoint serves.

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
    if spec.endpoint is not None:
        from harness.models.endpoint import from_endpoint

        return from_endpoint(spec, path)
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
    first_model: dict[str, str] = {}
    for name, model in models.items():
        for key, spec in model.inputs.items():
            known = inputs.setdefault(key, spec)
            first = first_model.setdefault(key, name)
            if known.dtype != spec.dtype or known.shape.rank != spec.shape.rank or not known.shape.is_compatible_with(spec.shape):
                raise ModelError(
                    f"models: input '{key}' is {known.dtype.name} {list(known.shape)} to {first} and {spec.dtype.name} "
                    f"{list(spec.shape)} to {name}; models of one job read the same features: evaluate them in jobs of their own"
                )

    def together(chosen: Mapping[str, Model]) -> PREDICT:
        return lambda tensors: {
            f"{name}/{key}": tensor
            for name, model in chosen.items()
            for key, tensor in model.predict({key: tensors[key] for key in model.inputs}).items()
        }

    outputs = {f"{name}/{key}": spec for name, model in models.items() for key, spec in model.outputs.items()}
    path = "; ".join(f"{name}: {model.path}" for name, model in models.items())
    signatures = {f"{name}/{key}": signature for name, model in models.items() for key, signature in model.signatures.items()}
    own_inputs = {name: tuple(model.inputs) for name, model in models.items()}
    served = {name: model.served[""] for name, model in models.items() if model.served}
    local = {name: model for name, model in models.items() if not model.served}
    return Model(
        path, inputs, outputs, together(models), "several", signatures, models=own_inputs,
        served=served, inside=together(local) if served and local else None,
    )  # fmt: skip


def stored(outputs: Mapping[str, Feature]) -> Model:
    """Return a model that gives what it takes: predictions that were made earlier."""
    specs = {name: tf.TensorSpec([None, *feature.shape], feature.dtype) for name, feature in outputs.items()}
    return Model("", specs, specs, dict, "predictions")
