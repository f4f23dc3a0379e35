"""Many runs in one table: from files written by hand, with every state that a run can be in."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from harness.errors import UsageError
from harness.results import files
from harness.results.collect import collect, frame, read, to_json, with_some_metrics, write_summary
from harness.results.outcome import Outcome, SliceOutcome
from harness.results.run_tables import print_summary
from harness.results.values import Result
from harness.sums.grid import SliceKey


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
    write(
        done,
        "metrics.json",
        {"metrics": metrics, "intervals": intervals, "certificate": {"examples": 7, "chunks": 1, "id_hash": "0"}},
    )
    write(done, "run.json", {"model": {"path": "/m/one"}})
    write(done, "status.json", {"state": "failed", "exit_code": 1})  # a result that is written stays one
    write(failed, "status.json", {"state": "failed", "exit_code": 1})
    write(failed, "failure.json", {"message": "record 3, is torn"})
    write(stopped, "status.json", {"state": "interrupted", "exit_code": 4})
    write(wrong, "slurm-status.json", {"state": "ended", "exit_code": 2})
    return [done, failed, stopped, wrong, nothing]


def test_what_can_be_no_run_is_refused(runs: list[Path], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("none")
    with pytest.raises(UsageError, match=r"notes.txt: expected the folder of a run, found a file"):
        collect([runs[0], tmp_path / "notes.txt"])
    with pytest.raises(
        UsageError, match="nope: expected the folder of a run, found nothing there, nor where the others should be"
    ):
        collect([tmp_path / "nope", runs[-1]])


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


@pytest.mark.parametrize("name", ["run.json", "status.json", "failure.json", "slurm-status.json"])
@pytest.mark.parametrize(
    "content", ["[1, 2]", "3", '{"model": [], "gate": 5, "attempts": 7, "exit_code": "x"}', '{"attempts": [1]}']
)
def test_a_file_that_holds_something_else_is_named(runs: list[Path], name: str, content: str, harness: Any) -> None:
    """Also where it lies beside a result that is shown."""
    (runs[0] / name).write_text(content)
    is_object = content.startswith("{")
    done = harness("collect", *runs, "--cost")
    assert (done.code, f"{name}: not what a run writes: expected an object" in done.err) == (
        (0, False) if is_object else (2, True)
    )
    for words in (("show", runs[0]), ("watch", "--once", runs[0])):
        done = harness(*words)
        assert "Traceback" not in done.err and done.code in (0, 1, 2), done.err
    shown = harness("show", runs[0])
    assert (shown.code, f"{name}: not what a run writes" in shown.err) == ((2, True) if name == "run.json" else (0, False))


SLICES = ("a slice whose name is longer than its column", 0.25), ("dog", 0.75)


@pytest.fixture
def labelled(tmp_path: Path) -> list[Path]:
    """Two runs with labels and slices: `top_k` is another metric in each, and only the first has `recall`."""
    runs = []
    for number, k in enumerate((3, 5)):
        metrics = {"top_k": {"value": 0.875, "examples": 8, "standard_error": 0.01}}
        definitions = {"top_k": {"label": f"top {k}"}}
        if number == 0:
            metrics["recall"] = {"value": {"cat": 0.5}, "examples": 8}
            definitions["recall"] = {"label": "recall"}
        parts = [
            {"slice": {"animal": name, "age": 7}, "examples": 4, "metrics": {"top_k": {"value": value, "examples": 4}}}
            for name, value in SLICES
        ]
        certificate = {"examples": 8, "chunks": 1, "id_hash": "0"}
        document = {"metrics": metrics, "definitions": definitions, "slices": parts, "certificate": certificate}
        write(tmp_path / f"run {number}", "metrics.json", document)
        runs.append(tmp_path / f"run {number}")
    return runs


def printed(runs: list[Path], width: int, **options: Any) -> list[str]:
    out = io.StringIO()
    print_summary(read(runs), Console(file=out, width=width, force_terminal=True, color_system=None), **options)
    lines = [line.replace("┃", "│") for line in out.getvalue().splitlines()]
    assert max(map(len, lines)) <= width
    return [" ".join(line.split()) for line in lines]


def test_labels_tell_what_one_key_means_in_each_run(labelled: list[Path]) -> None:
    lines = printed(labelled, 200)
    assert "│ run │ state │ exit code │ examples │ top 3 │ recall cat │ top 5 │" in lines
    assert "│ run 0 │ done │ 0 │ 8 │ 0.875 │ 0.5 │ │" in lines
    assert "│ run 1 │ done │ 0 │ 8 │ │ │ 0.875 │" in lines


def test_where_there_is_no_room_metrics_are_rows(labelled: list[Path]) -> None:
    lines = printed(labelled, 60)
    assert "│ value │ run 0 │ run 1 │" in lines and "│ recall cat │ 0.5 │ │" in lines
    narrow = printed(labelled, 60, slices=True)
    assert "│ run │ slice │ metric │ value │" in narrow and "│ │ animal=dog, age=7 │ examples │ 4 │" in narrow
    names = "".join(line.split("│")[2].strip() for line in narrow if line.count("│") == 5)
    assert "animal=aslicewhosenameislongerthanitscolumn,age=7" in names.replace(" ", "")


def test_slices_have_rows_of_their_own(labelled: list[Path]) -> None:
    table = frame(read(labelled), slices=True)
    assert list(table.columns) == [
        "run", "state", "exit_code", "message", "model", "examples", "slice:animal", "slice:age", "top_k", "recall[cat]",
    ]  # fmt: skip
    assert table["examples"].tolist() == [8, 4, 4] * 2 and table["top_k"].tolist() == [0.875, 0.25, 0.75] * 2
    assert table["slice:animal"].tolist()[1:3] == [name for name, _ in SLICES] and table["slice:age"][1] == "7"
    assert list(collect(labelled).columns) == [name for name in table.columns if not name.startswith("slice:")]


def test_a_slice_of_an_empty_text_is_not_the_whole(tmp_path: Path, harness: Any) -> None:
    """In metrics.csv, on the screen and in `collect`; metrics.json holds the text itself."""
    accuracy = Result(0.5, None, 2, 2)
    slices = [SliceOutcome(SliceKey(("site",), (value,)), 2, {"accuracy": accuracy}, {}) for value in ("", '""', "north")]
    outcome = Outcome({"accuracy": accuracy}, {}, slices)
    certificate = {"examples": 6, "chunks": 1, "id_hash": "0"}
    write(tmp_path, "metrics.json", {"certificate": certificate, **files.to_json(outcome)})
    shown = ['""', '""""', "north"]
    assert files.long_form(outcome)["slice:site"].tolist()[1:] == shown and pd.isna(files.long_form(outcome)["slice:site"][0])
    assert frame(read([tmp_path]), slices=True)["slice:site"].tolist()[1:] == shown
    texts = [harness("show", tmp_path, *form).out for form in ((), ("--markdown",))]
    texts.append("\n".join(printed([tmp_path], 99, slices=True)))
    assert all(f"site={value} " in text for text in texts for value in shown)


def test_metrics_are_chosen_by_key_and_by_label(labelled: list[Path]) -> None:
    first, second = with_some_metrics(read(labelled), ["top 3", "recall"])
    assert (list(first.document["metrics"]), list(second.document["metrics"])) == (["top_k", "recall"], [])
    assert [list(run.document["metrics"]) for run in with_some_metrics(read(labelled), ["top_k"])] == [["top_k"], ["top_k"]]
    with pytest.raises(UsageError, match="--metric top3: no run has one of that name: did you mean 'top 3'"):
        with_some_metrics(read(labelled), ["top3"])


def test_the_command_prints_all_digits_as_json(labelled: list[Path], runs: list[Path], harness: Any) -> None:
    done = harness("collect", labelled[0], *runs[:2], "--json", "--slices", "--metric", "accuracy", "--metric", "top 3")
    assert done.code == 0, done.err
    first, whole, failed = json.loads(done.out)
    assert [part["metrics"] for part in first["slices"]] == [{"top_k": {"value": value, "examples": 4}} for _, value in SLICES]
    assert (first["definitions"], first["metrics"]["top_k"]["standard_error"]) == ({"top_k": {"label": "top 3"}}, 0.01)
    assert whole["metrics"] == {"accuracy": {"value": 0.1 + 0.2, "examples": 7}}
    assert (failed["state"], failed["exit_code"], failed["message"]) == ("failed", 1, "record 3, is torn")
    assert "slices" not in to_json(read(labelled))[0]
