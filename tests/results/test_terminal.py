"""The printed result: plain where ranks run, whole lines, names as they are."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from harness.errors import RunFolderError, UsageError
from harness.folder.run_folder import RunFolder
from harness.results.terminal import console_for, in_markdown, show

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
        "│ accuracy │ 0.500 │ 0.375 │ 0.750 │ 4 │",  # to the digits that the interval supports
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


SLICES = ("cat", 0.875, 0.25), ("dog", 0.125, 0.75), ("a slice whose name is longer than its column", None, None)


@pytest.fixture
def sliced(tmp_path: Path) -> RunFolder:
    """A run with slices of two metrics: of one lower values are better."""
    slices = [
        {
            "slice": {"animal": name},
            "examples": 1000,
            "metrics": {
                "accuracy": {"value": accuracy, "examples": 1000, **({} if accuracy else {"reason": "no valid labels"})},
                "loss": {"value": loss, "examples": 1000},
            },
            "intervals": {
                "accuracy": {"low": accuracy and accuracy - 0.02, "high": accuracy and accuracy + 0.02, "standard_error": 0.01}
            },
        }
        for name, accuracy, loss in SLICES
    ]
    entry = {"value": 0.51234, "examples": 3000, "standard_error": 0.01}
    document = {
        "metrics": {"accuracy": entry, "loss": entry}, "slices": slices,
        "certificate": {"examples": 3000, "chunks": 1, "id_hash": "0"},
    }  # fmt: skip
    (tmp_path / "metrics.json").write_text(json.dumps(document))
    asked = [{"key": "accuracy", "metric": "accuracy"}, {"key": "loss", "metric": "brier"}]
    (tmp_path / "question.json").write_text(json.dumps({"question": {"metrics": asked}}))
    return RunFolder(tmp_path)


def lines_of(folder: RunFolder, width: int, *, terminal: bool = False, sort: str | None = None) -> list[str]:
    out = io.StringIO()
    show(folder, Console(file=out, width=width, force_terminal=terminal, color_system=None), sort=sort)
    return [" ".join(line.replace("┃", "│").split()) for line in out.getvalue().splitlines()]


def test_slices_have_intervals_and_nulls_their_reason(sliced: RunFolder) -> None:
    lines = lines_of(sliced, 300)
    for line in (
        "│ accuracy │ 0.512 │ 3,000 │",
        "│ slice │ examples │ accuracy │ loss │",
        "│ animal=cat │ 1,000 │ 0.875 [0.855, 0.895] │ 0.25 │",
        "│ animal=a slice whose name is longer than its column │ 1,000 │ null: no valid labels │ null │",
    ):
        assert line in lines, lines


@pytest.mark.parametrize(
    ("sort", "first"),
    [(None, "cat"), ("accuracy", "dog"), ("loss", "dog")],
)
def test_slices_are_sorted_worst_first(sliced: RunFolder, sort: str | None, first: str) -> None:
    lines = [line for line in lines_of(sliced, 300, sort=sort) if "animal=" in line]
    assert f"animal={first} " in lines[0] and "longer" in lines[-1]  # null is last


def test_what_cannot_be_sorted_by_is_named(sliced: RunFolder) -> None:
    with pytest.raises(UsageError, match="--sort accurcy: no slice has one number for it: did you mean 'accuracy'"):
        show(sliced, Console(file=io.StringIO()), sort="accurcy")


def test_on_a_narrow_terminal_the_table_turns_and_names_are_whole(sliced: RunFolder) -> None:
    lines = lines_of(sliced, 60, terminal=True)
    assert "│ slice │ metric │ value │ examples │" in lines
    table = [line for line in lines if line.count("│") == 5]
    folded = "".join(line.split("│")[1].strip() for line in table)
    assert "animal=aslicewhosenameislongerthanitscolumn" in folded.replace(" ", "")
    assert max(map(len, table)) <= 60


def test_markdown_holds_all(sliced: RunFolder) -> None:
    text = in_markdown(sliced, sort="accuracy")
    assert "| accuracy | 0.512 | 3,000 |" in text
    assert text.index("animal=dog") < text.index("animal=cat")
    assert text.endswith("certificate: every one of 3,000 examples counted once, in 1 chunks, id hash 0")


@pytest.fixture
def explained(tmp_path: Path) -> RunFolder:
    """A run of two models that explains itself, with support, bounds, slices and a difference."""
    metrics = {
        "left/recall": {"value": {"cat": 0.5, "dog": None}, "examples": 4, "support": {"cat": 1234, "dog": 0}},
        "left/f_beta": {"value": None, "examples": 4, "reason": "class dog is 0/0"},
        "left/binned_roc_auc": {
            "value": {"estimate": 0.5, "low": 0.25, "high": 0.75}, "examples": 4,
            "bounds": {"at_least": 0.25, "at_most": 0.75},
        },
        "right/cost": {"value": 0.5, "examples": 4},
    }  # fmt: skip
    names = {"left/recall": "left/recall", "left/f_beta": "left/f1 macro", "left/binned_roc_auc": "left/binned roc auc"}
    definitions = {key: {"label": names.get(key, key), "better": "higher"} for key in metrics}
    definitions["right/cost"] = {"label": "right/my cost", "better": "lower"}
    slices = [
        {"slice": {"age": age}, "examples": 2, "metrics": {"right/cost": {"value": cost, "examples": 2}}}
        for age, cost in ((1, 0.25), (2, 0.75))
    ]
    document = {
        "metrics": metrics, "definitions": definitions, "slices": slices, "certificate": {"examples": 4, "chunks": 1, "id_hash": "0"},
        "bootstrap": {"replicates": 1000, "seed": 7, "level": 0.95, "cluster": "user"},
        "differences": {"right - left": {"cost": {"value": 0.125}, "cost/cat": {"value": 0.25}}},
    }  # fmt: skip
    (tmp_path / "metrics.json").write_text(json.dumps(document))
    return RunFolder(tmp_path)


def test_labels_support_and_bounds_are_shown(explained: RunFolder) -> None:
    lines = lines_of(explained, 300)
    for line in (
        "│ metric │ value │ support │ examples │",
        "│ left/recall cat │ 0.5 │ 1,234 │ 4 │",
        "│ left/recall dog │ null │ 0 │ 4 │",
        "│ left/f1 macro │ null │ │ 4 │",
        "left/f1 macro is null: class dog is 0/0",
        "│ left/binned roc auc at least │ 0.25 │ │ 4 │",
        "│ left/binned roc auc at most │ 0.75 │ │ 4 │",
        "│ my cost │ 0.125 │ │ │",
        "│ cost/cat │ 0.25 │ │ │",  # of no metric in the file: as it is
        "│ slice │ examples │ right/my cost │",
        "intervals: 95 %, from 1,000 bootstrap replicates, by user, seed 7",
    ):
        assert line in lines, line


@pytest.mark.parametrize("sort", ["right/cost", "right/my cost"])
def test_slices_are_sorted_by_key_and_by_label(explained: RunFolder, sort: str) -> None:
    lines = [line for line in lines_of(explained, 300, sort=sort) if "age=" in line]
    assert lines[0] == "│ age=2 │ 2 │ 0.75 │"  # lower values are better, as the file says


def test_some_metrics_are_shown(explained: RunFolder) -> None:
    text = in_markdown(explained, metrics=["left/f1 macro", "right/cost"])
    assert [line for line in text.splitlines() if line.startswith("| ")][:4] == [
        "| metric | value | examples |", "| :--- | ---: | ---: |", "| left/f1 macro | null | 4 |", "| right/my cost | 0.5 | 4 |",
    ]  # fmt: skip
    with pytest.raises(UsageError, match="--metric f3: the run has none of that name"):
        show(explained, Console(file=io.StringIO()), metrics=["f3"])


def test_what_a_terminal_would_obey_is_written_out(folder: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads(folder.metrics_json.read_text())
    document["metrics"] = {
        "f1": {"value": {"a\x1b[2Jb": 1.0}, "examples": 4},
        "accuracy": {"value": None, "examples": 4, "reason": "2 labels are NaN or out of range"},
        "mcc": {"value": None, "examples": 4, "reason": "3 labels are NaN or out of range"},
    }
    folder.metrics_json.write_text(json.dumps(document))
    show(folder, console_for(1), brief=True)
    out = capsys.readouterr().out
    assert "\x1b" not in out and "f1 a\\x1b[2Jb" in " ".join(out.split())
    assert (
        "accuracy is null: 2 labels are NaN or out of range; data.filter leaves out examples whose label is missing; classes are numbered from 0: of labels from 1 on say"
        in out
    )
    assert "mcc is null: 3 labels are NaN or out of range" in out.splitlines()  # the advice is given once
    assert "results: " not in out
    assert str(UsageError("class 'a\x1b[2J\r'\nand more")) == "class 'a\\x1b[2J\\r'\nand more"
