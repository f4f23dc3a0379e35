"""The arithmetic in the graph, bit for bit that of exact.py and of fractions."""

from fractions import Fraction

import numpy as np
import pytest

from harness.exact import limbs as exact
from tests.exact.test_limbs import EDGES


def numbers() -> np.ndarray:
    """Of every magnitude: random bits, the edges, and what is refused."""
    rng = np.random.default_rng(3)
    bits = rng.integers(0, 2**64, 20_000, dtype=np.uint64).view(np.float64)
    near = rng.normal(size=20_000) * 2.0 ** rng.integers(-135, 128, 20_000)
    return np.concatenate([bits, near, EDGES, [np.nan, np.inf, -np.inf, 2.0**128]])


@pytest.mark.parametrize("compiled", [False, True])
def test_cells_are_those_of_numpy(compiled):
    import tensorflow as tf

    from harness.exact import tf_limbs as tf_exact

    values = numbers()
    run = tf.function(tf_exact.to_cells) if compiled else tf_exact.to_cells
    cells = run(tf.constant(values)).numpy()
    with np.errstate(invalid="ignore"):
        assert np.array_equal(cells.astype(np.int64), exact.to_cells(values))
    assert np.abs(cells).max() <= 2.0**32


@pytest.mark.parametrize("compile_", ["not", "graph", "xla"])
def test_sums_by_column_are_those_of_cells(compile_):
    import tensorflow as tf

    from harness.exact import tf_limbs as tf_exact

    values = numbers()
    column = np.random.default_rng(8).integers(-1, 7, len(values)).astype(np.int32)
    run = tf_exact.sum_cells if compile_ == "not" else tf.function(tf_exact.sum_cells, jit_compile=compile_ == "xla")
    found = run(tf.constant(values), tf.constant(column), 7).numpy().reshape(7, exact.CELL)
    with np.errstate(invalid="ignore"):
        cells = exact.to_cells(values)
    for number in range(7):
        expected = cells[column == number].sum(axis=0)
        assert exact.to_fraction(found[number]) == exact.to_fraction(expected)
        assert found[number, exact.LIMBS] == expected[exact.LIMBS]


def test_two_product_loses_nothing():
    import tensorflow as tf

    from harness.exact import tf_limbs as tf_exact

    rng = np.random.default_rng(4)
    a = rng.normal(size=2_000) * 2.0 ** rng.integers(-60, 60, 2_000)
    b = rng.normal(size=2_000) * 2.0 ** rng.integers(-60, 60, 2_000)
    for run in (tf_exact.two_product, tf.function(tf_exact.two_product)):
        high, low = (part.numpy() for part in run(tf.constant(a), tf.constant(b)))
        assert all(Fraction(h) + Fraction(lo) == Fraction(x) * Fraction(y) for x, y, h, lo in zip(a, b, high, low, strict=True))
        assert np.array_equal(high, a * b)


def test_two_product_of_what_overflows_has_no_nan_low_part():
    import tensorflow as tf

    from harness.exact import tf_limbs as tf_exact

    a = tf.constant([1e300, np.inf, np.nan, 2.0**600], tf.float64)
    _, low = tf_exact.two_product(a, a)
    assert low.numpy().tolist() == [0.0, 0.0, 0.0, 0.0]


def test_paired_sum_keeps_twice_the_digits():
    import tensorflow as tf

    from harness.exact import tf_limbs as tf_exact

    values = np.random.default_rng(5).normal(1e16, 1e8, (40, 7, 2))
    expected = [[sum(map(Fraction, values[i, :, k].tolist())) for k in range(2)] for i in range(40)]
    for run in (tf_exact.paired_sum, tf.function(lambda high, low: tf_exact.paired_sum(high + 0.5, low - 0.5))):
        high, low = (part.numpy() for part in run(tf.constant(values), tf.zeros_like(values)))
        shift = Fraction(0)
        if run is not tf_exact.paired_sum:
            rounded = values + 0.5
            shift = Fraction(-7, 2)
            expected = [[sum(map(Fraction, rounded[i, :, k].tolist())) for k in range(2)] for i in range(40)]
        for i in range(40):
            for k in range(2):
                found = Fraction(high[i, k]) + Fraction(low[i, k])
                assert abs(found - expected[i][k] - shift) <= abs(expected[i][k]) / 2**104


def test_paired_sum_of_infinity_is_refused_once():
    import tensorflow as tf

    from harness.exact import tf_limbs as tf_exact

    values = tf.constant([[[np.inf], [1.0]], [[np.nan], [1.0]]], tf.float64)
    high, low = tf_exact.paired_sum(values, tf.zeros_like(values))
    assert not np.isfinite(high.numpy()).any()
    assert low.numpy().tolist() == [[0.0], [0.0]]
