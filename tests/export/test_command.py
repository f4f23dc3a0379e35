"""`harness export` and `harness collect --to`: what is wrong is said before anything is written, and one target costs no other."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import HarnessError, UsageError
from harness.export import json_lines
from harness.export.command import export, targets_of
from tests.conftest import Done
from tests.export.runs import checkpoint, write


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write(tmp_path / "run", {"accuracy": {"value": 0.1 + 0.2, "examples": 2}})


@pytest.mark.parametrize(
    "target, message",
    [
        ("tensorbord", "expected a target, found 'tensorbord': did you mean 'tensorboard'? valid: csv, json-lines, mlflow"),
        ("csv=", "csv=: expected a place behind the =, found nothing; without = it is runs.csv"),
        ("mlflow=https://me:hidden@host", "mlflow: a URL carries a user or password: places are printed and recorded"),
        ("tensorboard=s3://bucket/logs", "tensorboard=s3://bucket/logs: expected a path of this machine, found a URL"),
        ("csv=a.csv --to csv=a.csv", "csv: stands there twice with the same place"),
    ],
)
def test_a_target_that_is_wrong_is_said_before_anything_is_written(
    target: str, message: str, run: Path, harness: Callable[..., Done], tmp_path: Path
) -> None:
    before = set(tmp_path.rglob("*"))
    done = harness("export", run, "--to", f"json-lines={tmp_path / 'a.jsonl'}", "--to", *target.split(" "))
    assert done.code == 2 and message in done.err and "hidden" not in done.text and "Traceback" not in done.err
    assert {path for path in tmp_path.rglob("*") if not path.name.startswith(".")} == before


@pytest.mark.parametrize(
    "target, module, extra",
    [
        ("tensorboard", "tensorboard", "tensorboard is not installed: pip install 'exact-harness[tensorboard]'"),
        ("wandb", "wandb", "wandb is not installed: pip install 'exact-harness[wandb]'"),
        ("mlflow", "mlflow", "mlflow-skinny is not installed: pip install 'exact-harness[mlflow]'"),
        ("mlflow=sqlite:///a.db", "sqlalchemy", "SQLAlchemy is not installed: pip install 'exact-harness[mlflow]'"),
        ("parquet", "pyarrow", "pyarrow is not installed: pip install 'exact-harness[formats]'"),
    ],
)
def test_what_is_not_installed_is_named_with_its_extra(
    target: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == module else object())
    with pytest.raises(UsageError) as caught:
        targets_of([target])
    assert str(caught.value) == f"{target.partition('=')[0]}: {extra}"


def test_a_server_needs_no_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: object() if name == "mlflow" else None)
    assert targets_of(["mlflow=http://127.0.0.1:1"])[0].place == "http://127.0.0.1:1"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:2")
    assert targets_of(["mlflow"])[0].place == "http://127.0.0.1:2"


def test_the_command_says_what_it_did(run: Path, harness: Callable[..., Done], tmp_path: Path) -> None:
    words = ["export", run, "--to", "csv=all.csv", "--to", "openmetrics"]
    assert harness(*words).err == "csv: 1 run added: all.csv\nopenmetrics: 1 run added: runs.prom\n"
    done = harness(*words)
    assert (
        done.code == 0
        and done.err == "csv: 0 runs added, 1 there already: all.csv\nopenmetrics: 0 runs added, 1 there already: runs.prom\n"
    )
    assert harness(*words, "-q").text == ""
    assert (tmp_path / "all.csv").exists() and (tmp_path / "runs.prom").exists()


def test_a_run_that_is_not_finished_is_refused_and_nothing_is_written(
    run: Path, harness: Callable[..., Done], tmp_path: Path
) -> None:
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "status.json").write_text('{"state": "failed", "exit_code": 1}')
    done = harness("export", run, tmp_path / "half", "--to", "csv")
    assert done.code == 2 and "no finished run in there (no metrics.json); its last attempt: failed" in done.err
    assert not (tmp_path / "runs.csv").exists()


def test_one_target_that_fails_costs_no_other(run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(*_: object) -> None:
        raise ConnectionError("nobody\nthere")

    monkeypatch.setattr(json_lines, "write", fail)
    lines: list[str] = []
    targets = targets_of([f"json-lines={tmp_path / 'a.jsonl'}", f"csv={tmp_path / 'a.csv'}"])
    with pytest.raises(HarnessError, match=r"a.jsonl failed: ConnectionError: nobody there; the runs are as they were") as caught:
        export([run], targets, lines.append)
    assert caught.value.exit_code == 1 and lines == [f"csv: 1 run added: {tmp_path / 'a.csv'}"]


def test_a_place_that_cannot_be_written_is_said(run: Path, harness: Callable[..., Done], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for target in ("tensorboard=file", "csv=file/a.csv", "parquet=run", "openmetrics=run", "json-lines=file/b"):
        done = harness("export", run, "--to", target)
        assert done.code in (1, 2) and done.err.startswith("harness: error: ") and "Traceback" not in done.err, done.err
    assert (tmp_path / "file").read_text() == "" and (tmp_path / "run" / "metrics.json").exists()


def test_collect_hands_on_what_is_finished_in_order(harness: Callable[..., Done], tmp_path: Path) -> None:
    runs = [checkpoint(tmp_path, step, step / 7000) for step in (1000, 30)]
    (tmp_path / "half").mkdir()
    done = harness("collect", *runs, tmp_path / "half", "--to", "json-lines=all.jsonl", "-o", "wide.csv")
    assert done.code == 0, done.err
    assert "not finished, and not handed on: 1 of 3 runs\njson-lines: 2 runs added: all.jsonl" in done.err
    lines = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    assert [(line["step"], line["value"]) for line in lines] == [(30, 30 / 7000), (1000, 1000 / 7000)]
    assert "run-1000" in done.out and (tmp_path / "wide.csv").exists()
    done = harness("collect", *runs, "--to", "csv", "--metric", "accuracy")
    assert done.code == 2 and "--metric goes with the table and with -o; --to hands on runs with all their metrics" in done.err
