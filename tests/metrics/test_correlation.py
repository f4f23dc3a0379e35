"""Second moments against scikit-learn and SciPy, and against fractions where float64 oracles fail."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression

from harness.metrics.moments import root
from tests.metrics.scored import result, value


@pytest.fixture(scope="module")
def diabetes() -> tuple[np.ndarray, np.ndarray]:
    """Labels and a linear regression's predictions, [442]."""
    x, y = load_diabetes(return_X_y=True)
    return y, LinearRegression().fit(x[:300], y[:300]).predict(x)


class Exact:
    """The moments of two arrays, in fractions."""

    def __init__(self, y: np.ndarray, p: np.ndarray, w: np.ndarray | None = None) -> None:
        ys, ps = ([Fraction(float(x)) for x in np.ravel(a)] for a in (y, p))
        ws = [Fraction(1)] * len(ys) if w is None else [Fraction(float(x)) for x in w]
        self.weight = sum(ws)
        self.y = sum(a * b for a, b in zip(ws, ys, strict=True)) / self.weight
        self.p = sum(a * b for a, b in zip(ws, ps, strict=True)) / self.weight
        self.yy = sum(a * (y - self.y) ** 2 for a, y in zip(ws, ys, strict=True)) / self.weight
        self.pp = sum(a * (p - self.p) ** 2 for a, p in zip(ws, ps, strict=True)) / self.weight
        self.yp = sum(a * (y - self.y) * (p - self.p) for a, y, p in zip(ws, ys, ps, strict=True)) / self.weight

    def value(self, name: str) -> float:
        if name == "explained_variance":
            return float(1 - (self.yy - 2 * self.yp + self.pp) / self.yy)
        if name == "pearson":
            return math.copysign(math.sqrt(self.yp**2 / (self.yy * self.pp)), self.yp)
        if name == "concordance":
            return float(2 * self.yp / (self.yy + self.pp + (self.y - self.p) ** 2))
        return float(self.p - self.y)


NAMES = ["explained_variance", "pearson", "concordance", "mean_bias"]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("offset", [0.0, 1e8, -1e15])
def test_an_offset_changes_nothing(diabetes, name, offset, weighted):
    y, p = (a + offset for a in diabetes)
    w = np.random.default_rng(3).uniform(0, 2, len(y)) if weighted else None
    assert value(name, y, p, weights=w) == pytest.approx(Exact(y, p, w).value(name), rel=1e-15)


def test_agrees_with_the_libraries(diabetes):
    y, p = diabetes
    w = np.random.default_rng(4).uniform(0, 2, len(y))
    assert value("explained_variance", y, p) == pytest.approx(sk.explained_variance_score(y, p), rel=1e-12)
    assert value("explained_variance", y, p, weights=w) == pytest.approx(
        sk.explained_variance_score(y, p, sample_weight=w), rel=1e-12
    )
    assert value("pearson", y, p) == pytest.approx(stats.pearsonr(y, p).statistic, rel=1e-12)
    assert value("r2", y, p) == pytest.approx(sk.r2_score(y, p), rel=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_many_positions_of_an_example_are_as_exact_as_one(diabetes, name):
    # 442 = 26 x 17 outputs, an offset of 1e8: summed in float64 within the example, nothing would be left
    y, p = ((a + 1e8 + 1 / 3).reshape(26, 17) for a in diabetes)
    assert value(name, y, p) == pytest.approx(Exact(y, p).value(name), rel=1e-15)


def test_perfect_and_opposite():
    y = np.array([0.1, 0.2, 0.7])
    assert value("pearson", y, y) == 1.0
    assert value("pearson", y, -3 * y) == pytest.approx(-1.0, rel=1e-15)
    assert value("concordance", y, y) == 1.0
    assert value("explained_variance", y, y + 0.25) == pytest.approx(1.0, rel=1e-15)


@pytest.mark.parametrize(
    ("name", "labels", "predictions", "reason"),
    [
        ("pearson", [0.1, 0.1], [1.0, 2.0], "all labels are equal"),
        ("pearson", [1.0, 2.0], [0.1, 0.1], "all predictions are equal"),
        ("pearson", [5.0], [4.0], "all labels are equal"),
        ("pearson", [1e-20, 2e-20], [1.0, 2.0], "all labels are equal, or differ by less"),
        ("explained_variance", [1e8, 1e8], [1.0, 2.0], "all labels are equal"),
        ("concordance", [0.1, 0.1], [0.7, 0.7], "all labels are equal, and so are all predictions"),
        ("pearson", [1e20, 2e20], [1.0, 2.0], "not below 2^128"),
        ("concordance", [math.nan, 1.0], [1.0, 2.0], "1 labels are NaN"),
        ("pearson", [1.0, 2.0], [math.inf, 2.0], "1 predictions are NaN, infinite or out of range"),
    ],
)
def test_null_with_a_reason(name, labels, predictions, reason):
    found = result(name, labels, predictions)
    assert found.value is None
    assert reason in found.reason


@pytest.mark.parametrize("name", NAMES)
def test_zero_weight_is_null(name):
    found = result(name, [1.0, 2.0], [1.5, 2.5], weights=[0.0, 0.0])
    assert (found.value, found.reason) == (None, "the total weight is zero")


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e15])
def test_scale_does_not_matter_within_the_grid(diabetes, scale):
    y, p = (a * scale for a in diabetes)
    assert value("pearson", y, p) == pytest.approx(Exact(y, p).value("pearson"), rel=1e-12)


def test_variance_of_an_output_with_an_offset():
    x = np.random.default_rng(7).normal(1e8, 1, 500)
    oracle = Exact(x, x).yy
    assert value("variance", None, x) == float(oracle)
    assert value("standard_deviation", None, x) == pytest.approx(math.sqrt(oracle), rel=1e-15)
    assert value("variance", None, x, ddof=1) == pytest.approx(float(oracle * 500 / 499), rel=1e-15)
    assert value("variance", None, x.reshape(50, 10)) == float(oracle)
    assert value("variance", None, np.full(9, 0.1)) == 0.0
    assert result("variance", None, [1.0], ddof=1).reason == "the total weight 1 is not above ddof=1"


def test_root_is_correct_to_the_last_bit():
    for x in (Fraction(2), Fraction(1, 3), Fraction(10**40 + 1, 7), Fraction(1, 10**60)):
        found = Fraction(root(x))
        neighbours = [Fraction(math.nextafter(float(found), towards)) for towards in (-math.inf, math.inf)]
        # the midpoints to both neighbours enclose the root
        assert ((found + neighbours[0]) / 2) ** 2 < x < ((found + neighbours[1]) / 2) ** 2
