"""Which of many runs passes its gate first, whichever ended first."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from harness.results.first_pass import FirstPass, first_pass

DONE = {"state": "done", "exit_code": 0}


def judged(verdict: str | None, exit_code: int) -> dict:
    return {**DONE, "exit_code": exit_code, "gate": {"verdict": verdict, "exit_code": exit_code}}


# The verdict of gate.json, status.json, slurm-status.json.
KINDS = {
    "passes": ("PASS", judged("PASS", 0), None),
    "fails": ("FAIL", judged("FAIL", 1), None),
    "not known": ("INCONCLUSIVE", judged("INCONCLUSIVE", 5), None),
    "taken for a pass": ("INCONCLUSIVE", judged("INCONCLUSIVE", 0), None),
    "cannot be judged": (None, judged(None, 2), None),
    "failed": (None, {"state": "failed", "exit_code": 1}, None),
    "wrong": (None, None, {"state": "ended", "exit_code": 2}),
    "works": (None, {"state": "running", "exit_code": None}, None),
    "stopped": (None, {"state": "interrupted", "exit_code": 4}, {"state": "ended", "exit_code": 4}),
    "waits": (None, None, None),
    "has no gate": (None, DONE, None),
}


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder with a run of each kind."""
    for name, files in KINDS.items():
        verdict, *others = files
        (tmp_path / name).mkdir()
        for file, document in zip(("gate", "status", "slurm-status"), ({"verdict": verdict}, *others), strict=True):
            if document is not None and document != {"verdict": None}:
                (tmp_path / name / f"{file}.json").write_text(json.dumps(document))
    return tmp_path


@pytest.mark.parametrize(
    "names, run, awaited",
    [
        (["fails", "passes", "taken for a pass"], "passes", None),
        (["not known", "taken for a pass", "passes"], "taken for a pass", None),
        (["cannot be judged", "failed", "wrong", "passes"], "passes", None),
        (["fails", "works", "passes"], None, "works"),  # it may pass yet, and would be the first
        (["stopped", "passes"], None, "stopped"),
        (["waits", "passes"], None, "waits"),
        (["has no gate", "passes"], None, "has no gate"),
        (["passes", "works"], "passes", None),
        (["fails", "failed"], None, None),
    ],
)
def test_the_first_in_order_that_passes(names, run, awaited, runs):
    wanted = FirstPass(runs / run if run else None, runs / awaited if awaited else None)
    assert first_pass([runs / name for name in names]) == wanted
    assert wanted.exit_code == (0 if run else 5 if awaited else 1)


def test_it_is_named_and_kept(runs, harness, tmp_path):
    metrics = {
        "certificate": {"examples": 3, "chunks": 1, "id_hash": "0"},
        "metrics": {"accuracy": {"value": 0.5, "examples": 3}},
    }
    (runs / "passes" / "metrics.json").write_text(json.dumps(metrics))
    table = tmp_path / "first.csv"

    def collected(*names: str):
        done = harness("collect", "--first-pass", *(runs / name for name in names), "-o", table, "--metric", "accuracy")
        return done, pd.read_csv(table)["run"].tolist()

    done, kept = collected("fails", "passes")
    assert (done.code, kept) == (0, [str(runs / "passes")]) and f"first to pass its gate: {runs / 'passes'}" in done.err
    done, kept = collected("fails", "works", "passes")
    assert (done.code, kept) == (5, []) and "works has no verdict" in done.err
    done, kept = collected("fails")
    assert (done.code, kept) == (1, []) and "no run passes its gate" in done.err
