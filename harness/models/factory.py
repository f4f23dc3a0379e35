"""Models that the user's own Python makes: python: package.module:factory, with weights from a file where there is one."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from harness.errors import JobError, ModelError
from harness.job.imports import load_object
from harness.job.specs import ModelSpec
from harness.models.keras_file import from_keras, keras_of
from harness.models.model import Model
from harness.models.saved_model import from_loaded

__all__ = ["from_factory", "from_function", "output_specs"]


def from_factory(path: str | None, spec: ModelSpec, folder: Path) -> Model:
    """Call a factory, and load weights into what it made.

    It may return a Keras model, a `tf.function` with an input signature, or an object with `signatures`.

    Raises: ModelError: it returned something else, or the weights do not fit. JobError: there is no such factory.
    """
    assert spec.python is not None
    where = f"python: {spec.python}"
    factory = load_object(spec.python, folder, "model: python")
    try:
        inspect.signature(factory).bind(**spec.args)
    except (TypeError, ValueError) as exc:
        raise JobError(f"model.args: {where}: {exc}") from exc
    if spec.precision:
        import keras

        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(spec.precision)
        try:
            model = factory(**spec.args)
        finally:
            keras.config.set_dtype_policy(before)
    else:
        model = factory(**spec.args)
    if path is not None:
        _load_weights(where, model, path)
    if keras_of(model):
        return from_keras(where, model)
    if spec.precision:
        raise ModelError(f"{where}: precision: {spec.precision}: only Keras models can be given another precision")
    if hasattr(model, "signatures"):
        return from_loaded(where, model, spec.signature)
    if getattr(model, "input_signature", None) is not None and hasattr(model, "get_concrete_function"):
        return from_function(where, model)
    raise ModelError(
        f"{where}: expected a Keras model, a tf.function with an input_signature, or an object with signatures; "
        f"the factory returned a {type(model).__name__}"
    )


def _load_weights(where: str, model: Any, path: str) -> None:
    try:
        if path.endswith((".h5", ".keras", ".hdf5")) and hasattr(model, "load_weights"):
            model.load_weights(path)
        else:
            tf.train.Checkpoint(model=model).restore(
                path.removesuffix(".index")
            ).assert_existing_objects_matched().expect_partial()
    except Exception as exc:
        reason = " ".join(str(exc).split())[:400]
        raise ModelError(
            f"{where}: the weights in {path} do not fit what the factory made: {type(exc).__name__}: {reason}"
        ) from exc


def from_function(where: str, function: Any) -> Model:
    """Take a tf.function, whose arguments are the inputs; an output that has no name is called `output`.

    Raises: ModelError: an argument or an output is not one tensor.
    """
    names = list(inspect.signature(function.python_function).parameters)[: len(function.input_signature)]
    inputs = dict(zip(names, function.input_signature, strict=True))
    for name, spec in inputs.items():
        if not isinstance(spec, tf.TensorSpec):
            raise ModelError(
                f"{where}: argument '{name}': expected a tf.TensorSpec, one tensor, found a {_kind(spec)}; "
                "give each input an argument of its own in the input_signature"
            )
    concrete = function.get_concrete_function()

    def predict(tensors: Mapping[str, Any]) -> Mapping[str, Any]:
        outputs = function(*(tensors[name] for name in names))
        return outputs if isinstance(outputs, Mapping) else {"output": outputs}

    predict.owner = function  # type: ignore[attr-defined]
    structured = concrete.structured_outputs
    outputs = output_specs(where, structured if isinstance(structured, Mapping) else {"output": structured})
    return Model(where, inputs, outputs, predict, "python")


def output_specs(where: str, outputs: Mapping[str, Any]) -> dict[str, tf.TensorSpec]:
    """Return the specs of what a traced function returns, by name.

    Raises: ModelError: an output is not one dense tensor.
    """
    for name, output in outputs.items():
        if not isinstance(output, tf.Tensor | tf.TensorSpec):
            raise ModelError(
                f"{where}: output '{name}': expected a tensor, found a {_kind(output)}; "
                "return one tensor, or a dict of them by name"
            )
    return {name: tf.TensorSpec(output.shape, output.dtype) for name, output in outputs.items()}


def _kind(nest: Any) -> str:
    """Say what stands where a tensor should."""
    if isinstance(nest, Mapping):
        return f"{type(nest).__name__} of {', '.join(map(str, nest))}"
    return f"{type(nest).__name__} of {len(nest)}" if isinstance(nest, list | tuple) else type(nest).__name__
