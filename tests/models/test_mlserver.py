"""MLServer, in an environment of its own: the numbers of the local model over gRPC and REST, from one rank and from three."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.conftest import ROOT, over_ranks, start

pytestmark = pytest.mark.ranks

PINNED = "mlserver==1.7.1"
PATIENCE_S = 240


@pytest.fixture(scope="module")
def mlserver(tmp_path_factory):
    """MLServer's program; it finds TensorFlow in this environment, behind its own packages."""
    folder = tmp_path_factory.mktemp("mlserver")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=PATIENCE_S)
    subprocess.run([folder / "bin" / "pip", "install", "-q", PINNED], check=True, timeout=2 * PATIENCE_S)
    import numpy

    (packages,) = folder.glob("lib/python3*/site-packages")
    (packages / "tested.pth").write_text(str(Path(numpy.__file__).parent.parent))
    return folder / "bin" / "mlserver"


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@pytest.fixture(scope="module")
def served(world, mlserver, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runtime")
    http, grpc, metrics = free_ports(3)
    shutil.copy(ROOT / "tests" / "mlserver_runtime.py", folder)
    (folder / "settings.json").write_text(
        json.dumps({"http_port": http, "grpc_port": grpc, "metrics_port": metrics, "host": "127.0.0.1", "parallel_workers": 0})
    )
    tensors = {
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 8]}],
        "outputs": [{"name": "probabilities", "datatype": "FP32", "shape": [-1, 5]}],
    }
    parameters = {"uri": str(world.folder / "classifier"), "version": "3"}
    (folder / "model-settings.json").write_text(
        json.dumps({"name": "m", "implementation": "mlserver_runtime.SavedModel", "parameters": parameters, **tensors})
    )
    process = subprocess.Popen(
        [mlserver, "start", "."],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    ready = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            ready.open(f"http://127.0.0.1:{http}/v2/models/m/ready", timeout=5).close()
            break
        except OSError:
            assert process.poll() is None and time.monotonic() < deadline, "MLServer did not start"
            time.sleep(0.5)
    yield {"grpc": grpc, "http": http}
    process.terminate()
    process.wait(30)


@pytest.mark.parametrize("ranks", [1, 3])
def test_the_numbers_are_those_of_the_local_model(world, served, ranks, tmp_path):
    keys = {"metrics": ["accuracy", "cross_entropy"], "slices": ["label"], "bootstrap": {"replicates": 9}}
    models = {
        "local": str(world.folder / "classifier"),
        **{scheme: {"endpoint": f"{scheme}://127.0.0.1:{port}", "name": "m"} for scheme, port in served.items()},
    }
    numbers = {}
    for name, model in models.items():
        job = world.job(tmp_path / f"{name}.yaml", model=model, output=str(tmp_path / name), **keys)
        done = start(
            over_ranks(ranks, "mpi", [sys.executable, "-m", "harness", "evaluate", job]), tmp_path, {"HARNESS_THREADS": "1"}
        )
        assert done.code == 0, done.text
        document = json.loads((tmp_path / name / "metrics.json").read_text())
        numbers[name] = json.dumps([document[key] for key in ("metrics", "slices", "intervals")])
    assert numbers["grpc"] == numbers["http"] == numbers["local"]
    run = json.loads((tmp_path / "grpc" / "run.json").read_text())
    accounts = [rank["endpoints"][""] for rank in run["attempts"][-1]["ranks"]]
    assert len(accounts) == ranks and {version for found in accounts for version in found["versions"]} <= {"3"}
    assert all(found["order"] == "labelled" and found["deterministic"] for found in accounts)
