"""The page of runs, without a browser: what is on it, that it needs nothing else, that nothing of a job becomes a part of it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import harness
from harness.cli import cli
from harness.errors import RunFolderError, UsageError
from harness.folder.run_folder import RunFolder
from harness.metrics.plots import Thresholds
from harness.report import page as pages
from harness.report.page import render
from harness.report.subjects import read
from harness.results.plotted import plotted_of_run
from tests import made
from tests.report.folders import HOSTILE, Page, evaluated, model, number, with_slices, write


@pytest.fixture(scope="module")
def thousand(tmp_path_factory: pytest.TempPathFactory) -> str:
    return render(read([with_slices(tmp_path_factory.mktemp("thousand") / "run", 1000)]))


def test_a_thousand_slices_are_a_small_page_the_worst_first(thousand: str) -> None:
    assert len(thousand.encode()) < 700_000  # 2 MB are the bound; what is drawn of three metrics is a part of it
    page = Page(thousand)
    rows = [row for row in page.rows if row[0].startswith("city=city") and len(row) == 5 and " to " in row[2]]
    assert len(rows) == 1000
    assert rows[0] == ["city=city 0999", "1,099", "0.101 0.081 to 0.121", "1.099 1.079 to 1.119", "0.500 0.480 to 0.520"]
    assert rows[996][4] == "null"
    assert sum(attributes.get("class") == "small" for tag, attributes in page.elements if tag == "tr") == 100
    assert "2 slices had fewer examples" in thousand and "30 of 1,000 slices" in thousand


def test_many_runs_of_many_slices_are_bounded_and_it_is_said(tmp_path: Path) -> None:
    runs = [with_slices(tmp_path / f"run-{number}", 300) for number in range(10)]
    text = render(read(runs))
    assert len(text.encode()) < 2_000_000
    assert "34 more slices are in metrics.csv." in text and "No plots of run-9: the sums of the first 8 runs alone" in text
    assert "Accuracy by run" in text and "<figcaption>Values of the metrics of each run" not in text


def test_the_page_needs_nothing_else(thousand: str) -> None:
    page = Page(thousand)
    reaching = [value for _, attributes in page.elements for name in ("src", "href", "action") if (value := attributes.get(name))]
    assert {value for value in reaching if not value.startswith("#")} == {"data:,"}
    assert set(re.findall(r"https?://[\w./]+", thousand)) <= {"http://www.w3.org/1999/xlink", "http://www.w3.org/2000/svg"}
    (script,) = page.scripts
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = [a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None and f"script-src 'sha256-{digest}'" in policy and "default-src 'none'" in policy


def test_every_drawing_has_its_data_and_no_name_stands_twice(thousand: str) -> None:
    page = Page(thousand)
    names = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(names) == len(set(names))
    drawings = [attributes for _, attributes in page.elements if attributes.get("role") == "img"]
    assert len(drawings) == 4 and all("the numbers are in the table below it" in (each["aria-label"] or "") for each in drawings)


def test_a_hostile_job_is_harmless_and_bytes_are_the_same_twice(tmp_path: Path) -> None:
    metrics = {
        HOSTILE: number(0.5),
        "recall": ({"value": {HOSTILE: 0.5, "b\n$\\frac": None}, "examples": 5, "support": {HOSTILE: 3}}, {}),
        "log_loss": number(None, reason="x" * 10**6),
        "far": number(1e300, 1e299),
    }
    run = write(tmp_path / "run", metrics, slices=[{"slice": {HOSTILE: HOSTILE}, "examples": 2, "metrics": {}, "intervals": {}}])
    rank = {"rank": 0, "host": HOSTILE, "devices": [HOSTILE], "split_s": {"start": 1.5, "predicting": 2.5}, "busy_s": 2.5}
    attempt = {"attempt": 1, "size": 2, "ranks": [rank, {**rank, "rank": 1, "busy_s": 9.0}], "elapsed_s": 4.0, "comm": "mpi"}
    (run / "run.json").write_text(json.dumps({"attempts": [attempt, attempt], "environment": {HOSTILE: HOSTILE}}))
    (run / "resolved_job.json").write_text(json.dumps({"data": {"classes": [HOSTILE] * 20_000}, "url": "s3://KEY@b/a"}))
    text = render(read([run]))
    assert text == render(read([run]))
    assert len(text) < 300_000 and "<script>alert" not in text and "<img" not in text and "KEY@" not in text
    page = Page(text)
    assert len(page.scripts) == 1 and "alert" not in page.scripts[0]
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    facts = dict(row for row in page.rows if len(row) == 2)
    assert facts["stragglers"] == "rank 1 (9.00 s); the median was busy 5.75 s" and facts["attempts"] == "2"


def test_runs_are_held_against_the_first(runs: list[Path]) -> None:
    text = render(read(runs))
    page = Page(text)
    lines = {row[0]: row for row in page.rows if len(row) == 7}
    values = [json.loads((run / "metrics.json").read_text())["metrics"]["accuracy"]["value"] for run in runs]
    assert [float(cell) for cell in lines["accuracy"][1:3]] == pytest.approx(values, abs=5e-4)
    assert lines["accuracy"][3].startswith("+" if values[1] > values[0] else "-") and lines["accuracy"][6]
    assert "Differences: after minus before" in text and "within the same replicates" in text


def test_what_differs_from_run_to_run_is_in_one_section(runs: list[Path], tmp_path: Path) -> None:
    other = Path(shutil.copytree(runs[0], tmp_path / runs[0].name))
    document = json.loads((other / "run.json").read_text())
    document["attempts"][-1].update(elapsed_s=99.0, comm="mpi", started="2026-01-01T00:00:00+00:00")
    document["attempts"][-1]["ranks"].append({"rank": 1, "host": "elsewhere", "split_s": {"start": 1.0}, "busy_s": 1.0})
    (other / "run.json").write_text(json.dumps(document))
    before, after = (render(read([run])).partition('<section id="run"') for run in (runs[0], other))
    assert before[0] == after[0] and before[2] != after[2] and "elsewhere" in after[2]


def test_files_that_no_run_writes_are_named(tmp_path: Path) -> None:
    run = write(tmp_path / "run", {"accuracy": number(0.5)}, slices=[{"slice": 3}])
    with pytest.raises(RunFolderError, match=r"run/metrics.json: not what a run writes: slices / 0 / "):
        read([run])
    run = write(tmp_path / "run", {"accuracy": number(0.5)})
    (run / "run.json").write_text('{"attempts": [{"ranks": 5}]}')
    with pytest.raises(RunFolderError, match="run: a file of it is not what a run writes: "):
        render(read([run]))


def test_models_of_one_run_stand_side_by_side(tmp_path: Path) -> None:
    examples = made.examples()
    label = (examples.x[:, 0] > 0).astype(np.int64)
    models = {"old": model(1.0), "new": model(0.1)}
    results = harness.evaluate(models, (examples.x, label), ["accuracy"], output=tmp_path / "run", progress=False)
    rows = Page(results.report().text).rows
    assert ["metric", "better", "old", "new"] in rows
    values = [f"{results[f'{name}/accuracy']:.6g}" for name in models]
    (line,) = [row for row in rows if row[:2] == ["accuracy", "higher"]]
    assert [float(cell) for cell in line[2:]] == pytest.approx([float(value) for value in values], abs=5e-4)


def test_runs_that_cannot_be_paired_stand_side_by_side_and_it_is_said(runs: list[Path], tmp_path: Path) -> None:
    other = write(tmp_path / "other", {"accuracy": number(0.75)})
    text = render(read([runs[0], other]))
    assert "Not compared:" in text and any(row[:1] == ["accuracy"] and "0.750 [0.730, 0.770]" in row for row in Page(text).rows)


def test_curves_bands_and_counts_stand_on_the_page(runs: list[Path]) -> None:
    text = render(read(runs[:1]))
    page = Page(text)
    points = json.loads(page.scripts[0])
    plots = {own.key: own for own in plotted_of_run(RunFolder(runs[0]))}
    exact = plots["roc_curve"].plot
    assert isinstance(exact, Thresholds)
    assert list(zip(points["threshold"], points["tp"], points["fp"], strict=True)) == list(exact.points)
    assert (points["positive"], points["negative"]) == (exact.positive, exact.negative)
    at = next(row for row in page.rows if len(row) == 8 and row[0] == f"{exact.points[0][0]:.6g}")
    assert at[1:5] == [str(exact.positive), str(exact.negative), "0", "0"]
    for title in (
        "ROC: Class",
        "Precision and recall: Class",
        "Gains: Class",
        "Reliability of the score of class",
        "Confusion matrix",
    ):
        assert f"<figcaption>{title}" in text
    assert "The band holds the interval at each place" in text and 'id="classes"' in text


OWN = """
from harness.metrics.contract import Bars, HostMetric, Lines

class Own(HostMetric):
    summary = "sum of y"

    def columns(self):
        return ("label",)

    def host_terms(self, labels, predictions):
        return labels.astype("float64").reshape(-1, 1)

    def value(self, totals):
        return totals["label"]

    def plots(self, totals):
        value = self.value(totals)
        return [Lines("place", "sum", (("up", ((0.0, 0.0), (1.0, value))), ("<b>", ((0.0, 1.0),)))), Bars("rest", ((None, 1.0, value),))]
"""


def test_a_metric_of_ones_own_has_its_plots_where_its_code_may_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_plots.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    run = evaluated(tmp_path / "run", 1.0, [{"python": "own_plots:Own"}])
    value = json.loads((run / "metrics.json").read_text())["metrics"]["Own"]["value"]
    assert 'id="curves"' not in render(read([run]))
    done = CliRunner().invoke(
        cli, ["report", str(run), "--python", str(tmp_path), "-o", str(tmp_path / "page.html")], standalone_mode=False
    )
    assert done.exception is None, done.exception
    rows = Page((tmp_path / "page.html").read_text()).rows
    assert ["up", "1", f"{value:.6g}"] in rows and ["<b>", "0", "1"] in rows and ["-∞", "1", f"{value:.6g}"] in rows


def test_a_run_without_its_journal_has_a_page_and_says_what_is_missing(runs: list[Path], tmp_path: Path) -> None:
    run = Path(shutil.copytree(runs[0], tmp_path / "run"))
    shutil.rmtree(run / "journal")
    text = render(read([run]))
    assert 'id="scores"' not in text and 'id="metrics"' in text and "No plots" in text


@pytest.mark.parametrize(
    ("message", "word"), [("INVALID, no result was written:\nchunk 3", "INVALID"), ("rank 1 died", "NOT FINISHED")]
)
def test_a_run_without_a_result_says_so(tmp_path: Path, message: str, word: str) -> None:
    (tmp_path / "status.json").write_text(json.dumps({"state": "failed", "exit_code": 1}))
    (tmp_path / "failure.json").write_text(json.dumps({"message": message}))
    text = render(read([tmp_path]))
    assert f">{word}<" in text and message.splitlines()[0] in text and 'id="metrics"' not in text


def test_the_command_writes_the_page(tmp_path: Path) -> None:
    run = write(tmp_path / "run", {"accuracy": number(0.75)})
    done = CliRunner().invoke(cli, ["report", str(run), "-o", str(tmp_path / "new" / "page.html")], standalone_mode=False)
    assert done.exception is None, done.exception
    assert (
        "6,000" not in (text := (tmp_path / "new" / "page.html").read_text()) and "1,000 of 1,000 examples counted once" in text
    )
    with pytest.raises(RunFolderError, match="expected the folder of a run"):
        read([tmp_path / "new"])
    with pytest.raises(UsageError, match="stands there twice"):
        read([run, run])


@pytest.mark.parametrize("package", ["jinja2", "matplotlib"])
def test_what_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    run = write(tmp_path / "run", {"accuracy": number(0.75)})
    monkeypatch.setitem(sys.modules, package, None)
    pages._environment.cache_clear()
    with pytest.raises(UsageError, match=r"pip install 'exact-harness\[report\]'"):
        render(read([run]))
