"""What a finished run can show, from the sums of its journal: held against counts that NumPy makes of the model's scores."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from harness.errors import RunFolderError
from harness.folder.run_folder import RunFolder
from harness.metrics.plots import Confusion, Reliability, Thresholds
from harness.results.plotted import plotted_of_run
from tests import made
from tests.report.folders import HOSTILE, evaluated, model


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return evaluated(tmp_path_factory.mktemp("plotted") / "run", 2.0)


def test_counts_are_those_of_the_scores(run: Path) -> None:
    examples = made.examples()
    scores = model(2.0)(examples.x).numpy()[:, 0].astype(np.float64)
    positive = examples.x[:, 0] + 0.5 * examples.x[:, 2] > 0
    plots = {own.key: own for own in plotted_of_run(RunFolder(run))}
    exact, binned, counted = (plots[key].plot for key in ("roc_curve", "binned_roc_auc", "counts_at_thresholds"))
    assert isinstance(exact, Thresholds) and isinstance(binned, Thresholds) and isinstance(counted, Thresholds)
    assert len(exact.points) == len(np.unique(scores)) and len(binned.points) == 40 and counted.rule == "above"
    for plot in (exact, binned):
        for at, tp, fp in plot.points:
            called = scores >= at
            assert (tp, fp) == ((called & positive).sum(), (called & ~positive).sum())
    matrix = plots["confusion_matrix"].plot
    assert isinstance(matrix, Confusion) and matrix.names == ("no", HOSTILE)
    assert matrix.counts[1][1] == ((scores > 0.5) & positive).sum()


def test_replicates_are_those_that_intervals_are_made_of(run: Path) -> None:
    plots = {own.key: own for own in plotted_of_run(RunFolder(run))}
    assert [len(plots[key].replicates) for key in ("roc_curve", "binned_roc_auc", "reliability_curve")] == [0, 40, 40]
    drawn = np.load(run / "replicates.npz")["recall/no"]
    thresholds = plots["counts_at_thresholds"].replicates
    recalls = []
    for replicate in thresholds:
        assert isinstance(replicate, Thresholds)
        _, _, fp = replicate.points[1]
        recalls.append((replicate.negative - fp) / replicate.negative)
    # No score is 0.5: what is not above it is predicted to be of the first class.
    assert recalls == pytest.approx(drawn.tolist(), abs=1e-15)
    assert all(isinstance(own, Reliability) for own in plots["reliability_curve"].replicates)


def test_files_that_are_missing_are_named(run: Path, tmp_path: Path) -> None:
    copy = RunFolder(Path(shutil.copytree(run, tmp_path / "run")))
    (name,) = json.loads(copy.run_json.read_text())["journal"]
    (copy.journal / name).unlink()
    with pytest.raises(RunFolderError, match=name):
        plotted_of_run(copy)
    copy.run_json.unlink()
    with pytest.raises(RunFolderError, match=r"run\.json is missing"):
        plotted_of_run(copy)
