"""Values along cut-offs and along runs: which metrics belong together, in which order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.report.series import cutoff_figures, sweep_figures
from harness.report.subjects import read
from tests.report.folders import number, write


def defined(run: Path, definitions: dict[str, dict[str, Any]]) -> Path:
    """Put definitions into a run's document."""
    document = json.loads((run / "metrics.json").read_text())
    for key, definition in definitions.items():
        document["definitions"][key].update(definition)
    (run / "metrics.json").write_text(json.dumps(document))
    return run


def test_metrics_that_differ_by_k_alone_make_a_curve(tmp_path: Path) -> None:
    values = {"ndcg10": 0.75, "ndcg5": 0.5, "linear5": 0.25, "hit_rate": 0.5, "top": None}
    run = write(tmp_path / "run", {key: number(value) for key, value in values.items()})
    ndcg = {"metric": "ndcg"}
    defined(run, {
        "ndcg10": {**ndcg, "options": {"k": 10, "gain": "exponential", "name": "ndcg10"}},
        "ndcg5": {**ndcg, "options": {"k": 5, "gain": "exponential", "name": None}},
        "linear5": {**ndcg, "options": {"k": 5, "gain": "linear"}},
        "hit_rate": {"metric": "hit_rate", "options": {"k": 3}},
        "top": {"metric": "hit_rate", "options": {"k": 9}},
    })  # fmt: skip
    (figure,) = cutoff_figures(read([run]))
    assert figure.title == "Ndcg at each k"
    assert figure.data.rows == [["run", "5", "0.500", "0.480", "0.520"], ["run", "10", "0.750", "0.730", "0.770"]]


def test_three_runs_and_more_make_a_curve_in_order_of_their_steps_else_in_theirs(tmp_path: Path) -> None:
    runs = [write(tmp_path / f"step-{step}", {"accuracy": number(0.5 + step / 100)}) for step in (9, 10, 30)]
    (figure,) = sweep_figures(read(runs))
    assert [row[1:3] for row in figure.data.rows] == [["step-9", "0.590"], ["step-10", "0.600"], ["step-30", "0.800"]]
    assert sweep_figures(read(runs[:2])) == []
    (other,) = sweep_figures(read(sorted(runs)))  # as a shell names them: step-10, step-30, step-9
    assert other.data.rows == figure.data.rows
    unsaid = [write(tmp_path / name, {"accuracy": number(0.5)}) for name in ("b-2", "a-3", "c-1")]
    (figure,) = sweep_figures(read(unsaid))
    assert [row[1] for row in figure.data.rows] == ["b-2", "a-3", "c-1"]
