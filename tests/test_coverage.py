"""The short form of `make coverage`: fewer simulations, and the sums it takes are those of scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from benchmarks.coverage import ACCURACY, NOISE, POSITIVES, QUESTIONS, SEPARATION, auc_values, coverage, r2_values, share_values
from harness.bootstrap import multiplicities

SIMULATIONS = 200


def test_intervals_cover_the_truth():
    # Of 200 simulations at 95 %, 190 are expected, with a standard deviation of sqrt(200 x .95 x .05) = 3.1: outside 176 to
    # 200 (94.9 % - 4.5 deviations; no upper limit bites) a right method falls once in about 10^4 times. The draws are fixed.
    for found in coverage(SIMULATIONS, first=100_000):
        assert found.percentile >= 176, found
        assert found.basic >= 174, found
        assert found.percentile < SIMULATIONS, f"{found}: intervals that never miss are too wide"


def test_the_truths_are_the_truths():
    random = np.random.default_rng(0)
    p, n = random.normal(size=400_000) + SEPARATION, random.normal(size=400_000)
    assert QUESTIONS["roc_auc"][1] == pytest.approx((p > n).mean(), abs=4 * 0.5 / 400_000**0.5)
    found = random.normal(size=400_000)
    label = found + NOISE * random.normal(size=400_000)
    assert QUESTIONS["r2"][1] == pytest.approx(sk.r2_score(label, found), abs=0.01)


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
