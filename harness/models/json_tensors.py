"""Tensors as JSON, in the ways of TensorFlow Serving and of the Open Inference Protocol. Pure."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from harness.data import Feature
from harness.models.served import CallFailed, dtype_of
from harness.names.texts import shortened

__all__ = ["column_outputs", "from_json", "row_outputs", "to_json"]


def to_json(array: np.ndarray) -> Any:
    """Return nested lists; bytes as {"b64": ...}.

    >>> to_json(np.array([[1, 2]], np.int64)), to_json(np.array([b"a"], object))
    ([[1, 2]], [{'b64': 'YQ=='}])
    """
    if dtype_of(array) != "string":
        return (array if array.dtype.kind in "biuf" and array.dtype.itemsize <= 8 else array.astype(np.float32)).tolist()
    encoded = [{"b64": base64.b64encode(_bytes(value)).decode()} for value in array.ravel().tolist()]
    whole = np.empty(len(encoded), object)
    whole[:] = encoded
    return whole.reshape(array.shape).tolist()


def from_json(raw: Any, name: str, feature: Feature) -> np.ndarray:
    """Read nested lists as a tensor.

    Args:
      raw: of the output `name`.
      feature: its dtype; the shape is left to others to compare.
    Raises: CallFailed: they are ragged, or hold something else.

    >>> from_json([[0.5, "NaN"]], "y", Feature("float32", (2,))).tolist()
    [[0.5, nan]]
    """
    try:
        if feature.dtype != "string":
            array = np.array(raw)
            if array.dtype == object or (array.dtype.kind in "fU" and np.dtype(_numpy(feature.dtype)).kind in "biu"):
                raise ValueError(f"expected {feature.dtype}, found {shortened(str(raw), 60)}")
            return array.astype(_numpy(feature.dtype))
        shape, flat = _flat(raw)
        whole = np.empty(len(flat), object)
        whole[:] = [base64.b64decode(value["b64"]) if isinstance(value, Mapping) else _bytes(value) for value in flat]
        return whole.reshape(shape)
    except (TypeError, ValueError, KeyError, OverflowError) as exc:
        raise CallFailed("REPLY", f"output '{name}' cannot be read: {shortened(' '.join(str(exc).split()), 200)}") from exc


def column_outputs(raw: Any, outputs: Mapping[str, Feature]) -> dict[str, np.ndarray]:
    """Read TensorFlow Serving's column format: a tensor by output, or the only one as it is."""
    if isinstance(raw, Mapping) and set(raw) != {"b64"}:
        return {name: from_json(value, name, outputs.get(name, Feature("float32", ()))) for name, value in raw.items()}
    name = next(iter(outputs)) if len(outputs) == 1 else ""
    if not name:
        raise CallFailed("REPLY", f"expected the outputs {', '.join(sorted(outputs))}, found one tensor")
    return {name: from_json(raw, name, outputs[name])}


def row_outputs(raw: Any, outputs: Mapping[str, Feature]) -> dict[str, np.ndarray]:
    """Read TensorFlow Serving's row format: what there is of each example."""
    if not isinstance(raw, Sequence):
        raise CallFailed("REPLY", f"expected predictions of each example, found {shortened(str(raw), 60)}")
    if not raw or not isinstance(raw[0], Mapping) or set(raw[0]) == {"b64"}:
        return column_outputs(list(raw), outputs)
    names = set(raw[0])
    if any(not isinstance(row, Mapping) or set(row) != names for row in raw):
        raise CallFailed("REPLY", "expected the same outputs of every example")
    return {name: from_json([row[name] for row in raw], name, outputs.get(name, Feature("float32", ()))) for name in names}


def _numpy(dtype: str) -> Any:
    import ml_dtypes

    return ml_dtypes.bfloat16 if dtype == "bfloat16" else np.dtype(dtype)


def _flat(raw: Any) -> tuple[list[int], list[Any]]:
    """Return the shape and the values of nested lists.

    >>> _flat([["a", "b"], ["c", "d"]])
    ([2, 2], ['a', 'b', 'c', 'd'])
    """
    if not isinstance(raw, list):
        return [], [raw]
    parts = [_flat(part) for part in raw]
    shapes = {tuple(shape) for shape, _ in parts}
    if len(shapes) > 1:
        raise ValueError("its lists have different lengths")
    inner = list(next(iter(shapes))) if shapes else []
    return [len(raw), *inner], [value for _, values in parts for value in values]


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()
