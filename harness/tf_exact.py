"""The arithmetic of exact.py in the TensorFlow graph: numbers to limbs, and error-free products."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from harness.exact import GRID_BITS, LIMB_BITS, SCALES

__all__ = ["paired_sum", "to_cells", "two_product"]


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
    return tf.concat([limbs, tf.cast(~good, tf.float64)[..., None]], axis=-1)


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
