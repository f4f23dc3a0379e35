"""Logs of real ranks as JSON: one event a line and nothing else, whoever starts the ranks and however they end."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from harness.names.events import Event
from tests.conftest import Done, Made, over_ranks, start
from tests.names.test_log import KEYS

pytestmark = pytest.mark.ranks


def logged(done: Done) -> list[dict[str, Any]]:
    """Return the events of a command; every line is one."""
    lines = [json.loads(line) for line in done.err.splitlines()]
    assert all([key for key in line if key != "part"] == KEYS for line in lines)
    levels = {event.kind: str(event.level) for event in Event}
    assert all(line["level"] == levels[line["event"]] for line in lines)
    twice = Counter((line["event"], line["message"]) for line in lines if line["event"] != "output")
    assert [key for key, count in twice.items() if count > 1] == []
    return lines


@pytest.mark.parametrize("comm", ["mpi", "gloo"])
def test_a_launched_run_logs_events_alone_and_its_result_is_the_same(world: Made, tmp_path: Path, comm: str) -> None:
    job = world.job(tmp_path / "job.yaml", schedule="static")
    done = start(
        ["harness", "launch", "-np", "2", f"--{comm}", "--", "evaluate", job, "-o", tmp_path / "run", "--log", "json"], tmp_path
    )
    assert done.code == 0, done.text
    lines = logged(done)
    kinds = [line["event"] for line in lines]
    assert kinds[0] == "launch.begun" and lines[0]["rank"] is None
    assert kinds.count("run.begun") == kinds.count("run.done") == 1
    phases = [(line["rank"], line["phase"]) for line in lines if line["event"] == "rank.phase"]
    assert {(rank, phase) for rank in (0, 1) for phase in ("evaluating", "waiting", "done")} <= set(phases)
    assert all(line["attempt"] == 1 for line in lines if line["event"].startswith("rank."))
    assert all(line["chunk"] is not None for line in lines if line["event"] == "rank.phase" and line["phase"] == "evaluating")
    assert set(kinds) <= {"launch.begun", "run.begun", "run.step", "run.progress", "rank.phase", "run.done"}
    assert "certificate: every one of 203 examples counted once" in done.out
    if comm == "mpi":
        plain = start(["harness", "evaluate", job, "-o", tmp_path / "plain"], tmp_path)
        assert plain.code == 0 and not plain.err.startswith("{")
        assert (tmp_path / "run" / "metrics.json").read_bytes() == (tmp_path / "plain" / "metrics.json").read_bytes()


def test_a_failure_under_mpirun_is_one_event(world: Made, tmp_path: Path) -> None:
    job = world.job(tmp_path / "job.yaml", data={"label": "lable"})
    words = ["harness", "evaluate", job, "-o", tmp_path / "run"]
    done = start(["env", "HARNESS_LOG=json", *over_ranks(2, "mpi", words)], tmp_path)
    assert done.code == 2
    ours = "\n".join(
        line.partition(":")[2] for line in done.err.splitlines() if line.startswith("[1,")
    )  # the rest is mpirun's own
    (failure,) = [line for line in logged(Done(2, "", ours, 0.0)) if line["level"] == "error"]
    assert failure["event"] == "run.failed" and failure["message"].startswith("rank 0 on ") and "'lable'" in failure["message"]


def test_a_wrong_command_is_an_event_too(harness: Any, world: Made, tmp_path: Path) -> None:
    world.job(tmp_path / "job.yaml")
    (failure,) = logged(harness("evaluate", "job.yaml", "--log", "json", "--nope"))
    assert failure["event"] == "run.failed" and "no option '--nope'" in failure["message"]
    wrong = harness("evaluate", "job.yaml", "--log", "xml")
    assert wrong.code == 2 and "'xml' is not one of 'text', 'json'" in wrong.err
