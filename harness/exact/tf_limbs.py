"""The arithmetic of exact.py in the TensorFlow graph: numbers to limbs, and error-free products."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import tensorflow as tf

from harness.exact.limbs import CELL, GRID_BITS, LIMB_BITS, LIMBS, SCALES

__all__ = ["carry", "exact_graph", "histogram", "paired_sum", "sum_cells", "to_cells", "two_product", "with_xla"]

_WITH_XLA = ContextVar("with_xla", default=True)


@contextmanager
def with_xla(wanted: bool) -> Iterator[None]:
    """Say whether `exact_graph` compiles in this scope, as `tf.device` says where operations run."""
    token = _WITH_XLA.set(wanted)
    try:
        yield
    finally:
        _WITH_XLA.reset(token)


def exact_graph(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function of tensors with XLA, which makes one loop of many small operations.

    Only for integers, comparisons, selections and steps of float64 arithmetic that are exact: their bits are the same
    however they are compiled, or not. In eager mode, and in `with_xla(False)`, the function is left as it is.
    """
    if tf.executing_eagerly() or not _WITH_XLA.get():
        return function
    return tf.function(function, jit_compile=True, autograph=False)


def to_cells(values: Any) -> Any:
    """Write float64 numbers as cells; see `exact.to_cells`.

    The cells stay float64: every entry is an integer of at most 2^32, so that sums of them over a batch, and products
    with small integer weights, are exact below 2^53.

    Args:
      values: float64 [...].
    Returns: float64 [..., CELL].
    """
    good = tf.abs(values) < tf.constant(2.0**GRID_BITS, tf.float64)  # False for NaN as well
    scaled = tf.where(good, values, tf.zeros_like(values))[..., None] * tf.constant(SCALES)
    whole = tf.where(scaled < 0, tf.math.ceil(scaled), tf.math.floor(scaled))
    whole = tf.concat([tf.round(scaled[..., :1]), whole[..., 1:]], axis=-1)
    limbs = whole[..., :-1] - whole[..., 1:] * tf.constant(2.0**LIMB_BITS, tf.float64)
    bits = tf.bitcast(tf.abs(values), tf.int64)
    off = (whole[..., 0] != scaled[..., 0]) | _subnormal(bits)
    return tf.concat([limbs, tf.cast(tf.stack([~good, off], axis=-1), tf.float64)], axis=-1)


def _subnormal(bits: Any) -> Any:
    """Return which numbers arithmetic takes for zero and are not, by the bits of their absolute values."""
    return (bits > 0) & (bits < 1 << 52)


def sum_cells(values: Any, column: Any, columns: int) -> Any:
    """Sum float64 numbers exactly, by column.

    A number is a mantissa of 53 bits at a bit position of the grid, so it reaches into three limbs. Taking those three by
    integer arithmetic, and adding them up in one weighted histogram, costs less than writing out all nine.

    Args:
      values: float64 [n].
      column: int32 [n], in [0, columns); negative for none.
      columns: how many sums there are.
    Returns: int64 [columns * CELL].
    """
    i64 = tf.int64
    size = tf.abs(values)
    good = size < tf.constant(2.0**GRID_BITS, tf.float64)  # False for NaN as well
    bits = tf.bitcast(size, i64)
    exponent = tf.bitwise.right_shift(bits, tf.constant(52, i64))
    mantissa = tf.bitwise.bitwise_or(tf.bitwise.bitwise_and(bits, tf.constant((1 << 52) - 1, i64)), tf.constant(1 << 52, i64))
    # Below 2^-75 the last bit lies below the grid: there the number is rounded to it, ties to even.
    tiny = size < tf.constant(2.0**-75, tf.float64)
    scaled = tf.where(tiny, size, tf.zeros_like(size)) * tf.constant(2.0**GRID_BITS, tf.float64)
    on_grid = tf.round(scaled)
    mantissa = tf.where(tiny, tf.cast(on_grid, i64), mantissa)
    off = (on_grid != scaled) | _subnormal(bits)
    # A mantissa of 1.f stands for 2^(exponent - 1075); the grid begins at 2^-128.
    place = tf.where(tiny | ~good, tf.zeros_like(bits), exponent - (1075 - GRID_BITS))
    sign = tf.where(good, tf.where(values < 0, tf.constant(-1, i64), tf.constant(1, i64)), tf.constant(0, i64))
    shift = tf.bitwise.bitwise_and(place, tf.constant(LIMB_BITS - 1, i64))
    word = tf.constant((1 << LIMB_BITS) - 1, i64)
    half = tf.constant(LIMB_BITS, i64)
    low = tf.bitwise.left_shift(tf.bitwise.bitwise_and(mantissa, word), shift)  # at most 63 bits
    high = tf.bitwise.left_shift(tf.bitwise.right_shift(mantissa, half), shift)  # at most 52 bits
    first = tf.bitwise.bitwise_and(low, word) * sign
    second = (tf.bitwise.right_shift(low, half) + tf.bitwise.bitwise_and(high, word)) * sign
    third = tf.bitwise.right_shift(high, half) * sign
    limb = tf.cast(tf.bitwise.right_shift(place, tf.constant(5, i64)), tf.int32)
    start = column * CELL
    # A number is refused or rounded, never both.
    count = start + tf.where(good, LIMBS + 1, LIMBS)
    at = tf.concat([start + limb, start + limb + 1, start + limb + 2, count], axis=0)
    weights = tf.concat([first, second, third, tf.cast(~good | off, i64)], axis=0)
    return histogram(at, columns * CELL, weights)


def carry(cells: Any) -> Any:
    """Bring every limb but the last into [0, 2^32); see `exact.carry`.

    Args:
      cells: int64 [..., CELL].
    Returns: int64 [..., CELL].
    """
    half = tf.constant(LIMB_BITS, tf.int64)
    limbs = tf.unstack(cells, axis=-1)
    for k in range(LIMBS - 1):
        over = tf.bitwise.right_shift(limbs[k], half)
        limbs[k] -= tf.bitwise.left_shift(over, half)
        limbs[k + 1] += over
    return tf.stack(limbs, axis=-1)


def histogram(index: Any, size: int, weights: Any = None) -> Any:
    """Count by bucket, or add up int64 weights by bucket.

    Args:
      index: int32 [n]; what is negative belongs nowhere.
      size: how many buckets there are.
      weights: int64 [n].
    Returns: int64 [size].
    """
    none = tf.constant([], tf.int64) if weights is None else weights
    # One bucket more takes what belongs nowhere: the operation refuses negative numbers.
    placed = tf.where(index < 0, size, index)
    return tf.raw_ops.DenseBincount(input=placed, size=size + 1, weights=none, binary_output=False)[:size]


def two_product(a: Any, b: Any) -> tuple[Any, Any]:
    """Multiply without error: a * b = product + low, exactly, while nothing over- or underflows.

    T. J. Dekker, A floating-point technique for extending the available precision, 1971. Factors of 2^512 or more give
    a product that no cell takes, so their low part does not matter.

    Args:
      a, b: float64, shapes that broadcast.
    Returns: product and low, float64.
    """
    product = a * b
    a_high, a_low = _split(a)
    b_high, b_low = _split(b)
    # TensorFlow's graph optimizer would rewrite a chain of additions (factor out, regroup), and with it the error: it
    # does not look through a select, so that each addition stands alone, in this order.
    zero = tf.zeros_like(product)
    low = tf.where(tf.math.is_finite(product), a_high * b_high - product, zero)
    for part in (a_high * b_low, a_low * b_high, a_low * b_low):
        total = low + part
        low = tf.where(tf.math.is_finite(total), total, zero)
    return product, low


def paired_sum(high: Any, low: Any) -> tuple[Any, Any]:
    """Sum over the second dimension to twice the precision of a float64: pairwise, what rounding takes kept apart.

    T. Ogita, S. M. Rump, S. Oishi, Accurate sum and dot product, 2005. The order is that of the shape alone.

    Args:
      high: float64 [B, M, K].
      low: float64 [B, M, K], what rounding took from `high` before.
    Returns: sum and low, float64 [B, K].
    """
    size = high.shape[1]
    while size > 1:
        half = (size + 1) // 2
        if size % 2:
            high, low = (tf.pad(part, [[0, 0], [0, 1], [0, 0]]) for part in (high, low))
        a, b = high[:, :half], high[:, half:]
        high = a + b
        part = high - a
        low = low[:, :half] + low[:, half:] + (a - (high - part)) + (b - part)  # in any order, see two_product
        size = half
    high, low = high[:, 0], low[:, 0]
    return high, tf.where(tf.math.is_finite(high) & tf.math.is_finite(low), low, tf.zeros_like(low))


def _split(x: Any) -> tuple[Any, Any]:
    """Split float64 into two halves of 26 bits."""
    scaled = x * tf.constant(2.0**27 + 1, tf.float64)
    high = scaled - (scaled - x)
    return high, x - high
