"""Models behind endpoints: the numbers of the local model through each protocol, and what becomes of replies that are late or wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import grpc
import numpy as np
import pytest
import tensorflow as tf

import harness
from harness.errors import EndpointError, HarnessError, InvalidRun, JobError, ModelError
from harness.job.job import Job
from harness.models.endpoint_client import EndpointClient, Policy
from harness.models.reply_check import Expected
from harness.models.served import Question
from tests import made
from tests.conftest import ROOT
from tests.faulty_endpoint import GrpcFaults, HttpFaults, waited

pytestmark = pytest.mark.slow

METRICS = ["accuracy", "cross_entropy", "confusion_matrix"]
KEYS = ("metrics", "slices", "intervals")
CHUNK = 32
REQUESTS = -(
    -made.EXAMPLES // CHUNK
)  # of the loop; three more see whether the server gives the same bits again, and one is the canary


class Server:
    """A process of `tests.model_server`."""

    def __init__(self, models, ports=""):
        words = [f"{name}={folder}" for name, folder in models.items()]
        words += [f"--ports={ports}"] if ports else []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.model_server", *words],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        )
        line = self._process.stdout.readline()
        assert line, "the server did not start"
        ports = json.loads(line)
        self.grpc, self.rest = ports["grpc"], ports["rest"]

    def kill(self):
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._process.stdout.close()


def echoing(folder: Path) -> None:
    """Write the classifier once more, with an id that it passes through, and beside it a version that is another model."""

    class Dense(tf.Module):
        def __init__(self):
            self.kernel = tf.Variable(made.kernel())

        @tf.function(
            input_signature=[tf.TensorSpec([None, made.WIDTH], tf.float32, name="x"), tf.TensorSpec([None], tf.int64, name="id")]
        )
        def serve(self, x, id):
            return {"probabilities": tf.nn.softmax(x @ self.kernel), "id": tf.identity(id)}

    module = Dense()
    tf.saved_model.save(module, str(folder / "1"), signatures={"serving_default": module.serve})


@pytest.fixture(scope="module")
def models(world, tmp_path_factory):
    """Folders of numbered versions, by name: m is the classifier in versions 1 and 2, e passes an id through."""
    folder = tmp_path_factory.mktemp("served")
    for version in (1, 2):
        (folder / "m").mkdir(exist_ok=True)
        os.symlink(world.folder / "classifier", folder / "m" / str(version))
    (folder / "m" / "serve.json").write_text('{"default": 1, "labels": {"stable": 1}}')
    echoing(folder / "e")
    return {"m": folder / "m", "e": folder / "e"}


@pytest.fixture(scope="module")
def server(models):
    server = Server(models)
    yield server
    server.kill()


@pytest.fixture
def serve(models):
    """Say in serve.json what the server does, until the test ends."""
    path = models["m"] / "serve.json"
    before = path.read_text()
    yield lambda **keys: path.write_text(json.dumps({**json.loads(before), **keys}))
    path.write_text(before)


@pytest.fixture(scope="module")
def expected(world):
    return numbers(evaluated(world, str(world.folder / "classifier")))


def evaluated(world, model, **options):
    options = {"slices": ["label"], "bootstrap": {"replicates": 9}, "batch_size": CHUNK, "chunk_size": CHUNK, **options}
    return harness.evaluate(model, str(world.folder / "all.npz"), METRICS, label="label", progress=False, **options)


def numbers(results):
    return json.dumps([results.to_dict()[key] for key in KEYS])


def grpc_model(port, **keys):
    return {"endpoint": f"grpc://127.0.0.1:{port}", "name": "m", **keys}


def account(folder):
    (rank,) = json.loads((folder / "run.json").read_text())["attempts"][-1]["ranks"]
    return rank["endpoints"][""]


@pytest.mark.parametrize(
    "keys", [{}, {"version": 2}, {"version": "stable", "concurrency": 1}, {"protocol": "serving", "concurrency": 3}]
)
def test_grpc_gives_the_numbers_of_the_local_model(world, server, expected, keys, tmp_path):
    assert numbers(evaluated(world, grpc_model(server.grpc, **keys), output=tmp_path / "run")) == expected
    found = account(tmp_path / "run")
    assert found["versions"] == {str(keys.get("version", 1)).replace("stable", "1"): [[0, REQUESTS]]}
    assert found["deterministic"] is True and found["failures"] == {} and found["order"] == "not known"
    assert json.loads((tmp_path / "run" / "run.json").read_text())["model"]["path"].startswith("endpoint:m@")


@pytest.mark.parametrize("rows", [False, True])
def test_rest_gives_the_numbers_of_the_local_model(world, server, expected, rows):
    model = {"endpoint": f"http://127.0.0.1:{server.rest}", "name": "m", "rows": rows}
    assert numbers(evaluated(world, model)) == expected  # the server writes as many digits as a float32 has


def test_a_model_here_and_one_there_are_evaluated_together(world, server, expected):
    models = {"here": str(world.folder / "classifier"), "there": grpc_model(server.grpc)}
    results = harness.evaluate(
        models, str(world.folder / "all.npz"), ["accuracy", "largest_prediction_difference"], label="label", progress=False
    )
    values = results.to_dict()["metrics"]
    assert values["here/accuracy"] == values["there/accuracy"]
    assert values["there/largest_prediction_difference"]["value"] == 0.0


def test_parity_of_what_is_served_with_what_is_here(world, harness, server, tmp_path):
    job = world.job(tmp_path / "job.yaml", data={"files": str(world.folder / "all.npz")}, batch_size=CHUNK)
    served = ["--endpoint", f"grpc://127.0.0.1:{server.grpc}", "--name", "m", "-o", tmp_path / "run"]
    done = harness("parity", job, *served)
    assert done.code == 0, done.err
    document = json.loads((tmp_path / "run" / "parity.json").read_text())
    (output,) = document["outputs"]
    assert output["largest_difference"] == 0.0 and output["within"] == 1.0 and document["examples"] == made.EXAMPLES
    assert document["candidate"] == "endpoint" and document["decisions"][0]["flip_rate"] == 0.0


def failing(code, *, of=range(3, 6), pushback_s=None):
    def fault(number, forward, context):
        if number in of:
            if pushback_s is not None:
                context.set_trailing_metadata([("grpc-retry-pushback-ms", str(int(1000 * pushback_s)))])
            context.abort(code, "not now")
        return forward()

    return fault


def late(number, forward, context):
    if number in (4, 6):
        waited(3)
    return forward()


def test_latencies_are_those_of_a_server_with_a_known_delay(world, server, expected, harness, tmp_path):
    delay_s = 1.0

    def delayed(number, forward, context):
        begun = time.monotonic()
        reply = forward()
        time.sleep(max(delay_s - (time.monotonic() - begun), 0))  # the server's own time is within the delay
        return reply

    proxy = GrpcFaults(f"127.0.0.1:{server.grpc}", delayed)
    try:
        assert numbers(evaluated(world, grpc_model(proxy.port, concurrency=4), output=tmp_path / "run")) == expected
    finally:
        proxy.close()
    attempt = json.loads((tmp_path / "run" / "run.json").read_text())["attempts"][-1]
    latency = attempt["endpoint_latency"][""]
    for name in ("p50", "p90", "p99", "p99.9"):
        assert latency["percentiles_ms"][name]["value"] == pytest.approx(1000 * delay_s, rel=0.1)
    assert latency["percentiles_ms"]["p99"]["high"] is None  # so few requests do not tell
    requests = account(tmp_path / "run")["requests"]
    assert latency["requests"] == requests == sum(latency["buckets_us"].values())
    assert sum(window["requests"] for window in latency["over_time"]) == requests and len(latency["over_time"]) > 1
    shown = harness("show", tmp_path / "run")
    assert f"endpoint: {requests} requests, p50 " in " ".join(shown.out.split())
    assert harness("report", tmp_path / "run", "-o", tmp_path / "page.html").code == 0
    page = (tmp_path / "page.html").read_text()
    assert "How long requests to endpoints took" in page and "How long requests took by slice" in page


GRPC_FAULTS = {
    "unavailable": (failing(grpc.StatusCode.UNAVAILABLE), {"UNAVAILABLE": 3}),
    "exhausted, and says how long": (
        failing(grpc.StatusCode.RESOURCE_EXHAUSTED, of=[5], pushback_s=0.7),
        {"RESOURCE_EXHAUSTED": 1},
    ),
    "later than the deadline": (late, {"DEADLINE_EXCEEDED": 2}),
}


@pytest.mark.parametrize("name", GRPC_FAULTS)
def test_calls_that_fail_for_now_are_made_again_and_counted_once(world, server, expected, name, tmp_path):
    fault, failures = GRPC_FAULTS[name]
    proxy = GrpcFaults(f"127.0.0.1:{server.grpc}", fault)
    try:
        results = evaluated(world, grpc_model(proxy.port, deadline=1.5), output=tmp_path / "run")
    finally:
        proxy.close()
    found = account(tmp_path / "run")
    assert numbers(results) == expected and results.certificate.examples == made.EXAMPLES
    assert found["failures"] == failures and found["tries"] == found["requests"] + sum(failures.values())


def answering(status, headers=(), of=range(3, 6)):
    return lambda number, forward, handler: (status, dict(headers), b"later") if number in of else forward()


def reset(number, forward, handler):
    if number in (3, 5):
        handler.close_connection = True
        return handler.connection.close()
    return forward()


def cut(number, forward, handler):
    status, headers, body = forward()
    if number in (3, 5):
        handler.close_connection = True
        headers = {"content-length": str(len(body))}
        body = body[: len(body) // 2]
    return status, headers, body


HTTP_FAULTS = {
    "503": (answering(503), {"503": 3}),
    "429 with Retry-After": (answering(429, {"retry-after": "1"}, of=[4]), {"429": 1}),
    "reset": (reset, {"CONNECTION": 2}),
    "cut off": (cut, {"CONNECTION": 2}),
}


@pytest.mark.parametrize("name", HTTP_FAULTS)
def test_requests_that_fail_for_now_are_made_again_and_counted_once(world, server, expected, name, tmp_path):
    fault, failures = HTTP_FAULTS[name]
    proxy = HttpFaults(server.rest, fault)
    begun = time.monotonic()
    try:
        results = evaluated(world, {"endpoint": f"http://127.0.0.1:{proxy.port}", "name": "m"}, output=tmp_path / "run")
    finally:
        proxy.close()
    found = account(tmp_path / "run")
    assert numbers(results) == expected and found["failures"] == failures
    assert name != "429 with Retry-After" or time.monotonic() - begun >= 1


def changed(change, at=5):
    """Return a fault that changes one reply, given as a PredictResponse."""
    from tensorflow_serving.apis.predict_pb2 import PredictResponse

    def fault(number, forward, context):
        raw = forward()
        if number != at:
            return raw
        reply = PredictResponse.FromString(raw)
        change(reply)
        return reply.SerializeToString()

    return fault


def put(reply, array, name="probabilities"):
    reply.outputs[name].CopyFrom(tf.make_tensor_proto(array))


def array_of(reply):
    return tf.make_ndarray(reply.outputs["probabilities"])


WRONG = {
    "fewer rows": (lambda reply: put(reply, array_of(reply)[:-1]), EndpointError, r"chunk \d+, .*expected float32 \[32, 5\], found float32 \[31, 5\]"),
    "more rows": (lambda reply: put(reply, np.repeat(array_of(reply), 2, axis=0)), EndpointError, r"chunk \d+, .*found float32 \[64, 5\]"),
    "another dtype": (lambda reply: put(reply, array_of(reply).astype(np.float64)), EndpointError, r"chunk \d+, .*found float64"),
    "another name": (lambda reply: put(reply, array_of(reply), "scores"), EndpointError, r"chunk \d+, .*has an output 'scores'"),
    "no outputs": (lambda reply: reply.outputs.clear(), EndpointError, r"chunk \d+, .*has no output 'probabilities': it has none"),
    "cut tensor": (lambda reply: setattr(reply.outputs["probabilities"], "tensor_content", b"123"), EndpointError, r"chunk \d+, .*cannot be read"),
    "another model": (lambda reply: setattr(reply.model_spec, "name", "other"), EndpointError, r"chunk \d+, .*expected a reply of model 'm', found one of 'other'"),
    "another version": (lambda reply: setattr(reply.model_spec.version, "value", 7), InvalidRun, r"INVALID.*chunk \d+, .*version 7 answered.*version 1"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_reply_ends_the_run_and_names_the_chunk(world, server, name):
    change, error, message = WRONG[name]
    proxy = GrpcFaults(f"127.0.0.1:{server.grpc}", changed(change))
    try:
        with pytest.raises(error, match=message):
            evaluated(world, grpc_model(proxy.port))
    finally:
        proxy.close()


def test_rows_and_replies_in_another_order_are_found_where_an_id_is_passed_through(world, server, expected):
    model = {"endpoint": "", "name": "e", "echo": "id"}
    held = []

    def rows(number, forward, context):
        return changed(
            lambda reply: [put(reply, tf.make_ndarray(reply.outputs[key])[::-1], key) for key in ("probabilities", "id")]
        )(number, forward, context)

    def replies(number, forward, context):  # a reply once more, in place of the next
        held.append(forward())
        return held[-2] if number == 6 else held[-1]

    for fault, message in ((rows, "rows came back in another order"), (replies, "rows are those of other examples")):
        proxy = GrpcFaults(f"127.0.0.1:{server.grpc}", fault)
        try:
            with pytest.raises(InvalidRun, match=f"INVALID.*chunk .*{message}"):
                evaluated(world, {**model, "endpoint": f"grpc://127.0.0.1:{proxy.port}", "concurrency": 1})
        finally:
            proxy.close()
    assert numbers(evaluated(world, {**model, "endpoint": f"grpc://127.0.0.1:{server.grpc}"})) == expected


def test_rows_that_change_places_in_mid_run_are_found_by_the_canary_without_an_id(world, server):
    def rows(number, forward, context):
        if number < 5:
            return forward()
        return changed(lambda reply: put(reply, array_of(reply)[::-1]), number)(number, forward, context)

    proxy = GrpcFaults(f"127.0.0.1:{server.grpc}", rows)
    try:
        with pytest.raises(InvalidRun, match="rows of one and the same batch came back in another order at the end"):
            evaluated(world, grpc_model(proxy.port))
    finally:
        proxy.close()


def test_a_new_version_makes_the_run_invalid_or_a_slice(world, server, serve, expected, tmp_path):
    delay_s = 0.3

    def switching(number, forward, context):
        if number >= 6:
            serve(default=2)
            time.sleep(delay_s)
        return forward()

    for version in (None, "any"):
        serve(default=1)
        proxy = GrpcFaults(f"127.0.0.1:{server.grpc}", switching)
        try:
            model = grpc_model(proxy.port, version=version, concurrency=1)
            if version is None:
                with pytest.raises(
                    InvalidRun, match="INVALID, no result was written: .*version 2 answered, and the run began with version 1"
                ):
                    evaluated(world, model)
            else:
                document = evaluated(world, model, output=tmp_path / "run").to_dict()
        finally:
            proxy.close()
    latency = json.loads((tmp_path / "run" / "run.json").read_text())["attempts"][-1]["endpoint_latency"][""]
    slices = [(part["slice"], part["examples"]) for part in latency["by_slice"]]
    assert slices == [(part["slice"], part["examples"]) for part in document["slices"]]
    versions = {part["slice"]["model_version"]: part for part in latency["by_slice"] if "model_version" in part["slice"]}
    assert sum(part["requests"] for part in versions.values()) == REQUESTS
    assert versions["1"]["percentiles_ms"]["p99"]["value"] < 1000 * delay_s < versions["2"]["percentiles_ms"]["p50"]["value"]
    assert json.dumps(document["metrics"]) == json.dumps(json.loads(expected)[0])
    by_version = {
        entry["slice"]["model_version"]: entry["examples"] for entry in document["slices"] if "model_version" in entry["slice"]
    }
    assert set(by_version) == {"1", "2"} and sum(by_version.values()) == made.EXAMPLES
    with pytest.raises(ModelError, match="version: any: TensorFlow Serving does not say over REST"):
        evaluated(world, {"endpoint": f"http://127.0.0.1:{server.rest}", "name": "m", "version": "any"})


def test_a_server_that_dies_ends_the_run_and_resume_goes_on_when_it_is_back(world, models, expected, tmp_path):
    server = Server({"m": models["m"]})
    ports = f"{server.grpc},{server.rest}"

    def killing(number, forward, context):
        reply = forward()
        if number == 7:
            server.kill()
        return reply

    proxy = GrpcFaults(f"127.0.0.1:{server.grpc}", killing)
    options = {"output": tmp_path / "run"}
    try:
        with pytest.raises(EndpointError, match=r"no reply in \d+ tries .*UNAVAILABLE.*--resume") as failure:
            evaluated(world, grpc_model(proxy.port, concurrency=1, give_up=2, deadline=2), **options)
        assert "chunk" in str(failure.value)
        server = Server({"m": models["m"]}, ports)
        results = evaluated(world, grpc_model(proxy.port), resume=True, **options)
    finally:
        server.kill()
        proxy.close()
    assert numbers(results) == expected
    # In Python nothing is kept of a share that is not done; what ranks keep is in ranks/test_endpoint_ranks.
    assert account(tmp_path / "run")["versions"] == {"1": [[0, REQUESTS]]}


def test_a_server_that_is_restarted_in_time_is_waited_for(world, models, expected):
    server = SimpleNamespace(now=Server({"m": models["m"]}))
    ports = f"{server.now.grpc},{server.now.rest}"
    proxy_port = server.now.grpc

    def restarting(number, forward, context):
        if number == 5:
            server.now.kill()
            server.now = Server({"m": models["m"]}, ports)
        return forward()

    proxy = GrpcFaults(f"127.0.0.1:{proxy_port}", restarting)
    try:
        assert numbers(evaluated(world, grpc_model(proxy.port, deadline=60))) == expected
    finally:
        proxy.close()
        server.now.kill()


def test_secrets_reach_the_server_and_nothing_else(world, server, tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_ENDPOINT_TOKEN", "hunter2-token")
    monkeypatch.setenv("HARNESS_ENDPOINT_HEADERS", "x-tenant: hunter2-tenant")

    def telling(number, forward, context):
        if number == 5:
            context.abort(grpc.StatusCode.PERMISSION_DENIED, f"{dict(context.invocation_metadata())} may not")
        return forward()

    proxy = GrpcFaults(f"127.0.0.1:{server.grpc}", telling)
    try:
        with pytest.raises(EndpointError, match="PERMISSION_DENIED") as failure:
            evaluated(world, grpc_model(proxy.port), output=tmp_path / "run")
    finally:
        proxy.close()
    assert proxy.metadata[0]["authorization"] == "Bearer hunter2-token" and proxy.metadata[0]["x-tenant"] == "hunter2-tenant"
    assert "hunter2" not in str(failure.value) and "***" in str(failure.value)
    written = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert len(written) > 3 and not any(b"hunter2" in path.read_bytes() for path in written)
    monkeypatch.setenv("HARNESS_ENDPOINT_TOKEN", "hunter2\x03token")
    with pytest.raises(ModelError, match="characters that no header can have") as failure:
        evaluated(world, grpc_model(server.grpc))
    assert "hunter2" not in str(failure.value)
    monkeypatch.setenv("HARNESS_ENDPOINT_TOKEN", "hunter2-token")
    with pytest.raises(ModelError, match="in the clear; expected grpcs:// or https://"):
        evaluated(world, {"endpoint": "grpc://models.example:8500", "name": "m"})


def test_the_rate_is_kept(world, server):
    moments = []

    def noting(number, forward, context):
        moments.append(time.monotonic())
        return forward()

    proxy = GrpcFaults(f"127.0.0.1:{server.grpc}", noting)
    try:
        evaluated(world, grpc_model(proxy.port, max_rate=20))
    finally:
        proxy.close()
    assert len(moments) >= REQUESTS + 4 and moments[-1] - moments[0] >= (len(moments) - 1) / 20 * 0.9


@pytest.mark.parametrize(
    "later, message",
    [
        (
            lambda reply: reply.model_spec.ClearField("version"),
            r"chunk \d+, .*does not say of which version it is, and earlier ones",
        ),
        (lambda reply: setattr(reply.outputs["probabilities"], "dtype", 999), r"chunk \d+, .*cannot be read"),
    ],
)
def test_a_reply_that_tells_less_than_earlier_ones_or_cannot_be_read_is_the_endpoints_fault(world, server, later, message):
    proxy = GrpcFaults(f"127.0.0.1:{server.grpc}", changed(later))
    try:
        with pytest.raises(EndpointError, match=message):
            evaluated(world, grpc_model(proxy.port))
    finally:
        proxy.close()


def test_a_version_that_no_reply_names_is_not_made_up(world, server, expected, tmp_path):
    def silent(number, forward, context):
        return changed(lambda reply: reply.model_spec.ClearField("version"), number)(number, forward, context)

    proxy = GrpcFaults(f"127.0.0.1:{server.grpc}", silent)
    try:
        results = evaluated(world, grpc_model(proxy.port), output=tmp_path / "run")
    finally:
        proxy.close()
    assert numbers(results) == expected and any("do not say which version answered" in text for text in results.warnings)
    assert account(tmp_path / "run")["versions"] == {"unknown": [[0, REQUESTS]]}


def inference(change):
    """Return a fault that answers in the Open Inference Protocol, in place of any server."""

    def fault(number, forward, handler):
        asked = json.loads(handler.body)
        (tensor,) = asked["inputs"]
        values = np.array(tensor["data"], np.float32).reshape(tensor["shape"])
        scores = tf.nn.softmax(values @ made.kernel()).numpy()
        output = {"name": "probabilities", "datatype": "FP32", "shape": list(scores.shape), "data": scores.ravel().tolist()}
        reply = {"model_name": "m", "model_version": "1", "id": asked["id"], "outputs": [output]}
        change(reply, number)
        return 200, {}, json.dumps(reply).encode()

    return fault


METADATA = {
    "/v2": {"extensions": []},
    "/v2/models/m": {
        "name": "m", "versions": ["1"],
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, made.WIDTH]}],
        "outputs": [{"name": "probabilities", "datatype": "FP32", "shape": [-1, 5]}],
    },
}  # fmt: skip


def inference_run(world, fault, **options):
    proxy = HttpFaults(0, fault, METADATA)
    try:
        return evaluated(world, {"endpoint": f"http://127.0.0.1:{proxy.port}", "name": "m", "protocol": "inference"}, **options)
    finally:
        proxy.close()


def test_whether_replies_name_their_request_is_told_from_the_replies(world, tmp_path):
    for name, change, order in (
        ("with", lambda reply, number: None, "labelled"),
        ("without", lambda reply, number: reply.pop("id"), "not known"),
    ):
        inference_run(world, inference(change), output=tmp_path / name)
        assert account(tmp_path / name)["order"] == order


WRONG_INFERENCE = {
    "no id any more": (lambda reply: reply.pop("id"), r"does not say of which request it is, and earlier ones"),
    "another model": (lambda reply: reply.update(model_name="other"), r"expected a reply of model 'm', found one of 'other'"),
    "outputs of text": (lambda reply: reply.update(outputs=["x"]), r"an output cannot be read"),
    "parameters of text": (lambda reply: reply["outputs"][0].update(parameters="x"), r"an output cannot be read"),
    "a name of digits": (lambda reply: reply["outputs"][0].update(name=7), r"has an output '7'"),
    "an output twice": (lambda reply: reply["outputs"].append(reply["outputs"][0]), r"'probabilities' comes twice"),
    "an error with the token": (lambda reply: (reply.clear(), reply.update(error="x" * 70 + " no hunter2-token-of-mine")), r"expected outputs"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_INFERENCE)
def test_a_wrong_reply_over_rest_ends_the_run_and_names_the_chunk(world, monkeypatch, name):
    monkeypatch.setenv("HARNESS_ENDPOINT_TOKEN", "hunter2-token-of-mine")
    change, message = WRONG_INFERENCE[name]
    with pytest.raises(EndpointError, match=rf"chunk \d+, .*{message}") as failure:
        inference_run(world, inference(lambda reply, number: change(reply) if number == 5 else None))
    assert "hunter2" not in str(failure.value)


def dripping(number, forward, handler):
    if number != 5:
        return forward()
    _, _, body = forward()
    handler.send_response(200)
    handler.send_header("content-length", str(len(body)))
    handler.end_headers()
    try:
        for place in range(len(body)):
            handler.wfile.write(body[place : place + 1])
            waited(0.2)
    except OSError:
        handler.close_connection = True


def half(number, forward, handler):
    status, headers, body = forward()
    if number != 5:
        return status, headers, body
    handler.close_connection = True
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n" + body[: len(body) // 2])
    return None


@pytest.mark.parametrize("fault, failures", [(dripping, {"DEADLINE": 1}), (half, {"REPLY": 1})])
def test_a_reply_that_drips_or_ends_half_way_is_asked_for_again(world, server, expected, fault, failures, tmp_path):
    proxy = HttpFaults(server.rest, fault)
    try:
        model = {"endpoint": f"http://127.0.0.1:{proxy.port}", "name": "m", "deadline": 5}
        assert numbers(evaluated(world, model, output=tmp_path / "run")) == expected
    finally:
        proxy.close()
    assert account(tmp_path / "run")["failures"] == failures


def test_waiting_for_a_turn_is_no_failure_of_the_endpoint_and_long_waits_are_said(world, server, expected):
    once = answering(503, of=[9])
    proxy = HttpFaults(server.rest, once)
    try:
        model = {"endpoint": f"http://127.0.0.1:{proxy.port}", "name": "m", "max_rate": 2, "give_up": 2, "deadline": 2}
        assert numbers(evaluated(world, {**model, "concurrency": 8})) == expected
    finally:
        proxy.close()
    proxy = HttpFaults(server.rest, answering(429, {"retry-after": "3600"}, of=[5]))
    try:
        with pytest.raises(EndpointError, match="it asks to be left alone for 3,600 s"):
            evaluated(world, {"endpoint": f"http://127.0.0.1:{proxy.port}", "name": "m"})
    finally:
        proxy.close()


def test_a_certificate_that_does_not_verify_ends_at_once_with_the_reason(tmp_path):
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=elsewhere.example"
    files = {"key": tmp_path / "key.pem", "certificate": tmp_path / "certificate.pem"}
    made_by = [
        *command.split(),
        "-addext",
        "subjectAltName=DNS:elsewhere.example",
        "-keyout",
        files["key"],
        "-out",
        files["certificate"],
    ]
    subprocess.run(made_by, check=True, capture_output=True)
    key, certificate = (path.read_bytes() for path in files.values())
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, certificate)]))
    server.start()
    begun = time.monotonic()
    try:
        for ca in (None, files["certificate"]):  # signed by nobody known, and the certificate of another host
            with pytest.MonkeyPatch.context() as patch:
                if ca is not None:
                    patch.setenv("HARNESS_ENDPOINT_CA", str(ca))
                with pytest.raises(ModelError, match=r"TLS: .*(?i:certificate_verify_failed|verification check failed)"):
                    harness.evaluate({"endpoint": f"grpcs://127.0.0.1:{port}", "name": "m"}, "none.npz", ["accuracy"], label="y")
    finally:
        server.stop(0).wait()
    assert time.monotonic() - begun < 2 * 10  # it is not asked again and again


def test_threads_end_with_the_evaluation(world, server):
    for model in (grpc_model(server.grpc), {"endpoint": f"http://127.0.0.1:{server.rest}", "name": "m"}):
        evaluated(world, model)
        assert not [thread for thread in threading.enumerate() if thread.name in ("endpoint", "outside")]


def test_what_is_asked_after_the_end_begins_no_thread():
    """As by the thread that reads ahead, which has just seen that it may go on."""
    client = EndpointClient([SimpleNamespace(address="a", close=lambda: None)], Expected({}, None), Policy(4, 1.0, 1.0))
    client.close()
    with pytest.raises(EndpointError, match="the endpoint was left"):
        client.submit(Question({}, "chunk 3")).result(timeout=1)
    assert not client._threads and client._waiting.empty()


@pytest.mark.parametrize(
    "keys, message",
    [
        ({"name": "nobody"}, "expected model 'nobody', and the server says: serving: NOT_FOUND"),
        ({"version": 9}, "in version 9, and the server says: serving: NOT_FOUND"),
        ({"signature": "other"}, "signature 'other'.* it has .*serving_default"),
        ({"echo": "id"}, "echo: id: the model has no input 'id': valid: x"),
        ({"protocol": "inference"}, "inference: UNIMPLEMENTED"),
        ({"endpoint": "grpc://127.0.0.1:1"}, "UNAVAILABLE"),
    ],
)
def test_what_does_not_fit_is_said_before_any_work(world, server, keys, message):
    with pytest.raises(ModelError, match=message) as failure:
        evaluated(world, {**grpc_model(server.grpc), **keys})
    assert failure.value.exit_code == 2


DATA = {"data": {"files": "a.npz", "label": "y"}, "metrics": ["accuracy"]}


@pytest.mark.parametrize(
    "model, message",
    [
        ({"endpoint": "grpc://h:1"}, "'name' is missing"),
        ({"endpoint": "h:1", "name": "m"}, "expected a URL as grpc://HOST:8500"),
        ({"endpoint": "grpc://h", "name": "m"}, "expected grpc://HOST:PORT"),
        ({"endpoint": "grpc://h:1/a", "name": "m"}, "expected grpc://HOST:PORT and no path"),
        ({"endpoint": ["grpc://h:1", "http://h:2"], "name": "m"}, "of one scheme"),
        ({"endpoint": [], "name": "m"}, "at least one URL"),
        ({"endpoint": "http://me:secret@h:1", "name": "m"}, "a user or password"),
        ({"endpoint": "grpc://h:1", "name": "m", "path": "a"}, "expected endpoint or path, found both"),
        ({"endpoint": "grpc://h:1", "name": "m", "jit_compile": True}, "expected endpoint or jit_compile"),
        ({"endpoint": "grpc://h:1", "name": "m", "version": "a b"}, "a label of letters"),
        ({"endpoint": "grpc://h:1", "name": "m", "deadline": 300}, "at most give_up"),
        ({"endpoint": "grpc://h:1", "name": "m", "concurrency": 0}, "concurrency"),
        ({"path": "a", "concurrency": 3}, "concurrency: goes with an endpoint"),
        ({"path": "a", "version": "stable"}, "labels are those of an endpoint"),
    ],
)
def test_keys_that_do_not_go_together_are_refused(model, message):
    with pytest.raises(JobError, match=message) as failure:
        Job.from_dict({"model": model, **DATA})
    assert "secret@" not in str(failure.value)


def test_where_and_how_it_is_served_is_no_part_of_the_job(world):
    one = Job.from_dict({"model": {"endpoint": "grpc://a:1", "name": "m"}, **DATA})
    other = Job.from_dict({"model": {"endpoint": ["http://b:2"], "name": "m", "concurrency": 2, "max_rate": 5}, **DATA})
    assert one.digest == other.digest
    assert isinstance(HarnessError("x"), Exception)
