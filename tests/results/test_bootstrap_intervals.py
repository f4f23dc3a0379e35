"""Intervals of the bootstrap against NumPy's quantiles."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.results.intervals import interval


@pytest.mark.parametrize("count", [20, 39, 200, 1000])
def test_interval_is_numpys_weibull_quantiles(count):
    values = np.random.default_rng(count).normal(size=count)
    found = interval(0.25, values.tolist(), 0.95)
    low, high = np.quantile(values, [0.025, 0.975], method="weibull")
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-12)
    assert (found.basic_low, found.basic_high) == pytest.approx((0.5 - high, 0.5 - low), rel=1e-12)
    assert found.standard_error == pytest.approx(values.std(ddof=1), rel=1e-12)


def test_null_and_infinite_replicates():
    values: list[float | None] = [1.0] * 90 + [2.0] * 5 + [None] * 3 + [math.inf] * 2
    found = interval(1.0, values, 0.95)
    assert (found.low, found.high, found.undefined, found.reason) == (1.0, 2.0, 5, None)
    few = interval(1.0, [1.0] * 8 + [None] * 2, 0.95)
    assert (few.low, few.standard_error, few.reason) == (None, None, "the value is null in 2 of 10 replicates")
