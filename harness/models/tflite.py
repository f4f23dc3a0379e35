"""TFLite models, through the interpreter on the host: one thread, a batch at a time.

The inputs and outputs of a quantised model are shown as float32: q = round(x / scale) + zero point, cut to the range of
the type, and back. Source: TensorFlow Lite 8-bit quantization specification.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from harness.errors import ModelError, nearest
from harness.models.model import Model
from harness.names.verbosity import quiet_stderr

__all__ = ["from_tflite"]


def from_tflite(path: str, signature: str) -> Model:
    """Load a .tflite file.

    Raises: ModelError: there is no such signature, or the tensors are of kinds that are not supported.
    """
    with quiet_stderr():  # that it has a successor, and which delegate it takes
        interpreter = tf.lite.Interpreter(model_path=path, num_threads=1)
        interpreter.allocate_tensors()
    named = interpreter.get_signature_list()
    if named and signature not in named:
        if signature != "serving_default" or len(named) > 1:
            raise ModelError(f"{path}: no signature '{signature}': {nearest(signature, named)}")
        (signature,) = named
    if not named:
        raise ModelError(
            f"{path}: the file names no signature; convert the model with a newer TFLiteConverter, which writes them"
        )
    runner = interpreter.get_signature_runner(signature)
    takes, gives = runner.get_input_details(), runner.get_output_details()
    fixed = _fixed_batch(path, takes)
    names, results = sorted(takes), sorted(gives)
    # An interpreter has one set of tensors.
    lock = threading.Lock()

    def run(*arrays: np.ndarray) -> list[np.ndarray]:
        inputs_by_name = {name: _quantise(array, takes[name]) for name, array in zip(names, arrays, strict=True)}
        with lock:
            outputs_by_name = runner(**inputs_by_name) if fixed is None else _in_pieces(runner, inputs_by_name, fixed)
        return [np.ascontiguousarray(_dequantise(outputs_by_name[name], gives[name])) for name in results]

    inputs = {name: tf.TensorSpec([None, *_inner(takes[name])], _dtype(takes[name])) for name in names}
    outputs = {name: tf.TensorSpec([None, *_inner(gives[name])], _dtype(gives[name])) for name in results}

    def predict(tensors: Mapping[str, Any]) -> Mapping[str, Any]:
        dtypes = [outputs[name].dtype for name in results]
        values = tf.numpy_function(run, [tensors[name] for name in names], dtypes, stateful=False)
        return {name: tf.ensure_shape(tensor, outputs[name].shape) for name, tensor in zip(results, values, strict=True)}

    predict.owner = interpreter  # type: ignore[attr-defined]
    shown = f"{', '.join(names)} -> {', '.join(results)}"
    return Model(path, inputs, outputs, predict, "tflite", {signature: shown}, signature)


def _fixed_batch(path: str, takes: Mapping[str, Any]) -> int | None:
    """Return the batch size that the model was converted for, None where it takes any."""
    sizes = {int(detail["shape_signature"][0]) if len(detail["shape_signature"]) else 0 for detail in takes.values()}
    if 0 in sizes or len(sizes) != 1:
        raise ModelError(f"{path}: the inputs of the model have no batch dimension in common: {sorted(takes)}")
    (size,) = sizes
    return None if size < 0 else size


def _in_pieces(runner: Any, arrays: Mapping[str, np.ndarray], size: int) -> dict[str, np.ndarray]:
    """Run a batch in pieces of a fixed size; the last one is filled up with its first example."""
    count = len(next(iter(arrays.values())))
    pieces: dict[str, list[np.ndarray]] = {}
    for start in range(0, count, size):
        cut = {name: values[start : start + size] for name, values in arrays.items()}
        short = size - len(next(iter(cut.values())))
        cut = {name: np.concatenate([values, np.repeat(values[:1], short, axis=0)]) for name, values in cut.items()}
        for name, piece in runner(**cut).items():
            pieces.setdefault(name, []).append(piece[: size - short])
    return {name: np.concatenate(parts) for name, parts in pieces.items()}


def _inner(detail: Mapping[str, Any]) -> list[int | None]:
    return [None if size < 0 else int(size) for size in detail["shape_signature"][1:]]


def _scale(detail: Mapping[str, Any]) -> tuple[float, int] | None:
    scale, zero = detail["quantization"]
    return (float(scale), int(zero)) if scale and np.issubdtype(detail["dtype"], np.integer) else None


def _dtype(detail: Mapping[str, Any]) -> Any:
    return tf.float32 if _scale(detail) else tf.as_dtype(detail["dtype"])


def _quantise(array: np.ndarray, detail: Mapping[str, Any]) -> np.ndarray:
    quantization = _scale(detail)
    if quantization is None:
        return array
    scale, zero = quantization
    ends = np.iinfo(detail["dtype"])
    return np.clip(np.round(array / np.float32(scale)) + zero, ends.min, ends.max).astype(detail["dtype"])


def _dequantise(array: np.ndarray, detail: Mapping[str, Any]) -> np.ndarray:
    quantization = _scale(detail)
    if quantization is None:
        return array
    return ((array.astype(np.int32) - quantization[1]) * np.float32(quantization[0])).astype(np.float32)
