"""A served model at several ranks: the same bytes as one here, a rank that is killed, and the rate that ranks share."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time

import grpc
import pytest

from tests.conftest import ROOT, over_ranks, start
from tests.faulty_endpoint import GrpcFaults, waited
from tests.models.test_endpoints import Server

pytestmark = pytest.mark.ranks

KEYS = {"metrics": ["accuracy", "cross_entropy"], "slices": ["label"], "bootstrap": {"replicates": 9}}


@pytest.fixture(scope="module")
def server(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served") / "m"
    folder.mkdir()
    os.symlink(world.folder / "classifier", folder / "1")
    server = Server({"m": folder})
    server.state = folder / "serve.json"
    yield server
    server.kill()


def numbers(folder):
    document = json.loads((folder / "metrics.json").read_text())
    return json.dumps([document[key] for key in ("metrics", "slices", "intervals")])


def evaluate(job, ranks, *options):
    argv = [sys.executable, "-m", "harness", "evaluate", job, *options]
    return over_ranks(ranks, "mpi", argv) if ranks > 1 else [str(word) for word in argv]


@pytest.mark.parametrize("ranks", [1, 3])
@pytest.mark.parametrize("kind", ["grpc", "rest"])
def test_the_same_bytes_as_the_model_here(world, server, kind, ranks, tmp_path):
    url = f"grpc://127.0.0.1:{server.grpc}" if kind == "grpc" else f"http://127.0.0.1:{server.rest}"
    models = {"here": str(world.folder / "classifier"), "there": {"endpoint": url, "name": "m"}}
    for name, model in models.items():
        job = world.job(
            tmp_path / f"{name}.yaml", model=model, output=str(tmp_path / name), schedule="dynamic" if ranks > 1 else None, **KEYS
        )
        done = start(evaluate(job, 1 if name == "here" else ranks), ROOT, {"HARNESS_THREADS": "1"})
        assert done.code == 0, done.text
    assert numbers(tmp_path / "there") == numbers(tmp_path / "here")
    attempt = json.loads((tmp_path / "there" / "run.json").read_text())["attempts"][-1]
    slices = json.loads((tmp_path / "there" / "metrics.json").read_text())["slices"]
    by_slice = attempt["endpoint_latency"][""]["by_slice"]
    assert [(part["slice"], part["examples"]) for part in by_slice] == [(part["slice"], part["examples"]) for part in slices]
    accounts = [rank["endpoints"][""] for rank in attempt["ranks"]]
    chunks = sorted(
        chunk for found in accounts for start_, stop in found["versions"].get("1", []) for chunk in range(start_, stop)
    )
    assert len(accounts) == ranks and chunks == list(range(len(chunks))) and len(chunks) > 5


def spoiling(number, forward, context):
    """Spoil every third reply or so: not now, later, too late, twice the server's work for one reply."""
    draw = random.Random(number).random()
    if draw < 0.1:
        context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
    if draw < 0.15:
        context.set_trailing_metadata([("grpc-retry-pushback-ms", "300")])
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "later")
    if draw < 0.2:
        forward()
    if draw < 0.3:
        waited(2.5)
    return forward()


@pytest.fixture
def proxy(server):
    proxy = GrpcFaults(f"127.0.0.1:{server.grpc}", spoiling)
    yield proxy
    proxy.close()


@pytest.mark.parametrize(("ranks", "keys"), [(2, {"concurrency": 1}), (3, {"concurrency": 64, "max_rate": 20})])
def test_runs_that_are_killed_and_resumed_end_with_the_same_bytes(world, server, proxy, ranks, keys, tmp_path):
    model = {"endpoint": f"grpc://127.0.0.1:{server.grpc}", "name": "m"}
    quiet = world.job(tmp_path / "quiet.yaml", model=model, output=str(tmp_path / "quiet"), **KEYS)
    assert start(evaluate(quiet, 1), ROOT).code == 0
    model = {"endpoint": f"grpc://127.0.0.1:{proxy.port}", "name": "m", "deadline": 2, **keys}
    job = world.job(tmp_path / "job.yaml", model=model, output=str(tmp_path / "run"), **KEYS)
    server.state.write_text('{"delay_s": 0.6}')
    kills = 0
    for _ in range(2):
        process = subprocess.Popen(
            evaluate(job, ranks, "--resume"),
            cwd=ROOT,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        before = len(list((tmp_path / "run" / "journal").glob("*"))) if (tmp_path / "run" / "journal").exists() else 0
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            journal = tmp_path / "run" / "journal"
            if journal.exists() and len(list(journal.glob("*.segment"))) > before:
                os.killpg(process.pid, signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.05)
        process.wait()
    server.state.write_text("{}")
    done = start(evaluate(job, ranks, "--resume"), ROOT)
    assert done.code == 0, done.text
    assert (tmp_path / "run" / "metrics.json").read_bytes() == (tmp_path / "quiet" / "metrics.json").read_bytes()
