"""A bench whose trials are submitted to a real Slurm of two nodes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.bench.slurm_jobs import job_of
from tests.conftest import LIMIT_S, Made, start
from tests.slurm.cluster import Cluster

pytestmark = pytest.mark.ranks
JOB = (
    "model: {model}\ndata: {{files: '{data}/?.tfrecord*', format: tfrecord, label: label}}\nmetrics: [accuracy]\nbatch_size: 16\n"
)


def test_trials_are_submitted_and_collected(cluster: Cluster, world: Made, tmp_path: Path) -> None:
    job = tmp_path / "job.yaml"
    job.write_text(JOB.format(model=world.folder / "classifier", data=world.folder))
    argv = [sys.executable, "-m", "harness", "bench", job, "-o", tmp_path / "b", "--ranks", "1,2", "--repeat", "1"]
    done = start([*argv, "--slurm", "main"], tmp_path)
    assert done.code == 0, done.text
    found = json.loads((tmp_path / "b" / "bench.json").read_text())
    assert found["state"] == "VALID" and [trial["ranks"] for trial in found["trials"]] == [1, 2, 1, 2]
    for trial in found["trials"]:
        assert list((tmp_path / "b" / "trials" / trial["name"] / "run").glob("slurm-*.log"))
    refused = start([*argv[:6], tmp_path / "c", "--ranks", "1", "--repeat", "1", "--slurm", "nowhere"], tmp_path)
    assert refused.code in (1, 2) and "nowhere" in refused.text and "Traceback" not in refused.text, refused.text


MODEL = """\
import os
from pathlib import Path

import tensorflow as tf


def make():
    if os.environ.get("SLURM_NTASKS") == "2" and Path(__file__).with_name("broken").exists():
        raise RuntimeError("planted by the test")

    @tf.function(input_signature=[tf.TensorSpec([None, 8], tf.float32, name="x")])
    def predict(x):
        return {"probabilities": tf.nn.softmax(x[:, :5])}

    return predict
"""


def test_a_job_that_failed_is_named_and_done_again(cluster: Cluster, world: Made, tmp_path: Path) -> None:
    job = tmp_path / "job.yaml"
    job.write_text(JOB.format(model="{python: 'planted_model:make'}", data=world.folder))
    (tmp_path / "planted_model.py").write_text(MODEL)
    (tmp_path / "broken").touch()
    argv = [sys.executable, "-m", "harness", "bench", job, "-o", tmp_path / "b", "--ranks", "1,2", "--repeat", "1"]
    argv += ["--slurm", "main"]
    done = start(argv, tmp_path)
    assert done.code == 1 and "INCOMPLETE" in done.out and "Traceback" not in done.err, done.text
    found = json.loads((tmp_path / "b" / "bench.json").read_text())
    assert "s000-strong-0002-warm-0 failed" in found["problems"][0], found["problems"]
    assert "planted by the test" in found["problems"][0]
    assert [size["trials"] for size in found["sizes"]] == [1, 0]
    kept = [path / "trial.json" for path in sorted((tmp_path / "b" / "trials").iterdir()) if "-0001-" in path.name]
    before = [path.stat().st_mtime_ns for path in kept]
    (tmp_path / "broken").unlink()
    again = start([*argv, "--resume"], tmp_path)
    assert again.code == 0 and "VALID" in again.out, again.text
    assert len(kept) == 2 and [path.stat().st_mtime_ns for path in kept] == before


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_bench_that_was_ended_leaves_no_job_beside_the_next(
    cluster: Cluster, world: Made, tmp_path: Path, how: signal.Signals
) -> None:
    job = tmp_path / "job.yaml"
    job.write_text(JOB.format(model=world.folder / "classifier", data=world.folder))
    argv = [sys.executable, "-m", "harness", "bench", str(job), "-o", str(tmp_path / "b"), "--ranks", "1", "--repeat", "1"]
    argv += ["--slurm", "main"]
    process = subprocess.Popen(argv, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    output, begun = tmp_path / "b" / "trials" / ".s000-strong-0001-warm-0" / "output.txt", time.monotonic()
    while not output.exists() or not (number := job_of(output.read_text())):
        assert process.poll() is None and time.monotonic() - begun < LIMIT_S
        time.sleep(0.1)
    process.send_signal(how)
    assert process.wait(90) == (4 if how is signal.SIGTERM else -signal.SIGKILL)
    if how is signal.SIGTERM:  # who is killed can do nothing any more
        assert cluster.job(number)["JobState"] == "CANCELLED"
    done = start([*argv, "--resume"], tmp_path)
    assert done.code == 0 and "VALID" in done.out, done.text
    assert cluster.job(number)["JobState"] in ("CANCELLED", "COMPLETED")
