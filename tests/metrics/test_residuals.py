"""Tables of errors against NumPy, at one and several ranks."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from harness.metrics.contract import Lines, Table, Totals, Undefined
from harness.metrics.residuals import ErrorByLabel, Residuals
from tests.metrics.test_plots import fractions, totals
from tests.row_case import rows, value_of

RNG = np.random.default_rng(9)
ERRORS = {
    "normal": RNG.normal(size=300),
    "ties": np.round(RNG.normal(size=200)),
    "one": np.array([-7.5]),
    "two": np.array([2.0, 1.0]),
    "huge and tiny": RNG.standard_normal(60) * 10.0 ** RNG.integers(-200, 200, 60),
}


@pytest.mark.parametrize("errors", ERRORS.values(), ids=ERRORS)
def test_residuals_are_numpys_quantiles(errors: np.ndarray) -> None:
    for points in (2, 11):
        table: Table = value_of(Residuals(points=points), rows(errors))
        shares = np.arange(points) / (points - 1)
        assert [row[0] for row in table.rows] == shares.tolist()
        # Of shares as they are: NumPy's 0.3 * 200 would be rounded.
        places = [max(-(-number * len(errors) // (points - 1)) - 1, 0) for number in range(points)]
        assert [row[1] for row in table.rows] == np.sort(errors)[places].tolist()
        if points == 2:
            assert [row[1] for row in table.rows] == [errors.min(), errors.max()]


def test_residuals_weigh_as_copies_do() -> None:
    errors, weights = RNG.normal(size=50), RNG.integers(0, 4, 50).astype(float)
    weighed = value_of(Residuals(points=21), rows(errors, weights=weights))
    assert weighed == value_of(Residuals(points=21), rows(np.repeat(errors, weights.astype(int))))


@pytest.mark.parametrize(
    "labels", [RNG.normal(size=400), np.round(RNG.normal(size=100)), np.ones(9)], ids=["distinct", "ties", "alike"]
)
def test_errors_by_label_are_those_of_bins_between_quantiles(labels: np.ndarray) -> None:
    errors = RNG.normal(size=len(labels)) * 10.0 ** RNG.integers(-9, 9, len(labels))
    table: Table = value_of(ErrorByLabel(bins=5), rows(labels, {"error": errors}))
    edges = np.quantile(labels, np.linspace(0, 1, 6))
    bins = np.searchsorted(edges[1:-1], labels, side="left")
    expected = [
        (int((bins == b).sum()), labels[bins == b].mean(), errors[bins == b].mean(), np.abs(errors[bins == b]).mean())
        for b in np.unique(bins)
    ]
    found: Any = np.array(table.rows)
    assert found == pytest.approx(np.array(expected), rel=1e-9, abs=1e-9)


def test_both_are_shown_against_zero() -> None:
    (lines,) = Residuals(points=2).plots(totals(3, quantiles=fractions(-1.0, 2.0), all=np.array(3)))
    assert lines == Lines("share of the examples", "prediction - label", (("residual", ((0.0, -1.0), (1.0, 2.0))),), 0.0)
    sums = {name: fractions(*own) for name, own in {"weight": (2, 0), "label": (4, 0), "error": (-1, 0), "size": (3, 0)}.items()}
    (lines,) = ErrorByLabel(bins=2).plots(Totals(sums, positions=2, weight=Fraction(2)))
    assert lines.lines == (("mean error", ((2.0, -0.5),)), ("mean absolute error", ((2.0, 1.5),)))
    with pytest.raises(Undefined):
        ErrorByLabel(bins=1).value(Totals({name: fractions(0) for name in sums}, positions=1, weight=Fraction(1)))
