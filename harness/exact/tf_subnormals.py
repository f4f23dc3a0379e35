"""Numbers next to zero, as they are: TensorFlow's kernels take a subnormal number for zero, and return zero for one.

Its threads run with the processor's flush-to-zero and denormals-are-zero bits set: 1e-39 in float32 (below 2^-126) and
1e-310 in float64 (below 2^-1022) lose every comparison, cast and product. Copies, selections and bit patterns are left
alone, so what decides here are integers. Every float32 is a normal float64: `widened` once, it is safe.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from harness.exact.tf_limbs import exact_graph

__all__ = [
    "apart", "converted", "difference", "exceeds", "highest", "log", "narrowed", "ordered", "same", "searchsorted", "square",
    "traced", "widened",
]  # fmt: skip

NARROW = 64  # classes up to which `highest` is one loop of integers, where it is compiled
NEAR = 2.0**-960  # below it a difference of float64 numbers may be subnormal
TRACE = 2.0**-600  # stands for what is smaller and not zero: sums on a grid of 2^-128 have as little of it, and count it
LIFT = 200  # as a power of two: brings subnormal numbers, and differences of two numbers below NEAR, among the normal ones


def widened(x: Any) -> Any:
    """Cast to float64; a subnormal number keeps its value.

    Args:
      x: any number or bool [...].
    Returns: float64 [...].
    """
    if x.dtype == tf.bfloat16:
        x = tf.cast(x, tf.float32)  # a shift of bits
    return exact_graph(_widened)(x) if x.dtype == tf.float32 else tf.cast(x, tf.float64)


def _widened(x: Any) -> Any:
    bits = tf.bitcast(x, tf.int32)
    # Below 2^-126 the exponent's bits are 0, and the rest counts in units of 2^-149.
    small = tf.bitwise.bitwise_and(bits, 0x7F800000) < 1
    units = tf.where(bits < 0, tf.constant(-(2.0**-149), tf.float64), tf.constant(2.0**-149, tf.float64))
    return tf.where(small, tf.cast(tf.bitwise.bitwise_and(bits, 0x7FFFFF), tf.float64) * units, tf.cast(x, tf.float64))


def narrowed(x: Any) -> Any:
    """Cast to float32, rounded to nearest; what is subnormal there keeps its value.

    Args:
      x: any number or bool [...].
    Returns: float32 [...].
    """
    if x.dtype != tf.float64:
        return tf.cast(x, tf.float32)
    small = tf.abs(x) < tf.constant(2.0**-126, tf.float64)
    units = tf.cast(tf.round(tf.where(small, tf.abs(x), tf.zeros_like(x)) * tf.constant(2.0**149, tf.float64)), tf.int32)
    sign = tf.where(tf.bitcast(x, tf.int64) < 0, tf.constant(-(2**31), tf.int32), tf.constant(0, tf.int32))
    return tf.where(small, tf.bitcast(tf.bitwise.bitwise_or(units, sign), tf.float32), tf.cast(x, tf.float32))


def converted(x: Any, dtype: Any, name: str) -> Any:
    """Cast what a model is fed. It computes with zero for a subnormal number, but one that only hands it on keeps it.

    Args:
      x: any number or bool [...].
      dtype: of the result; what is narrowed is rounded by TensorFlow, which costs a tenth.
      name: by which an integer is named that does not fit; the graph then fails.
    """
    if dtype == tf.float64:
        return widened(x)
    values = tf.cast(x, dtype)
    if not (x.dtype.is_integer and dtype.is_integer) or (dtype.min <= x.dtype.min and x.dtype.max <= dtype.max):
        return values
    fits = (tf.cast(values, x.dtype) == x) & ((values < 0) == (x < 0))
    message = f"feature '{name}': expected integers that fit the model's {dtype.name}, found"
    beyond = tf.boolean_mask(x, ~fits)[:1]
    with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(fits), [message, beyond])]):
        return tf.identity(values)


def ordered(x: Any) -> Any:
    """Return integers that compare as the numbers do; -0.0 and 0.0 are one, NaN lies beyond infinity.

    Args:
      x: any number or bool [...].
    Returns: int64 of float64, int32 of narrower floats and of bool, else x itself.
    """
    if x.dtype.is_bool:
        return tf.cast(x, tf.int32)
    if not x.dtype.is_floating:
        return x
    kind = tf.int64 if x.dtype == tf.float64 else tf.int32
    bits = tf.bitcast(x if x.dtype == tf.float64 else tf.cast(x, tf.float32), kind)
    return tf.where(bits < 0, tf.constant(kind.min, kind) - bits, bits)


def same(a: Any, b: Any) -> Any:
    """Return where two tensors of one dtype are equal, bool; NaN equals nothing.

    Args:
      a, b: shapes that broadcast.
    """
    if not a.dtype.is_floating:
        return tf.equal(a, b)
    return (ordered(a) == ordered(b)) & ~tf.math.is_nan(a)


def exceeds(x: Any, threshold: float) -> Any:
    """Return where numbers are greater than a threshold, rounded to their dtype: bool, in their shape.

    Args:
      x: float [...].
      threshold: finite.
    """
    bound = tf.constant(threshold, x.dtype)
    if _decided(x.dtype, [threshold]):
        return x > bound
    return (ordered(x) > ordered(bound)) & ~tf.math.is_nan(x)


def searchsorted(edges: Sequence[float] | np.ndarray, x: Any, side: str) -> Any:
    """Return between which edges numbers lie, as `tf.searchsorted`: int32 [N].

    Args:
      edges: ascending.
      x: float64 [N].
      side: "left" or "right".
    """
    bounds = tf.constant(np.asarray(edges, np.float64))
    if _decided(tf.float64, edges):
        return tf.searchsorted(bounds, x, side=side)
    return tf.searchsorted(ordered(bounds), ordered(x), side=side)


def _decided(dtype: Any, bounds: Sequence[float] | np.ndarray) -> bool:
    """Say whether taking subnormal numbers for zero moves none across a bound: none of them is zero or subnormal."""
    return bool((np.abs(np.asarray(bounds, np.float64)) >= _least_normal(dtype)).all())


def _least_normal(dtype: Any) -> float:
    """Return the smallest number that is not subnormal; of bfloat16, which NumPy does not know, it is that of float32."""
    return float(np.finfo(np.float32 if dtype == tf.bfloat16 else dtype.as_numpy_dtype).tiny)


def highest(x: Any) -> Any:
    """Return where the largest number of each row is, the first among equals: int32 [...].

    Args:
      x: any number [..., C], without NaN.
    """
    if not x.dtype.is_floating:
        return tf.argmax(x, axis=-1, output_type=tf.int32)

    def among_integers() -> Any:
        return tf.argmax(ordered(x), axis=-1, output_type=tf.int32)

    compiled = exact_graph(among_integers)
    if compiled is not among_integers and x.shape[-1] <= NARROW:
        return compiled()
    # A largest number that is not near zero is above all that are, and its comparisons were right.
    place = tf.argmax(x, axis=-1, output_type=tf.int32)
    top = tf.gather(x, place, axis=-1, batch_dims=len(x.shape) - 1)
    near = tf.abs(widened(top)) < tf.constant(_least_normal(x.dtype), tf.float64)
    return tf.cond(tf.reduce_any(near), among_integers, lambda: place)


def log(x: Any, origin: Any) -> Any:
    """Return the natural logarithm, of subnormal numbers too.

    Args:
      x: float64 [...].
      origin: the dtype it was widened from: of narrower ones none is subnormal.
    """
    if origin != tf.float64:
        return tf.math.log(x)
    bits = tf.bitcast(x, tf.int64)
    small = (bits > 0) & (bits < 1 << 52)
    units = tf.where(small, tf.cast(tf.where(small, bits, tf.ones_like(bits)), tf.float64), x)  # of 2^-1074
    return tf.math.log(units) + tf.where(small, tf.constant(-1074 * math.log(2), tf.float64), tf.constant(0.0, tf.float64))


def difference(a: Any, b: Any) -> Any:
    """Subtract, rounded to nearest; a difference of subnormal numbers, or one that is subnormal, keeps its value.

    Args:
      a, b: float64 [...], of one shape.
    """
    zero = tf.zeros_like(a)
    near = _below(a, NEAR) & _below(b, NEAR)
    lifted = _lifted(a) - _lifted(b)  # normal, or zero
    small = _below(lifted, 2.0 ** (LIFT - 1022))
    # A multiple of 2^-1074, and fewer than 2^52 of them: its bits are their number.
    units = tf.where(small & near, tf.abs(lifted), zero) * tf.constant(2.0 ** (1074 - LIFT), tf.float64)
    sign = tf.where(lifted < 0, tf.constant(tf.int64.min, tf.int64), tf.constant(0, tf.int64))
    subnormal = tf.bitcast(tf.bitwise.bitwise_or(tf.cast(units, tf.int64), sign), tf.float64)
    normal = tf.where(near & ~small, lifted, zero) * tf.constant(2.0**-LIFT, tf.float64)
    return tf.where(near, tf.where(small, subnormal, normal), a - b)


def traced(x: Any) -> Any:
    """Return numbers that are to be multiplied and summed: a subnormal one, whose product would be zero, becomes `TRACE`.

    Args:
      x: float64 [...].
    """
    return exact_graph(_traced)(x)


def _traced(x: Any) -> Any:
    bits = tf.bitcast(tf.abs(x), tf.int64)
    return tf.where((bits > 0) & (bits < 1 << 52), tf.constant(TRACE, tf.float64), x)


def apart(a: Any, b: Any) -> Any:
    """Subtract numbers that are to be summed: zero for equal numbers alone. A subnormal difference becomes `TRACE`.

    Args:
      a, b: float64 [...], of one shape.
    """
    return exact_graph(_apart)(a, b)


def _apart(a: Any, b: Any) -> Any:
    gap = a - b
    # NaN is no less than anything.
    vanished = (tf.abs(gap) < tf.constant(2.0**-1000, tf.float64)) & (ordered(a) != ordered(b))
    return tf.where(vanished, tf.constant(TRACE, tf.float64), gap)


def square(x: Any) -> Any:
    """Square numbers that are to be summed: zero for zero alone. A square below `TRACE` becomes that.

    Args:
      x: float64 [...].
    """
    return exact_graph(_square)(x)


def _square(x: Any) -> Any:
    small = (tf.abs(x) < tf.constant(TRACE**0.5, tf.float64)) & (ordered(x) != 0)
    return tf.where(small, tf.constant(TRACE, tf.float64), x * x)


def _lifted(x: Any) -> Any:
    """Multiply by 2^LIFT, subnormal numbers too; what is not near zero becomes 0."""
    size = tf.abs(x)
    bits = tf.bitcast(size, tf.int64)
    none = tf.zeros_like(bits)
    units = tf.cast(tf.where(bits < 1 << 52, bits, none), tf.float64) * tf.constant(2.0 ** (LIFT - 1074), tf.float64)
    normal = tf.where(_below(x, NEAR), size, tf.zeros_like(x)) * tf.constant(2.0**LIFT, tf.float64)
    size = tf.where(bits < 1 << 52, units, normal)
    return tf.where(tf.bitcast(x, tf.int64) < 0, -size, size)


def _below(x: Any, bound: float) -> Any:
    return tf.abs(x) < tf.constant(bound, tf.float64)
