"""Files for TensorBoard, read back by its own reader: numbers, their exact twins, curves, pictures, hyperparameters."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import precision_recall_curve
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.metadata import SESSION_START_INFO_TAG, parse_session_start_info_plugin_data
from tensorboard.util.tensor_util import make_ndarray

from harness.export.command import export, targets_of
from harness.export.events import precision_recall
from harness.export.exported_run import read_run
from harness.metrics.plots import Thresholds
from tests.export.runs import checkpoint, hostile, write
from tests.report.folders import evaluated


def logged(folder: Path) -> EventAccumulator:
    """Read the only folder of events."""
    (run,) = folder.iterdir()
    accumulator = EventAccumulator(str(run), size_guidance={"scalars": 0, "tensors": 0, "images": 0})
    accumulator.Reload()
    return accumulator


def exact(accumulator: EventAccumulator, name: str) -> list[tuple[int, float]]:
    """Return step and value of a number, float64."""
    found = []
    for event in accumulator.Tensors(f"exact/{name}"):
        array = make_ndarray(event.tensor_proto)
        assert array.dtype == np.float64 and array.shape == ()
        found.append((event.step, array.item()))
    return found


def test_each_number_is_a_scalar_and_once_more_to_its_bits(tmp_path: Path) -> None:
    run = read_run(hostile(tmp_path / "run"))
    done = export([tmp_path / "run"], targets_of([f"tensorboard={tmp_path / 'tb'}"]))
    accumulator = logged(tmp_path / "tb")
    quantities = dict(pair for number in run.numbers for pair in number.quantities)
    assert set(accumulator.Tags()["scalars"]) == set(quantities) and len(quantities) > 2000
    for name, value in quantities.items():
        ((step, number),) = exact(accumulator, name)
        assert step == 0 and struct.pack("<d", number) == struct.pack("<d", value)
        with np.errstate(over="ignore"):
            assert accumulator.Scalars(name)[0].value == float(np.float32(value))
    assert "no PR curve and no confusion matrix" in done[0].remarks[0]  # it was written by hand: there are no sums
    assert accumulator.Scalars("accuracy")[0].wall_time == run.started_s


def test_checkpoints_are_one_line_in_order_of_their_steps(tmp_path: Path) -> None:
    runs = [checkpoint(tmp_path, step, 1 / step) for step in (1000, 30, 200)]
    targets = targets_of([f"tensorboard={tmp_path / 'tb'}"])
    assert export(runs[:1], targets)[0].added == 1
    assert export(runs, targets)[0].present == 1
    steps = [(30, 1 / 30), (200, 1 / 200), (1000, 1 / 1000)]
    assert exact(logged(tmp_path / "tb"), "accuracy") == steps
    assert [event.step for event in logged(tmp_path / "tb").Scalars("accuracy")] == [30, 200, 1000]


def test_a_second_export_adds_nothing_also_of_a_run_that_was_renamed(tmp_path: Path) -> None:
    run = write(tmp_path / "step-7", {"accuracy": {"value": 0.5, "examples": 2}})
    targets = targets_of([f"tensorboard={tmp_path / 'tb'}"])
    export([run], targets)
    files = {path: path.read_bytes() for path in (tmp_path / "tb").rglob("*") if path.is_file()}
    assert len(files) == 1
    assert str(export([run.rename(tmp_path / "elsewhere")], targets)[0]) == f"0 runs added, 1 there already: {tmp_path / 'tb'}"
    assert {path: path.read_bytes() for path in (tmp_path / "tb").rglob("*") if path.is_file()} == files


def test_hyperparameters_are_the_keys_of_the_job(tmp_path: Path) -> None:
    job = {"model": {"path": "m"}, "batch_size": 16, "eager": True, "data": {"label": "</script>"}, "metrics": ["accuracy"]}
    run = write(tmp_path / "run", {"accuracy": {"value": 0.5, "examples": 2}}, job=job)
    export([run], targets_of([f"tensorboard={tmp_path / 'tb'}"]))
    content = logged(tmp_path / "tb").SummaryMetadata(SESSION_START_INFO_TAG).plugin_data.content
    found = parse_session_start_info_plugin_data(content).hparams
    assert found["batch_size"].number_value == 16 and found["eager"].bool_value
    assert found["data.label"].string_value == "</script>" and json.loads(found["metrics"].string_value) == ["accuracy"]
    assert found["data_digest"].string_value == "d" * 64


@pytest.mark.parametrize("places", [1, 2, 3])
def test_a_curve_is_that_of_the_scores(places: int) -> None:
    """At TensorBoard's thresholds, counted apart; scores are rounded so that many are equal, and some are thresholds."""
    rng = np.random.default_rng(places)
    scores, labels = np.round(rng.uniform(size=500), places), rng.integers(0, 2, 500)
    thresholds = np.unique(scores)
    points = tuple((float(t), float(labels[scores >= t].sum()), float((1 - labels)[scores >= t].sum())) for t in thresholds)
    value = precision_recall("pr", "pr", Thresholds(float(labels.sum()), float((1 - labels).sum()), points))
    rows = make_ndarray(value.tensor)
    assert rows.dtype == np.float32 and rows.shape == (6, 201)
    for place, threshold in enumerate(np.linspace(0, 1, 201)):
        called = scores >= threshold
        counts = [
            (called & (labels == 1)).sum(),
            (called & (labels == 0)).sum(),
            (~called & (labels == 0)).sum(),
            (~called & (labels == 1)).sum(),
        ]
        assert rows[:4, place].tolist() == counts
    precision, recall, at = precision_recall_curve(labels, scores)
    for own, right in ((rows[4], precision), (rows[5], recall)):
        place = np.searchsorted(at, np.linspace(0, 1, 201))
        np.testing.assert_allclose(own[place < len(at)], right[place[place < len(at)]], rtol=1e-6)


@pytest.mark.slow
def test_a_run_has_its_curve_and_its_matrix(tmp_path: Path) -> None:
    run = evaluated(tmp_path / "run", 0.5)
    done = export([run], targets_of([f"tensorboard={tmp_path / 'tb'}"]))
    assert not done[0].remarks
    accumulator = logged(tmp_path / "tb")
    document = json.loads((run / "metrics.json").read_text())
    assert exact(accumulator, "accuracy") == [(0, document["metrics"]["accuracy"]["value"])]
    table = document["metrics"]["confusion_matrix"]["value"]["rows"]
    counts = np.array([row[1:] for row in table])
    curve = make_ndarray(accumulator.Tensors("pr_curve/roc_curve")[0].tensor_proto)
    assert curve[:4, 0].tolist() == [counts[1].sum(), counts[0].sum(), 0, 0]  # all are called positive
    assert curve[:4, 100].tolist() == [counts[1, 1], counts[0, 1], counts[0, 0], counts[1, 0]]  # at 1/2
    (image,) = accumulator.Images("confusion/confusion_matrix")
    assert image.encoded_image_string.startswith(b"\x89PNG") and (image.width, image.height) == _size(image.encoded_image_string)
    again = export([run], targets_of([f"tensorboard={tmp_path / 'tb2'}"]))
    assert again[0].added == 1
    one, two = ([path.read_bytes() for path in sorted((tmp_path / name).rglob("*harness"))] for name in ("tb", "tb2"))
    assert one == two  # the picture too


def _size(png: bytes) -> tuple[Any, ...]:
    return struct.unpack(">II", png[16:24])


def test_neither_tensorflow_nor_ranks_are_loaded(tmp_path: Path) -> None:
    run = hostile(tmp_path / "run", 3)
    targets = [
        f"tensorboard={tmp_path / 'tb'}",
        *(f"{name}={tmp_path / name}" for name in ("csv", "parquet", "json-lines", "openmetrics")),
    ]
    words = ["export", "-q", str(run), *(word for target in targets for word in ("--to", target))]
    code = (
        f"import sys; from harness.cli import cli; cli.main({words!r}, standalone_mode=False); "
        "sys.exit(str({'tensorflow', 'keras', 'horovod', 'mpi4py'} & set(sys.modules) or '') or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert len(list(tmp_path.iterdir())) == 6
