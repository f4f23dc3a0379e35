"""Segmentation metrics against scikit-learn over pixels, and by hand image by image."""

import functools

import keras
import numpy as np
import pytest
from sklearn import metrics as sk
from sklearn.datasets import load_digits

from harness.errors import JobError, ShapeError
from tests.metrics.batches import reason_of, result_of, value_of

CLOSE = {"rel": 1e-12, "abs": 0}


@functools.cache
def segmented() -> tuple[np.ndarray, np.ndarray]:
    """Ink in five strengths, 40 x 8 x 8: what the strokes of digits are, and scores from a blurred copy."""
    ink = load_digits().images[:40]
    blurred = (2 * ink + np.roll(ink, 1, axis=1) + np.roll(ink, 1, axis=2)) / 4
    centres = np.array([0.0, 4.0, 8.0, 12.0, 16.0])
    return np.minimum(ink // 4, 4).astype(int), -np.abs(blurred[..., None] - centres).astype(np.float32)


@pytest.mark.parametrize("weighted", [False, True])
def test_over_all_pixels(weighted):
    labels, scores = segmented()
    found = scores.argmax(axis=-1)
    weights = np.random.default_rng(0).random(labels.shape) if weighted else None
    flat = (labels.ravel(), found.ravel())
    by = None if weights is None else weights.ravel()
    iou = sk.jaccard_score(*flat, average=None, sample_weight=by)
    for form, options in ((scores, {}), (found, {"classes": 5})):
        assert list(value_of("iou", labels, form, weights, **options).values()) == pytest.approx(iou, **CLOSE)
        assert value_of("mean_iou", labels, form, weights, **options) == pytest.approx(iou.mean(), **CLOSE)
        foreground = value_of("mean_iou", labels, form, weights, include_background=False, **options)
        assert foreground == pytest.approx(iou[1:].mean(), **CLOSE)
        assert value_of("pixel_accuracy", labels, form, weights, **options) == pytest.approx(
            sk.accuracy_score(*flat, sample_weight=by), **CLOSE
        )
        for average in ("macro", "micro", "weighted"):
            dice = sk.f1_score(*flat, average=average, sample_weight=by)
            assert value_of("dice", labels, form, weights, average=average, **options) == pytest.approx(dice, **CLOSE)


def test_mean_iou_is_that_of_keras():
    labels, scores = segmented()
    oracle = keras.metrics.MeanIoU(5)  # float32
    oracle.update_state(labels, scores.argmax(axis=-1))
    assert value_of("mean_iou", labels, scores) == pytest.approx(float(oracle.result()), rel=1e-6)


def image_values(labels: np.ndarray, found: np.ndarray, size: int, dice: bool) -> np.ndarray:
    """Value of each class of each image, by sets of pixels; NaN where the class is in neither."""
    values = np.full((len(labels), size), np.nan)
    for i, (label, guess) in enumerate(zip(labels, found, strict=True)):
        for c in range(size):
            a, b = set(np.flatnonzero(label.ravel() == c)), set(np.flatnonzero(guess.ravel() == c))
            if a | b:
                values[i, c] = 2 * len(a & b) / (len(a) + len(b)) if dice else len(a & b) / len(a | b)
    return values


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("metric", ["dice", "mean_iou"])
def test_image_by_image(metric, weighted):
    labels, scores = segmented()
    labels = labels.copy()
    labels[3] = 9  # ignored: an image with nothing to score
    found = np.where(labels == 9, 9, scores.argmax(axis=-1))
    values = image_values(labels, found, 5, metric == "dice")
    weights = np.random.default_rng(0).random(len(labels)) if weighted else None
    by = np.ones(len(labels)) if weights is None else weights

    def mean(column):
        there = ~np.isnan(column)
        return np.average(column[there], weights=by[there])

    scored = np.arange(len(labels)) != 3
    expected = np.average(np.nanmean(values[scored], axis=1), weights=by[scored])
    options = {"per_image": True, "ignore_label": 9}
    assert value_of(metric, labels, scores, weights, **options) == pytest.approx(expected, **CLOSE)
    maps = value_of(metric, labels, scores.argmax(axis=-1).astype(np.int32), weights, classes=5, **options)
    assert maps == pytest.approx(expected, **CLOSE)
    each = value_of(metric, labels, scores, weights, average=None, include_background=False, **options)
    assert each == pytest.approx({str(c): mean(values[:, c]) for c in range(1, 5)}, **CLOSE)
    second = value_of(metric, labels, scores, weights, average="binary", positive=2, **options)
    assert second == pytest.approx(mean(values[:, 2]), **CLOSE)


def test_two_classes_from_one_score():
    ink = load_digits().images[:1] / 16
    label = (ink > 0.5).astype(int)
    score = ((ink + np.roll(ink, 1, axis=2)) / 2).astype(np.float32)
    found = score > 0.5
    expected = 2 * (label * found).sum() / (label.sum() + found.sum())
    for options in ({"per_image": True}, {}):
        dice = value_of("dice", label, score[..., None], average="binary", **options)
        assert dice == pytest.approx(expected, **CLOSE)
        assert value_of("dice", label[..., None], score[..., None], average="binary", **options) == dice
        logit = (score - 0.5)[..., None]
        assert value_of("dice", label, logit, average="binary", from_logits=True, **options) == dice
    strict = value_of("dice", label, score[..., None], average="binary", per_image=True, threshold=0.6)
    assert strict == value_of("dice", label, score[..., None], average="binary", threshold=0.6) != dice


def test_an_empty_image_counts_where_zero_division_says_so():
    labels = np.array([[[0, 0]], [[1, 0]]])
    found = np.array([[[0, 0]], [[1, 1]]])
    options = {"classes": 2, "per_image": True, "average": "binary"}
    assert value_of("dice", labels, found, **options) == pytest.approx(2 / 3, **CLOSE)
    assert value_of("dice", labels, found, zero_division=1, **options) == pytest.approx((1 + 2 / 3) / 2, **CLOSE)
    assert "no image has a class" in reason_of("dice", labels[:1], found[:1], **options)
    assert value_of("iou", labels[:1], found[:1], classes=2, per_image=True) == {"0": 1.0, "1": None}


def test_bad_pixels_and_shapes():
    labels, scores = segmented()
    bad = scores.copy()
    bad[2, 3, 3, 1] = np.nan
    assert "1 predictions are NaN" in reason_of("mean_iou", labels, bad)
    assert "some images have labels or predictions" in reason_of("mean_iou", labels, bad, per_image=True)
    unknown = labels.copy()
    unknown[4, 0, 0] = 5
    assert "1 labels are" in reason_of("dice", unknown, scores)
    assert "some images have labels or predictions" in reason_of("dice", unknown, scores, per_image=True)
    with pytest.raises(ShapeError, match=r"integer output \[B, H, W\]"):
        result_of("dice", labels, scores[:, :4], per_image=True)
    with pytest.raises(ShapeError, match=r"integer output \[B, H, W\]"):
        result_of("dice", labels, scores, per_image=True, classes=5)
    with pytest.raises(JobError, match="per_image: average is"):
        value_of("dice", labels, scores, per_image=True, average="weighted")
