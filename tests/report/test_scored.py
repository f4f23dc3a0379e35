"""Which counts at thresholds make a curve together, and which make none."""

from __future__ import annotations

import numpy as np
import pytest

from harness.metrics.binding import Binding, Inputs
from harness.metrics.plots import Thresholds
from harness.report.bands import band
from harness.report.scored import Scored, gains, lift, precision_recall, roc, scored_section
from harness.report.sources import Source
from harness.results.plotted import Plotted

FINE = Thresholds(4, 6, tuple((at / 10, 4 - at // 3, 6 - at // 2) for at in range(10)))
COARSE = Thresholds(4, 6, ((0.25, 3, 2), (0.5, 2, 1)), "above")


def shown(*plots: tuple[Thresholds, str | None]) -> list[Scored]:
    """Return what is shown of plots, each with the feature that weighs it."""
    held = [
        Plotted(f"metric {number}", Binding(Inputs.BINARY, "p", "y", weight), "", {"positive": 1}, plot)
        for number, (plot, weight) in enumerate(plots)
    ]
    section = scored_section([Source("run", {}, held, 0.95, ["no", "yes"])])
    return [] if section is None else section.content


def test_rates_are_those_of_the_counts() -> None:
    plot = Thresholds(4, 6, ((0.25, 4, 3), (0.5, 2, 0), (0.75, 0, 0)))
    assert [column.tolist() for column in roc(plot)] == [[0.0, 0.0, 0.0, 0.5], [0.0, 0.0, 0.5, 1.0]]
    assert [column.tolist() for column in precision_recall(plot)] == [[0.5, 1.0], [1.0, 4 / 7]]
    assert [column.tolist() for column in gains(plot)] == [[0.0, 0.0, 0.2, 0.7], [0.0, 0.0, 0.5, 1.0]]
    assert [column.tolist() for column in lift(plot)] == [[0.2, 0.7], [2.5, 1.0 / 0.7]]  # above the highest score there is none


def test_gains_and_lift_are_those_of_a_sort() -> None:
    draw = np.random.default_rng(3)
    score, label = draw.integers(0, 30, 500) / 30, draw.integers(0, 4, 500) == 0
    at = np.unique(score)
    called = score >= at[:, None]
    points = zip(at.tolist(), (called & label).sum(1).tolist(), (called & ~label).sum(1).tolist(), strict=True)
    plot = Thresholds(int(label.sum()), int((~label).sum()), tuple(points))
    order = np.argsort(-score, kind="stable")
    depths = np.flatnonzero(np.diff(score[order], append=-1)) + 1  # all of equal scores are called together
    found = np.cumsum(label[order])[depths - 1] / label.sum()
    np.testing.assert_allclose(gains(plot), [[0, *depths / 500], [0, *found]], rtol=1e-15)
    np.testing.assert_allclose(lift(plot), [depths / 500, [label[order][:n].mean() / label.mean() for n in depths]], rtol=1e-14)


def test_counts_of_the_same_scores_are_shown_together_by_the_finest() -> None:
    (scored,) = shown((COARSE, None), (FINE, None))
    assert [figure.title.partition(":")[0] for figure in scored.figures] == [
        "ROC",
        "Precision and recall",
        "Gains",
        "Lift",
    ] and scored.sliders[0].points["threshold"] == [at for at, _, _ in FINE.points]
    assert [own.title for own in shown((COARSE, None), (FINE, "w"))] == ["Class yes of y", "Class yes of y, weighted by w"]


@pytest.mark.parametrize("plot", [Thresholds(0, 6, ((0.5, 0, 3),)), Thresholds(4, 0, ((0.5, 2, 0),))])
def test_labels_of_one_side_make_no_curve(plot: Thresholds) -> None:
    assert shown((plot, None)) == []


def test_few_thresholds_are_a_table_without_a_curve() -> None:
    (scored,) = shown((COARSE, None))
    assert scored.figures == [] and scored.sliders[0].table.rows == [
        ["0.25", "3", "2", "1", "4", "0.6", "0.75", "1.5"],
        ["0.5", "2", "1", "2", "5", "0.666667", "0.5", "1.66667"],
    ]


def test_a_band_is_made_of_the_quantiles_of_intervals() -> None:
    lines = [np.array([float(i), np.nan if i < 10 else 1.0]) for i in range(39)]
    ends = band(lines, 0.95)
    assert ends is not None and [end[0] for end in ends] == pytest.approx([0.0, 38.0]) and np.isnan(ends[0][1])
    assert band(lines[:19], 0.95) is None
