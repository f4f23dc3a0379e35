"""Bins of equal mass against scikit-learn's quantile bins, at several numbers of ranks."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from sklearn.calibration import calibration_curve
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import scale

from harness.metrics.calibration import (
    EqualMassExpectedCalibrationError,
    EqualMassMaximumCalibrationError,
    EqualMassReliabilityCurve,
)
from harness.metrics.contract import Undefined
from tests.row_case import fold_on_ranks, rows, value_from, value_of


def _cancer() -> tuple[np.ndarray, np.ndarray]:
    x, y = load_breast_cancer(return_X_y=True)
    return y, LogisticRegression(C=1e-3).fit(scale(x), y).predict_proba(scale(x))[:, 1]


LABELS, PROBABILITIES = _cancer()
RNG = np.random.default_rng(6)
CASES = {
    "cancer": (LABELS, PROBABILITIES),
    "ties": (LABELS, np.round(PROBABILITIES, 1)),
    "half tied": (LABELS, np.where(np.arange(len(LABELS)) % 2, 0.25, PROBABILITIES)),
    "all tied": (np.array([1, 0, 0, 1, 1]), np.full(5, 0.5)),
    "fewer than bins": (np.array([1, 0, 1]), np.array([0.2, 0.1, 0.9])),
    "zeros and ones": (np.array([1, 0, 1, 0]), np.array([0.0, 0.0, 1.0, 1.0])),
}


@pytest.mark.parametrize("bins", [1, 2, 10, 15])
@pytest.mark.parametrize("case", CASES)
def test_bins_are_those_of_scikit_learn(case, bins):
    y, p = CASES[case]
    table = rows(p, {"hit": y})
    curve = value_of(EqualMassReliabilityCurve(bins=bins), table)
    accuracy, confidence = calibration_curve(y, p, n_bins=bins, strategy="quantile")
    assert [row[3] for row in curve.rows] == pytest.approx(accuracy.tolist(), rel=1e-12)
    assert [row[2] for row in curve.rows] == pytest.approx(confidence.tolist(), rel=1e-12)
    sizes = np.array([row[1] for row in curve.rows])
    gaps = np.abs(accuracy - confidence)
    assert sizes.sum() == len(y)
    expected = value_of(EqualMassExpectedCalibrationError(bins=bins), table)
    assert expected == pytest.approx((gaps * sizes).sum() / len(y), rel=1e-12, abs=1e-15)
    assert value_of(EqualMassMaximumCalibrationError(bins=bins), table) == pytest.approx(gaps.max(), rel=1e-12, abs=1e-15)


def test_a_replicate_is_the_resampled_data():
    y, p = CASES["ties"]
    draws = RNG.poisson(1.0, len(y))
    metric = EqualMassExpectedCalibrationError(bins=7)
    found = fold_on_ranks(metric, rows(p, {"hit": y}), multiplicities=lambda ids: draws[ids][:, None])
    again = rows(np.repeat(p, draws), {"hit": np.repeat(y, draws)})
    assert value_from(metric, found[0, 1]) == value_of(metric, again)


def test_nothing_to_score_has_no_value():
    with pytest.raises(Undefined, match="the total weight is zero"):
        value_of(EqualMassExpectedCalibrationError(), rows([], {"hit": np.zeros(0, np.int64)}))


def test_rows_are_confidence_and_hit():
    labels, scores = tf.constant([0, 2, 1]), tf.constant([[0.5, 0.3, 0.2], [0.4, 0.4, 0.2], [0.1, 0.7, 0.2]], tf.float64)
    found = EqualMassExpectedCalibrationError().terms(labels, scores)["rows"]
    assert found.key.numpy().tolist() == [0.5, 0.4, 0.7]
    assert found.values["hit"].numpy().tolist() == [1, 0, 1]
    found = EqualMassExpectedCalibrationError(positive=2).terms(labels, scores)["rows"]
    assert found.key.numpy().tolist() == [0.2, 0.2, 0.2]
    assert found.values["hit"].numpy().tolist() == [0, 1, 0]
