"""A server of the Open Inference Protocol over gRPC within the process of a test: a function of arrays, its tensors read and written by hand.

The messages are those of `harness.models.inference_messages`, which tests/models/test_inference_protocol.py holds against MLServer's.
"""

from __future__ import annotations

import struct
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np

from harness.models.inference_messages import Messages

DTYPES = {"BOOL": "?", "INT8": "i1", "INT64": "<i8", "UINT8": "u1", "UINT64": "<u8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8"}
CONTENTS = {
    "BOOL": "bool_contents", "INT8": "int_contents", "INT64": "int64_contents", "UINT8": "uint_contents",
    "UINT64": "uint64_contents", "FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents",
}  # fmt: skip


class InferenceServer(grpc.GenericRpcHandler):
    """Serves `model(inputs)`: mappings of (datatype, shape of one example) and of arrays, by name.

    Args:
      raw: whether outputs go as bytes; else as lists of their type.
      change: takes each reply before it is sent, and the number of the request.
    """

    def __init__(self, model, inputs, outputs, *, raw=True, change=lambda reply, number: None):
        self._messages = Messages()
        self._model, self._inputs, self._outputs, self._raw, self._change = model, inputs, outputs, raw, change
        self.asked = 0
        self._server = grpc.server(ThreadPoolExecutor(8), handlers=[self])
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def service(self, details):
        method = details.method.rpartition("/")[2]
        if details.method.startswith("/inference.GRPCInferenceService/") and hasattr(self, method):
            return grpc.unary_unary_rpc_method_handler(getattr(self, method))
        return None

    def ModelMetadata(self, request, context):
        reply = self._messages.ModelMetadataResponse(name="m", versions=["1"], platform="test")
        for side, tensors in ((reply.inputs, self._inputs), (reply.outputs, self._outputs)):
            for name, (datatype, shape) in tensors.items():
                side.add(name=name, datatype=datatype, shape=[-1, *shape])
        return reply.SerializeToString()

    def ModelInfer(self, request, context):
        number, self.asked = self.asked, self.asked + 1
        asked = self._messages.ModelInferRequest.FromString(request)
        arrays = {
            tensor.name: _array(raw, tensor.datatype, list(tensor.shape))
            for tensor, raw in zip(asked.inputs, asked.raw_input_contents, strict=True)
        }
        assert {tensor.name: tensor.datatype for tensor in asked.inputs} == {n: kind for n, (kind, _) in self._inputs.items()}
        reply = self._messages.ModelInferResponse(model_name="m", model_version="1", id=asked.id)
        for name, array in self._model(arrays).items():
            datatype = self._outputs[name][0]
            output = reply.outputs.add(name=name, datatype=datatype, shape=array.shape)
            if self._raw:
                reply.raw_output_contents.append(_bytes(array, datatype))
            else:
                getattr(output.contents, CONTENTS[datatype]).extend(array.ravel().tolist())
        self._change(reply, number)
        return reply.SerializeToString()

    def close(self):
        self._server.stop(0).wait()


def _array(raw, datatype, shape):
    if datatype != "BYTES":
        return np.frombuffer(raw, DTYPES[datatype]).reshape(shape)
    texts = []
    while raw:
        (size,) = struct.unpack_from("<I", raw)
        texts.append(raw[4 : 4 + size])
        raw = raw[4 + size :]
    whole = np.empty(len(texts), object)
    whole[:] = texts
    return whole.reshape(shape)


def _bytes(array, datatype):
    if datatype != "BYTES":
        return array.astype(DTYPES[datatype]).tobytes()
    return b"".join(struct.pack("<I", len(text)) + text for text in array.ravel().tolist())
