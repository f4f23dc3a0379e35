"""Scores that are no probabilities are counted apart, and a metric that takes probabilities is null; against Keras and scikit-learn."""

from __future__ import annotations

import math
import warnings
from typing import Any

import keras
import numpy as np
import pytest
import sklearn.metrics as sk
import tensorflow as tf

from harness.errors import JobError
from harness.metrics import load
from harness.metrics.contract import ScoreScale
from harness.step.probabilities import sum_tolerance
from tests.metrics.batches import reason_of, result_of, value_of
from tests.metrics.scored import result

LOGITS = np.array([[3.0, 2.0, 1.0], [2.0, 4.0, 1.0]])
HINT = "set from_logits: true if the output holds logits"
RAW = ", or raw_scores: true, and a threshold of their scale, if scores of another range are meant"
# Every metric of the registry that takes probabilities, by what it reads.
CLASSES = ["cross_entropy", "perplexity", "expected_calibration_error", "maximum_calibration_error", "reliability_curve"]
EQUAL_MASS = [f"equal_mass_{name}" for name in CLASSES[2:]]
BINARY = ["log_loss", "normalised_entropy", "brier", "calibration_ratio"]
THRESHOLDED = ["binary_accuracy", "counts_at_thresholds"]
DECIDED = ["accuracy", "precision", "recall", "f_beta", "specificity", "jaccard", "confusion_matrix", "balanced_accuracy",
           "cohen_kappa", "matthews_correlation", "pixel_accuracy", "iou", "mean_iou", "dice"]  # fmt: skip
MULTILABEL = ["accuracy", "precision", "recall", "specificity", "f_beta", "jaccard"]
MULTILABEL = [*(f"multilabel_{name}" for name in MULTILABEL), "hamming_loss", "exact_match"]
SCALE_FREE = ["accuracy", "top_k", "confusion_matrix", "cohen_kappa"]


def softmax(logits: Any) -> np.ndarray:
    powers = np.exp(logits - np.max(logits, axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("name", [*CLASSES, *EQUAL_MASS])
def test_logits_are_no_probabilities(name: str) -> None:
    assert reason_of(name, [0, 1], LOGITS) == f"2 predictions are no probabilities (outside [0, 1]: 2 in class 0): {HINT}"


@pytest.mark.parametrize("name", [*CLASSES, *EQUAL_MASS])
def test_a_distribution_sums_to_one(name: str) -> None:
    scores = np.full((3, 3), 0.9)
    assert reason_of(name, [0, 1, 2], scores) == f"3 predictions are no probabilities (sum not 1: 3): {HINT}"
    # Two of a kind and two of another, and one that is a distribution.
    mixed = np.array([[0.2, 0.3, 0.5], [0.2, 0.3, 0.4], [1.2, -0.1, -0.1], [0.6, 0.6, -0.2], [0.1, 0.1, 0.1]])
    found = result_of(name, [0, 1, 2, 0, 1], mixed, names=("cat", "dog", "eel"))
    assert found.reason == (
        "4 predictions are no probabilities (outside [0, 1]: 1 in class 0 (cat), 1 in class 2 (eel); sum not 1: 2): " + HINT
    )
    assert (found.positions, found.examples) == (1, 1)


@pytest.mark.parametrize("name", [*BINARY, *THRESHOLDED])
def test_one_score_is_that_of_class_1(name: str) -> None:
    hint = HINT + (RAW if name in THRESHOLDED else "")
    assert reason_of(name, [0, 1, 1], [-3.0, 0.3, 4.0]) == (
        f"2 predictions are no probabilities (outside [0, 1]: 2 in class 1): {hint}"
    )
    # Both logits lie in [0, 1]: their sum tells.
    assert "(sum not 1: 2)" in reason_of(name, [0, 1], [[0.2, 0.7], [0.9, 0.3]])


@pytest.mark.parametrize("name", DECIDED)
def test_one_score_is_decided_at_a_half_where_it_is_a_probability(name: str) -> None:
    """argmax of (1 - p, p) is p > 1/2: of logits it is not what from_logits gives."""
    labels, logits = np.array([0, 1, 1, 0]), np.array([-3.0, 0.3, 4.0, 0.2])
    assert "2 predictions are no probabilities (outside [0, 1]: 2 in class 1)" in reason_of(name, labels, logits)
    options = {"average": "macro"} if name == "iou" else {}
    from_logits = value_of(name, labels, logits, from_logits=True, **options)
    assert from_logits == value_of(name, labels, 1 / (1 + np.exp(-logits)), **options)


@pytest.mark.parametrize("name", SCALE_FREE)
@pytest.mark.parametrize("scores", [LOGITS, np.full((2, 3), 0.9), LOGITS * 1e30, -LOGITS])
def test_the_order_of_several_classes_has_no_scale(name: str, scores: np.ndarray) -> None:
    assert result_of(name, [0, 1], scores, **({"k": 2} if name == "top_k" else {})).reason is None


def test_ranks_have_no_scale() -> None:
    labels, scores = [0, 1, 1, 0], [-3.0, 0.3, 4.0, 0.5]
    assert value_of("binned_roc_auc", labels, scores)["low"] <= sk.roc_auc_score(labels, scores)
    assert value_of("label_ranking_average_precision", [[0, 1]], [[-3.0, 4.0]]) == 1.0
    ranked = ["average_precision", "ks", "gini", "roc_auc", "equal_error_rate", "roc_curve", "pr_curve"]
    for name in [*ranked, "one_vs_rest_roc_auc", "one_vs_one_roc_auc", "binned_roc_auc", "ranking_loss", "coverage_error"]:
        assert load(name)().binding("output", "label", None).scale is ScoreScale.ANY


@pytest.mark.parametrize("name", MULTILABEL)
def test_labels_are_decided_at_a_probability(name: str) -> None:
    labels, logits = np.array([[0, 1], [1, 1], [1, 0]]), np.array([[-3.0, 0.3], [0.2, 2.0], [1.5, 0.7]])
    reason = reason_of(name, labels, logits)
    assert reason.startswith("3 predictions are no probabilities (outside [0, 1]: 2 in class 0, 1 in class 1): set from_logits")
    # Labels do not exclude each other: no sum.
    chances = 1 / (1 + np.exp(-logits))
    expected = value_of(name, labels, chances)
    assert value_of(name, labels, logits, from_logits=True) == expected
    assert value_of(name, labels, logits, threshold=0) == expected
    assert value_of(name, labels, logits, raw_scores=True) == value_of(name, labels, (logits > 0.5) * 1.0)
    high = value_of(name, labels, chances, threshold=0.6)
    assert value_of(name, labels, logits, from_logits=True, threshold=0.6) == high
    with pytest.raises(JobError, match="with from_logits a probability between 0 and 1"):
        value_of(name, labels, logits, from_logits=True, threshold=-1)


def test_multilabel_logits_against_keras() -> None:
    rng = np.random.default_rng(1)
    labels, logits = rng.integers(0, 2, (50, 4)), rng.normal(size=(50, 4))
    oracle = keras.metrics.BinaryAccuracy(threshold=0.3)
    oracle.update_state(labels, keras.ops.sigmoid(logits))
    found = value_of("multilabel_accuracy", labels, logits, from_logits=True, threshold=0.3, average="micro")
    assert found == pytest.approx(float(oracle.result()), rel=1e-6)


def test_a_threshold_says_its_scale() -> None:
    labels, logits = np.array([0, 1, 1, 0]), np.array([-3.0, 0.3, 4.0, 0.2])
    chances = 1 / (1 + np.exp(-logits))
    # With from_logits it is a probability, for accuracy as for binary_accuracy, with one score or two.
    for threshold in (0.5, 0.56, 0.9):
        oracle = sk.accuracy_score(labels, chances > threshold)
        for name in ("accuracy", "binary_accuracy"):
            for scores in (logits, np.stack([np.ones(4), logits + 1], axis=1)):
                assert value_of(name, labels, scores, threshold=threshold, from_logits=True) == oracle
        assert value_of("accuracy", labels, chances, threshold=threshold) == oracle
    # Outside (0, 1) it cannot be one: scores are compared as they are; and so they are where the job says it.
    for name in ("accuracy", "binary_accuracy"):
        assert value_of(name, labels, logits, threshold=0.0) == sk.accuracy_score(labels, logits > 0)
        assert value_of(name, labels, logits, threshold=0.25, raw_scores=True) == sk.accuracy_score(labels, logits > 0.25)
        assert "raw_scores: true" in reason_of(name, labels, logits, threshold=0.25)
    assert value_of("counts_at_thresholds", labels, logits, thresholds=[-1.0, 2.5]).rows[1][:3] == (2.5, 1, 0)
    assert reason_of("counts_at_thresholds", labels, logits, thresholds=[-1.0, 0.5])
    with pytest.raises(JobError, match="with from_logits a probability between 0 and 1"):
        value_of("accuracy", labels, logits, threshold=0.0, from_logits=True)
    with pytest.raises(JobError, match="raw_scores: needs the threshold"):
        value_of("accuracy", labels, logits, raw_scores=True)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("classes", [2, 3, 10, 1000, 20_000])
def test_softmax_of_any_precision_is_a_distribution(dtype: str, classes: int) -> None:
    """Keras computes it in the dtype of the model; the tolerance of the sum is scikit-learn's, sqrt(eps)."""
    rng = np.random.default_rng(classes)
    count = 8 if classes > 1000 else 64
    for scale in (0.05, 1.0, 10.0):
        logits = tf.cast(rng.normal(size=(count, classes)) * scale, dtype)
        for scores in (keras.ops.softmax(logits), tf.exp(tf.nn.log_softmax(logits))):
            assert scores.dtype.name == dtype
            found = value_of("cross_entropy", rng.integers(0, classes, count), scores.numpy(), batch=count, epsilon=1e-9)
            assert math.isfinite(found)


def test_the_tolerance_is_that_of_scikit_learn() -> None:
    for dtype in ("float16", "float32"):
        for off, fits in ((0.5, True), (2.0, False)):
            scores = np.array([[0.5, 0.5], [0.5, 0.5 + off * sum_tolerance(tf.as_dtype(dtype))]], dtype)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                sk.log_loss([0, 1], scores)
            assert (not caught) == fits
            assert (result_of("cross_entropy", [0, 1], scores).reason is None) == fits
    # float64 often holds what a model computed in float32.
    assert result_of("cross_entropy", [0, 1], softmax(LOGITS[:, :2]).astype(np.float32).astype(np.float64)).reason is None


@pytest.mark.parametrize("bits", [8, 15])
def test_a_quantised_softmax_is_a_distribution(bits: int) -> None:
    """TensorFlow Lite 8-bit quantization specification: q = round(p 2^8) - 128 in int8, shown as (q + 128) / 2^8."""
    rng = np.random.default_rng(bits)
    for classes in (3, 10, 1000):
        chances = softmax(rng.normal(size=(64, classes)) * 2)
        shown = (np.minimum(np.round(chances * 2**bits), 2**bits - 1) / 2**bits).astype(np.float32)
        labels = rng.integers(0, classes, 64)
        assert abs(shown.sum(axis=1) - 1).max() > 1e-5
        assert value_of("brier", labels, shown) == pytest.approx(sk.brier_score_loss(labels == 1, shown[:, 1]), rel=1e-6)
    # Multiples of a step that are further off than half a step a class are none.
    assert "(sum not 1: 2)" in reason_of("brier", [0, 1], [[0.5, 0.25, 0.0], [0.5, 0.5, 0.25]])


def test_rounding_beyond_one_is_clipped() -> None:
    scores = np.float32([[1.0000002, 0.0], [0.25, 0.75]])
    assert value_of("cross_entropy", [0, 1], scores) == value_of("cross_entropy", [0, 1], np.float32([[1, 0], [0.25, 0.75]]))
    assert value_of("cross_entropy", [0, 0], scores) >= 0
    assert reason_of("cross_entropy", [0, 1], np.float32([[1.00001, 0.0], [0.25, 0.75]]))


def test_hard_decisions_are_probabilities() -> None:
    """A one-hot output, of integers or of truth values, is certain of what it says."""
    hot = np.eye(3, dtype=np.int64)[[0, 1, 1]]
    assert value_of("brier", [0, 1, 1], hot) == 0.0
    assert value_of("expected_calibration_error", [0, 1, 2], hot.astype(bool)) == pytest.approx(1 / 3)
    assert "outside [0, 1]" in reason_of("brier", [0, 1], np.array([[0, 255], [254, 1]], np.uint8))


def test_what_is_ignored_or_invalid_is_counted_as_that() -> None:
    scores = np.array([[0.2, 0.8], [5.0, 9.0], [math.nan, 0.5], [0.5, 0.5], [7.0, 0.0]])
    labels = np.array([1, -1, 0, 7, 0])
    assert reason_of("cross_entropy", labels, scores, ignore_label=-1).startswith(
        "1 predictions are NaN, infinite or out of range; 1 labels are NaN or out of range; "
        "1 predictions are no probabilities (outside [0, 1]: 1 in class 0)"
    )
    assert value_of("cross_entropy", labels[:2], scores[:2], ignore_label=-1) == pytest.approx(-math.log(0.8))


def test_weights_do_not_hide_positions() -> None:
    assert "2 predictions are no probabilities" in reason_of("cross_entropy", [0, 1], LOGITS, [0.0, 3.5])
    assert "1 predictions give what is true" in reason_of("cross_entropy", [0, 1], [[0.0, 1], [0.5, 0.5]], [2.5, 0.1])
    w = [0.25, 3.0]
    oracle = sk.log_loss([0, 1], softmax(LOGITS), sample_weight=w, labels=[0, 1, 2])
    assert value_of("cross_entropy", [0, 1], softmax(LOGITS), w) == pytest.approx(oracle, rel=1e-12)


def test_positions_of_an_example_are_counted_one_by_one() -> None:
    labels = np.array([[0, 1, -1], [1, 1, 0]])
    scores = np.full((2, 3, 2), 0.5)
    scores[0, 1] = 3, 4
    scores[0, 2] = 9, 9  # ignored
    scores[1, 0] = 0.9, 0.9
    for name in ("cross_entropy", "perplexity"):
        assert "2 predictions are no probabilities (outside [0, 1]: 1 in class 0; sum not 1: 1)" in reason_of(
            name, labels, scores, ignore_label=-1
        )


def test_many_classes_share_the_last_bucket() -> None:
    scores = np.zeros((2, 40))
    scores[:, 0] = 1
    scores[0, 7], scores[1, 30] = 2, -1
    assert "(outside [0, 1]: 2 in class 7 or later)" in reason_of("cross_entropy", [0, 0], scores)


@pytest.mark.parametrize("scores", [LOGITS[:, None].repeat(3, axis=1), np.full((2, 3, 4), 0.9)])
def test_bits_per_byte_reads_examples(scores: np.ndarray) -> None:
    labels, more = np.zeros((2, 3), np.int64), {"features": {"n": np.array([3, 4])}, "bytes": "n"}
    labels[1, 1:] = -1
    found = result("bits_per_byte", labels, scores, ignore_label=-1, **more)
    assert found.value is None and found.reason.startswith("2 predictions are no probabilities (")
    assert HINT in found.reason
    # What is ignored is not looked at.
    good = np.full_like(scores, 1 / scores.shape[-1])
    good[1, 2] = 17
    assert result("bits_per_byte", labels, good, ignore_label=-1, **more).reason is None


def test_a_loss_without_end_names_epsilon() -> None:
    text = (
        "1 predictions give what is true a probability of 0: the loss is infinite; "
        "epsilon clips probabilities (Keras has epsilon: 1.0e-7)"
    )
    labels, scores = np.array([0, 1, 2]), np.array([[0.5, 0.5, 0.0], [0.0, 1.0, 0.0], [0.75, 0.25, 0.0]])
    for name in ("cross_entropy", "perplexity"):
        assert reason_of(name, labels, scores) == text
    clipped = keras.metrics.SparseCategoricalCrossentropy(dtype="float64")
    clipped.update_state(labels, scores)
    assert value_of("cross_entropy", labels, scores, epsilon=1e-7) == pytest.approx(float(clipped.result()), rel=1e-6)
    assert reason_of("log_loss", [1, 0], [0.5, 1.0]) == text
    assert reason_of("normalised_entropy", [1, 0], [0.0, 0.5]) == text
    more = {"features": {"n": np.array([3])}, "bytes": "n"}
    assert result("bits_per_byte", labels[None], scores[None], **more).reason == text
    bits = value_of("cross_entropy", labels, scores, epsilon=1e-7) * 3 / 3 / math.log(2)
    assert result("bits_per_byte", labels[None], scores[None], epsilon=1e-7, **more).value == pytest.approx(bits, rel=1e-12)
    # Logits have no such end.
    assert value_of("cross_entropy", [0], [[-800.0, 0.0]], from_logits=True) == 800.0


@pytest.mark.parametrize("per_image", [False, True])
def test_pixels_of_one_score(per_image: bool) -> None:
    rng = np.random.default_rng(2)
    labels, logits = rng.integers(0, 2, (4, 5, 5)), rng.normal(size=(4, 5, 5, 1)) * 3
    outside = (logits < 0) | (logits > 1)
    count = outside.any(axis=(1, 2, 3)).sum() if per_image else outside.sum()
    assert reason_of("dice", labels, logits, average="binary", per_image=per_image).startswith(
        f"{count} predictions are no probabilities (outside [0, 1]: {count} in class 1)"
    )
    chances = 1 / (1 + np.exp(-logits))
    expected = value_of("dice", labels, chances, average="binary", per_image=per_image)
    assert value_of("dice", labels, logits, average="binary", per_image=per_image, from_logits=True) == expected
