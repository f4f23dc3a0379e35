"""TensorFlow Serving over REST. Its replies do not say which version answered, so one version is asked for by number."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from harness.errors import ModelError
from harness.models.http_pool import HttpPool
from harness.models.json_tensors import column_outputs, row_outputs, to_json
from harness.models.served import CallFailed, Question, Reply, ServedSignature
from harness.models.serving_grpc import signature_of

__all__ = ["ServingRest"]

METADATA_S = 30.0


class ServingRest:
    """One address of TensorFlow Serving.

    Args:
      pool: connections to it.
      name: of the model.
      version: number or label; None for what the server says it has.
      signature: of the model.
      rows: whether tensors go by example, in the row format; else by name, in the column format.
    """

    protocol = "serving"

    def __init__(self, pool: HttpPool, name: str, version: int | str | None, signature: str, *, rows: bool = False) -> None:
        self._pool, self.address = pool, pool.address
        self._path = f"/v1/models/{quote(name, safe='')}"
        self._version, self._signature, self._rows = version, signature, rows
        self._known: ServedSignature | None = None

    def signature(self) -> ServedSignature:
        """Ask for the metadata, and choose the version; see `Transport`."""
        if self._version == "any":
            raise ModelError(
                "version: any: TensorFlow Serving does not say over REST which version answered; use grpc://, or name a version"
            )
        raw = self._pool.get(f"{self._path}{_place(self._version)}/metadata", METADATA_S)
        try:
            version = str(raw["model_spec"]["version"])
            signatures = {name: _signature_def(raw_def) for name, raw_def in _signatures(raw).items()}
        except (AttributeError, KeyError, TypeError, ValueError) as exc:
            raise CallFailed(
                "REPLY", f"expected metadata with model_spec and signature_def, found {self.hide(str(raw))[:100]}"
            ) from exc
        self._known = signature_of(signatures, self._signature, version)
        return self._known

    def predict(self, question: Question, deadline_s: float) -> Reply:
        """Ask once; see `Transport`."""
        known = self._known or self.signature()
        tensors = {name: to_json(array) for name, array in question.tensors.items()}
        body: dict[str, Any] = {"signature_name": self._signature}
        if self._rows:
            body["instances"] = [dict(zip(tensors, row, strict=True)) for row in zip(*tensors.values(), strict=True)]
        else:
            body["inputs"] = tensors
        headers = {"content-type": "application/json"}
        path = f"{self._path}/versions/{known.version}:predict"
        text, answered = self._pool.request("POST", path, json.dumps(body).encode(), headers, deadline_s)
        raw = self._pool.parsed(text, answered)
        key = "predictions" if self._rows else "outputs"
        if not isinstance(raw, Mapping) or key not in raw:
            raise CallFailed("REPLY", f"expected {key}, found {self.hide(str(raw))[:100]}")
        read = row_outputs if self._rows else column_outputs
        return Reply(read(raw[key], known.outputs), known.version)

    def hide(self, text: str) -> str:
        """Take secrets out of a text."""
        return self._pool.hide(text)

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()


def _place(version: int | str | None) -> str:
    if version is None:
        return ""
    return f"/versions/{version}" if isinstance(version, int) else f"/labels/{quote(version, safe='')}"


def _signatures(raw: Any) -> Mapping[str, Any]:
    signatures: Mapping[str, Any] = raw["metadata"]["signature_def"]["signature_def"]
    return signatures


def _signature_def(raw: Any) -> Any:
    """Return a SignatureDef of its JSON: shapes and dtypes of its tensors."""
    from google.protobuf import json_format
    from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

    try:
        return json_format.ParseDict(raw, SignatureDef(), ignore_unknown_fields=True)
    except json_format.ParseError as exc:
        raise ValueError(str(exc)) from exc
