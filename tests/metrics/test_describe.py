"""`harness metrics`: the overview, and one metric with its options."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import JobError
from harness.metrics import METRICS, load
from harness.metrics.describe import describe, overview, page


def test_overview_names_every_metric_in_one_line() -> None:
    lines = overview().splitlines()
    assert [line.split()[0] for line in lines[: len(METRICS)]] == list(METRICS)
    assert lines[0].split(None, 1)[1] == "Share of positions whose predicted class is the label."


def test_options_have_type_default_and_meaning() -> None:
    lines = [" ".join(line.split()) for line in describe("f_beta").splitlines()]
    assert lines[0] == "f_beta: Weighted harmonic mean of precision and recall; recall counts beta times as much."
    assert "definition (1 + b^2) TP / ((1 + b^2) TP + b^2 FN + FP) per class, averaged" in lines
    assert "as in sklearn.metrics.fbeta_score" in lines
    assert any(line.startswith("beta number > 0 1.0 how much more recall counts than") for line in lines)
    assert any(line.startswith("zero_division 0|1 or null null what 0/0 counts as") for line in lines)
    assert any(line.startswith("from_logits true|false false the output holds logits") for line in lines)


def test_its_own_options_come_before_those_of_its_family() -> None:
    lines = [line.split()[0] for line in describe("top_k").splitlines() if line.startswith("  ") and line[2] != " "]
    assert lines.index("k") < lines.index("ignore_label") < lines.index("output")


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_says_what_it_is(name: str) -> None:
    metric = load(name)
    assert metric.summary
    assert (metric.__doc__ or "").split("\n")[0].endswith(".")
    assert [option for option, field in metric.model_fields.items() if not field.description] == []


def test_an_unknown_metric_names_the_nearest() -> None:
    with pytest.raises(JobError, match=r"unknown metric 'acuracy': did you mean 'accuracy'\?"):
        describe("acuracy")


def test_the_page_of_metrics_is_up_to_date() -> None:
    written = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
    assert written == page(), "docs/metrics.md is not what the registry says: make docs"
    headings = [line[4:] for line in written.splitlines() if line.startswith("### ")]
    assert sorted(headings) == sorted(METRICS)


def test_the_page_says_what_a_metric_does_not_take() -> None:
    section = page().split("### fid\n")[1].split("\n### ")[0].split("\n## ")[0]
    assert "- does not take: weights, slices, bootstrap" in section
    assert "| `reference` | text or null | null | .npz file with mu and sigma of the reference" in section
    assert "\n| `weight` | text or false or null | null |" in page()
