"""The Open Inference Protocol (KServe's V2: Triton, KServe, OpenVINO Model Server, MLServer) over gRPC."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.models.grpc_channel import GrpcChannel
from harness.models.inference_messages import CONTENTS, Messages
from harness.models.inference_tensors import (
    DATATYPES,
    check_model,
    datatype_of,
    from_bytes,
    signature_of,
    to_bytes,
    with_answering_version,
)
from harness.models.served import UNVERSIONED, CallFailed, Question, Reply, ServedSignature

__all__ = ["InferenceGrpc"]

SERVICE = "/inference.GRPCInferenceService"
METADATA_S = 30.0


class InferenceGrpc:
    """One address of an inference server.

    Args:
      url: grpc:// or grpcs://.
      name: of the model.
      version: None for what the server takes.
    Raises: ModelError: gRPC is not installed, or credentials are not usable.
    """

    protocol = "inference"

    def __init__(self, url: str, name: str, version: int | str | None) -> None:
        self._channel = GrpcChannel(url)
        self.address = self._channel.address
        self._messages = messages = Messages()
        self._infer = self._channel.method(
            f"{SERVICE}/ModelInfer", messages.ModelInferRequest.SerializeToString, messages.ModelInferResponse.FromString
        )
        self._metadata = self._channel.method(
            f"{SERVICE}/ModelMetadata",
            messages.ModelMetadataRequest.SerializeToString,
            messages.ModelMetadataResponse.FromString,
        )
        self._name, self._version = name, "" if version is None else str(version)

    def signature(self) -> ServedSignature:
        """Ask for the metadata; see `Transport`."""
        reply = self._metadata(self._messages.ModelMetadataRequest(name=self._name, version=self._version), METADATA_S)
        version = self._version or (max(reply.versions, key=_order) if reply.versions else UNVERSIONED)
        sides = [
            [{"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape} for tensor in side]
            for side in (reply.inputs, reply.outputs)
        ]
        signature = signature_of(version, *sides)
        return with_answering_version(self, signature, METADATA_S) if version == UNVERSIONED else signature

    def predict(self, question: Question, deadline_s: float) -> Reply:
        """Ask once; see `Transport`."""
        request = self._messages.ModelInferRequest(model_name=self._name, model_version=self._version, id=question.label)
        for name, array in question.tensors.items():
            request.inputs.add(name=name, datatype=datatype_of(array), shape=array.shape)
            request.raw_input_contents.append(to_bytes(array))
        reply = self._infer(request, deadline_s)
        check_model(reply.model_name, self._name)
        raw = list(reply.raw_output_contents)
        if raw and len(raw) != len(reply.outputs):
            raise CallFailed("REPLY", f"expected raw contents of {len(reply.outputs)} outputs, found {len(raw)}")
        outputs = {
            output.name: from_bytes(raw[number], output.name, output.datatype, output.shape) if raw else _listed(output)
            for number, output in enumerate(reply.outputs)
        }
        return Reply(outputs, reply.model_version or None, reply.id or None)

    def hide(self, text: str) -> str:
        """Take secrets out of a text."""
        return self._channel.hide(text)

    def close(self) -> None:
        """Close the connections."""
        self._channel.close()


def _order(version: str) -> tuple[int, str]:
    return (int(version) if version.isdigit() else -1, version)


def _listed(output: Any) -> np.ndarray:
    """Read the contents of an output, as a list of their type."""
    if output.datatype not in CONTENTS:
        raise CallFailed("REPLY", f"output '{output.name}': expected raw contents of {output.datatype}, found none")
    values, dtype = list(getattr(output.contents, CONTENTS[output.datatype])), DATATYPES[output.datatype]
    whole = np.empty(len(values), object if dtype == "string" else dtype)
    whole[:] = values
    try:
        return whole.reshape(list(output.shape))
    except ValueError as exc:
        raise CallFailed("REPLY", f"output '{output.name}' cannot be read: {exc}") from exc
