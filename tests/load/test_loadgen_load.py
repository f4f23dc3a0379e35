"""`harness load` with LoadGen itself against a real server: known delays, overload, failures, and the answers of every example."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time

import grpc
import pytest

from tests import made
from tests.conftest import ROOT
from tests.faulty_endpoint import GrpcFaults

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """A folder with LoadGen, which is no part of the tests' own environment."""
    folder = tmp_path_factory.mktemp("packages")
    (pin,) = (line for line in (ROOT / "versions.txt").read_text().split() if line.startswith("mlcommons-loadgen=="))
    argv = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder), pin]
    subprocess.run(argv, check=True, timeout=300, capture_output=True)
    return folder


@pytest.fixture
def load(world, harness, packages, tmp_path):
    """Run `harness load` on a job whose model is at a port; return what it did, and load.json."""

    def run(port, *words, **keys):
        model = {"endpoint": f"grpc://127.0.0.1:{port}", "name": "m", **keys}
        job = world.job(
            tmp_path / "job.yaml", model=model, data={"files": str(world.folder / "all.npz")}, batch_size=32, chunk_size=32,
            metrics=["accuracy", "cross_entropy", "confusion_matrix"], slices=["label"], bootstrap={"replicates": 9},
        )  # fmt: skip
        done = harness("load", job, *words, "-o", tmp_path / "load", environ={"TEST_PACKAGES": str(packages)})
        path = tmp_path / "load" / "load.json"
        return done, json.loads(path.read_text()) if path.exists() else None

    return run


def whole(document):
    """See that no query is lost."""
    queries = document["queries"]
    assert queries["sent"] == queries["answered"] + queries["failed"] + queries["never_sent"]
    assert sum(document["latency"]["buckets_us"].values()) == queries["answered"]
    slices = document["latency"]["by_slice"]
    assert sum(part["examples"] for part in slices) == document["examples"]
    if document["asked"]["scenario"] in ("Server", "SingleStream"):  # an example a query
        assert sum(part["requests"] for part in slices) == queries["answered"]
    return queries


def test_latencies_are_those_of_a_server_with_a_known_delay_and_of_loadgen(load, server, tmp_path):
    delay_s = 1.0

    def delayed(number, forward, context):
        begun = time.monotonic()
        reply = forward()
        time.sleep(max(delay_s - (time.monotonic() - begun), 0))
        return reply

    proxy = GrpcFaults(f"127.0.0.1:{server.grpc}", delayed)
    try:
        done, document = load(proxy.port, "--scenario", "server", "--qps", 5, "--latency-bound", "p99=3s", "--seconds", 8)
    finally:
        proxy.close()
    assert done.code == 5 and "cannot be told" in done.out and "queries can" in done.out, done.text
    queries = whole(document)
    assert queries["sent"] == queries["answered"] > 20 and not document["overloaded"]
    for name in ("p50", "p90", "p99"):
        assert document["latency"]["percentiles_ms"][name]["value"] == pytest.approx(1000 * delay_s, rel=0.1)
    for name in ("p50", "p99"):  # LoadGen's own, of the same queries
        assert document["loadgen"]["figures"][f"{name}_ns"] == pytest.approx(1e9 * delay_s, rel=0.1)
    assert (tmp_path / "load" / "loadgen" / "mlperf_log_summary.txt").exists()
    assert "How long queries took" in (tmp_path / "load" / "load.html").read_text()
    assert "MLPerf Results" not in done.text and "Traceback" not in done.text


@pytest.mark.parametrize("scenario", ["offline", "single-stream", "multi-stream"])
def test_accuracy_mode_gives_what_an_evaluation_of_the_same_examples_gives(load, server, harness, tmp_path, scenario):
    done, document = load(server.grpc, "--scenario", scenario, "--seconds", 1, "--accuracy")
    assert done.code == 0, done.text
    assert document["library"] == made.EXAMPLES and document["versions"] == {"1": document["examples"]}
    assert whole(document)["failed"] == 0
    evaluated = harness("evaluate", tmp_path / "job.yaml", "-o", tmp_path / "run")
    assert evaluated.code == 0, evaluated.text
    expected, answered = (json.loads((tmp_path / place / "metrics.json").read_text()) for place in ("run", "load/accuracy"))
    for name in ("accuracy", "confusion_matrix"):
        assert answered["metrics"][name] == expected["metrics"][name] == {**document["metrics"][name]}
    assert answered["certificate"] == expected["certificate"]
    if scenario != "single-stream":  # one example alone may get other last digits than in a batch
        assert (tmp_path / "run" / "metrics.json").read_bytes() == (tmp_path / "load" / "accuracy" / "metrics.json").read_bytes()
    value, same = (found["metrics"]["cross_entropy"]["value"] for found in (expected, answered))
    assert same == pytest.approx(value, rel=1e-6)
    assert harness("verify", tmp_path / "load" / "accuracy").code == 0


def test_a_server_that_is_asked_more_than_it_can_is_called_overloaded(load, server):
    turn = threading.Lock()

    def one_by_one(number, forward, context):
        with turn:
            time.sleep(0.2)
            return forward()

    proxy = GrpcFaults(f"127.0.0.1:{server.grpc}", one_by_one)
    words = ("--scenario", "server", "--qps", 25, "--latency-bound", "p99=500ms", "--seconds", 6)
    try:
        done, document = load(proxy.port, *words, give_up=20, deadline=20)
    finally:
        proxy.close()
    assert done.code == 1 and document["overloaded"] and document["verdict"] == "missed", done.text
    assert "overloaded: " in done.out and "queries came in a second" in done.out
    queries = whole(document)
    assert queries["sent"] > 100 and document["bounds"][0]["late"] > 0.9 * queries["sent"]
    assert not document["loadgen"]["valid"]


def test_queries_that_fail_are_no_answers(load, server):
    def fault(number, forward, context):
        if number >= 20 and number % 4 == 0:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not this one")
        return forward()

    proxy = GrpcFaults(f"127.0.0.1:{server.grpc}", fault)
    try:
        done, document = load(proxy.port, "--scenario", "single-stream", "--seconds", 2, "--latency-bound", "p90=30s")
    finally:
        proxy.close()
    queries = whole(document)
    assert done.code == 1 and queries["failed"] > 10 and document["bounds"][0]["late"] == queries["failed"]
    assert "INVALID_ARGUMENT" in done.out


def test_a_server_that_is_away_for_a_while_is_found_again(load, server):
    away = {}

    def restarting(number, forward, context):
        if number == 30:
            away["until"] = time.monotonic() + 4
        if time.monotonic() < away.get("until", 0):
            context.abort(grpc.StatusCode.UNAVAILABLE, "restarting")
        return forward()

    proxy = GrpcFaults(f"127.0.0.1:{server.grpc}", restarting)
    words = ("--scenario", "server", "--qps", 10, "--latency-bound", "p50=30s", "--seconds", 12)
    try:
        done, document = load(proxy.port, *words, give_up=2, deadline=2)
    finally:
        proxy.close()
    queries = whole(document)
    assert done.code == 0 and not document["overloaded"], done.text
    assert 5 < queries["failed"] + queries["never_sent"] < queries["sent"] / 2
    last = document["latency"]["over_time"][-1]
    assert last["requests"] > 0 and "no reply in 2 s: " in done.out and "--resume" not in done.text


def test_what_is_wrong_is_said_before_any_work(load, server, harness, packages, tmp_path):
    assert load(server.grpc, "--scenario", "server")[0].code == 2
    done, _ = load(server.grpc, "--scenario", "single-stream", "--seconds", 1, max_rate=5)
    assert done.code == 2 and "--set model.max_rate=null" in done.err
    (tmp_path / "load").mkdir()
    (tmp_path / "load" / "mine.txt").write_text("mine")
    for words in ((), ("--overwrite",)):
        done, document = load(server.grpc, "--scenario", "single-stream", "--seconds", 1, *words)
        assert done.code == 2 and "is not empty" in done.err and document is None
    assert (tmp_path / "load" / "mine.txt").read_text() == "mine"
    job = tmp_path / "job.yaml"
    done = harness("load", job, "--scenario", "offline", "-o", tmp_path / "none", "--set", "model.version=any", "--accuracy",
                   environ={"TEST_PACKAGES": str(packages)})  # fmt: skip
    assert done.code == 2 and "version: any" in done.err and not (tmp_path / "none").exists()
    done = harness("load", job, "--scenario", "offline", "-o", tmp_path / "none")
    assert done.code == 2 and "exact-harness[bench]" in done.err
