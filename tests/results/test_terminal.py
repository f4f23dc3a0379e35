"""The printed result: plain where ranks run, whole lines, names as they are."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from harness.errors import RunFolderError
from harness.folder.run_folder import RunFolder
from harness.results.terminal import console_for, show

LONG = "metric(" + "x" * 150 + ")"


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """Return a finished run with awkward names."""
    metrics = {
        "accuracy": {"value": 0.25, "examples": 1234567},
        "recall": {"value": {"[pad]": 1.0, "[/b]": None}, "examples": 4},
        "pairs": {"value": {"columns": ["label", "[a]"], "rows": [["[a]", 7]]}, "examples": 4},
        LONG: {"value": None, "examples": 4, "reason": "class [pad] is 0/0"},
    }
    certificate = {"examples": 1234567, "chunks": 256, "id_hash": "0123456789abcdef"}
    deep = tmp_path / ("a" * 120)
    deep.mkdir()
    (deep / "metrics.json").write_text(json.dumps({"metrics": metrics, "certificate": certificate}))
    return RunFolder(deep)


def test_ranks_print_plainly(folder: RunFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    # What a launcher's pseudo terminal, or a user's settings, would otherwise bring about
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    show(folder, console_for(2))
    out = capsys.readouterr().out
    assert "\x1b" not in out
    lines = out.splitlines()
    assert "certificate: every one of 1,234,567 examples counted once, in 256 chunks, id hash 0123456789abcdef" in lines
    assert f"results: {folder.path}" in lines
    assert f"{LONG} is null: class [pad] is 0/0" in lines
    assert [cell.strip() for cell in next(line for line in lines if "│ accuracy" in line).split("│")] == [
        "", "accuracy", "0.25", "1,234,567", "",
    ]  # fmt: skip


def test_names_with_brackets_are_no_markup(folder: RunFolder) -> None:
    out = io.StringIO()
    show(folder, Console(file=out, width=300))
    lines = [" ".join(line.replace("┃", "│").split()) for line in out.getvalue().splitlines()]
    for line in ("│ recall [pad] │ 1 │ 4 │", "│ recall [/b] │ null │ 4 │", "│ label │ [a] │", "│ [a] │ 7 │"):
        assert line in lines


def test_a_terminal_of_one_process_has_colours(folder: RunFolder) -> None:
    out = io.StringIO()
    show(folder, Console(file=out, force_terminal=True, color_system="standard", width=80))
    assert "\x1b[33m" in out.getvalue()  # yellow: null


def test_intervals_and_slices_have_their_columns(tmp_path: Path) -> None:
    entry = {"value": 0.5, "examples": 4}
    document = {
        "metrics": {"accuracy": entry, "recall": {"value": {"cat": 0.25}, "examples": 4}},
        "intervals": {
            "accuracy": {"low": 0.375, "high": 0.75, "method": "percentile"},
            "recall": {"cat": {"low": 0.125, "high": None}, "low": {"low": None, "high": None, "reason": "no spread"}},
        },
        "slices": [{"slice": {"writer": "[x]", "age": 3}, "examples": 2, "metrics": {"accuracy": entry, "recall": entry}}],
        "certificate": {"examples": 4, "chunks": 1, "id_hash": "0"},
    }
    (tmp_path / "metrics.json").write_text(json.dumps(document))
    out = io.StringIO()
    show(RunFolder(tmp_path), Console(file=out, width=300))
    lines = [" ".join(line.replace("┃", "│").split()) for line in out.getvalue().splitlines()]
    for line in (
        "│ metric │ value │ low │ high │ examples │",
        "│ accuracy │ 0.5 │ 0.375 │ 0.75 │ 4 │",
        "│ recall cat │ 0.25 │ 0.125 │ null │ 4 │",
        "│ slice │ examples │ accuracy │",
        "│ writer=[x], age=3 │ 2 │ 0.5 │",
        "recall low has no interval: no spread",
    ):
        assert line in lines


def test_a_run_that_is_not_finished(tmp_path: Path) -> None:
    (tmp_path / "status.json").write_text('{"state": "failed", "exit_code": 1}')
    (tmp_path / "failure.json").write_text('{"message": "record 3 is corrupt"}')
    with pytest.raises(RunFolderError, match=r"no finished run .* its last attempt: failed: record 3 is corrupt"):
        show(RunFolder(tmp_path))
