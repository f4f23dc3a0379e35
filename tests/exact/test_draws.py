"""Multiplicities against a second writing of them, and the distribution itself."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.exact.draws import multiplicities

WORD = 2**64 - 1


def splitmix(state: int) -> int:
    """S. Vigna's splitmix64.c, the output of one state."""
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & WORD
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & WORD
    return state ^ (state >> 31)


def drawn(key: int, seed: int, replicate: int) -> int:
    """One multiplicity, in Python's integers."""
    golden = 0x9E3779B97F4A7C15
    start = splitmix((key & WORD) ^ splitmix((seed + golden) & WORD))
    both = splitmix((start + golden * (replicate // 2 + 1)) & WORD)
    uniform = both >> 32 if replicate % 2 else both & 0xFFFFFFFF
    count, below = 0, 0.0
    while True:
        below += math.exp(-1) / math.factorial(count)
        if uniform < round(2**32 * below) or count == 12:
            return count
        count += 1


@pytest.mark.parametrize("seed", [0, 17, 2**40 + 1])
def test_multiplicities_are_those_of_a_second_writing(seed):
    keys = [0, 1, 2, 63, 10**9, -1, -(2**63), 2**63 - 1]
    found = multiplicities(np.array(keys), seed, 7)
    assert found.tolist() == [[drawn(key, seed, replicate) for replicate in range(7)] for key in keys]


@pytest.mark.parametrize("count", [1, 2, 7, 200])
def test_the_graph_draws_the_same_bits(count):
    import tensorflow as tf

    from harness.job.specs import BootstrapSpec
    from harness.metrics.question import Question
    from harness.step.grid import TFGrid

    keys = np.concatenate([np.arange(100), [-1, -(2**63), 2**63 - 1], np.random.default_rng(0).integers(-(2**62), 2**62, 5000)])
    grid = TFGrid(Question({}, {}, bootstrap=BootstrapSpec(replicates=max(count, 2), seed=17)))
    found = tf.function(grid._drawn, autograph=False)(tf.constant(keys)).numpy()
    assert found[:, 0].tolist() == [1.0] * len(keys)
    assert (found[:, 1:] == multiplicities(keys, 17, max(count, 2))).all()


def test_multiplicities_are_poisson_and_do_not_go_together():
    times = multiplicities(np.arange(50_000), 3, 40).astype(float)
    observed = np.bincount(times.astype(int).ravel(), minlength=7)[:7] / times.size
    expected = [math.exp(-1) / math.factorial(k) for k in range(7)]
    assert observed == pytest.approx(expected, abs=5 * 0.5 / times.size**0.5)  # five standard deviations at most
    assert times.var() == pytest.approx(1, abs=0.01)
    between = np.corrcoef(times.T)[np.triu_indices(40, 1)]  # of replicates
    assert abs(between).max() < 5 / 50_000**0.5
    following = np.corrcoef(times[:-1, 0], times[1:, 0])[0, 1]  # of examples that follow each other
    assert abs(following) < 5 / 50_000**0.5
    other = multiplicities(np.arange(50_000), 4, 1)[:, 0]
    assert abs(np.corrcoef(times[:, 0], other)[0, 1]) < 5 / 50_000**0.5


def test_no_keys_draw_nothing():
    # A rank may be left without rows when they are sorted over all ranks.
    assert multiplicities(np.zeros(0, np.int64), 17, 5).shape == (0, 5)
