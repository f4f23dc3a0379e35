"""The support of classes, against scikit-learn: how often each is labelled, or what those positions weigh."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support

from harness.errors import HarnessError
from harness.job.specs import MetricSpec
from harness.metrics import make
from harness.metrics.binned import BinnedRocAuc
from harness.metrics.contract import Totals, Undefined
from harness.results.values import with_details
from tests.metrics.batches import result_of


def support(metric: str, labels: Any, scores: Any, weights: Any = None, **options: Any) -> Mapping[str, float] | None:
    (made,) = make([MetricSpec(name=metric, options=options)]).values()
    return with_details("it", result_of(metric, labels, scores, weights, **options), made).support


@pytest.mark.parametrize("weighted", [False, True])
def test_classes_labels_and_pixels(weighted: bool) -> None:
    random = np.random.default_rng(7)
    labels, scores = random.integers(0, 3, 50), random.random((50, 4), np.float32)  # nothing is labelled 3
    weights = random.random(50) if weighted else None
    wanted = precision_recall_fscore_support(
        labels, scores.argmax(axis=1), labels=range(4), sample_weight=weights, zero_division=0
    )[3]
    classes = support("precision", labels, scores, weights, average="per_class")
    assert classes == pytest.approx(dict(zip("0123", wanted.tolist(), strict=True)), rel=1e-12)
    assert support("f_beta", labels, scores, weights) is None  # one number
    flags, found = random.integers(0, 2, (50, 2)), random.random((50, 2), np.float32)
    of_labels = precision_recall_fscore_support(flags, found > 0.5, sample_weight=weights, zero_division=0)[3]
    assert support("multilabel_recall", flags, found, weights, average="per_class") == pytest.approx(
        dict(zip("01", of_labels.tolist(), strict=True)), rel=1e-12
    )


def test_pixels() -> None:
    labels = np.array([[[0, 1], [1, 1]], [[2, 1], [0, 0]]])
    scores = np.eye(3, dtype=np.float32)[labels]
    assert support("iou", labels, scores) == {"0": 3, "1": 4, "2": 1}
    assert support("iou", labels, scores, include_background=False) == {"1": 4, "2": 1}
    assert support("iou", labels, scores, per_image=True, zero_division=1) is None  # images have values of their own


def test_what_an_own_metric_says_wrongly_is_named() -> None:
    labels, scores = np.array([0, 1, 1]), np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], np.float32)
    whole = result_of("binned_roc_auc", labels, scores)

    class Misnamed(BinnedRocAuc):
        bound_names = ("low", "top")

    class Broken(BinnedRocAuc):
        def class_support(self, totals: Totals) -> dict[str, float]:
            return {"a": 1 / 0}

    class Silent(BinnedRocAuc):
        def class_support(self, totals: Totals) -> dict[str, float]:
            raise Undefined("nothing is known")

    with pytest.raises(HarnessError, match="metric it: bound_names names top, the value has estimate, low, high"):
        with_details("it", whole, Misnamed())
    with pytest.raises(HarnessError, match=r"metric it: Broken.class_support raised ZeroDivisionError: .*test_support.py:"):
        with_details("it", whole, Broken())
    assert with_details("it", whole, Silent()).support is None
