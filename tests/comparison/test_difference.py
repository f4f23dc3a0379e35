"""Differences of two numbers against SciPy and statsmodels; how often they are right is counted in tests/test_coverage.py."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from statsmodels.stats.multitest import multipletests

from harness.comparison.difference import Difference, paired, unpaired, with_skewness, without_skewness
from harness.comparison.families import benjamini_hochberg, holm
from harness.comparison.sides import Number

REPLICATES = 200


def number(value: float, drawn: np.ndarray | None = None, *, examples: int = 1000, error: float | None = None) -> Number:
    return Number(value, None, examples, error, drawn)


def accuracies(
    rng: np.random.Generator, both: int, first: int, second: int, neither: int, replicates: int = REPLICATES
) -> Difference:
    """The difference of two models' accuracies, by how many examples which of them has right; replicates as a run draws them."""
    n = both + first + second + neither
    drawn = rng.poisson([both, first, second, neither], (replicates, 4)) / 1.0
    total = drawn.sum(axis=1)
    sides = [(both + first) / n, (both + second) / n]
    replicas = [(drawn[:, 0] + drawn[:, 1]) / total, (drawn[:, 0] + drawn[:, 2]) / total]
    return paired(*(number(value, drawn, examples=n) for value, drawn in zip(sides, replicas, strict=True)), 0.95, counted=True)


@pytest.mark.parametrize("seed", range(5))
def test_corrections_are_those_of_statsmodels(seed):
    rng = np.random.default_rng(seed)
    p_values = np.concatenate([rng.uniform(size=30), rng.uniform(0, 0.01, size=10), [0.5, 0.5, 0.0, 1.0]])
    assert np.allclose(holm(p_values.tolist()), multipletests(p_values, method="holm")[1], rtol=1e-14)
    assert np.allclose(benjamini_hochberg(p_values.tolist()), multipletests(p_values, method="fdr_bh")[1], rtol=1e-14)
    assert holm([]) == benjamini_hochberg([]) == []


def test_interval_and_error_are_those_of_the_replicates_differences():
    rng = np.random.default_rng(0)
    a, half = rng.normal(0.5, 0.01, REPLICATES), rng.normal(0, 0.01, REPLICATES // 2)
    b = a + 0.02 + np.concatenate([half, -half])  # differences without skewness
    found = paired(number(0.5, a), number(0.52, b), 0.9, counted=False)
    low, high = np.quantile(b - a, [0.05, 0.95], method="weibull")  # Hyndman and Fan's type 6
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-12)
    assert found.standard_error == pytest.approx((b - a).std(ddof=1), rel=1e-12)
    t = abs(found.value) / found.standard_error
    assert found.method == "normal" and found.p == pytest.approx(2 * scipy.stats.t.sf(t, REPLICATES - 1), rel=0.01)


@pytest.mark.parametrize("t", [0.1, 1.0, 2.0, 3.3, 5.0])
def test_small_p_values_are_those_of_students_t(t):
    rng = np.random.default_rng(1)
    half = rng.normal(size=REPLICATES // 2)
    drawn = np.concatenate([half, -half])
    drawn /= drawn.std(ddof=1)  # kurtosis of a normal sample, no skewness
    found = paired(number(0.0, np.zeros(REPLICATES)), number(t, drawn + t), 0.95, counted=False)
    assert found.p == pytest.approx(2 * scipy.stats.t.sf(t, REPLICATES - 1), rel=0.02)


def test_replicates_that_are_not_normal_are_counted():
    rng = np.random.default_rng(2)
    drawn = rng.exponential(size=REPLICATES)
    found = paired(number(0.0, np.zeros(REPLICATES)), number(1.0, drawn), 0.95, counted=False)
    assert (found.method, found.p) == ("replicates", 2 / (REPLICATES + 1))
    below = paired(number(0.0, np.zeros(REPLICATES)), number(0.2, drawn - 0.5), 0.95, counted=False)
    assert below.p == pytest.approx(2 * (1 + (drawn <= 0.5).sum()) / (REPLICATES + 1))


def test_without_pairs_variances_add():
    found = unpaired(number(0.5, error=0.03), number(0.6, error=0.04), 0.95)
    reach = scipy.stats.t.ppf(0.975, 999) * 0.05
    assert (found.low, found.high) == pytest.approx((0.1 - reach, 0.1 + reach), rel=1e-3)
    assert found.p == pytest.approx(2 * scipy.stats.t.sf(2, 999), rel=1e-3)
    assert "fewer than 30" in unpaired(number(0.5, error=0.03, examples=5), number(0.6, error=0.04), 0.95).reason
    assert unpaired(number(0.5), number(0.6, error=0.04), 0.95).reason == "a side has no standard error"


def test_runs_that_never_differ_show_no_spread():
    drawn = np.random.default_rng(5).normal(size=REPLICATES)
    found = paired(number(0.5, drawn), number(0.5, drawn), 0.95, counted=False)
    assert (found.p, found.low) == (None, None) and "no spread" in found.reason


@pytest.mark.parametrize("losses", ["normal", "lognormal"])
def test_means_of_thirty_examples_hold_their_level_and_of_fewer_nothing_is_said(losses):
    """No difference of two losses: how often the p-value is at most 0.05, and 0.00125, which Holm asks of 40 slices."""
    rng = np.random.default_rng(6)
    simulations, below, far = 600, 0, 0
    for _ in range(simulations):
        difference = rng.normal(size=30) if losses == "normal" else rng.lognormal(size=30) - rng.lognormal(size=30)
        weights = rng.poisson(1, (REPLICATES, 30))
        drawn = weights @ difference / weights.sum(axis=1)
        sides = [number(0.0, np.zeros(REPLICATES), examples=30), number(difference.mean(), drawn, examples=30)]
        p = paired(*sides, 0.95, counted=False).p
        below, far = below + (p <= 0.05), far + (p <= 0.00125)
    assert below <= simulations * 0.05 + 3 * np.sqrt(simulations * 0.05 * 0.95), below
    assert far <= 6, far
    few = [number(0.0, np.zeros(REPLICATES), examples=29), number(1.0, drawn, examples=29)]
    assert paired(*few, 0.95, counted=False).reason == "replicates of fewer than 30 examples promise too much"


def test_what_has_no_interval_says_why():
    flat = np.full(REPLICATES, 0.5)
    assert "no spread" in paired(number(0.5, flat), number(0.6, flat + 0.1), 0.95, counted=False).reason
    gaps = np.where(np.arange(REPLICATES) % 3 == 0, np.nan, 0.5)
    assert "null in 67 of 200" in paired(number(0.5, gaps), number(0.6, flat), 0.95, counted=False).reason
    refused = Number(0.5, None, 10, None, flat, "biased")
    assert paired(refused, number(0.5, flat), 0.95, counted=False).reason == "biased"


def test_two_models_that_are_right_on_the_same_examples_differ_by_little():
    found = accuracies(np.random.default_rng(3), 900, 0, 0, 100)
    assert (found.value, found.p, found.method) == (0.0, 1.0, "discordant counts")
    bound = scipy.stats.beta.ppf(1 - 0.0125, 1, 1000)
    assert (found.low, found.high) == pytest.approx((-bound, bound), rel=1e-9)


@pytest.mark.parametrize("times", [1, 3])
def test_a_difference_of_a_few_examples_that_weigh_has_no_interval(times):
    """One example of 1,000 is judged better: a third of the replicates have not drawn it, and none shows the opposite."""
    drawn = np.random.default_rng(8).poisson(times, REPLICATES) / 1000
    found = paired(number(0.5, np.full(REPLICATES, 0.5)), number(0.501, 0.5 + drawn), 0.95, counted=False)
    assert (found.low, found.p) == (None, None) and "some replicates show none" in found.reason
    small = [
        number(right / 25, np.random.default_rng(right).normal(right / 25, 0.1, REPLICATES), examples=25) for right in (1, 24)
    ]
    assert paired(*small, 0.95, counted=True).method == "discordant counts"  # of so few shares are counted, whoever differs


def test_skewed_means_are_less_sure():
    """A mean whose replicates have a tail to the right is too often too small, as Hall's t says; never more sure than Student's."""
    drawn = np.random.default_rng(9).gamma(20, size=REPLICATES)
    drawn = (drawn - drawn.mean()) / drawn.std(ddof=1)
    skew = scipy.stats.skew(drawn)
    for t in (-3.0, 3.0):
        found = paired(number(0.0, np.zeros(REPLICATES)), number(t, drawn + t), 0.95, counted=False)
        hall = t + skew * t**2 / 3 + skew**2 * t**3 / 27 + skew / 6
        wanted = 2 * scipy.stats.t.sf(min(abs(t), abs(hall)), REPLICATES - 1)
        assert found.p == pytest.approx(wanted, rel=0.01)
    assert without_skewness(with_skewness(2.0, -0.4), -0.4) == pytest.approx(2.0, rel=1e-12)
