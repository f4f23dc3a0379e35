"""The Open Inference Protocol over gRPC, as a whole: every datatype both ways, ids that are passed through, replies that are wrong."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow as tf

import harness
from harness.data import Feature
from harness.errors import EndpointError, InvalidRun
from harness.models.inference_grpc import InferenceGrpc
from harness.models.served import Question
from tests import made
from tests.inference_server import InferenceServer

pytestmark = pytest.mark.slow

LARGE = 2**62 + 1
# By datatype: an array of two examples with values at the ends of its range.
ARRAYS = {
    "BYTES": np.array([[b"", b"a\0\xff"], ["é".encode(), b"x" * 300]], object),
    "FP16": np.array([[65504, -0.0], [6e-8, np.nan]], np.float16),
    "FP32": np.array([[3.4028235e38, 1e-45], [-0.0, np.inf]], np.float32),
    "FP64": np.array([[0.1, 5e-324]] * 2),
    "INT64": np.array([[-(2**63), LARGE], [0, 2**63 - 1]], np.int64),
    "UINT64": np.array([[2**64 - 1, 0]] * 2, np.uint64),
    "INT8": np.array([[-128, 127]] * 2, np.int8),
    "UINT8": np.array([[0, 255]] * 2, np.uint8),
    "BOOL": np.array([[True, False], [False, False]]),
}


@pytest.mark.parametrize("raw", [True, False])
def test_every_datatype_goes_there_and_comes_back(raw):
    arrays = {datatype: array for datatype, array in ARRAYS.items() if raw or datatype != "FP16"}  # which has no list of its own
    tensors = {f"t_{datatype}": (datatype, [2]) for datatype in arrays}
    server = InferenceServer(lambda inputs: inputs, tensors, tensors, raw=raw)
    transport = InferenceGrpc(f"grpc://127.0.0.1:{server.port}", "m", None)
    try:
        signature = transport.signature()
        reply = transport.predict(Question({f"t_{name}": array for name, array in arrays.items()}, "q"), 10.0)
    finally:
        transport.close()
        server.close()
    assert signature.version == "1" and signature.inputs == signature.outputs
    assert signature.inputs["t_BYTES"] == Feature("string", (2,)) and signature.inputs["t_BOOL"] == Feature("bool", (2,))
    assert (reply.version, reply.label) == ("1", "q")
    for datatype, array in arrays.items():
        back = reply.outputs[f"t_{datatype}"]
        assert back.dtype == array.dtype and back.shape == array.shape
        assert back.tolist() == array.tolist() if datatype == "BYTES" else back.tobytes() == array.tobytes()


INPUTS = {"x": ("FP32", [made.WIDTH]), "id": ("INT64", [])}
OUTPUTS = {"probabilities": ("FP32", [made.CLASSES]), "id": ("INT64", [])}


def scored(inputs):
    return {"probabilities": tf.nn.softmax(inputs["x"] @ made.kernel()).numpy(), "id": inputs["id"]}


def evaluated(world, server, **keys):
    model = {"endpoint": f"grpc://127.0.0.1:{server.port}", "name": "m", **keys}
    return harness.evaluate(
        model, str(world.folder / "all.npz"), ["accuracy", "cross_entropy"], label="label", slices=["label"],
        batch_size=32, chunk_size=32, progress=False,
    ).to_dict()  # fmt: skip


def local(world):
    return harness.evaluate(
        str(world.folder / "classifier"), str(world.folder / "all.npz"), ["accuracy", "cross_entropy"], label="label",
        slices=["label"], batch_size=32, chunk_size=32, progress=False,
    ).to_dict()  # fmt: skip


@pytest.mark.parametrize("raw", [True, False])
def test_an_id_that_is_passed_through_gives_the_numbers_of_the_local_model(world, raw):
    server = InferenceServer(scored, INPUTS, OUTPUTS, raw=raw)
    try:
        found, expected = evaluated(world, server, echo="id"), local(world)
    finally:
        server.close()
    assert [json.dumps(found[key]) for key in ("metrics", "slices")] == [
        json.dumps(expected[key]) for key in ("metrics", "slices")
    ]


def turned(reply, number):
    if number == 6:
        for place, output in enumerate(reply.outputs):
            rows = np.frombuffer(reply.raw_output_contents[place], np.uint8).reshape(output.shape[0], -1)
            reply.raw_output_contents[place] = rows[::-1].tobytes()


def others(reply, number):
    if number == 6:
        ids = np.frombuffer(reply.raw_output_contents[1], np.int64)
        reply.raw_output_contents[1] = (ids + 1).tobytes()


def shorter(reply, number):
    if number == 6:
        reply.raw_output_contents[0] = reply.raw_output_contents[0][:-4]


def fewer(reply, number):
    if number == 6:
        del reply.raw_output_contents[1]


def another_request(reply, number):
    if number == 6:
        reply.id = "chunk 99, examples 1 to 2"


def another_type(reply, number):
    if number == 6:
        reply.outputs[0].datatype = "FP8"


WRONG = {
    "rows in another order": (turned, InvalidRun, r"INVALID.*chunk \d+, .*its rows came back in another order"),
    "rows of others": (others, InvalidRun, r"INVALID.*chunk \d+, .*its rows are those of other examples"),
    "of another request": (another_request, InvalidRun, r"INVALID.*a reply came that names another request \(chunk 99"),
    "half a tensor": (shorter, EndpointError, r"chunk \d+, .*output 'probabilities' FP32 \[32, 5\] cannot be read"),
    "a tensor less": (fewer, EndpointError, r"chunk \d+, .*expected raw contents of 2 outputs, found 1"),
    "a datatype that is none": (another_type, EndpointError, r"chunk \d+, .*unknown datatype FP8"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_reply_ends_the_run_and_names_the_chunk(world, name):
    change, error, message = WRONG[name]
    server = InferenceServer(scored, INPUTS, OUTPUTS, change=change)
    try:
        with pytest.raises(error, match=message):
            evaluated(world, server, echo="id", concurrency=1)
    finally:
        server.close()
