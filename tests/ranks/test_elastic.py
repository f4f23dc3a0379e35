"""Ranks that die and hosts that join while a run goes on: the same bytes, and nobody starts anew. Two names of one machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from prometheus_client.parser import text_string_to_metric_families

from harness.folder.run_folder import RunFolder, read_json
from harness.watch.monitor import text_file
from tests import made
from tests.conftest import LIMIT_S, ROOT
from tests.ranks.test_resume import LAUNCH

pytestmark = pytest.mark.ranks

BOTH = "localhost:1\n127.0.0.1:1\n"


@pytest.fixture(scope="module")
def job(world, tmp_path_factory) -> Path:
    return world.job(tmp_path_factory.mktemp("elastic") / "job.yaml", chunk_size=8, batch_size=8)


@pytest.fixture(scope="module")
def quiet(job) -> bytes:
    argv = [sys.executable, "-m", "tests.ranks.slow", "0", "evaluate", str(job), "-o", str(job.parent / "quiet")]
    subprocess.run(argv, cwd=ROOT, check=True, capture_output=True, timeout=LIMIT_S)
    return (job.parent / "quiet" / "metrics.json").read_bytes()


class Run:
    """`harness launch` of slow ranks on hosts that a file lists."""

    def __init__(self, job: Path, folder: Path, *words: str, hosts: str = BOTH, ranks: int = 2, slow: str = "0.3") -> None:
        self.folder, self.hosts, self._output = RunFolder(folder), folder.parent / "hosts.txt", folder.parent / "output.txt"
        self.hosts.write_text(hosts)
        script, harness = folder.parent / "hosts.sh", folder.parent / "slow-harness"
        script.write_text(f"#!/bin/sh\ncat {self.hosts}\n")
        harness.write_text(f'#!/bin/sh\nexec {sys.executable} -m tests.ranks.slow {slow} "$@"\n')
        for path in (script, harness):
            path.chmod(0o755)
        argv = [
            sys.executable, "-c", LAUNCH, str(harness), "launch", "-np", str(ranks), "--min-np", "1", "--max-np", "2",
            "--elastic-timeout", "60", "--network-interface", "lo", "--host-discovery-script", str(script),
            "--", "evaluate", str(job), "-o", str(folder), *words,
        ]  # fmt: skip
        with self._output.open("wb") as stream:
            environ = {**os.environ, "HARNESS_THREADS": "1"}
            self._process = subprocess.Popen(argv, cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream)

    @property
    def text(self) -> str:
        return self._output.read_text(errors="replace")

    def until(self, true: Callable[[], Any]) -> None:
        begun = time.monotonic()
        while not true():
            assert time.monotonic() - begun < LIMIT_S and self._process.poll() is None, self.text
            time.sleep(0.02)

    def committed(self, rank: int, attempt: int = 1, least: int = 1) -> bool:
        return len(list(self.folder.journal.glob(f"{attempt:04d}-{rank:05d}-*.segment"))) >= least

    def signal(self, rank: int, number: int) -> None:
        os.kill(read_json(self.folder.heartbeat(rank))["pid"], number)

    def code(self) -> int | None:
        return self._process.poll()

    def end(self, limit_s: float = LIMIT_S) -> int:
        try:
            return self._process.wait(limit_s)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(30)
            raise AssertionError(self.text) from None

    @property
    def attempts(self) -> list[dict[str, Any]]:
        return read_json(self.folder.run_json)["attempts"]


@pytest.mark.parametrize("victim", [1, 0])
def test_a_rank_that_dies_does_not_end_the_run(victim, job, quiet, tmp_path):
    """Prometheus is told of it, and goes on to be told; when the run is done it is handed on, once."""
    table = tmp_path / "all.csv"
    run = Run(job, tmp_path / "run", "--set", f"monitor.textfile={tmp_path}", "--set", f"export=[csv={table}]")
    page = text_file(tmp_path, run.folder.path, 0)  # of the one machine that both are on
    run.until(lambda: run.committed(0) and run.committed(1) and told(page, "harness_run_ranks") == 2)
    run.signal(victim, signal.SIGKILL)
    run.until(lambda: told(page, "harness_run_ranks") == 1)
    assert not table.exists()
    assert run.end() == 0, run.text
    assert (tmp_path / "run" / "metrics.json").read_bytes() == quiet
    first, last = run.attempts
    assert (first["size"], last["size"]) == (2, 1)
    assert 2 <= last["chunks_resumed"] <= 21  # what both had committed, the dead one too
    assert "goes on with those that are there" in run.text and "Traceback" not in run.text
    assert pd.read_csv(table)["run"].tolist() == ["run"]
    assert list(tmp_path.glob("*.prom")) == []


def told(page: Path, name: str) -> float | None:
    """Return what a page for Prometheus says, None where it does not."""
    try:
        families = list(text_string_to_metric_families(page.read_text()))
    except OSError:
        return None
    return next((sample.value for family in families for sample in family.samples if sample.name == name), None)


def test_a_host_that_comes_joins_at_the_next_border(job, quiet, tmp_path):
    run = Run(job, tmp_path / "run", hosts="localhost:1\n", ranks=1)
    run.until(lambda: run.committed(0))
    run.hosts.write_text(BOTH)
    assert run.end() == 0, run.text
    assert (tmp_path / "run" / "metrics.json").read_bytes() == quiet
    first, last = run.attempts
    assert (first["size"], last["size"]) == (1, 2) and 0 < last["chunks_resumed"] < 21
    assert all(rank["chunks"] for rank in last["ranks"])
    assert "there are new hosts" in run.text and "Traceback" not in run.text


def test_a_rank_that_is_stuck_is_ended_and_the_others_go_on(job, quiet, tmp_path):
    run = Run(job, tmp_path / "run", "--stall-timeout", "8")
    run.until(lambda: run.committed(0) and run.committed(1))
    run.signal(1, signal.SIGSTOP)
    assert run.end() == 0, run.text
    assert (tmp_path / "run" / "metrics.json").read_bytes() == quiet
    assert "rank 1 on " in run.text and "has made no progress for" in run.text and "it is ended, the others go on" in run.text
    assert [attempt["size"] for attempt in run.attempts] == [2, 1]


def test_a_failure_that_is_no_death_ends_the_run_at_once(job, world, tmp_path):
    """A file that is broken is broken for whoever would take over."""
    broken = tmp_path / "e.tfrecord"
    broken.write_bytes((world.folder / "e.tfrecord").read_bytes())
    made.flip(broken, made.record_offsets(broken)[60] + 14)
    run = Run(
        job,
        tmp_path / "run",
        "--set",
        f"data.files.{[name for name, _, _ in made.FILES].index('e.tfrecord')}={broken}",
        slow="0.1",
    )
    assert run.end() == 1, run.text
    assert "the CRC of its data is wrong" in run.text and run.text.count("harness: error: ") == 1, run.text
    assert "Traceback" not in run.text
    assert not (tmp_path / "run" / "metrics.json").exists()


def test_a_signal_ends_all_ranks_and_the_run_resumes(job, quiet, tmp_path):
    run = Run(job, tmp_path / "run")
    run.until(lambda: run.committed(0) and run.committed(1))
    run._process.send_signal(signal.SIGTERM)
    assert run.end() == 4, run.text
    again = Run(job, tmp_path / "run", "--resume", hosts="localhost:1\n", ranks=1, slow="0")
    assert again.end() == 0, again.text
    assert (tmp_path / "run" / "metrics.json").read_bytes() == quiet
