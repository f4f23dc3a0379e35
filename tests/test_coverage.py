"""The short form of `make coverage`: fewer simulations, and the sums it takes are those of scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from benchmarks import verdicts
from benchmarks.coverage import Coverage, coverage, outside, table
from benchmarks.populations import (
    ACCURACY,
    CASES,
    DOCUMENTS,
    HIT_AT_3,
    NDCG,
    NOISE,
    POSITIVES,
    RECALL_AT_3,
    SEPARATION,
    auc_values,
    confidences,
    queries,
    r2_values,
    share_values,
)  # fmt: skip
from harness.exact.draws import multiplicities

SIMULATIONS = 200
TRUTHS = {case.metric: case.truth for case in CASES[:3]}


def test_intervals_cover_the_truth():
    # Of n simulations at 95 % the standard deviation is sqrt(n x .95 x .05): a right method falls 4.5 of them short once in
    # 10^5 times. The draws are fixed.
    found = coverage(SIMULATIONS, first=100_000)
    assert len(found) == len(CASES)
    for each in found:
        intervals = each.simulations - each.without
        least = each.about.least * intervals - 4.5 * (intervals * 0.95 * 0.05) ** 0.5
        assert each.reported >= least, (each.about, each)
    for each in found[:3]:  # a thousand examples, nothing near 0 or 1
        assert each.about.data == "1,000 examples" and each.about.most == 0.97
        assert each.percentile >= 176 and each.basic >= 174 and each.reported == each.percentile, each
        assert each.percentile < SIMULATIONS, f"{each}: intervals that never miss are too wide"


def test_where_the_bootstrap_alone_promises_too_much():
    by = {(each.about.metric, each.about.data): each for each in coverage(80, 0, [4, 10, 15])}
    assert by["accuracy", "50 examples"].percentile < 65 <= 76 <= by["accuracy", "50 examples"].reported
    assert by["accuracy", "50 clusters of 20, without"].share("reported") < 0.8
    calibrated = by["expected_calibration_error", "1,000 examples, calibrated"]
    assert calibrated.percentile == 0 and calibrated.share("reported") > 0.5  # 20 simulations


def test_cases_that_do_not_cover_are_named():
    assert outside([Coverage(0, 2000, 0, 1900), Coverage(3, 2000, 0, 2000)]) == []
    assert outside([Coverage(0, 2000, 0, 1500)]) == ["accuracy of 1,000 examples: 75.00%"]
    assert outside([Coverage(0, 2000, 0, 2000)]) == ["accuracy of 1,000 examples: 100.00%"]
    line = table([Coverage(0, 2000, 500, 1425, 1800, 1700, 1600)]).splitlines()[-1]
    assert line == "| accuracy | 1,000 examples | 0.8500 | 2,000 | 95.0% | 25.0% | 90.0% | 85.0% | 80.0% |"


def test_the_truths_are_the_truths():
    random = np.random.default_rng(0)
    p, n = random.normal(size=400_000) + SEPARATION, random.normal(size=400_000)
    assert TRUTHS["roc_auc"] == pytest.approx((p > n).mean(), abs=4 * 0.5 / 400_000**0.5)
    found = random.normal(size=400_000)
    label = found + NOISE * random.normal(size=400_000)
    assert TRUTHS["r2"] == pytest.approx(sk.r2_score(label, found), abs=0.01)
    label, score = queries(random, 40_000)
    some = label.any(axis=1)
    ordered = np.take_along_axis(label, np.argsort(-score, axis=1), axis=1)[some, :3]
    assert sk.ndcg_score(label[some], score[some]) == pytest.approx(NDCG, abs=0.004)
    assert (ordered.sum(axis=1) / label[some].sum(axis=1)).mean() == pytest.approx(RECALL_AT_3, abs=0.006)
    assert ordered.any(axis=1).mean() == pytest.approx(HIT_AT_3, abs=0.006)
    assert label.shape[1] == DOCUMENTS
    confidence, hit = confidences(random, 400_000, 0.1)
    overconfident = next(case.truth for case in CASES if case.data == "1,000 examples, overconfident")
    assert (confidence - hit).mean() == pytest.approx(overconfident, abs=0.003)


def test_the_sums_of_a_simulation_are_those_of_scikit_learn():
    drawn = multiplicities(np.arange(300), 5, 4)
    times = np.concatenate([np.ones((300, 1), np.int64), drawn], axis=1)
    random = np.random.default_rng(1)
    right = random.random(300) < ACCURACY
    oracle = [np.average(right, weights=each) for each in times.T]
    assert share_values(np.random.default_rng(1), times) == pytest.approx(oracle, rel=1e-12)
    random = np.random.default_rng(1)
    positive = random.random(300) < POSITIVES
    score = random.normal(size=300) + SEPARATION * positive
    oracle = [sk.roc_auc_score(positive, score, sample_weight=each) for each in times.T]
    assert auc_values(np.random.default_rng(1), times) == pytest.approx(oracle, rel=1e-12)
    random = np.random.default_rng(1)
    found = random.normal(size=300)
    label = found + NOISE * random.normal(size=300)
    oracle = [sk.r2_score(label, found, sample_weight=each) for each in times.T]
    assert r2_values(np.random.default_rng(1), times) == pytest.approx(oracle, rel=1e-12)


def test_comparisons_and_gates_are_wrong_as_seldom_as_they_say():
    """Intervals of differences, false alarms among slices, passes at the margin, what pairs see: each share is as expected."""
    found = verdicts.counted(150, first=100_000)
    assert verdicts.outside(found) == [], verdicts.table(found)
    paired, unpaired = (result.share for result in found[-2:])
    assert paired > unpaired + 0.5


def test_shares_that_are_not_as_expected_are_named():
    covers, alarm = 0, next(place for place, question in enumerate(verdicts.QUESTIONS) if question.text == verdicts.ALARM)
    assert verdicts.outside([verdicts.Counted(covers, 1000, 940), verdicts.Counted(alarm, 1000, 60)]) == []
    (name,) = verdicts.outside([verdicts.Counted(covers, 1000, 900)])
    assert name.endswith("2 differ): 90.00%")
    (name,) = verdicts.outside([verdicts.Counted(alarm, 1000, 90)])
    assert name.endswith("60 differ): 9.00%")
    assert verdicts.table([verdicts.Counted(alarm, 250, 10)]).endswith("| 250 | 4.0% | at most 5% |")
