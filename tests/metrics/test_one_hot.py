"""Labels in the shape of the scores: one-hot where the metric says so, several labels where the metric is of those; never guessed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk

import harness
from harness.errors import HarnessError, ShapeError
from harness.metrics import METRICS, load
from harness.metrics.contract import Inputs
from tests.metrics.scored import result, value

RNG = np.random.default_rng(3)
LABELS = RNG.integers(0, 3, 60)
ROWS = np.eye(3, dtype=np.int64)[LABELS]
SCORES = RNG.dirichlet(np.ones(3), 60)
CLASSES = [name for name in METRICS if load(name).inputs in (Inputs.CLASSES, Inputs.BINARY)]


@pytest.mark.parametrize("name", ["accuracy", "log_loss", "brier", "confusion_matrix", "expected_calibration_error"])
def test_labels_in_the_shape_of_the_scores_are_not_guessed(name):
    """Each row of these labels sums to 1: they are one-hot, or several labels of which each example happens to have one."""
    with pytest.raises(ShapeError) as refusal:
        result(name, ROWS, SCORES)
    message = str(refusal.value)
    for words in (
        f"metric {name}: expected class labels [B, ...] and scores [B, ..., C]",
        "'label' int64 [B, 3]", "'output' float64 [B, 3]", "one_hot: true", "multilabel_accuracy", "a last dimension of 1",
    ):  # fmt: skip
        assert words in message, message


@pytest.mark.parametrize("name", CLASSES)
def test_every_metric_of_classes_takes_the_option(name):
    assert "one_hot" in load(name).model_fields


@pytest.mark.parametrize("dtype", [np.int64, np.float32, bool, np.uint8])
def test_one_hot_labels_are_the_classes_they_mark(dtype):
    rows = ROWS.astype(dtype)
    assert value("accuracy", rows, SCORES, one_hot=True) == sk.accuracy_score(LABELS, SCORES.argmax(axis=1))
    assert value("cross_entropy", rows, SCORES, one_hot=True) == pytest.approx(sk.log_loss(LABELS, SCORES), rel=1e-12)
    expected = sk.brier_score_loss(LABELS == 2, SCORES[:, 2])
    assert value("brier", rows, SCORES, one_hot=True, positive=2) == pytest.approx(expected, rel=1e-12)


def test_one_hot_labels_of_every_position():
    rows, scores = ROWS.reshape(20, 3, 3), SCORES.reshape(20, 3, 3)
    expected = sk.accuracy_score(LABELS, SCORES.argmax(axis=1))
    assert value("accuracy", rows, scores, one_hot=True) == expected
    assert value("pixel_accuracy", rows, scores, one_hot=True) == expected
    classes = SCORES.argmax(axis=1).reshape(20, 3)
    assert value("accuracy", rows, classes, one_hot=True, classes=3) == expected
    images = value("mean_iou", rows, scores, one_hot=True, per_image=True)
    assert images == value("mean_iou", LABELS.reshape(20, 3), scores, per_image=True)


def test_one_hot_of_two_classes_goes_with_a_single_score():
    rows = np.eye(2, dtype=np.int64)[(LABELS > 0).astype(int)]
    assert value("accuracy", rows, SCORES[:, :1], one_hot=True) == sk.accuracy_score(LABELS > 0, SCORES[:, 0] > 0.5)


@pytest.mark.parametrize(
    "row, reason",
    [
        ([1, 1, 0], "1 labels are NaN or out of range"),
        ([0, 0, 0], "1 labels are NaN or out of range"),
        ([1, 1, -1], "1 labels are NaN or out of range"),
        ([0.5, 0.5, 0.0], "1 labels are NaN or out of range"),
        ([np.nan, 0.0, 1.0], "1 labels are NaN or out of range"),
    ],
)
def test_a_row_that_marks_no_one_class_is_no_label(row, reason):
    rows = ROWS.astype(np.float64)
    rows[5] = row
    assert result("accuracy", rows, SCORES, one_hot=True).reason == reason


def test_only_a_row_of_zeros_can_be_ignored_as_class_minus_one():
    rows = ROWS.copy()
    rows[5] = 0
    found = result("accuracy", rows, SCORES, one_hot=True, ignore_label=-1)
    assert (found.reason, found.examples) == (None, 59)
    rows[6] = [1, 0, 1]
    assert result("accuracy", rows, SCORES, one_hot=True, ignore_label=-1).reason == "1 labels are NaN or out of range"


@pytest.mark.parametrize(
    "rows, scores, message",
    [
        (np.eye(4)[LABELS], SCORES, "expected a label of one column for each of the 3 classes of output 'output', found 4"),
        (LABELS, SCORES, r"expected a label \[B, ..., C\] of 0 and 1, found int64 of rank 1"),
    ],
)
def test_one_hot_labels_of_another_width(rows: Any, scores: Any, message: str):
    with pytest.raises(ShapeError, match=message):
        result("accuracy", rows, scores, one_hot=True)


def test_what_is_documented_goes_on():
    """A class number, one score of two classes, scores per position with one each, several labels: none needs the option."""
    assert value("accuracy", LABELS, SCORES) == value("accuracy", LABELS[:, None], SCORES)
    binary, score = (LABELS > 0).astype(np.int64), 1 - SCORES[:, 0]
    assert value("brier", binary, score) == value("brier", binary[:, None], score[:, None])
    positions = value("accuracy", binary.reshape(20, 3), score.reshape(20, 3, 1))
    assert positions == value("accuracy", binary.reshape(20, 3, 1), score.reshape(20, 3, 1)) == value("accuracy", binary, score)
    assert value("exact_match", ROWS, SCORES) == sk.accuracy_score(ROWS, SCORES > 0.5)


def test_a_label_to_ignore_that_the_dtype_does_not_have_is_no_other_label():
    """-1 as uint8 would be 255."""
    labels = np.array([0, 1, 255], np.uint8)
    scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]])
    assert result("accuracy", labels, scores, ignore_label=-1).reason == "1 labels are NaN or out of range"
    assert value("accuracy", labels, scores, ignore_label=255) == 1.0


def test_a_whole_evaluation_says_it_before_any_work():
    with pytest.raises(HarnessError, match="one_hot: true"):
        harness.evaluate(lambda x: x, (SCORES, ROWS), ["accuracy"])
    found = harness.evaluate(lambda x: x, (SCORES, ROWS), [{"roc_auc": {"one_hot": True}}, {"multilabel_accuracy": {}}])
    assert found["roc_auc"] == pytest.approx(sk.roc_auc_score(LABELS == 1, SCORES[:, 1]), abs=1e-15)
