"""Many runs in one table: from files written by hand, with every state that a run can be in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.errors import UsageError
from harness.results.collect import collect, write_summary


def write(folder: Path, name: str, document: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(document))


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """Done with all kinds of values; failed; interrupted; ended before the run folder was its; not begun."""
    done, failed, stopped, wrong, nothing = (tmp_path / name for name in ("done [x]", "failed", "stopped", "wrong", "nothing"))
    metrics = {
        "accuracy": {"value": 0.1 + 0.2, "examples": 7},
        "recall": {"value": {"cat": 0.5, "dog, big": None}, "examples": 7},
        "matrix": {"value": {"columns": ["label", "cat"], "rows": [["cat", 3]]}, "examples": 7},
        "r2": {"value": None, "reason": "0/0", "examples": 7},
        "hits": {"value": 5, "examples": 7},
        "model": {"value": 2.0, "examples": 7},  # named like another column
    }
    intervals = {"accuracy": {"low": 0.25, "high": 0.5}, "recall": {"cat": {"low": 0.0, "high": 1.0}}}
    write(done, "metrics.json", {"metrics": metrics, "intervals": intervals, "certificate": {"examples": 7}})
    write(done, "run.json", {"model": {"path": "/m/one"}})
    write(done, "status.json", {"state": "failed", "exit_code": 1})  # a result that is written stays one
    write(failed, "status.json", {"state": "failed", "exit_code": 1})
    write(failed, "failure.json", {"message": "record 3, is torn"})
    write(stopped, "status.json", {"state": "interrupted", "exit_code": 4})
    write(wrong, "slurm-status.json", {"state": "ended", "exit_code": 2})
    return [done, failed, stopped, wrong, nothing]


def test_one_row_a_run(runs: list[Path], tmp_path: Path) -> None:
    frame = collect(runs)
    assert list(frame.columns) == [
        "run", "state", "exit_code", "message", "model", "examples", "accuracy", "accuracy.low", "accuracy.high",
        "recall[cat]", "recall[cat].low", "recall[cat].high", "recall[dog, big]", "r2", "hits", "metrics.model",
    ]  # fmt: skip
    assert frame["run"].tolist() == [str(run) for run in runs]
    assert frame["state"].tolist() == ["done", "failed", "interrupted", "failed", "not begun"]
    assert frame["exit_code"].tolist() == [0, 1, 4, 2, pd.NA]
    assert frame["message"].tolist() == ["", "record 3, is torn", "", "", ""]
    assert frame.iloc[0, 4:12].tolist() == ["/m/one", 7, 0.30000000000000004, 0.25, 0.5, 0.5, 0.0, 1.0]
    assert frame.iloc[0, 14:].tolist() == [5, 2.0]
    assert frame.iloc[0, 12:14].isna().all()  # null is empty, not nought
    assert frame.iloc[1:, 5:].isna().all().all()
    # The same table from both files, to the last bit.
    write_summary(frame, tmp_path / "out" / "t.csv")
    write_summary(frame, tmp_path / "out" / "t.parquet")
    assert (tmp_path / "out" / "t.csv").read_text().splitlines()[1] == (
        f"{runs[0]},done,0,,/m/one,7,0.30000000000000004,0.25,0.5,0.5,0.0,1.0,,,5.0,2.0"
    )
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "out" / "t.parquet"), frame)


def test_the_command_prints_the_table(runs: list[Path], tmp_path: Path, harness: Any) -> None:
    done = harness("collect", *runs, "-o", tmp_path / "t.csv")
    assert done.code == 0, done.err
    lines = [line for line in done.out.splitlines() if "│" in line]
    assert [line.split("│")[1].strip() for line in lines] == ["done [x]", "failed", "stopped", "wrong", "nothing"]
    assert "record 3, is torn" in done.out
    assert (tmp_path / "t.csv").exists()


def test_what_cannot_be_collected(runs: list[Path], tmp_path: Path, harness: Any) -> None:
    with pytest.raises(UsageError, match="stands there twice"):
        collect([runs[0], runs[1], runs[0]])
    done = harness("collect", *runs, "-o", tmp_path / "t.xlsx")
    assert done.code == 2
    assert "expected a file that ends with .csv or .parquet" in done.err
    assert not (tmp_path / "t.xlsx").exists()
