"""TensorFlow Serving's PredictionService over gRPC. Loads TensorFlow, and tensorflow-serving-api when it is used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from harness.data import Feature
from harness.errors import ModelError
from harness.models.grpc_channel import GrpcChannel
from harness.models.served import CallFailed, Question, Reply, ServedSignature, dtype_of
from harness.names.texts import shortened

__all__ = ["ServingGrpc", "signature_of"]

SERVICE = "/tensorflow.serving.PredictionService"
METADATA_S = 30.0


class ServingGrpc:
    """One address of TensorFlow Serving.

    Args:
      url: grpc:// or grpcs://.
      name: of the model.
      version: number, label, or None for what the server takes.
      signature: of the model.
    Raises: ModelError: what it needs is not installed, or credentials are not usable.
    """

    protocol = "serving"

    def __init__(self, url: str, name: str, version: int | str | None, signature: str) -> None:
        try:
            from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2
        except ImportError as exc:
            raise ModelError(
                f"endpoint {url}: tensorflow-serving-api is not installed: pip install 'exact-harness[endpoints]'"
            ) from exc
        self._channel = GrpcChannel(url)
        self._request, self._ask_metadata = predict_pb2.PredictRequest, get_model_metadata_pb2.GetModelMetadataRequest
        self._signatures = get_model_metadata_pb2.SignatureDefMap
        self._predict = self._channel.method(
            f"{SERVICE}/Predict", self._request.SerializeToString, predict_pb2.PredictResponse.FromString
        )
        self._metadata = self._channel.method(
            f"{SERVICE}/GetModelMetadata",
            self._ask_metadata.SerializeToString,
            get_model_metadata_pb2.GetModelMetadataResponse.FromString,
        )
        self._name, self._version, self._signature = name, version, signature

    def signature(self) -> ServedSignature:
        """Ask for the metadata; see `Transport`."""
        request = self._ask_metadata(metadata_field=["signature_def"])
        self._address(request.model_spec)
        reply = self._metadata(request, METADATA_S)
        signatures = self._signatures()
        if "signature_def" not in reply.metadata or not reply.metadata["signature_def"].Unpack(signatures):
            raise CallFailed("REPLY", "expected metadata with signature_def, found none")
        return signature_of(signatures.signature_def, self._signature, str(reply.model_spec.version.value))

    def predict(self, question: Question, deadline_s: float) -> Reply:
        """Ask once; see `Transport`."""
        request = self._request()
        self._address(request.model_spec)
        request.model_spec.signature_name = self._signature
        for name, array in question.tensors.items():
            request.inputs[name].CopyFrom(_tensor_proto(array))
        reply = self._predict(request, deadline_s)
        for what, found, expected in (
            ("model", reply.model_spec.name, self._name), ("signature", reply.model_spec.signature_name, self._signature),
        ):  # fmt: skip
            if found and found != expected:
                raise CallFailed("REPLY", f"expected a reply of {what} '{expected}', found one of '{shortened(found, 100)}'")
        outputs = {}
        for name, proto in reply.outputs.items():
            try:
                outputs[name] = tf.make_ndarray(proto)
            except (TypeError, ValueError) as exc:
                raise CallFailed("REPLY", f"output '{name}' cannot be read: {exc}") from exc
        version = str(reply.model_spec.version.value) if reply.model_spec.HasField("version") else None
        return Reply(outputs, version)

    def _address(self, spec: Any) -> None:
        spec.name = self._name
        if isinstance(self._version, int):
            spec.version.value = self._version
        elif self._version is not None:
            spec.version_label = self._version

    def hide(self, text: str) -> str:
        """Take secrets out of a text."""
        return self._channel.hide(text)

    def close(self) -> None:
        """Close the connections."""
        self._channel.close()


def signature_of(signatures: Mapping[str, Any], name: str, version: str) -> ServedSignature:
    """Return a signature of a server's SignatureDefs, by name.

    Raises: ModelError: there is no such signature. CallFailed: a tensor has no known shape.
    """
    if name not in signatures:
        raise ModelError(f"signature '{name}': the server's model has none of this name: it has {', '.join(sorted(signatures))}")
    sides, firsts = [], set()
    for tensors in (signatures[name].inputs, signatures[name].outputs):
        side = {}
        for key, info in tensors.items():
            sizes = [dim.size if dim.size >= 0 else None for dim in info.tensor_shape.dim]
            if info.tensor_shape.unknown_rank or not sizes:
                raise CallFailed("SIGNATURE", f"'{key}' has no dimension of examples, or an unknown number of dimensions")
            firsts.add(sizes[0])
            side[key] = Feature(tf.as_dtype(info.dtype).name, tuple(sizes[1:]))
        sides.append(side)
    rows = next(iter(firsts)) if len(firsts) == 1 else None
    return ServedSignature(version, sides[0], sides[1], rows)


def _tensor_proto(array: np.ndarray) -> Any:
    if dtype_of(array) == "string":
        return tf.make_tensor_proto(array.astype(object), tf.string, array.shape)
    from tensorflow.core.framework.tensor_pb2 import TensorProto

    shape = tf.TensorShape(array.shape).as_proto()
    dtype = tf.as_dtype(array.dtype).as_datatype_enum
    return TensorProto(dtype=dtype, tensor_shape=shape, tensor_content=np.ascontiguousarray(array).tobytes())
