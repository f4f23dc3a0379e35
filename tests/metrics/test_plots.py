"""What metrics show beside their values: counts by hand, from totals; no graph."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from harness.metrics import METRICS, load
from harness.metrics.contract import Bars, Confusion, Metric, Reliability, Thresholds, Totals, Undefined, row_sums


def totals(positions: int, weight: Fraction | None = None, **sums: object) -> Totals:
    arrays = {name: np.array(own) for name, own in sums.items()}
    return Totals(arrays, positions=positions, weight=Fraction(positions) if weight is None else weight, classes=("cat", "dog"))


def fractions(*numbers: float) -> np.ndarray:
    return np.array([None, *map(Fraction, numbers)], dtype=object)[1:]


# Buckets are 2 i + label, of i thresholds exceeded, or of bin i.
SHOWN = [
    ("confusion_matrix", {}, totals(10, pairs=[3, 1, 2, 4]), Confusion(("cat", "dog"), ((3, 1), (2, 4)))),
    ("confusion_matrix", {"normalize": "true"}, totals(10, pairs=[3, 1, 2, 4]), Confusion(("cat", "dog"), ((3, 1), (2, 4)))),
    ("counts_at_thresholds", {"thresholds": [0.25, 0.5]}, totals(10, exceeded=[2, 1, 3, 0, 0, 4]),
     Thresholds(5, 5, ((0.25, 4, 3), (0.5, 4, 0)), "above")),
    ("binned_roc_auc", {"bins": 4}, totals(10, bins=[2, 1, 3, 0, 0, 1, 0, 3]),
     Thresholds(5, 5, ((0.0, 5, 5), (0.25, 4, 3), (0.5, 4, 0), (0.75, 3, 0)))),
    ("reliability_curve", {"bins": 2}, totals(8, bins=[3, 1, 0, 4], confidence=fractions(1.0, 3.0)),
     Reliability(((0, 4, 0.25, 0.25), (1, 4, 0.75, 1.0)))),
    ("histogram", {"bins": 2}, totals(6, bins=[0, 1, 3, 2]), Bars("output", ((0.0, 0.5, 1), (0.5, 1.0, 3), (1.0, None, 2)))),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options", "summed", "plot"), SHOWN)
def test_a_metric_shows_its_counts(name: str, options: dict, summed: Totals, plot: object) -> None:
    assert load(name)(**options).plots(summed) == (plot,)


@pytest.mark.parametrize("name", ["roc_curve", "pr_curve"])
def test_rows_that_weigh_are_shown_in_weight_not_in_their_units(name: str) -> None:
    # Three positives and one negative of weight a half each: rows count them in units of a quarter.
    folded = {"threshold": fractions(0.25, 0.75), "tp": fractions(6, 4), "fp": fractions(2, 0), "positive": 6, "negative": 2}
    summed = Totals(row_sums(folded), positions=4, weight=Fraction(2))
    assert load(name)().plots(summed) == (Thresholds(1.5, 0.5, ((0.25, 1.5, 0.5), (0.75, 1, 0))),)


def test_a_fine_histogram_is_shown_at_a_thousand_edges() -> None:
    (plot,) = load("binned_roc_auc")(bins=5000).plots(totals(10000, bins=[1] * 10000))
    assert len(plot.points) == 1000 and plot.points[0] == (0.0, 5000, 5000) and plot.points[-1] == (4999 / 5000, 1, 1)


def test_where_there_is_no_curve_there_is_no_plot() -> None:
    with pytest.raises(Undefined, match="no label is positive"):
        load("binned_roc_auc")(bins=2).plots(totals(3, bins=[2, 0, 1, 0]))


def test_metrics_that_show_nothing_say_so() -> None:
    assert load("accuracy")().plots(totals(2, correct=[1, 1])) == ()
    shown = {name for name in METRICS if load(name).plots is not Metric.plots}
    assert shown >= {"confusion_matrix", "roc_curve", "pr_curve", "binned_roc_auc", "reliability_curve", "histogram"}
