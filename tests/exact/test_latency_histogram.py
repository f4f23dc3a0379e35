"""Histograms of durations against NumPy's percentiles and SciPy's binomial; sums in any order; how often an interval holds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, lognorm

from harness.exact.latency_histogram import LatencyHistogram, LatencyTimeline, bucket_start, bucket_width, order_statistics


def histogram_of(seconds):
    histogram = LatencyHistogram()
    for duration in seconds:
        histogram.add(duration)
    return histogram


def test_buckets_meet_and_are_narrow():
    end = 0
    while end < 10**8:
        assert bucket_start(end) == end == bucket_start(end + bucket_width(end) - 1)
        assert bucket_width(end) == 1 or bucket_width(end) <= end / 64
        end += bucket_width(end)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99, 0.999])
def test_percentiles_are_those_of_numpy_to_the_width_of_a_bucket(share):
    seconds = np.random.default_rng(1).lognormal(-5, 1.5, 5000)
    found = histogram_of(seconds).percentile(share)
    assert found.value / 1000 == pytest.approx(np.quantile(seconds, share, method="inverted_cdf"), rel=1 / 64)
    assert found.low < found.value < found.high


def test_sums_do_not_depend_on_the_order_and_nothing_is_lost():
    seconds = np.random.default_rng(2).lognormal(-5, 1.5, 999)
    parts = [histogram_of(part) for part in np.array_split(seconds, 7)]
    whole = histogram_of(seconds)
    assert sum(parts[::-1], LatencyHistogram()) == sum(parts, LatencyHistogram()) == whole and whole.total == 999
    assert LatencyHistogram.from_json(whole.to_json()) == whole
    assert LatencyHistogram().percentile(0.5) is None
    timeline = LatencyTimeline()
    for moment, duration in zip(np.linspace(0, 500, 999), seconds, strict=True):
        timeline.add(moment, duration)
    assert len(timeline.windows) <= 32 and sum(timeline.windows.values(), LatencyHistogram()) == whole


@pytest.mark.parametrize("total", [1, 5, 100, 20_000, 10**6])
def test_ranks_are_quantiles_of_scipys_binomial(total):
    for share in (0.5, 0.9, 0.99, 0.999):
        expected = binom.ppf(0.025, total, share), binom.ppf(0.975, total, share) + 1
        assert order_statistics(total, share, 0.95) == expected


def test_an_interval_holds_as_often_as_it_says():
    rng, truth = np.random.default_rng(3), 1000 * lognorm(1.0).ppf(0.9)
    held = 0
    for _ in range(400):
        found = histogram_of(rng.lognormal(0, 1, 300)).percentile(0.9)
        held += found.low <= truth <= found.high
    assert held / 400 >= 0.93
