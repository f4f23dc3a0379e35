"""Areas of several classes against scikit-learn, at 1, 2, 3 and 5 ranks byte for byte."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from harness.metrics.contract import RowMetric, Rows, Undefined
from harness.metrics.multiclass_auc import OneVsOneRocAuc, OneVsRestRocAuc
from harness.sums.rows import RowTable
from tests.row_case import rows, value_of


def digits(places: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities of a poor model of digits, with ties where rounded; rows still add up to 1."""
    data = load_digits()
    model = LogisticRegression(max_iter=2000).fit(data.data[::4, 20:30], data.target[::4])
    found = model.predict_proba(data.data[:, 20:30])
    if places is not None:
        found = np.round(found * 2**places) / 2**places
        found[:, 0] += 1 - found.sum(axis=1)
    return data.target, found


def table(metric: RowMetric, labels: np.ndarray, scores: np.ndarray, weights: Any = None) -> RowTable:
    term = metric.terms(tf.constant(labels, tf.int32), tf.constant(scores))["rows"]
    assert isinstance(term, Rows)
    owner = np.asarray(term.per_row)
    values = {name: np.asarray(column) for name, column in term.values.items()}
    return rows(
        np.asarray(term.key), values, group=np.asarray(term.group), ids=owner, weights=None if weights is None else weights[owner]
    )


@pytest.mark.parametrize("average", ["macro", "weighted"])
@pytest.mark.parametrize("places", [None, 4])
def test_areas_are_sklearns(average: Any, places: int | None) -> None:
    labels, scores = digits(places)
    for metric, way in ((OneVsRestRocAuc(average=average), "ovr"), (OneVsOneRocAuc(average=average), "ovo")):
        expected = roc_auc_score(labels, scores, multi_class=way, average=average)
        assert value_of(metric, table(metric, labels, scores)) == pytest.approx(expected, rel=1e-12), way


@pytest.mark.parametrize("average", ["macro", "weighted"])
def test_weights_enter_one_against_the_rest(average: Any) -> None:
    labels, scores = digits(4)
    weights = np.random.default_rng(3).random(len(labels))
    # scikit-learn weighs classes by the number of their examples, not by their weight: by hand, class by class.
    areas = [roc_auc_score(labels == c, scores[:, c], sample_weight=weights) for c in range(10)]
    times = [weights[labels == c].sum() if average == "weighted" else 1.0 for c in range(10)]
    metric = OneVsRestRocAuc(average=average)
    found = value_of(metric, table(metric, labels, scores, weights))
    assert found == pytest.approx(np.average(areas, weights=times), rel=1e-12)
    assert OneVsOneRocAuc.takes_weights is False


def test_logits_are_ordered_as_their_probabilities() -> None:
    labels, scores = digits(None)
    scores = scores**0.1 / (scores**0.1).sum(axis=1, keepdims=True)  # far from 0 and 1, where probabilities run together
    logits = np.log(scores) + np.linspace(-5, 5, len(scores))[:, None]  # any shift of a row is the same prediction
    for kind in (OneVsRestRocAuc, OneVsOneRocAuc):
        plain, shifted = kind(), kind(from_logits=True)
        expected = value_of(plain, table(plain, labels, scores))
        # Some digits are alike and tie; shifted and rounded their logits do not.
        assert value_of(shifted, table(shifted, labels, logits)) == pytest.approx(expected, rel=1e-5)


def test_three_examples_by_hand() -> None:
    labels, scores = np.array([0, 1, 2]), np.array([[0.5, 0.3, 0.2], [0.5, 0.4, 0.1], [0.2, 0.5, 0.3]])
    # Against the rest: class 0 ties with one and beats one, 3/4; class 1 beats one of two, 1/2; class 2 beats both, 1.
    metric = OneVsRestRocAuc()
    assert value_of(metric, table(metric, labels, scores)) == 0.75
    # Pairs: 0 and 1: (1/2 + 1) / 2; 0 and 2: (1 + 1) / 2; 1 and 2: (0 + 1) / 2.
    pairs = OneVsOneRocAuc()
    assert value_of(pairs, table(pairs, labels, scores)) == 0.75


def test_classes_that_are_missing() -> None:
    labels, scores = np.array([0, 1, 0, 1]), np.array([[0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.5, 0.4, 0.1], [0.5, 0.3, 0.2]])
    for kind in (OneVsRestRocAuc, OneVsOneRocAuc):
        metric = kind()
        with pytest.raises(Undefined, match="no example is of class 2"):
            value_of(metric, table(metric, labels, scores))
    metric = OneVsRestRocAuc(average="weighted")
    areas = [roc_auc_score(labels == c, scores[:, c]) for c in (0, 1)]
    assert value_of(metric, table(metric, labels, scores)) == pytest.approx(np.mean(areas), rel=1e-12)
    with pytest.raises(Undefined, match="every example is of class 0"):
        value_of(metric, table(metric, np.zeros(2, int), scores[:2]))
    with pytest.raises(Undefined, match="nothing to score"):
        value_of(metric, table(metric, labels[:0], scores[:0]))
