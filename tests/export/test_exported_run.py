"""Which run it is that is handed on: its id, its step, its place among others, and what its numbers are called."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import RunFolderError, UsageError
from harness.export.exported_run import read_run, read_runs, step_in
from harness.export.numbers import slice_path
from harness.results.metric_names import exported_parts
from tests.export.runs import FLOATS, HOSTILE, checkpoint, hostile, write

TEXTS = st.text(max_size=6) | st.sampled_from([*HOSTILE, "a: b", ": ", ":", "/"])


def test_the_id_is_that_of_what_the_folder_holds_wherever_it_lies(tmp_path: Path) -> None:
    run = write(tmp_path / "a", {"accuracy": {"value": 0.5, "examples": 2}})
    one = read_run(run).id
    assert re.fullmatch(r"[0-9a-f]{16}", one)
    shutil.copytree(run, tmp_path / "elsewhere" / "b")
    (tmp_path / "elsewhere" / "b" / "report.html").write_text("made later")
    assert read_run(tmp_path / "elsewhere" / "b").id == one
    again = write(tmp_path / "again", {"accuracy": {"value": 0.5, "examples": 2}}, "2026-01-02T03:04:06+00:00")
    other = write(tmp_path / "other", {"accuracy": {"value": 0.25, "examples": 2}})
    assert len({one, read_run(again).id, read_run(other).id}) == 3  # evaluated twice; another value
    assert [found.id for found in read_runs([run, tmp_path / "elsewhere" / "b"])] == [one]


@pytest.mark.parametrize(
    "path, step",
    [
        ("models/ckpt-100", 100), ("a/epoch=3-step=1200.ckpt", 1200), ("step1000-epoch3", 1000), ("weights_epoch_05.keras", 5),
        ("CHECKPOINT-7", 7), ("models/12/", 12), ("models/12.keras", 12), ("resnet50", None), ("models/v2/net", None),
        ("mystep", None), ("step", None), ("lockstep9", None), ("models/0", 0), ("step-" + "9" * 30, None),
    ],
)  # fmt: skip
def test_the_step_is_the_number_of_a_checkpoint(path: str, step: int | None) -> None:
    assert step_in([path])[0] == step


def test_a_sweep_is_in_order_of_its_steps_and_one_series(tmp_path: Path) -> None:
    runs = [checkpoint(tmp_path, step, 0.5, f"2026-01-02T03:04:0{9 - place}+00:00") for place, step in enumerate((1000, 20, 300))]
    alone = write(tmp_path / "alone", {"accuracy": {"value": 0.5, "examples": 2}})
    found = read_runs([alone, *runs])
    assert [run.step for run in found] == [20, 300, 1000, None]
    assert len({run.series for run in found[:3]}) == 1 and found[3].series != found[0].series
    other = write(tmp_path / "other", {}, model="elsewhere/ckpt-20.keras")
    assert read_run(other).step == 20 and read_run(other).series != found[0].series


def test_a_version_of_a_saved_model_is_its_step(tmp_path: Path) -> None:
    job = {"model": {"path": "models/net", "version": 8}}
    assert read_run(write(tmp_path / "run", {}, model="models/net", job=job)).step == 8


def test_every_number_is_there_once_with_all_its_digits(tmp_path: Path) -> None:
    run = read_run(hostile(tmp_path / "run"))
    document = json.loads((tmp_path / "run" / "metrics.json").read_text())
    numbers = {(json.dumps(number.slice), number.key, number.name): number.value for number in run.numbers}
    assert len(numbers) == len(run.numbers)
    for part in [document, *document["slices"]]:
        place = json.dumps(part.get("slice", {}))
        for key, entry in part["metrics"].items():
            value = entry["value"]
            if key != "matrix":
                for name, single in value.items() if isinstance(value, dict) else [("", value)]:
                    assert numbers.pop((place, key, name)) == single
    assert not numbers


def test_names_are_what_mlflow_takes_and_no_two_are_alike(tmp_path: Path) -> None:
    names = [name for number in read_run(hostile(tmp_path / "run")).numbers for name, _ in number.quantities]
    assert len(set(names)) == len(names) > 2000
    assert all(re.fullmatch(r"[A-Za-z0-9_\-./ :]+", name) for name in names)
    assert not {"", ".", ".."} & {part for name in names for part in name.split("/")}
    assert {"accuracy", "accuracy: low", "recall/low", "recall/cat:3a low"} <= set(names)
    assert "r2" not in names and "best" not in names  # null, and a text


@given(st.dictionaries(TEXTS, TEXTS | st.integers(), min_size=1, max_size=3))
def test_a_slice_is_read_back_from_its_name(features: dict[str, str | int]) -> None:
    pairs = [part.split(": ", 1) for part in slice_path(features).split("/")]
    read = [(exported_parts(feature), exported_parts(value)) for feature, value in pairs]
    assert read == [((feature,), (str(value),)) for feature, value in features.items()]


def test_what_is_no_finished_run_is_refused(tmp_path: Path) -> None:
    run = write(tmp_path / "run", {"accuracy": {"value": FLOATS[0], "examples": 2}})
    with pytest.raises(UsageError, match="stands there twice"):
        read_runs([run, run])
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunFolderError, match=r"no finished run in there \(no metrics.json\)"):
        read_runs([run, tmp_path / "empty"])
    (run / "run.json").write_text('{"attempts": 3, "model": []}')
    assert read_run(run).started_s == 0.0 and read_run(run).model == ""
