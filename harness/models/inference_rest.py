"""The Open Inference Protocol over REST: tensors as bytes behind a head of JSON where the server can, else in JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import numpy as np

from harness.data import Feature
from harness.models.http_pool import HttpPool, may_be_half
from harness.models.inference_tensors import (
    DATATYPES,
    check_model,
    datatype_of,
    from_bytes,
    signature_of,
    to_bytes,
    with_answering_version,
)
from harness.models.json_tensors import from_json
from harness.models.served import UNVERSIONED, CallFailed, Question, Reply, ServedSignature, dtype_of

__all__ = ["InferenceRest"]

METADATA_S = 30.0
BINARY = "binary_tensor_data"  # an extension that a server says it has
HEAD = "inference-header-content-length"


class InferenceRest:
    """One address of an inference server.

    Args:
      pool: connections to it.
      name: of the model.
      version: None for what the server takes.
    """

    protocol = "inference"

    def __init__(self, pool: HttpPool, name: str, version: int | str | None) -> None:
        self._pool, self._name, self.address = pool, name, pool.address
        self._path = f"/v2/models/{quote(name, safe='')}" + (f"/versions/{quote(str(version))}" if version is not None else "")
        self._version = version
        self._binary: bool | None = None

    def signature(self) -> ServedSignature:
        """Ask for the metadata; see `Transport`."""
        raw = self._pool.get(self._path, METADATA_S)
        if not isinstance(raw, Mapping) or "name" not in raw:
            raise CallFailed("REPLY", f"expected metadata of a model, found {self.hide(str(raw))[:100]}")
        versions = [str(version) for version in raw.get("versions") or ()]
        highest = max(versions, key=lambda version: (int(version) if version.isdigit() else -1, version)) if versions else None
        version = str(self._version) if self._version is not None else highest or UNVERSIONED
        self._is_binary()
        try:
            signature = signature_of(version, raw.get("inputs") or (), raw.get("outputs") or ())
        except (AttributeError, KeyError, TypeError, ValueError) as exc:
            raise CallFailed(
                "REPLY", f"expected name, datatype and shape of each tensor, found {self.hide(str(raw))[:200]}"
            ) from exc
        return with_answering_version(self, signature, METADATA_S) if version == UNVERSIONED else signature

    def _is_binary(self) -> bool:
        if self._binary is None:
            server = self._pool.get("/v2", METADATA_S)
            self._binary = isinstance(server, Mapping) and BINARY in (server.get("extensions") or ())
        return self._binary

    def predict(self, question: Question, deadline_s: float) -> Reply:
        """Ask once; see `Transport`."""
        head, headers, parts = self._request(question)
        body, answered = self._pool.request("POST", f"{self._path}/infer", b"".join([head, *parts]), headers, deadline_s)
        length = answered.get(HEAD, "")
        cut = int(length) if re.fullmatch("[0-9]{1,18}", length) else len(body)
        raw = self._pool.parsed(body[:cut], answered)
        if not isinstance(raw, Mapping) or not isinstance(raw.get("outputs"), list):
            raise CallFailed("REPLY", f"expected outputs, found {self.hide(str(raw))[:100]}")
        check_model(str(raw.get("model_name") or ""), self._name)
        try:
            outputs = _outputs(raw["outputs"], body[cut:])
        except CallFailed as failure:
            failure.again = may_be_half(answered)
            raise
        label = str(raw["id"]) if raw.get("id") else None
        return Reply(outputs, str(raw["model_version"]) if raw.get("model_version") else None, label)

    def _request(self, question: Question) -> tuple[bytes, dict[str, str], list[bytes]]:
        """Return the head of a request, the headers, and what follows the head."""
        binary, parts, inputs = self._is_binary(), [], []
        for name, array in question.tensors.items():
            tensor: dict[str, Any] = {"name": name, "shape": list(array.shape), "datatype": datatype_of(array)}
            if binary:
                parts.append(to_bytes(array))
                tensor["parameters"] = {"binary_data_size": len(parts[-1])}
            else:
                tensor["data"] = _values(array)
            inputs.append(tensor)
        document: dict[str, Any] = {"id": question.label, "inputs": inputs}
        if binary:
            document["parameters"] = {"binary_data_output": True}
        head = json.dumps(document).encode()
        if not binary:
            return head, {"content-type": "application/json"}, []
        return head, {"content-type": "application/octet-stream", HEAD: str(len(head))}, parts

    def hide(self, text: str) -> str:
        """Take secrets out of a text."""
        return self._pool.hide(text)

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()


def _outputs(raw: list[Any], rest: bytes) -> dict[str, np.ndarray]:
    """Read outputs, from what JSON says of them and from what follows it.

    Raises: CallFailed: one cannot be read, or more follows than they are.
    """
    outputs = {}
    try:
        for output in raw:
            size = (output.get("parameters") or {}).get("binary_data_size")
            name, datatype, shape = str(output["name"]), str(output["datatype"]), output["shape"]
            if name in outputs:
                raise ValueError(f"'{name}' comes twice")
            if size is not None:
                if not 0 <= size <= len(rest):
                    raise ValueError(f"'{name}': expected {size} bytes, found {len(rest)}")
                outputs[name], rest = from_bytes(rest[:size], name, datatype, shape), rest[size:]
            else:
                flat = from_json(_flat(output["data"]), name, Feature(DATATYPES[datatype], ()))
                outputs[name] = flat.reshape(shape)
    except (AttributeError, KeyError, TypeError, ValueError) as exc:
        raise CallFailed("REPLY", f"an output cannot be read: {exc}") from exc
    if rest:
        raise CallFailed("REPLY", f"expected the contents of {len(outputs)} outputs, found {len(rest):,} bytes more")
    return outputs


def _values(array: np.ndarray) -> list[Any]:
    """Return a tensor's values as a flat list; texts have to be UTF-8."""
    if dtype_of(array) != "string":
        return (array if array.dtype.name not in ("bfloat16", "float16") else array.astype(np.float32)).ravel().tolist()
    return [value.decode() if isinstance(value, bytes) else str(value) for value in array.ravel().tolist()]


def _flat(data: Any) -> list[Any]:
    """Return the values of lists, nested or not: both are allowed.

    >>> _flat([[1, 2], [3]])
    [1, 2, 3]
    """
    return [value for part in data for value in _flat(part)] if isinstance(data, list) else [data]
