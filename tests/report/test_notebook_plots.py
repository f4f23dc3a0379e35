"""What results show in a notebook: the page in a frame, and plots on axes whose lines are those of the run."""

from __future__ import annotations

import html
import re
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest

import harness
from harness.errors import UsageError
from harness.folder.run_folder import RunFolder
from harness.metrics.plots import Thresholds
from harness.report.page import render
from harness.report.subjects import read
from harness.results.plotted import plotted_of_run
from tests.report.folders import HOSTILE, number, with_slices, write

mpl.use("agg")


def loaded(run: Path) -> harness.Results:
    (run / "metrics.csv").touch()
    if not (run / "metrics.csv").read_text():
        (run / "metrics.csv").write_text("metric,value\n")
    return harness.Results.load(run)


def test_the_page_stands_in_a_frame_that_reaches_nothing(run: Path, tmp_path: Path) -> None:
    page = loaded(run).report()
    (frame,) = re.findall(r'<iframe [^>]*sandbox="allow-scripts"[^>]*srcdoc="([^"]*)"></iframe>', page._repr_html_())
    assert html.unescape(frame) == render(read([run]))
    page.save(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text() == page.text
    assert repr(page) == f"Page({len(page.text):,} characters of HTML; save(path) writes them)"


def test_axes_hold_what_the_run_found(run: Path) -> None:
    results = loaded(run)
    axes = results.plot.roc()
    plots = {own.key: own.plot for own in plotted_of_run(RunFolder(run))}
    binned = plots["binned_roc_auc"]
    assert isinstance(binned, Thresholds)
    line = axes.lines[-1].get_xydata()
    assert [tuple(point) for point in line[1:]] == [
        (fp / binned.negative, tp / binned.positive) for _, tp, fp in binned.points[::-1]
    ]
    assert len(axes.collections) == 1  # the band
    texts = {text.get_text() for text in results.plot.confusion().texts}
    assert texts == {f"{count:,}" for count in results.confusion_matrix.to_numpy().ravel() if count}
    dots = results.plot.reliability().lines[-1].get_ydata()
    assert list(dots) == pytest.approx(results["reliability_curve"]["accuracy"].tolist())
    own = results.plot.slices("accuracy", ax=axes)
    assert own is axes and {label.get_text() for label in axes.get_yticklabels()} == {"group=a", "group=b", "group=c"}
    assert mpl.rcParams["axes.spines.top"]  # what others draw looks as before


def test_results_without_a_folder_are_drawn_from_their_tables(tmp_path: Path) -> None:
    table = {"columns": ["threshold", "fpr", "tpr"], "rows": [[None, 0.0, 0.0], [0.5, 0.25, 1.0]]}
    matrix = {"columns": ["label", "a", HOSTILE], "rows": [["a", 3, 1], [HOSTILE, 0, 2]]}
    bins = {"columns": ["low", "high", "weight", "confidence", "accuracy"], "rows": [[0.0, 0.5, 4, 0.25, 0.5]]}
    held = {"roc_curve": table, "confusion_matrix": matrix, "reliability_curve": bins}
    run = write(
        tmp_path / "run", {"accuracy": number(0.5), **{key: ({"value": own, "examples": 4}, {}) for key, own in held.items()}}
    )
    results = harness.Results(loaded(run).document, loaded(run).table)
    assert results.plot.roc().lines[-1].get_xydata().tolist() == [[0.0, 0.0], [0.25, 1.0]]
    assert sorted(text.get_text() for text in results.plot.confusion().texts) == ["1", "2", "3"]
    assert np.asarray(results.plot.reliability().lines[-1].get_xydata()).tolist() == [[0.25, 0.5]]
    assert 'id="metrics"' in results.report().text


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    results = loaded(write(tmp_path / "run", {"accuracy": number(0.5)}))
    for draw, metric in (
        (results.plot.roc, "roc_curve"),
        (results.plot.reliability, "reliability_curve"),
        (results.plot.confusion, "confusion_matrix"),
    ):
        with pytest.raises(UsageError, match=metric):
            draw()
    with pytest.raises(UsageError, match="ask for slices"):
        results.plot.slices()
    with pytest.raises(UsageError, match="no such metric"):
        loaded(with_slices(tmp_path / "sliced", 3)).plot.slices("acuracy")
