"""The Slurm request of a forecast, on a real Slurm of two nodes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.bench.forecast import forecast
from harness.bench.forecast_model import Machine, Size, Work
from harness.bench.forecast_text import request
from harness.bench.pilot_costs import Costs
from tests.conftest import Made, start
from tests.slurm.cluster import Cluster

pytestmark = pytest.mark.ranks

LIMIT_S = 240  # a bound, not a measure
JOB = (
    "model: {model}\ndata: {{files: '{data}/?.tfrecord*', format: tfrecord, label: label}}\nmetrics: [accuracy]\nbatch_size: 16\n"
)


def test_slurm_understands_the_request_of_a_forecast_as_it_is_meant(cluster: Cluster, world: Made, tmp_path: Path) -> None:
    job = tmp_path / "job.yaml"
    job.write_text(JOB.format(model=world.folder / "classifier", data=world.folder))
    costs = Costs(3.0, 1.0, 0.001, 0.0, 0.0, 0.1, 1.0, 1.0, base_bytes=1 << 30)
    sizes, machine = [Size(ranks, 2) for ranks in (1, 4)], Machine(4, 8 << 30)
    predicted = forecast({2: [costs], 4: [costs]}, sizes, Work(10**6, 1000, 1000), machine)
    words = request(predicted, job, (), "main")
    done = start([sys.executable, "-m", "harness", *words, "-o", tmp_path / "run", "--", "--hold"], tmp_path)
    assert done.code == 0, done.text
    said = cluster.job(done.out.split()[0])
    subprocess.run(["scancel", done.out.split()[0]], check=True)
    # Four ranks share the 1,000 s of examples on two nodes: 254.1 s, without an interval twice that and half as much again.
    asked = {
        "NumTasks": "4",
        "NumNodes": "2",
        "CPUs/Task": "2",
        "MinMemoryNode": "3G",
        "TimeLimit": "00:13:00",
        "Partition": "main",
    }
    assert {name: said[name].partition("-")[0] for name in asked} == asked


def test_the_request_of_a_forecast_is_taken_and_its_job_runs_to_the_end(cluster: Cluster, world: Made, tmp_path: Path) -> None:
    job = tmp_path / "job.yaml"
    job.write_text(JOB.format(model=world.folder / "classifier", data=world.folder) + f"output: {tmp_path}/run\n")
    argv = [
        sys.executable,
        "-m",
        "harness",
        "forecast",
        job,
        "--ranks",
        "1,2",
        "--nodes-of",
        "1",
        "--pilot",
        "20",
        "--repeat",
        "1",
    ]
    done = start([*argv, "-o", tmp_path / "f", "--submit", "--partition", "main"], tmp_path)
    assert done.code == 0, done.text
    asked = json.loads((tmp_path / "f" / "forecast.json").read_text())
    number = done.out.strip().splitlines()[-1].split()[0]
    begun = time.monotonic()
    while (said := cluster.job(number))["JobState"] in ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING"):
        assert time.monotonic() - begun < LIMIT_S, said
        time.sleep(0.3)
    assert said["JobState"] == "COMPLETED", said
    options = dict(zip(asked["request"][3::2], asked["request"][4::2], strict=True))
    assert said["Partition"] == options["--partition"] == "main" and said["TimeLimit"] == options["--time"]
    assert said["NumTasks"] == options["--ntasks"] == str(asked["best_ranks"])
    assert said["MinMemoryNode"] == options["--mem"]
    account = json.loads((tmp_path / "run" / "run.json").read_text())
    assert account["attempts"][-1]["size"] == asked["best_ranks"] and (tmp_path / "run" / "metrics.json").exists()
