"""The Open Inference Protocol as others write it: messages that MLServer 1.7.1's own classes serialized, and tensors by hand."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from harness.data import Feature
from harness.errors import ModelError
from harness.models.inference_messages import Messages
from harness.models.inference_tensors import from_bytes, signature_of, to_bytes
from harness.models.json_tensors import column_outputs, from_json, row_outputs, to_json
from harness.models.served import CallFailed

# By mlserver.grpc.dataplane_pb2, with parameters, which ours do not know.
REQUEST = b'\n\x01m\x12\x013\x1a\x07chunk 1"\x07\n\x01a\x12\x02\x10\x05*#\n\x01x\x12\x04FP32\x1a\x02\x01\x01"\x14\n\x0ccontent_type\x12\x04\x1a\x02np:\x04\x00\x00\x80?'
METADATA = b'\n\x01m\x12\x011\x12\x012\x1a\x01p"\x16\n\x01x\x12\x04FP32\x1a\x0b\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x08*\x16\n\x01y\x12\x05INT64\x1a\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\x012\x07\n\x01a\x12\x02\x08\x01'
RESPONSE = b'\n\x01m\x12\x013\x1a\x07chunk 1*.\n\x01y\x12\x04FP32\x1a\x01\x02"\x14\n\x0ccontent_type\x12\x04\x1a\x02np*\n2\x08\x00\x00\x80?\x00\x00\x00?'


def test_messages_are_those_of_others():
    messages = Messages()
    request = messages.ModelInferRequest.FromString(REQUEST)
    assert (request.model_name, request.model_version, request.id) == ("m", "3", "chunk 1")
    (tensor,) = request.inputs
    assert (tensor.name, tensor.datatype, list(tensor.shape), list(request.raw_input_contents)) == (
        "x",
        "FP32",
        [1, 1],
        [b"\0\0\x80\x3f"],
    )
    metadata = messages.ModelMetadataResponse.FromString(METADATA)
    assert (list(metadata.versions), metadata.platform) == (["1", "2"], "p")
    assert [(t.name, t.datatype, list(t.shape)) for t in (*metadata.inputs, *metadata.outputs)] == [
        ("x", "FP32", [-1, 8]),
        ("y", "INT64", [-1]),
    ]
    (output,) = messages.ModelInferResponse.FromString(RESPONSE).outputs
    assert (output.name, list(output.shape), list(output.contents.fp32_contents)) == ("y", [2], [1.0, 0.5])
    own = messages.ModelInferRequest(model_name="m", model_version="3", id="chunk 1", raw_input_contents=[b"\0\0\x80\x3f"])
    own.inputs.add(name="x", datatype="FP32", shape=[1, 1])
    without = (
        REQUEST.replace(b'"\x07\n\x01a\x12\x02\x10\x05', b"")
        .replace(b"*#\n\x01x", b"*\r\n\x01x")
        .replace(b'"\x14\n\x0ccontent_type\x12\x04\x1a\x02np', b"")
    )
    assert own.SerializeToString(deterministic=True) == without


@pytest.mark.parametrize(
    "array, datatype, raw",
    [
        (np.array([[1, -2]], np.int16), "INT16", b"\x01\x00\xfe\xff"),
        (np.array([True, False]), "BOOL", b"\x01\x00"),
        (np.array([1.0], ml_dtypes.bfloat16), "BF16", b"\x80\x3f"),
        (np.array([[b"ab", b""]], object), "BYTES", b"\x02\0\0\0ab\0\0\0\0"),
    ],
)
def test_tensors_as_bytes(array, datatype, raw):
    assert to_bytes(array) == raw
    back = from_bytes(raw, "y", datatype, list(array.shape))
    assert back.dtype == array.dtype and back.tolist() == array.tolist()


@pytest.mark.parametrize(
    "raw, datatype, shape",
    [(b"\0" * 7, "FP32", [2]), (b"\0" * 8, "FP32", [3]), (b"\x05\0\0\0ab", "BYTES", [1]), (b"", "FP8", [0])],
)
def test_bytes_that_are_no_tensor_are_named(raw, datatype, shape):
    with pytest.raises(CallFailed, match="output 'y'") as failure:
        from_bytes(raw, "y", datatype, shape)
    assert not failure.value.again


def test_a_server_that_says_nothing_of_its_tensors_is_told_what_to_say():
    tensors = [{"name": "x", "datatype": "FP32", "shape": [-1, 8]}]
    signature = signature_of("3", tensors, [{"name": "y", "datatype": "INT64", "shape": [-1]}])
    assert (
        signature.inputs == {"x": Feature("float32", (8,))}
        and signature.outputs == {"y": Feature("int64", ())}
        and signature.rows is None
    )
    with pytest.raises(ModelError, match="says nothing of the model's outputs: expected name, datatype and shape"):
        signature_of("3", tensors, [])


Y, TEXT = {"y": Feature("float32", (2,))}, {"y": Feature("string", ()), "z": Feature("int64", ())}


@pytest.mark.parametrize(
    "read, raw, outputs, expected",
    [
        (column_outputs, [[1.5, 2]], Y, {"y": [[1.5, 2.0]]}),
        (column_outputs, {"y": [[1.5, 2]]}, Y, {"y": [[1.5, 2.0]]}),
        (column_outputs, {"y": [{"b64": "YQ=="}, "b"], "z": [1, 2]}, TEXT, {"y": [b"a", b"b"], "z": [1, 2]}),
        (row_outputs, [[1.5, 2]], Y, {"y": [[1.5, 2.0]]}),
        (row_outputs, [{"y": "a", "z": 1}, {"y": {"b64": "Yg=="}, "z": 2}], TEXT, {"y": [b"a", b"b"], "z": [1, 2]}),
    ],
)  # fmt: skip
def test_json_of_tensorflow_serving(read, raw, outputs, expected):
    assert {name: array.tolist() for name, array in read(raw, outputs).items()} == expected


@pytest.mark.parametrize("raw, feature", [([[1], [1, 2]], Y["y"]), ([1.5], TEXT["z"]), (["a"], Y["y"]), ([{"b": 1}], TEXT["y"])])
def test_json_that_is_no_tensor_is_named(raw, feature):
    with pytest.raises(CallFailed, match="output 'y' cannot be read"):
        from_json(raw, "y", feature)


def test_a_float32_survives_its_text():
    array = np.array([0.1, 1e-38, 3.4028235e38, -0.0], np.float32)
    assert from_json(to_json(array), "y", Y["y"]).tobytes() == array.tobytes()
