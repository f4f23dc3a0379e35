"""Gates of runs over ranks: the exit code is the gate's, and nobody starts a run again that is done."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.folder.run_folder import RunFolder, read_json
from tests.conftest import start
from tests.ranks.test_elastic import Run

pytestmark = pytest.mark.ranks

AT_LEAST = {"FAIL": 0.99, "INCONCLUSIVE": 0.65, "PASS": 0.5}
CODES = {"FAIL": 1, "INCONCLUSIVE": 5, "PASS": 0}


def gate(verdict: str) -> list[str]:
    return ["--set", f"gate=[{{accuracy: {{at_least: {AT_LEAST[verdict]}}}}}]"]


def judged(folder: RunFolder, verdict: str) -> None:
    """See that a run was evaluated once, and what it came to."""
    assert read_json(folder.gate_json)["verdict"] == verdict
    assert read_json(folder.status_json) == {
        "state": "done",
        "exit_code": CODES[verdict],
        "gate": {"verdict": verdict, "exit_code": CODES[verdict]},
    }
    assert len(read_json(folder.run_json)["attempts"]) == 1


@pytest.mark.parametrize("comm", ["mpi", "gloo"])
@pytest.mark.parametrize("verdict", ["FAIL", "INCONCLUSIVE", "PASS"])
def test_no_verdict_is_started_again(verdict, comm, world, tmp_path):
    job, folder = world.job(tmp_path / "job.yaml"), RunFolder(tmp_path / "run")
    words = ["launch", "-np", "2", f"--{comm}", "--restarts", "1", "--", "evaluate", job, "-o", folder.path, *gate(verdict)]
    done = start(["harness", *words], tmp_path)
    assert done.code == CODES[verdict], done.text
    assert done.out.endswith(f"{verdict}: run\n") and done.out.count(f"{verdict}: run") == 1
    assert "restart" not in done.err and "Traceback" not in done.err
    judged(folder, verdict)


def test_an_elastic_run_is_not_started_again(world, tmp_path: Path):
    run = Run(world.job(tmp_path / "job.yaml"), tmp_path / "run", *gate("FAIL"), slow="0")
    assert run.end() == 1, run.text
    assert run.text.count("FAIL: run") == 1 and "goes on with" not in run.text and "Traceback" not in run.text
    judged(run.folder, "FAIL")
