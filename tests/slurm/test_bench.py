"""A bench whose trials are submitted to a real Slurm of two nodes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.conftest import Made, start
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


def test_a_job_that_failed_is_named_and_done_again(cluster: Cluster, world: Made, tmp_path: Path) -> None:
    """Two nodes with four processors each hold no ninth rank: Slurm refuses that size, the others are kept."""
    job = tmp_path / "job.yaml"
    job.write_text(JOB.format(model=world.folder / "classifier", data=world.folder))
    argv = [sys.executable, "-m", "harness", "bench", job, "-o", tmp_path / "b", "--ranks", "1,99", "--repeat", "1"]
    done = start([*argv, "--slurm", "main"], tmp_path)
    assert done.code == 1 and "INCOMPLETE" in done.out and "Traceback" not in done.text, done.text
    found = json.loads((tmp_path / "b" / "bench.json").read_text())
    assert "s000-strong-0099-warm-0 failed" in found["problems"][0], found["problems"]
    assert [size["trials"] for size in found["sizes"]] == [1, 0]
    kept = [path for path in sorted((tmp_path / "b" / "trials").iterdir()) if "-0001-" in path.name]
    before = [(path / "trial.json").stat().st_mtime_ns for path in kept]
    again = start([*argv, "--slurm", "main", "--resume"], tmp_path)
    assert again.code == 1 and "s000-strong-0099-warm-0 failed" in again.out, again.text
    assert len(kept) == 2 and [(path / "trial.json").stat().st_mtime_ns for path in kept] == before
