"""Tensors of the Open Inference Protocol: names of dtypes, and tensors as bytes. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np

from harness.data import Feature
from harness.errors import ModelError
from harness.models.served import CallFailed, Question, ServedSignature, Transport, dtype_of
from harness.names.texts import shortened

__all__ = ["DATATYPES", "check_model", "datatype_of", "from_bytes", "signature_of", "to_bytes", "with_answering_version"]

DATATYPES = {
    "BOOL": "bool", "UINT8": "uint8", "UINT16": "uint16", "UINT32": "uint32", "UINT64": "uint64", "INT8": "int8",
    "INT16": "int16", "INT32": "int32", "INT64": "int64", "FP16": "float16", "FP32": "float32", "FP64": "float64",
    "BF16": "bfloat16", "BYTES": "string",
}  # fmt: skip
NAMES = {dtype: name for name, dtype in DATATYPES.items()}


def datatype_of(array: np.ndarray) -> str:
    """Return the protocol's name of an array's dtype.

    >>> datatype_of(np.zeros(1, np.float32)), datatype_of(np.array([b"a"], object))
    ('FP32', 'BYTES')
    """
    return NAMES[dtype_of(array)]


def to_bytes(array: np.ndarray) -> bytes:
    """Return a tensor's raw contents: little endian, in rows; of strings each after its length, 4 bytes.

    >>> to_bytes(np.array([b"ab"], object))
    b'\\x02\\x00\\x00\\x00ab'
    """
    if dtype_of(array) != "string":
        return np.ascontiguousarray(array).tobytes()
    texts = [value if isinstance(value, bytes) else str(value).encode() for value in array.ravel().tolist()]
    return b"".join(len(text).to_bytes(4, "little") + text for text in texts)


def from_bytes(raw: bytes, name: str, datatype: str, shape: Sequence[int]) -> np.ndarray:
    """Read raw contents.

    Raises: CallFailed: they are not so many, or of a dtype that is not known.

    >>> from_bytes(to_bytes(np.array([[b"ab", b""]], object)), "y", "BYTES", [1, 2]).tolist()
    [[b'ab', b'']]
    """
    dtype = DATATYPES.get(datatype)
    if dtype is None:
        raise CallFailed("REPLY", f"output '{name}': unknown datatype {datatype}")
    try:
        if dtype != "string":
            return np.frombuffer(raw, ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype).reshape(shape)
        texts, at = [], 0
        while at < len(raw):
            end = at + 4 + int.from_bytes(raw[at : at + 4], "little")
            if end > len(raw):
                raise ValueError("a text ends beyond the reply")
            texts.append(raw[at + 4 : end])
            at = end
        whole = np.empty(len(texts), object)
        whole[:] = texts
        return whole.reshape(shape)
    except ValueError as exc:
        raise CallFailed("REPLY", f"output '{name}' {datatype} {list(shape)} cannot be read: {exc}") from exc


def signature_of(version: str, inputs: Sequence[Mapping[str, Any]], outputs: Sequence[Mapping[str, Any]]) -> ServedSignature:
    """Return what a server's metadata say: of each tensor name, datatype and shape, the examples first.

    Raises: ModelError: it says nothing of inputs or outputs. CallFailed: a tensor cannot be.
    """
    if not inputs or not outputs:
        missing = "inputs" if not inputs else "outputs"
        raise ModelError(
            f"the server says nothing of the model's {missing}: expected name, datatype and shape of each in its metadata (of "
            f"MLServer under {missing}: in model-settings.json)"
        )
    sides, firsts = [], set()
    for tensors in (inputs, outputs):
        side = {}
        for tensor in tensors:
            name, datatype, shape = str(tensor["name"]), str(tensor["datatype"]), [int(size) for size in tensor["shape"]]
            if datatype not in DATATYPES or not shape:
                raise CallFailed("SIGNATURE", f"'{name}' is {datatype} {shape}, expected a known datatype, examples first")
            sizes = [size if size >= 0 else None for size in shape]
            firsts.add(sizes[0])
            side[name] = Feature(DATATYPES[datatype], tuple(sizes[1:]))
        sides.append(side)
    rows = next(iter(firsts)) if len(firsts) == 1 else None
    return ServedSignature(version, sides[0], sides[1], rows)


def check_model(found: str, expected: str) -> None:
    """See that a reply is one of the model that was asked; one that names none is taken.

    Raises: CallFailed: it is another model's.
    """
    if found and found != expected:
        raise CallFailed("REPLY", f"expected a reply of model '{expected}', found one of '{shortened(found, 100)}'")


def with_answering_version(transport: Transport, signature: ServedSignature, deadline_s: float) -> ServedSignature:
    """Return a signature with the version that answers, where the metadata name none: two examples of zeros are sent for it."""
    rows = signature.rows or 2
    tensors = {}
    for name, feature in signature.inputs.items():
        shape = (rows, *(size or 1 for size in feature.shape))
        dtype = {"string": object, "bfloat16": ml_dtypes.bfloat16}.get(feature.dtype, feature.dtype)
        tensors[name] = np.full(shape, b"", object) if dtype is object else np.zeros(shape, dtype)
    try:
        version = transport.predict(Question(tensors, "which version"), deadline_s).version
    except CallFailed:
        return signature  # what a model does not take says nothing of versions
    return replace(signature, version=version) if version else signature
