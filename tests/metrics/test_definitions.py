"""Where a definition differs from the function that its page cites: what the page says, against that function itself."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from sklearn import metrics as sk

from harness.metrics.describe import describe
from tests.metrics.scored import result, value

FLOAT32 = 1e-6  # Keras computes in it
RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 2, 300)
SCORES = np.clip(0.3 * LABELS + 0.7 * RNG.random(300), 0, 1).astype(np.float32)


def of_keras(metric: keras.metrics.Metric, labels, predictions) -> float:
    metric.update_state(labels, predictions)
    return float(metric.result())


def says(name: str, *words: str) -> None:
    page = " ".join(describe(name).split())
    assert not [word for word in words if word not in page], page


@pytest.mark.parametrize("dtype, epsilon", [(np.float32, 2.0**-23), (np.float64, 2.0**-52)])
def test_clipping_of_log_loss(dtype, epsilon):
    y, p = np.array([1, 0, 1, 0]), np.array([0.0, 0.3, 0.9, 1.0], dtype)
    says(
        "log_loss",
        "Keras always clips probabilities to [1e-7, 1 - 1e-7]",
        "1 - 2^-23 in float32, and never logits",
        "2^-23 for float32, 2^-52 for float64",
    )
    assert result("log_loss", y, p).value is None
    assert value("log_loss", y, p, epsilon=epsilon) == pytest.approx(sk.log_loss(y, p), rel=FLOAT32)
    clipped = of_keras(keras.metrics.BinaryCrossentropy(), y[:, None], p[:, None])
    ends = np.clip(p, 1e-7, 1 - (1e-7 if dtype is np.float64 else 2.0**-23)).astype(np.float64)
    assert value("log_loss", y, ends) == pytest.approx(clipped, rel=FLOAT32)
    assert value("log_loss", y, p.astype(np.float64), epsilon=1e-7) == pytest.approx(8.1745567, rel=FLOAT32)
    logits = np.array([-30.0, -1.0, 2.0, 40.0])
    free = of_keras(keras.metrics.BinaryCrossentropy(from_logits=True), y[:, None], logits[:, None])
    assert value("log_loss", y, logits, from_logits=True) == pytest.approx(free, rel=FLOAT32)
    assert value("log_loss", y, logits, from_logits=True, epsilon=1e-7) < free / 2


def test_clipping_and_ignored_classes_of_cross_entropy():
    says(
        "cross_entropy",
        "Keras divides each row by its sum, then always clips at 1e-7",
        "`ignore_class` of keras.metrics adds zeros for them",
    )
    y, p = np.array([0, 1, 2, 2]), np.array([[0.0, 0.5, 0.5], [0.1, 0.2, 0.7], [0.2, 0.2, 0.6], [0.5, 0.3, 0.2]])
    clipped = of_keras(keras.metrics.SparseCategoricalCrossentropy(), y, p)
    assert value("cross_entropy", y, p, epsilon=1e-7) == pytest.approx(clipped, rel=FLOAT32)
    y[0] = 1
    left_out = value("cross_entropy", y, p, ignore_label=2)
    assert left_out == pytest.approx(float(keras.losses.SparseCategoricalCrossentropy(ignore_class=2)(y, p)), rel=FLOAT32)
    # Two of four are ignored: the metric of Keras divides by four.
    assert left_out / 2 == pytest.approx(of_keras(keras.metrics.SparseCategoricalCrossentropy(ignore_class=2), y, p), rel=FLOAT32)


@pytest.mark.parametrize("found", [[0, 2, 2, 0, 1], [0, 1, 1, 1, 0]])
def test_ignored_classes_of_intersection_over_union(found):
    says("mean_iou", "`ignore_label` is the `ignore_class` of Keras")
    labels = np.array([0, 1, 0, 2, 2])
    expected = of_keras(keras.metrics.MeanIoU(num_classes=3, ignore_class=2), labels, found)
    assert value("mean_iou", labels, np.eye(3)[found], ignore_label=2) == pytest.approx(expected, rel=FLOAT32)


def test_thresholds_of_the_area_under_the_curve():
    says("binned_roc_auc", "with bins: n - 1 that is the same estimate", "200 and 10,000")
    says("roc_auc", "see binned_roc_auc")
    for thresholds in (200, 50):
        expected = of_keras(keras.metrics.AUC(num_thresholds=thresholds), LABELS, SCORES)
        assert value("binned_roc_auc", LABELS, SCORES, bins=thresholds - 1)["estimate"] == pytest.approx(expected, rel=FLOAT32)
    # On the edge at 1/2: above it here, so apart from 0.4; with 0.4 in Keras.
    y, p = [0, 1], np.array([0.4, 0.5], np.float32)
    assert value("binned_roc_auc", y, p, bins=2)["estimate"] == 1.0
    assert of_keras(keras.metrics.AUC(num_thresholds=3), y, p) == 0.5


@pytest.mark.parametrize("name", ["average_precision", "binned_average_precision"])
def test_interpolation_of_the_precision_recall_curve(name):
    says(name, "interpolate", "keras.metrics.AUC(curve='PR')", "TFMA's auc_precision_recall")
    interpolated = of_keras(keras.metrics.AUC(curve="PR"), LABELS, SCORES)
    exact = sk.average_precision_score(LABELS, SCORES)
    assert interpolated != pytest.approx(exact, rel=1e-4)
    assert abs(value("binned_average_precision", LABELS, SCORES, bins=100_000)["estimate"] - exact) < 2e-5


def test_thresholds_of_the_best_at_a_bound():
    for name in ("precision_at_recall", "recall_at_precision", "sensitivity_at_specificity", "specificity_at_sensitivity"):
        says(name, "Every distinct score is a threshold", "200 and 1,000")


def test_a_constant_label():
    for name, function in (("r2", sk.r2_score), ("explained_variance", sk.explained_variance_score)):
        says(name, "scikit-learn then says 1 for perfect predictions and 0 for others")
        assert (function([2.0, 2.0], [2.0, 2.0]), function([2.0, 2.0], [1.0, 2.0])) == (1.0, 0.0)
        assert result(name, [2.0, 2.0], [2.0, 2.0]).value is None


def test_nothing_predicted():
    says("counts_at_thresholds", "Precision and recall are empty where they are 0/0; Keras makes them 0")
    row = value("counts_at_thresholds", [0, 1], [0.1, 0.2]).rows[0]
    assert row[-2:] == (None, 0.0) and of_keras(keras.metrics.Precision(), [0, 1], [0.1, 0.2]) == 0.0


def test_regression_of_several_outputs():
    for name in ("r2", "mean_squared_error", "median_absolute_error", "pinball"):
        says(name, "pooled is that of the arrays raveled, uniform its 'uniform_average', raw its 'raw_values'", "all pooled")
