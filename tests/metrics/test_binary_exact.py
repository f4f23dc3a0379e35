"""Exact binary metrics against scikit-learn, SciPy and counting by hand."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from scipy.stats import ks_2samp
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from harness.errors import JobError
from harness.job.specs import MetricSpec
from harness.metrics import make
from harness.metrics.binary_exact import (
    AveragePrecision,
    EqualErrorRate,
    Gini,
    KolmogorovSmirnov,
    RocAuc,
)
from harness.metrics.contract import Undefined
from harness.metrics.curves import PrecisionRecallCurve, RocCurve
from harness.metrics.operating_points import (
    PrecisionAtRecall,
    RecallAtPrecision,
    SensitivityAtSpecificity,
    SpecificityAtSensitivity,
)
from tests.row_case import binary, value_of

BOUNDS = (0.25, 0.5, 0.9, 0.95, 1.0)


def cancer() -> tuple[np.ndarray, np.ndarray]:
    """Scores of a logistic regression on three features, good but not perfect."""
    data = load_breast_cancer()
    features = data.data[:, [1, 4, 8]]
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(features[::2], data.target[::2])
    return data.target, model.predict_proba(features)[:, 1]


def cases() -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray | None]]:
    """Labels, scores, weights."""
    rng = np.random.default_rng(3)
    labels, scores = cancer()
    noise = rng.random(len(labels))
    some = rng.integers(0, 2, 400)
    return {
        "cancer": (labels, scores, None),
        "cancer, weighted": (labels, scores, noise),
        "cancer, many ties": (labels, np.round(scores, 1), None),
        "cancer, many ties, weighted": (labels, np.round(scores, 1), noise),
        "whole weights, some zero": (labels, scores, rng.integers(0, 4, len(labels)).astype(float)),
        "weights of all sizes": (labels, scores, np.exp2(rng.integers(-20, 20, len(labels)).astype(float))),
        "all tied": (some, np.full(400, 0.5), None),
        "all tied, weighted": (some, np.full(400, 0.5), rng.random(400)),
        "huge and tiny": (some, (rng.random(400) - 0.3 + 0.2 * some) * 10.0 ** rng.integers(-300, 300, 400), None),
        "worse than chance": (labels, -scores, None),
        "perfect": (labels, labels + 0.25, None),
        "two examples": (np.array([0, 1]), np.array([0.2, 0.1]), None),
        "one score decides": (np.array([1, 1, 0, 0, 0]), np.array([0.9, 0.1, 0.1, 0.1, 0.0]), None),
        "zeros of both signs": (np.array([0, 1, 1, 0]), np.array([0.0, -0.0, 1.0, -1.0]), None),
    }


CASES = cases()
case = pytest.mark.parametrize(("labels", "scores", "weights"), CASES.values(), ids=CASES)


def table(labels: Any, scores: Any, weights: Any) -> Any:
    return binary(scores, labels, weights=weights)


@case
def test_roc_auc_is_sklearns(labels: Any, scores: Any, weights: Any) -> None:
    expected = roc_auc_score(labels, scores, sample_weight=weights)
    found = value_of(RocAuc(), table(labels, scores, weights))
    assert found == pytest.approx(expected, rel=1e-12)
    assert value_of(Gini(), table(labels, scores, weights)) == pytest.approx(2 * expected - 1, rel=1e-12, abs=1e-12)


@case
@pytest.mark.parametrize("max_fpr", [0.01, 0.1, 0.5, 0.999, 1.0])
def test_partial_auc_is_sklearns(labels: Any, scores: Any, weights: Any, max_fpr: float) -> None:
    expected = roc_auc_score(labels, scores, sample_weight=weights, max_fpr=max_fpr)
    assert value_of(RocAuc(max_fpr=max_fpr), table(labels, scores, weights)) == pytest.approx(expected, rel=1e-12)


@case
def test_average_precision_is_sklearns(labels: Any, scores: Any, weights: Any) -> None:
    expected = average_precision_score(labels, scores, sample_weight=weights)
    assert value_of(AveragePrecision(), table(labels, scores, weights)) == pytest.approx(expected, rel=1e-12)


@case
def test_ks_and_equal_error_rate(labels: Any, scores: Any, weights: Any) -> None:
    fpr, tpr, _ = roc_curve(labels, scores, sample_weight=weights, drop_intermediate=False)
    assert value_of(KolmogorovSmirnov(), table(labels, scores, weights)) == pytest.approx(np.abs(tpr - fpr).max(), rel=1e-12)
    if weights is None:
        expected = ks_2samp(scores[labels == 1], scores[labels == 0]).statistic
        assert value_of(KolmogorovSmirnov(), table(labels, scores, None)) == pytest.approx(expected, rel=1e-12)
    # Of upright pieces interp1d takes the last point, so each is leant over by less than the tolerance.
    lean = fpr + 1e-13 * np.arange(len(fpr)) / len(fpr)
    expected = brentq(lambda x: 1 - x - interp1d(lean, tpr, bounds_error=False, fill_value=(0, 1))(x), 0, 1, xtol=1e-15)
    assert value_of(EqualErrorRate(), table(labels, scores, weights)) == pytest.approx(expected, rel=1e-9, abs=1e-11)


def brute(labels: Any, scores: Any, weights: Any) -> list[tuple[float, Fraction, Fraction]]:
    """Count at every threshold, in fractions: threshold, TP, FP, ascending."""
    exact = [Fraction(1)] * len(labels) if weights is None else [Fraction(float(w)) for w in weights]
    counts: dict[float, tuple[Fraction, Fraction]] = {}
    positive = negative = Fraction(0)
    for score, label, weight in sorted(zip(scores.tolist(), labels.tolist(), exact, strict=True), reverse=True):
        if weight:
            positive, negative = positive + weight * bool(label), negative + weight * (not label)
            counts[score] = (positive, negative)  # of a score that several have, the last count holds them all
    return [(at, *counts[at]) for at in sorted(counts)]


@case
@pytest.mark.parametrize("bound", BOUNDS)
def test_best_threshold_under_a_bound(labels: Any, scores: Any, weights: Any, bound: float) -> None:
    """By counting; a weight that is rounded to the grid may move a bound only where it is met to within 2^-50."""
    steps = brute(labels, scores, weights)
    _, positive, _ = steps[0]
    negative = steps[0][2]
    exact = Fraction(repr(bound))
    rows = table(labels, scores, weights)

    def check(metric: Any, candidates: list[tuple[Fraction, float]]) -> None:
        options = metric.model_dump(exclude_none=True)
        if not candidates:
            with pytest.raises(Undefined, match=r"no threshold|above every score"):
                value_of(type(metric)(**{**options, "report": "threshold"}), rows)
            return
        best = max(candidates)
        assert value_of(metric, rows) == pytest.approx(float(best[0]), rel=1e-12)
        assert value_of(type(metric)(**{**options, "report": "threshold"}), rows) == best[1]

    check(PrecisionAtRecall(recall=bound), [(tp / (tp + fp), at) for at, tp, fp in steps if tp >= exact * positive])
    check(RecallAtPrecision(precision=bound), [(tp / positive, at) for at, tp, fp in steps if tp and tp >= exact * (tp + fp)])
    check(
        SensitivityAtSpecificity(specificity=bound),
        [(tp / positive, at) for at, tp, fp in steps if negative - fp >= exact * negative],
    )
    check(
        SpecificityAtSensitivity(sensitivity=bound), [(1 - fp / negative, at) for at, tp, fp in steps if tp >= exact * positive]
    )


@case
def test_curves_are_sklearns(labels: Any, scores: Any, weights: Any) -> None:
    keep = slice(None) if weights is None else weights > 0
    weighed = None if weights is None else weights[keep]
    fpr, tpr, at = roc_curve(labels[keep], scores[keep], sample_weight=weighed, drop_intermediate=False)
    found = value_of(RocCurve(), table(labels, scores, weights))
    assert found.columns == ("threshold", "fpr", "tpr")
    assert [row[0] for row in found.rows] == [None, *(at[1:] + 0.0)]
    np.testing.assert_allclose(np.array([row[1:] for row in found.rows]), np.stack([fpr, tpr], 1), rtol=1e-12, atol=1e-15)
    precision, recall, at = precision_recall_curve(labels[keep], scores[keep], sample_weight=weighed)
    found = value_of(PrecisionRecallCurve(), table(labels, scores, weights))
    assert [row[0] for row in found.rows] == [*(at + 0.0), None]
    np.testing.assert_allclose(
        np.array([row[1:] for row in found.rows]), np.stack([precision, recall], 1), rtol=1e-12, atol=1e-15
    )


def test_a_long_curve_is_thinned_to_points_of_itself() -> None:
    labels, scores = cancer()
    whole = value_of(RocCurve(), table(labels, scores, None)).rows
    thin = value_of(RocCurve(points=10), table(labels, scores, None)).rows
    assert len(thin) == 11
    assert set(thin) < set(whole)
    assert (thin[1], thin[-1]) == (whole[1], whole[-1])


@pytest.mark.parametrize(
    "metric",
    [RocAuc(), RocAuc(max_fpr=0.1), Gini(), KolmogorovSmirnov(), EqualErrorRate(), PrecisionAtRecall(recall=0.5), RocCurve()],
    ids=lambda metric: type(metric).__name__,
)
@pytest.mark.parametrize(
    ("labels", "reason"),
    [([0, 0], "no example is positive"), ([1, 1], "no example is negative"), ([1], "negative"), ([], "positive")],
)
def test_one_class_is_undefined(metric: Any, labels: list[int], reason: str) -> None:
    with pytest.raises(Undefined, match=reason):
        value_of(metric, binary([0.1, 0.2][: len(labels)], labels))


def test_one_class_of_weight_zero_is_undefined() -> None:
    with pytest.raises(Undefined, match="no example is positive"):
        value_of(RocAuc(), binary([0.1, 0.2], [0, 1], weights=[1.0, 0.0]))
    with pytest.raises(Undefined, match="no example is positive"):
        value_of(AveragePrecision(), binary([0.1, 0.2], [0, 1], weights=[0.0, 0.0]))


def test_average_precision_needs_no_negatives() -> None:
    assert value_of(AveragePrecision(), binary([0.3, 0.2], [1, 1])) == 1.0


def test_auc_by_hand() -> None:
    # Positives 0.8 and 0.4, negatives 0.4 and 0.1: three pairs won, one tied.
    assert value_of(RocAuc(), binary([0.8, 0.4, 0.4, 0.1], [1, 1, 0, 0])) == 3.5 / 4


@pytest.mark.parametrize(("last", "best"), [([1], 2.0), ([1, 0], 3.0)])
def test_precisions_that_float64_cannot_tell_apart(last: list[int], best: float) -> None:
    """M / (M + 1) at 3.0 against (M + 1) / (M + 2), which is better, or (M + 1) / (M + 3), which is worse; M = 2^52."""
    scores = [3.0, 3.0, *[2.0] * len(last), 1.0]
    labels = [1, 0, *last, 0]
    weights = [2.0**52, 1.0, *[1.0] * len(last), 2.0]
    assert value_of(PrecisionAtRecall(recall=0.5, report="threshold"), binary(scores, labels, weights=weights)) == best


def test_terms_rank_by_log_odds_where_probabilities_saturate() -> None:
    tf = pytest.importorskip("tensorflow")
    logits = tf.constant([[0.0, 40.0], [0.0, 50.0], [3.0, 2.0]])
    kept = RocAuc(from_logits=True).terms(tf.constant([0, 1, 0]), logits)["rows"]
    assert kept.key.numpy().tolist() == [40.0, 50.0, -1.0]
    assert kept.values["positive"].numpy().tolist() == [0, 1, 0]
    three = RocAuc(from_logits=True, positive=2).terms(tf.constant([0, 2]), tf.constant([[1.0, 1.0, 1.0], [0.0, 0.0, 5.0]]))[
        "rows"
    ]
    np.testing.assert_allclose(three.key.numpy(), [-np.log(2), 5 - np.log(2)], rtol=1e-15)
    assert three.values["positive"].numpy().tolist() == [0, 1]


def test_options_are_checked() -> None:
    names = ["roc_auc", "gini", "average_precision", "roc_curve", "pr_curve", "ks", "equal_error_rate"]
    assert list(make([MetricSpec(name=name) for name in names])) == names
    with pytest.raises(JobError, match="recall"):
        make([MetricSpec(name="precision_at_recall", options={"recall": 1.5})])
