"""Integers above 2^53, which a float64 may not hold: exact where it does, else null with a reason. Never rounded without a word."""

from __future__ import annotations

import numpy as np
import pytest

from tests.metrics.scored import result, value

LIMIT = 2**53
REASON = "1 labels, predictions or weights are integers above 2^53 that a float64 does not hold"


@pytest.mark.parametrize("wide", [LIMIT + 1, -LIMIT - 1, 2**60 + 1, 2**63 - 1, -(2**63) + 1, 1_700_000_000_123_456_789])
@pytest.mark.parametrize("name", ["mean_absolute_error", "r2", "pearson"])
def test_a_label_that_float64_does_not_hold(name, wide):
    labels = np.array([wide, 3, 4], np.int64)
    assert result(name, labels, [1.0, 2.0, 7.0]).reason == REASON


def test_unsigned_labels():
    labels = np.array([2**64 - 1, 3], np.uint64)
    assert result("mean_absolute_error", labels, [1.0, 2.0]).reason == REASON
    exact = np.array([2**63, 2**63 + 2048], np.uint64)
    assert value("mean_absolute_error", exact, np.array([2.0**63, 2.0**63])) == 1024


@pytest.mark.parametrize("held", [LIMIT, -LIMIT, LIMIT + 2, 2**62, -(2**63), 2**63 - 1024])
def test_a_label_that_float64_holds_is_exact(held):
    labels = np.array([held], np.int64)
    assert value("mean_absolute_error", labels, [0.0]) == abs(float(held)) and int(float(held)) == held


def test_predictions_and_weights_too():
    wide = np.array([LIMIT + 1, 0], np.int64)
    assert result("mean", None, wide).reason == REASON
    assert result("mean_absolute_error", [0.0, 1.0], wide).reason == REASON
    assert result("mean_absolute_error", [0.0, 1.0], [0.0, 1.0], weights=wide).reason == REASON
    assert result("accuracy", [0, 1], [[0.1, 0.9]] * 2, weights=wide).reason == REASON


def test_each_position_counts_for_itself():
    labels = np.array([[LIMIT + 1, 1, LIMIT + 3], [1, 2, 3]], np.int64)
    found = result("mean_absolute_error", labels, np.ones([2, 3]))
    assert found.reason == REASON.replace("1 labels", "2 labels") and found.positions == 4


def test_integer_scores_are_compared_as_they_are():
    """As float32 they would be one number."""
    scores = np.array([[2**24, 2**24 + 1], [2**24 + 1, 2**24]], np.int64)
    assert value("accuracy", [1, 0], scores) == 1.0
    wide = np.array([[LIMIT, LIMIT + 1], [0, 1]], np.int64)
    assert result("accuracy", [1, 1], wide).reason == REASON


def test_classes_above_all_floats_are_integers_still():
    labels = np.array([2**53 + 1, 1], np.int64)
    assert result("accuracy", labels, [[0.1, 0.9]] * 2).reason == "1 labels are NaN or out of range"
