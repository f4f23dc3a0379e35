"""Metrics of a probability against scikit-learn and Keras; binned curves against their bounds."""

from __future__ import annotations

import math
from decimal import Decimal, getcontext
from itertools import pairwise

import keras
import numpy as np
import pytest
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import scale

from harness.metrics.contract import Table
from tests.metrics.scored import result, value

RELATIVE = 1e-12


@pytest.fixture(scope="module")
def cancer() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels [569], and a weak logistic regression's probability and logit of class 1."""
    x, y = load_breast_cancer(return_X_y=True)
    model = LogisticRegression(C=1e-3).fit(scale(x), y)
    return y, model.predict_proba(scale(x))[:, 1], model.decision_function(scale(x))


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """Labels [1797] and probabilities [1797, 10] of a logistic regression that saw a tenth of them."""
    x, y = load_digits(return_X_y=True)
    return y, LogisticRegression(max_iter=200).fit(x[:180] / 16, y[:180]).predict_proba(x / 16)


def _weights(n: int) -> np.ndarray:
    return np.random.default_rng(5).uniform(0, 3, n)


def _normalised(y: np.ndarray, p: np.ndarray, sample_weight: np.ndarray | None = None) -> float:
    rate = np.average(y, weights=sample_weight)
    return float(sk.log_loss(y, p, sample_weight=sample_weight) / -(rate * np.log(rate) + (1 - rate) * np.log(1 - rate)))


def _ratio(y: np.ndarray, p: np.ndarray, sample_weight: np.ndarray | None = None) -> float:
    return float(np.average(p, weights=sample_weight) / np.average(y, weights=sample_weight))


def _accuracy(y: np.ndarray, p: np.ndarray, sample_weight: np.ndarray | None = None) -> float:
    return float(sk.accuracy_score(y, p > 0.5, sample_weight=sample_weight))


@pytest.mark.parametrize(
    ("name", "oracle"),
    [
        ("log_loss", sk.log_loss),
        ("brier", sk.brier_score_loss),
        ("normalised_entropy", _normalised),
        ("calibration_ratio", _ratio),
        ("binary_accuracy", _accuracy),
    ],
)
def test_agrees_on_breast_cancer(cancer, name, oracle):
    y, p, logits = cancer
    w = _weights(len(y))
    assert value(name, y, p) == pytest.approx(oracle(y, p), rel=RELATIVE)
    assert value(name, y, np.stack([1 - p, p], axis=1)) == pytest.approx(oracle(y, p), rel=RELATIVE)
    assert value(name, y, p, weights=w) == pytest.approx(oracle(y, p, sample_weight=w), rel=RELATIVE)
    assert value(name, y, logits, from_logits=True) == pytest.approx(oracle(y, p), rel=RELATIVE)
    assert value(name, y, np.stack([1 - p, p], axis=1), positive=0) == pytest.approx(oracle(1 - y, 1 - p), rel=RELATIVE)
    hidden = np.where(np.arange(len(y)) % 3 == 0, 7, y)
    kept = hidden != 7
    assert value(name, hidden, p, ignore_label=7) == pytest.approx(oracle(y[kept], p[kept]), rel=RELATIVE)
    assert result(name, y, p, weights=np.zeros(len(y))).value is None


def test_log_loss_of_one_class_of_many(digits):
    y, p = digits
    assert value("log_loss", y, p, positive=3) == pytest.approx(sk.log_loss(y == 3, p[:, 3]), rel=RELATIVE)
    assert value("log_loss", y, np.log(p), positive=3, from_logits=True) == pytest.approx(sk.log_loss(y == 3, p[:, 3]), rel=1e-9)


@pytest.mark.parametrize("logit", [-800.0, -40.0, -1e-9, 0.0, 1e-9, 36.0, 800.0])
def test_log_loss_of_logits_neither_overflows_nor_loses_digits(logit):
    getcontext().prec = 400
    for label, sign in ((0, 1), (1, -1)):
        oracle = (1 + (sign * Decimal(logit)).exp()).ln()
        assert value("log_loss", [label], [logit], from_logits=True) == pytest.approx(float(oracle), rel=1e-14, abs=2e-39)


def test_certain_and_wrong_is_null_unless_clipped():
    y, p = [1, 0, 1], [0.0, 0.25, 1.0]
    assert result("log_loss", y, p).reason == (
        "1 predictions give what is true a probability of 0: the loss is infinite; "
        "epsilon clips probabilities (Keras has epsilon: 1.0e-7)"
    )
    clipped = keras.metrics.BinaryCrossentropy(dtype="float64")
    clipped.update_state(np.array(y, "float64")[:, None], np.array(p)[:, None])
    assert value("log_loss", y, p, epsilon=1e-7) == pytest.approx(float(clipped.result()), rel=1e-7)
    assert value("log_loss", y, p, epsilon=2.0**-52) == pytest.approx(sk.log_loss(y, p), rel=RELATIVE)


@pytest.mark.parametrize("name", ["log_loss", "brier", "calibration_ratio", "expected_calibration_error"])
def test_what_is_no_probability_is_null(name):
    options = {"positive": 1}
    assert result(name, [1, 0], [1.01, 0.5], **options).reason == (
        "1 predictions are no probabilities (outside [0, 1]: 1 in class 1): set from_logits: true if the output holds logits"
    )
    assert result(name, [1, 0], [-0.01, 0.5], **options).value is None
    assert result(name, [1, 0], [math.nan, 0.5], **options).reason == "1 predictions are NaN, infinite or out of range"
    # float32 noise above 1 is clipped
    assert value(name, [1, 0], np.float32([1.0000002, 0.5]), **options) == value(name, [1, 0], [1.0, 0.5], **options)


def test_one_class_has_no_base_rate():
    assert result("normalised_entropy", [1, 1], [0.5, 0.5]).reason.startswith("no label is negative")
    assert result("normalised_entropy", [0], [0.5]).reason.startswith("no label is positive")
    assert result("calibration_ratio", [0, 0], [0.5, 0.5]).reason == "no label is positive"
    for name in ("binned_roc_auc", "binned_average_precision"):
        assert result(name, [0, 0], [0.5, 0.5]).reason == "no label is positive"
        assert result(name, [1, 1], [0.5, 0.5]).reason == "no label is negative"


def test_threshold_is_exceeded_not_reached():
    y, p = [1, 0, 1, 0], [0.5, 0.5, 0.75, 0.75]
    assert value("binary_accuracy", y, p) == 0.5
    table = value("counts_at_thresholds", y, p, thresholds=[0.9, 0.5, 0.25])
    assert table == Table(
        ("threshold", "tp", "fp", "tn", "fn", "precision", "recall"),
        (
            (0.25, 2, 2, 0, 0, 0.5, 1.0),
            (0.5, 1, 1, 1, 1, 0.5, 0.5),
            (0.9, 0, 0, 2, 2, None, 0.0),
        ),
    )


def test_counts_agree_on_breast_cancer(cancer):
    y, p, _ = cancer
    w = _weights(len(y))
    for weights in (None, w):
        for threshold, tp, fp, tn, fn, precision, recall in value(
            "counts_at_thresholds", y, p, weights=weights, thresholds=[0.2, 0.5, 0.6]
        ).rows:
            oracle = sk.confusion_matrix(y, p > threshold, sample_weight=weights).ravel()
            assert (tn, fp, fn, tp) == pytest.approx(tuple(oracle), rel=RELATIVE)
            assert precision == pytest.approx(sk.precision_score(y, p > threshold, sample_weight=weights), rel=RELATIVE)
            assert recall == pytest.approx(sk.recall_score(y, p > threshold, sample_weight=weights), rel=RELATIVE)


def _hostile(kind: str, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    y = rng.integers(0, 2, n)
    y[:2] = 0, 1
    p = {
        "uniform": rng.random(n),
        "good": np.clip(rng.normal(0.3 + 0.4 * y, 0.15), 0, 1),
        "bad": np.clip(rng.normal(0.7 - 0.4 * y, 0.15), 0, 1),
        "one bin": 0.5 + rng.random(n) * 1e-3,
        "perfect in one bin": 0.5 + y * 1e-3,
        "wrong in one bin": 0.5 - y * 1e-3 + 1e-3,
        "all tied": np.full(n, 0.5),
        "edges": rng.integers(0, 11, n) / 10,
        "rare": rng.random(n) ** 8,
        "far outside": rng.normal(0.5, 3, n),
    }[kind]
    if kind == "rare":
        y = (rng.random(n) < p * 0.05).astype(np.int64)
        y[:2] = 0, 1
    return y, p


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("bins", [1, 10, 100])
@pytest.mark.parametrize(
    "kind",
    ["uniform", "good", "bad", "one bin", "perfect in one bin", "wrong in one bin", "all tied", "edges", "rare", "far outside"],
)
def test_bounds_hold_the_exact_value(kind, bins, weighted):
    rng = np.random.default_rng(11)
    for n in (2, 5, 200):
        y, p = _hostile(kind, rng, n)
        w = rng.uniform(0.1, 4, n) if weighted else None
        for name, oracle in (("binned_roc_auc", sk.roc_auc_score), ("binned_average_precision", sk.average_precision_score)):
            found = value(name, y, p, bins=bins, weights=w)
            exact = oracle(y, p, sample_weight=w)
            # the oracle sums in float64
            assert found["low"] - 1e-12 <= exact <= found["high"] + 1e-12, (name, n, found, exact)
            assert 0 <= found["low"] <= found["estimate"] <= found["high"] <= 1


def test_bounds_are_attained():
    # one bin: every order is possible
    assert value("binned_roc_auc", [0, 1, 1], [0.1, 0.5, 0.9], bins=1) == {"estimate": 0.5, "low": 0.0, "high": 1.0}
    # a bin each: nothing is left open
    assert value("binned_roc_auc", [0, 1, 0, 1], [0.1, 0.3, 0.6, 0.9], bins=10) == {"estimate": 0.75, "low": 0.75, "high": 0.75}
    found = value("binned_average_precision", [0, 1, 0, 1], [0.1, 0.3, 0.6, 0.9], bins=10)
    assert found["estimate"] == pytest.approx(sk.average_precision_score([0, 1, 0, 1], [0.1, 0.3, 0.6, 0.9]), rel=1e-15)


def test_many_bins_are_close(cancer):
    y, p, _ = cancer
    area = value("binned_roc_auc", y, p, bins=1 << 16)
    assert area["high"] - area["low"] < 1e-4
    assert area["estimate"] == pytest.approx(sk.roc_auc_score(y, p), abs=1e-4)
    precision = value("binned_average_precision", y, p, bins=1 << 16)
    assert precision["estimate"] == pytest.approx(sk.average_precision_score(y, p), abs=1e-4)


def _calibration(confidence: np.ndarray, hit: np.ndarray, bins: int, w: np.ndarray) -> tuple[float, float]:
    """Expected and maximum error by its definition, bin by bin."""
    edges = np.linspace(0, 1, bins + 1)
    expected, maximum = 0.0, 0.0
    for i, (low, high) in enumerate(pairwise(edges)):
        inside = (confidence > low) & (confidence <= high) | (confidence == 0) & (i == 0)
        if inside.any():
            gap = abs(np.average(hit[inside], weights=w[inside]) - np.average(confidence[inside], weights=w[inside]))
            expected += gap * w[inside].sum() / w.sum()
            maximum = max(maximum, gap)
    return expected, maximum


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_calibration_of_the_top_label(digits, bins):
    y, p = digits
    w = _weights(len(y))
    for weights in (None, w):
        expected, maximum = _calibration(p.max(axis=1), p.argmax(axis=1) == y, bins, np.ones(len(y)) if weights is None else w)
        for scores, options in ((p, {}), (np.log(p), {"from_logits": True})):
            more = {"bins": bins, "weights": weights, **options}
            # a softmax of logarithms gives back the probabilities to a few units in the last place
            assert value("expected_calibration_error", y, scores, **more) == pytest.approx(expected, rel=1e-11)
            assert value("maximum_calibration_error", y, scores, **more) == pytest.approx(maximum, rel=1e-11)


def test_calibration_of_a_class(cancer, digits):
    y, p, _ = cancer
    expected, maximum = _calibration(p, y, 10, np.ones(len(y)))
    assert value("expected_calibration_error", y, p, bins=10, positive=1) == pytest.approx(expected, rel=RELATIVE)
    assert value("maximum_calibration_error", y, p, bins=10, positive=1) == pytest.approx(maximum, rel=RELATIVE)
    y, p = digits
    expected, _ = _calibration(p[:, 4], y == 4, 15, np.ones(len(y)))
    assert value("expected_calibration_error", y, p, positive=4) == pytest.approx(expected, rel=RELATIVE)


def test_reliability_curve_is_that_of_scikit_learn(cancer):
    y, p, _ = cancer
    p = np.where(np.arange(len(p)) % 5 == 0, np.round(p, 1), p)  # some on the edges of bins
    table = value("reliability_curve", y, p, bins=10, positive=1)
    accuracy, confidence = calibration_curve(y, p, n_bins=10)
    assert table.columns == ("low", "high", "weight", "confidence", "accuracy")
    assert [row[4] for row in table.rows] == pytest.approx(accuracy.tolist(), rel=RELATIVE)
    assert [row[3] for row in table.rows] == pytest.approx(confidence.tolist(), rel=RELATIVE)
    assert sum(row[2] for row in table.rows) == len(y)


def test_calibration_at_the_ends():
    assert value("expected_calibration_error", [1], [[0.0, 1.0]]) == 0.0
    assert value("maximum_calibration_error", [0, 0, 1], [0.0, 1.0, 1.0], positive=1) == 0.5
    assert result("expected_calibration_error", [1, 0], [0.5, 0.5], weights=[0.0, 0.0]).reason == "the total weight is zero"


@pytest.mark.parametrize("logit", [1e-17, 1e-30, 1e-310, -1e-17, 0.0])
def test_a_logit_next_to_zero_is_on_its_side_of_one_half(logit):
    for scores in ([logit], [[0.0, logit]], [[-logit / 2, logit / 2]]):
        wanted = value("accuracy", [1], scores, from_logits=True)
        assert wanted == float(logit > 0)
        assert value("binary_accuracy", [1], scores, from_logits=True) == wanted


def test_binary_accuracy_of_logits_of_several_classes():
    rng = np.random.default_rng(12)
    logits, y = rng.normal(0, 2, (300, 4)), rng.integers(0, 4, 300)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    for threshold in (0.2, 0.5, 0.9):
        for positive in range(4):
            oracle = float(((p[:, positive] > threshold) == (y == positive)).mean())
            options = {"from_logits": True, "positive": positive, "threshold": threshold}
            assert value("binary_accuracy", y, logits, **options) == oracle
    assert value("binary_accuracy", y, logits, from_logits=True, threshold=1.5) == float((y != 1).mean())


def test_thresholds_are_compared_in_float64_or_in_the_precision_of_the_output():
    score = np.array([0.1], np.float32)
    assert value("binary_accuracy", [1], score, threshold=0.1) == 1.0  # the nearest float32 is above
    assert value("accuracy", [1], score, threshold=0.1) == 0.0
