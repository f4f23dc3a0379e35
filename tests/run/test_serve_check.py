"""`harness serve-check`: what is said of an endpoint, and the jobs that docs/serving.md shows."""

from __future__ import annotations

import re

import grpc
import numpy as np
import pytest
import yaml

from harness.job.job import Job
from tests.conftest import ROOT
from tests.faulty_endpoint import GrpcFaults
from tests.inference_server import InferenceServer
from tests.models.test_inference_grpc import INPUTS, OUTPUTS, scored

pytestmark = pytest.mark.slow


def asked(harness, world, folder, model=scored, outputs=OUTPUTS, **keys):
    server = InferenceServer(model, INPUTS, outputs)
    try:
        served = {"endpoint": f"grpc://127.0.0.1:{server.port}", "name": "m", "echo": "id", **keys}
        done = harness("serve-check", world.job(folder / "job.yaml", model=served))
    finally:
        server.close()
    return done.code, " ".join(done.text.split())


def test_what_is_served_is_said(harness, world, tmp_path):
    code, text = asked(harness, world, tmp_path)
    assert code == 0 and "endpoint: inference over gRPC, version 1 answers" in text, text
    assert re.search(r"a batch of 16 examples takes [0-9.]+ to [0-9.]+ ms alone; 8 are under way at a time on each rank", text)
    assert "the same batch got the same bits again, and its first half the same on its own" in text
    assert "rows that come back in another order are found ('id' is passed through)" in text and "the job is good" in text


def test_where_nothing_was_begun_nobody_is_told_to_resume(harness, world, tmp_path):
    def gone(number, forward, context):
        context.abort(grpc.StatusCode.UNAVAILABLE, "gone")

    server = InferenceServer(scored, INPUTS, OUTPUTS)
    proxy = GrpcFaults(f"127.0.0.1:{server.port}", gone)
    model = {"endpoint": f"grpc://127.0.0.1:{proxy.port}", "name": "m", "echo": "id", "give_up": 1, "deadline": 1}
    try:
        done = harness("serve-check", world.job(tmp_path / "job.yaml", model=model))
    finally:
        proxy.close()
        server.close()
    assert done.code == 2 and "the endpoint gave no reply in" in done.err and "UNAVAILABLE: gone" in done.err, done.text
    assert "resume" not in done.text


def test_bits_that_change_and_bits_that_depend_on_the_batch_are_said(harness, world, tmp_path):
    calls = []

    def drifting(inputs):
        calls.append(1)
        outputs = scored(inputs)
        return {**outputs, "probabilities": np.float32(outputs["probabilities"] * (1 - 1e-6 * len(calls)))}

    def batching(inputs):
        outputs = scored(inputs)
        return {**outputs, "probabilities": np.float32(outputs["probabilities"] * (1 - 1e-6 * len(inputs["x"])))}

    assert "got other bits at the end than at the start" in asked(harness, world, tmp_path, drifting)[1]
    text = asked(harness, world, tmp_path, batching)[1]
    assert "an example gets other bits in a smaller batch" in text and "the same batch got the same bits again" in text


@pytest.mark.parametrize(
    "keys, outputs, message",
    [
        ({"echo": "idd"}, OUTPUTS, "echo: idd: the model has no input 'idd': did you mean 'id'?"),
        ({"version": 9}, OUTPUTS, "version 1 answered, and the run began with version 9"),
        ({}, {**OUTPUTS, "probabilities": ("FP32", [-1])}, "the server does not say how large it is"),
        ({}, {**OUTPUTS, "probabilities": ("FP32", [4])}, "'probabilities': expected float32 [16, 4], found float32 [16, 5]"),
        ({"name": "other"}, OUTPUTS, "expected a reply of model 'other', found one of 'm'"),
    ],
)
def test_what_does_not_fit_is_code_2(harness, world, tmp_path, keys, outputs, message):
    code, text = asked(harness, world, tmp_path, scored, outputs, **keys)
    assert code == 2 and "Traceback" not in text, text
    assert message in text, text


def test_a_job_without_an_endpoint_is_not_for_it(harness, world, tmp_path):
    done = harness("serve-check", world.job(tmp_path / "job.yaml"))
    assert done.code == 2 and "no model of the job is behind an endpoint: model: {endpoint: grpc://HOST:8500" in done.err


def examples():
    text = (ROOT / "docs" / "serving.md").read_text()
    return [block for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if "endpoint:" in block]


@pytest.mark.parametrize("block", examples())
def test_the_jobs_of_the_page_are_jobs(block):
    job = {"data": {"files": "a.npz", "label": "y"}, "metrics": ["accuracy"], **yaml.safe_load(block)}
    (model,) = Job.from_dict(job).named_models.values()
    assert model.name == "digits" and len(model.endpoints) == 1


def test_the_page_shows_a_job_for_each_kind_of_server():
    text = (ROOT / "docs" / "serving.md").read_text()
    sections = {part.partition("\n")[0]: part for part in re.split(r"\n### ", text)[1:]}
    assert set(sections) >= {"TensorFlow Serving in a container", "Triton", "KServe", "MLServer"}
    assert all("```yaml\nmodel: {endpoint: " in part for part in sections.values()) and len(examples()) >= 5
