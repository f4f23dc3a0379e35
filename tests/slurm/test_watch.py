"""`harness watch JOBID` on a cluster of two nodes: a job that waits, an array, nodes that are not well, and the runs."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import BIN, ROOT, Done, Made, start
from tests.slurm.cluster import Cluster

pytestmark = pytest.mark.ranks

LIMIT_S = 240  # a bound, not a measure


def watched(*words: str | Path) -> Done:
    return start([BIN / "harness", "watch", *words], ROOT, {"COLUMNS": "300"})  # paths of tests are long


def seen(job: str) -> list[dict[str, Any]]:
    done = watched(job, "--once", "--json")
    assert done.code == 0, done.text
    return [json.loads(line) for line in done.out.splitlines()]


def test_what_waits_what_runs_and_how_it_ends(cluster: Cluster, world: Made, tmp_path: Path) -> None:
    blocker = tmp_path / "blocker.sh"
    blocker.write_text("#!/bin/bash\nsleep 600\n")
    first = cluster.run("sbatch", "--parsable", "-N2", "--exclusive", "--time=5", "-o", tmp_path / "blocker.log", blocker)
    job = world.job(tmp_path / "job.yaml", chunk_size=8, batch_size=8)
    words = [sys.executable, "-m", "harness", "submit", job, "--time", "5", "--nodes", "1", "--ntasks-per-node", "2"]
    alone = start([*words, "-o", tmp_path / "alone", "--", "--exclusive"], ROOT).out.split()[0]
    checkpoints = ["--array", "--checkpoints", str(world.folder / "classifier*"), "-o", tmp_path / "sweep"]
    array = start([*words, *checkpoints, "--", "--exclusive"], ROOT).out.split()[0]
    begun = time.monotonic()
    while (line := seen(alone)[0])["start_s"] is None:
        assert time.monotonic() - begun < LIMIT_S
        time.sleep(1)
    assert (line["job"], line["state"], line["exit_code"]) == (alone, "PENDING", None)
    assert line["reason"] in ("Resources", "Priority") and line["text"][0].startswith(f"job {alone}: pending (")
    (waiting,) = seen(array)
    assert waiting["job"].startswith(f"{array}_0") and waiting["state"] == "PENDING"
    cluster.run("scontrol", "update", "NodeName=n2", "State=DRAIN", "Reason=disk is full")
    try:
        (blocked,) = seen(first)
        assert blocked["nodes"] == "n[1-2]" and [trouble.split(": ")[1] for trouble in blocked["troubles"]] == ["disk is full"]
    finally:
        cluster.run("scontrol", "update", "NodeName=n2", "State=RESUME")
    cluster.run("scancel", first)
    done = watched(alone, array, "--every", "1")
    assert done.code == 0, done.text
    assert f"job {alone}: completed" in done.out and f"job {array}_0: completed" in done.out
    assert f"{tmp_path}/alone: done" in done.out and f"{tmp_path}/sweep/classifier: done" in done.out
    assert done.out.count("certificate: every one of") >= 2
    assert watched(first, "--once").code == 4  # it was cancelled
