"""CSV, Parquet, JSON lines: read by others' readers with all digits; runs are added once, and no row is lost."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.errors import UsageError
from harness.export.command import export, targets_of
from harness.export.exported_run import read_run
from harness.export.numbers import utf8
from tests.export.runs import checkpoint, hostile, write

FORMATS = {"csv": "t.csv", "parquet": "t.parquet", "json-lines": "t.jsonl"}


def read(path: Path) -> list[dict[str, Any]]:
    """Read a table with somebody else's reader; numbers as float, null as None, slices as mappings."""
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    if path.suffix == ".csv":
        lines: list[dict[str, Any]] = list(csv.DictReader(io.StringIO(path.read_bytes().decode(), newline="")))
    else:
        table = pd.read_parquet(path, dtype_backend="numpy_nullable").astype(object)
        lines = table.where(table.notna(), None).to_dict("records")
    for line in lines:
        line["slice"] = json.loads(line["slice"]) if line["slice"] else {}
        for name in ("value", "low", "high", "standard_error"):
            line[name] = None if line[name] in (None, "") else float(line[name])
        for name in ("examples", "step"):
            line[name] = None if line[name] in (None, "") else int(line[name])
        for name in ("name", "text", "reason"):
            line[name] = line[name] or None
    return lines


@pytest.mark.parametrize("target", FORMATS)
def test_each_number_is_read_back_to_its_bits(target: str, tmp_path: Path) -> None:
    run = read_run(hostile(tmp_path / "run"))
    path = tmp_path / "tables" / FORMATS[target]
    export([tmp_path / "run"], targets_of([f"{target}={path}"]))
    lines = read(path)
    assert len(lines) == len(run.numbers) > 2000
    for line, number in zip(lines, run.numbers, strict=True):
        assert line["run_id"] == run.id and line["run"] == "run" and line["data_digest"] == "d" * 64
        assert (line["metric"], line["name"]) == (utf8(number.key), utf8(number.name) or None)
        features = {utf8(feature): utf8(value) if isinstance(value, str) else value for feature, value in number.slice.items()}
        assert line["slice"] == features
        for name in ("low", "high", "standard_error", "examples"):
            assert line[name] == getattr(number, name), number
        # -0.0 and 0.0 are equal, and not the same
        assert repr(line["value"]) == repr(None if number.number is None else type(line["value"])(number.number))
        assert line["reason"] == number.reason and line["text"] == ("a text" if number.key == "best" else None)


@pytest.mark.parametrize("target", FORMATS)
def test_a_run_is_added_once_and_others_stay(target: str, tmp_path: Path) -> None:
    runs = [checkpoint(tmp_path, step, step / 7000) for step in (200, 1000, 30)]
    path = tmp_path / FORMATS[target]
    targets = targets_of([f"{target}={path}"])
    assert [str(done) for done in export(runs[:2], targets)] == [f"2 runs added: {path}"]
    first = path.read_bytes()
    before = path.stat()
    assert [str(done) for done in export(runs[:2], targets)] == [f"0 runs added, 2 there already: {path}"]
    assert path.read_bytes() == first and path.stat().st_mtime_ns == before.st_mtime_ns
    assert str(export(runs, targets)[0]) == f"1 run added, 2 there already: {path}"
    assert [line["step"] for line in read(path)] == [200, 1000, 30]
    once = tmp_path / f"once{path.suffix}"
    export(runs, targets_of([f"{target}={once}"]))
    assert [line["step"] for line in read(once)] == [30, 200, 1000]
    assert sorted(map(str, read(once))) == sorted(map(str, read(path)))


@pytest.mark.parametrize("target", FORMATS)
@pytest.mark.parametrize("content", ["metric,value\na,1\n", '{"a": 1}\n', "\x00\xff", "run_id,run\n", "[]\n", "3\n"])
def test_a_file_of_another_kind_is_left_alone(target: str, content: str, tmp_path: Path) -> None:
    run = write(tmp_path / "run", {"accuracy": {"value": 0.5, "examples": 2}})
    path = tmp_path / FORMATS[target]
    path.write_text(content)
    with pytest.raises(UsageError, match=f"{path}: expected .* that harness export wrote, found something else"):
        export([run], targets_of([f"{target}={path}"]))
    assert path.read_text() == content


def test_jobs_that_end_at_once_lose_no_row(tmp_path: Path) -> None:
    """Processes of their own, each with its run, all to the same file."""
    runs = [checkpoint(tmp_path, step, 0.5) for step in range(6)]
    code = (
        "import sys; from pathlib import Path; from harness.export.command import export, targets_of; "
        "targets = targets_of(['csv=' + sys.argv[2]]); sys.stdin.readline(); export([Path(sys.argv[1])], targets)"
    )
    path = tmp_path / "t.csv"
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(run), str(path)], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        for run in runs
    ]
    for process in started:
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
    for process in started:
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
    assert sorted(line["step"] for line in read(path)) == list(range(6))
