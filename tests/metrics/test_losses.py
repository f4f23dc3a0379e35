"""Losses and deviances against scikit-learn, Keras and decimal arithmetic."""

from __future__ import annotations

import math
from decimal import Decimal, getcontext
from fractions import Fraction

import keras
import numpy as np
import pytest
from sklearn import metrics as sk
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression, PoissonRegressor

from tests.metrics.scored import result, value

RELATIVE = 1e-12


@pytest.fixture(scope="module")
def diabetes() -> tuple[np.ndarray, np.ndarray]:
    """Labels and a Poisson regression's predictions, both positive, [442]."""
    x, y = load_diabetes(return_X_y=True)
    return y, PoissonRegressor(alpha=1e-6, max_iter=300).fit(x, y).predict(x)


def _weights(n: int) -> np.ndarray:
    return np.random.default_rng(5).uniform(0, 3, n)


def _log_cosh(y: np.ndarray, p: np.ndarray, sample_weight: np.ndarray | None = None) -> float:
    e = np.abs(y - p)
    return float(np.average(e + np.log1p(np.exp(-2 * e)) - np.log(2), weights=sample_weight))


def _wape(y: np.ndarray, p: np.ndarray, sample_weight: np.ndarray | None = None) -> float:
    w = np.ones_like(y) if sample_weight is None else sample_weight
    return float((w * np.abs(y - p)).sum() / (w * np.abs(y)).sum())


def _smape(y: np.ndarray, p: np.ndarray, sample_weight: np.ndarray | None = None) -> float:
    return float(np.average(2 * np.abs(y - p) / (np.abs(y) + np.abs(p)), weights=sample_weight))


def _tweedie(power: float):
    return lambda y, p, sample_weight=None: sk.mean_tweedie_deviance(y, p, sample_weight=sample_weight, power=power)


def _pinball(alpha: float):
    return lambda y, p, sample_weight=None: sk.mean_pinball_loss(y, p, sample_weight=sample_weight, alpha=alpha)


ORACLES = [
    ("mean_squared_log_error", {}, sk.mean_squared_log_error),
    ("root_mean_squared_log_error", {}, sk.root_mean_squared_log_error),
    ("mean_absolute_percentage_error", {}, sk.mean_absolute_percentage_error),
    ("symmetric_mean_absolute_percentage_error", {}, _smape),
    ("weighted_absolute_percentage_error", {}, _wape),
    ("log_cosh", {}, _log_cosh),
    ("pinball", {"alpha": 0.1}, _pinball(0.1)),
    ("pinball", {"alpha": 1.0}, _pinball(1.0)),
    ("poisson_deviance", {}, sk.mean_poisson_deviance),
    ("gamma_deviance", {}, sk.mean_gamma_deviance),
    *[("tweedie_deviance", {"power": power}, _tweedie(power)) for power in (-1.5, 0, 1, 1.3, 2, 2.5, 3, 6)],
]


@pytest.mark.parametrize(("name", "options", "oracle"), ORACLES)
def test_agrees_on_diabetes(diabetes, name, options, oracle):
    y, p = diabetes
    assert value(name, y, p, **options) == pytest.approx(oracle(y, p), rel=RELATIVE)
    w = _weights(len(y))
    assert value(name, y, p, weights=w, **options) == pytest.approx(oracle(y, p, sample_weight=w), rel=RELATIVE)
    assert value(name, y[:1], p[:1], **options) == pytest.approx(oracle(y[:1], p[:1]), rel=RELATIVE)


@pytest.mark.parametrize(("name", "options"), [(name, options) for name, options, _ in ORACLES])
def test_zero_weights_have_no_value(diabetes, name, options):
    y, p = diabetes
    found = result(name, y, p, weights=np.zeros_like(y), **options)
    assert found.value is None
    assert "weight is" in found.reason


@pytest.mark.parametrize("delta", [0.5, 1.0, 60.0])
def test_huber_agrees_with_keras(diabetes, delta):
    y, p = (a.astype(np.float32).astype(np.float64) for a in diabetes)
    oracle = keras.losses.Huber(delta=delta, dtype="float64")(y, p)
    assert value("huber", y, p, delta=delta) == pytest.approx(float(oracle), rel=RELATIVE)


def test_percentage_error_of_keras():
    # a label of 0 counts as 1e-7: 100 * (0.5 / 1e-7 + 0.5) / 2; keras computes it in float32
    y, p = np.array([0.0, 2.0]), np.array([0.5, 1.0])
    assert value("mean_absolute_percentage_error", y, p, definition="keras") == pytest.approx(250000025.0, rel=RELATIVE)
    oracle = keras.metrics.MeanAbsolutePercentageError()
    oracle.update_state(y, p)
    assert value("mean_absolute_percentage_error", y, p, definition="keras") == pytest.approx(float(oracle.result()), rel=1e-6)
    assert value("mean_absolute_percentage_error", y, p) == pytest.approx(sk.mean_absolute_percentage_error(y, p), rel=RELATIVE)


def test_symmetric_error_at_the_ends():
    assert value("symmetric_mean_absolute_percentage_error", [0.0, 0.0, 1.7e308], [0.0, 3.0, -1.7e308]) == pytest.approx(4 / 3)


def test_all_labels_zero_have_no_weighted_percentage():
    found = result("weighted_absolute_percentage_error", [0.0, 0.0], [1.0, 2.0])
    assert found.value is None
    assert found.reason.startswith("all labels are zero")


@pytest.mark.parametrize(
    ("name", "options", "label", "prediction"),
    [
        ("mean_squared_log_error", {}, -1.0, 1.0),  # ln 0
        ("mean_squared_log_error", {}, 1.0, -1.5),
        ("mean_squared_log_error", {}, -3.0, -3.0),  # a ratio of 1, and no logarithm
        ("poisson_deviance", {}, -1.0, 1.0),
        ("poisson_deviance", {}, 1.0, 0.0),
        ("gamma_deviance", {}, 0.0, 1.0),
        ("gamma_deviance", {}, -2.0, -2.0),
        ("tweedie_deviance", {"power": 1.5}, 1.0, -1.0),
        ("tweedie_deviance", {"power": 3}, 0.0, 1.0),
        ("tweedie_deviance", {"power": -1}, 1.0, 0.0),
    ],
)
def test_outside_the_range_is_null(name, options, label, prediction):
    found = result(name, [1.0, label], [1.5, prediction], **options)
    assert found.value is None
    assert found.reason == "1 terms are NaN, infinite or not below 2^128"


def test_inside_the_range_at_its_ends():
    assert value("poisson_deviance", [0.0], [3.0]) == 6.0  # 2 p
    assert value("tweedie_deviance", [-2.0, 0.5], [1.5, 0.5], power=-1) == pytest.approx(
        sk.mean_tweedie_deviance([-2.0, 0.5], [1.5, 0.5], power=-1), rel=RELATIVE
    )


def _decimal(deviance, pairs) -> float:
    getcontext().prec = 80
    return float(sum((deviance(Decimal(float(y)), Decimal(float(p))) for y, p in pairs), Decimal(0)) / len(pairs))


def _tweedie_decimal(y: Decimal, p: Decimal) -> Decimal:
    """Power 1.5: y^(1/2) / (-1/4) + y p^(-1/2) / (1/2) + p^(1/2) / (1/2), twice."""
    return 2 * (-4 * y.sqrt() + 2 * y / p.sqrt() + 2 * p.sqrt())


CLOSE = [(1e8 + 1, 1e8), (1e8, 1e8 + 0.125), (1e-5, 1.0000001e-5), (3.0, 3.0), (1e15 + 2, 1e15)]
FORMULAS = [
    ("mean_squared_log_error", {}, lambda y, p: ((1 + y).ln() - (1 + p).ln()) ** 2),
    ("poisson_deviance", {}, lambda y, p: 2 * (y * (y / p).ln() - y + p)),
    ("gamma_deviance", {}, lambda y, p: 2 * ((p / y).ln() + y / p - 1)),
    ("tweedie_deviance", {"power": 1.5}, _tweedie_decimal),
]


@pytest.mark.parametrize(("name", "options", "formula"), FORMULAS)
@pytest.mark.parametrize("pair", CLOSE)
def test_near_perfect_predictions_keep_their_digits(name, options, formula, pair):
    # 1e-12 of the value: scikit-learn's own formulas lose most digits here
    exact = _decimal(formula, [pair])
    if 1e-60 < exact < 2.0**-78:  # where the grid of sums takes digits
        found = result(name, [pair[0]], [pair[1]], **options)
        assert found.reason is not None and "too small for a grid of 2^-128" in found.reason
    else:
        assert value(name, [pair[0]], [pair[1]], **options) == pytest.approx(exact, rel=1e-12, abs=1e-60)


@pytest.mark.parametrize("ratio", [0.5, 0.89, 0.905, 0.95, 1.05, 1.095, 1.11, 2.0])
@pytest.mark.parametrize(("name", "options", "formula"), FORMULAS[1:])
def test_series_meets_closed_form(name, options, formula, ratio):
    assert value(name, [7.0 * ratio], [7.0], **options) == pytest.approx(_decimal(formula, [(7.0 * ratio, 7.0)]), rel=1e-12)


def _deviance(power: float):
    """The unit deviance in 120 digits; `ln` carries y^0 and p^0 over where the power is 1 or 2."""

    def formula(y: Decimal, p: Decimal) -> Decimal:
        a = Decimal(power)
        if a == 1:
            return 2 * ((y * (y / p).ln() if y else 0) - y + p)
        if a == 2:
            return 2 * ((p / y).ln() + y / p - 1)
        raised = y ** (2 - a) if y else Decimal(0)
        return 2 * (raised / ((1 - a) * (2 - a)) - y * p ** (1 - a) / (1 - a) + p ** (2 - a) / (2 - a))

    def precise(y: Decimal, p: Decimal) -> Decimal:
        getcontext().prec = 120
        return formula(y, p)

    return precise


NEAR_TWO = [2 - 1e-14, 2 - 1e-9, 2 - 1e-5, 1.99, 1.8, 1.75, 1.74, 2 + 1e-14, 2 + 1e-9, 2 + 1e-5, 2.01, 2.2, 2.26]
NEAR_ONE = [1 + 2.0**-52, 1 + 1e-9, 1 + 1e-5, 1.01, 1.2, 1.25, 1.26]
SIZES = [0.5, 0.905, 1.0000001, 1.095, 1.11, 2.0, 1e-9, 1e9, 1e-30, 1e30]


@pytest.mark.parametrize("power", NEAR_TWO + NEAR_ONE)
def test_no_power_near_one_or_two_loses_digits(power):
    for size in SIZES:
        for p in (7.0, 1e-4):
            oracle = _decimal(_deviance(power), [(p * size, p)])
            if oracle < 2.0**120:
                found = value("tweedie_deviance", [p * size], [p], power=power)
                assert found == pytest.approx(oracle, rel=2e-12, abs=2e-38), (size, p)


@pytest.mark.parametrize("power", [p for p in NEAR_TWO + NEAR_ONE if p < 2])
def test_a_label_of_zero_near_power_one_or_two(power):
    oracle = _decimal(_deviance(power), [(0.0, 7.0)])
    assert value("tweedie_deviance", [0.0], [7.0], power=power) == pytest.approx(oracle, rel=1e-12)


@pytest.mark.parametrize(("label", "prediction"), [(1e10, 1e-300), (1e-300, 1e30), (1e-5, 1e300)])
@pytest.mark.parametrize("power", [1 + 1e-3, 2 - 1e-3, 2 + 1e-3])
def test_a_ratio_beyond_all_floats_is_no_infinity(power, label, prediction):
    oracle = _decimal(_deviance(power), [(label, prediction)])
    found = result("tweedie_deviance", [label], [prediction], power=power)
    if oracle < 2.0**128:
        assert found.value == pytest.approx(oracle, rel=1e-12), oracle
    else:
        assert found.reason == "1 terms are NaN, infinite or not below 2^128"


def test_powers_near_one_and_two_are_neighbours_of_poisson_and_gamma():
    y, p = [3.0, 0.2, 7.0], [2.0, 1.0, 7.5]
    for name, power in (("poisson_deviance", 1 + 1e-13), ("gamma_deviance", 2 - 1e-13), ("gamma_deviance", 2 + 1e-13)):
        assert value("tweedie_deviance", y, p, power=power) == pytest.approx(value(name, y, p), rel=1e-12)


@pytest.mark.parametrize("error", [1e-8, 1e-3, 0.5, 0.999, 1.0, 1.5, 30.0, 1e3, 1e30])
def test_log_cosh_neither_overflows_nor_loses_digits(error):
    getcontext().prec = 60
    e = Decimal(error)
    oracle = (e + ((1 + (-2 * e).exp()) / 2).ln()) if error < 1e3 else e - Decimal(2).ln()
    assert value("log_cosh", [0.0], [error]) == pytest.approx(float(oracle), rel=1e-13)


def test_huge_tiny_and_nan():
    assert value("pinball", [1e38, 1e-30], [0.0, 0.0]) == float((Fraction(1e38) + Fraction(1e-30)) / 4)
    assert result("huber", [1e39, 0.0], [0.0, 0.0]).reason == "1 terms are NaN, infinite or not below 2^128"
    assert result("huber", [math.nan, 0.0], [0.0, 0.0]).reason == "1 labels are NaN or out of range"


def test_standard_error_of_a_mean_loss(diabetes):
    y, p = diabetes
    each = (np.log1p(y) - np.log1p(p)) ** 2
    assert result("mean_squared_log_error", y, p).standard_error == pytest.approx(each.std(ddof=1) / math.sqrt(len(y)), rel=1e-9)
    expected = each.std(ddof=1) / math.sqrt(len(y)) / (2 * math.sqrt(each.mean()))
    assert result("root_mean_squared_log_error", y, p).standard_error == pytest.approx(expected, rel=1e-9)


def test_linear_model_bias_is_nothing(diabetes):
    x, y = load_diabetes(return_X_y=True)
    assert value("mean_bias", y, LinearRegression().fit(x, y).predict(x)) == pytest.approx(0, abs=1e-10)
