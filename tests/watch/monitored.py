"""What the tests of monitors look at: a page with a sample of every metric, and Prometheus' own tools."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from harness.names.variables import NO_SKIP
from harness.watch.beat import Beat
from harness.watch.monitor_metrics import Node, Whole
from harness.watch.vitals import Recent, Vitals

VITALS = Vitals(
    age_s=20.0, examples=320, seconds={"starting": 2.0, "reading": 12.0, "predicting": 6.0}, cpu_s=9.5, rss_bytes=700_000_000, threads=4,
    read_bytes=123_456, retries=2, gpu_percent=80, gpu_bytes=1 << 30, gpu_total_bytes=1 << 34,
    recent=Recent(over_s=5.0, examples=100, seconds={"reading": 4.0, "predicting": 1.0}),
)  # fmt: skip


def beat(rank: int, phase: str = "evaluating", **keys: int) -> Beat:
    return Beat(rank, host="n1", pid=7, phase=phase, examples=320, chunks=10, moves=3, vitals=VITALS.to_json(), **keys)


def whole(*beats: Beat) -> Whole:
    return Whole(
        attempt=2, ranks=2, examples=1000, chunks=40, earlier_chunks=6, name="job", model="m", job_digest="ab12", version="1",
        beats=beats, examples_per_s=40.0, last_examples_per_s=50.0, free_bytes=10, size_bytes=100, stragglers={1: "slow storage"},
    )  # fmt: skip


def node() -> Node:
    beats = [beat(0), beat(1)]
    return Node("/runs/a", 1e9, beats, {0: 0.5, 1: 301.0}, joules={"GPU-1": 1500.0}, whole=whole(*beats))


def tool(name: str) -> str:
    """Return a program of Prometheus, or skip."""
    path = shutil.which(name)
    if path is None:
        (pytest.fail if NO_SKIP.get() else pytest.skip)(f"{name} is not installed")  # .ci/run installs it
    return str(path)


def promtool(*words: str, stdin: bytes | None = None, cwd: object = None) -> tuple[int, str]:
    done = subprocess.run([tool("promtool"), *words], input=stdin, capture_output=True, cwd=cwd, check=False, timeout=120)  # type: ignore[call-overload]
    return done.returncode, (done.stdout + done.stderr).decode()
