"""Whether scores are probabilities: in [0, 1], and with a sum of 1 where classes exclude each other. All in the graph.

Every operation is exact, so that the answer does not depend on how the graph was compiled: scores are compared, and
summed as integers in units of 2^-40.
"""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

from harness.exact.tf_subnormals import ordered
from harness.metrics.status import NAMED_CLASSES, Status

__all__ = ["buckets", "probability_status", "range_slack", "sum_tolerance", "within_range"]

UNIT_BITS = 40
QUANTISED_BITS = (8, 15)  # an int8 or int16 softmax of TensorFlow Lite gives multiples of 2^-8 or 2^-15
SLACK = 1e-6  # of float32 and float64: a model that averages probabilities may return 1.0000001


def _epsilon(dtype: Any) -> float:
    """Return the distance of 1 to the next number of the dtype; float64 often holds what was computed in float32."""
    return {"float16": 2.0**-10, "bfloat16": 2.0**-7}.get(dtype.name, 2.0**-23)


def sum_tolerance(dtype: Any) -> float:
    """Return how far from 1 the scores of a dtype may sum to: the square root of its epsilon.

    As scikit-learn's log_loss has it. Softmax in TensorFlow 2.21 over 2 to 50,000 classes stays below 8e-7 in float32,
    4e-3 in float16 and 4e-2 in bfloat16, also where it is the exponential of log_softmax.

    >>> sum_tolerance(tf.float16), sum_tolerance(tf.float32) == sum_tolerance(tf.float64)
    (0.03125, True)
    """
    return math.sqrt(_epsilon(dtype))


def range_slack(dtype: Any) -> float:
    """Return how far outside [0, 1] rounding may put a score of a dtype.

    >>> range_slack(tf.float32), range_slack(tf.bfloat16)
    (1e-06, 0.015625)
    """
    return max(SLACK, 2 * _epsilon(dtype)) if dtype.size < 4 else SLACK


def buckets(classes: int) -> int:
    """Return how many statuses positions have where scores are looked at; see `Status`.

    >>> buckets(2), buckets(50_000)
    (10, 16)
    """
    return Status.OUTSIDE + min(classes, NAMED_CLASSES)


def probability_status(scores: Any, *, exclusive: bool, single: bool = False) -> Any:
    """Return int32 [...]: VALID, SUM, or OUTSIDE plus the bucket of the first class whose score is outside [0, 1].

    Args:
      scores: float [..., C]; positions with a score that is not finite are not looked at, and VALID.
      exclusive: whether the scores of a position sum to 1.
      single: the last score was given, what is before it was made of it: only that one is looked at.
    """
    classes = scores.shape[-1]
    low, high = -range_slack(scores.dtype), 1 + range_slack(scores.dtype)
    values = tf.cast(scores, tf.float64)
    outside = (values < tf.constant(low, tf.float64)) | (values > tf.constant(high, tf.float64))
    if single:
        outside &= tf.range(classes) == classes - 1
    first = tf.reduce_min(tf.where(outside, tf.range(classes), classes), axis=-1)
    status = tf.where(first < classes, int(Status.OUTSIDE) + tf.minimum(first, NAMED_CLASSES - 1), int(Status.VALID))
    if exclusive and not single:
        unit = tf.constant(2.0**UNIT_BITS, tf.float64)
        units = tf.cast(tf.round(tf.where(outside, tf.zeros_like(values), within_range(values)) * unit), tf.int64)
        error = tf.abs(tf.reduce_sum(units, axis=-1) - tf.constant(1 << UNIT_BITS, tf.int64))
        uneven = error > _allowed(units, int(sum_tolerance(scores.dtype) * 2**UNIT_BITS))
        status = tf.where(uneven & (status == int(Status.VALID)), int(Status.SUM), status)
    return tf.where(tf.reduce_all(tf.math.is_finite(values), axis=-1), status, int(Status.VALID))


def _allowed(units: Any, tolerance: int) -> Any:
    """Return how far from 1 the sum may be, int64 [...]: half a step a class more where scores are of a quantised model.

    TensorFlow Lite 8-bit quantization specification: a softmax has the scale 1 / 256 (int16: 1 / 32768), whatever the model.

    Args:
      units: int64 [..., C], scores in units of 2^-40.
      tolerance: of scores that are not quantised, in the same units.
    """
    allowed = tf.fill(tf.shape(units)[:-1], tf.constant(tolerance, tf.int64))
    for bits in QUANTISED_BITS:
        step = 1 << (UNIT_BITS - bits)
        quantised = tf.reduce_all(tf.bitwise.bitwise_and(units, tf.constant(step - 1, tf.int64)) == 0, axis=-1)
        off = tf.constant(units.shape[-1] * step // 2, tf.int64)
        allowed = tf.where(quantised, tf.maximum(allowed, off + tf.constant(tolerance, tf.int64)), allowed)
    return allowed


def within_range(scores: Any) -> Any:
    """Return scores clipped to [0, 1]; NaN stays NaN.

    Args:
      scores: float [...].
    """
    zero, one = tf.zeros_like(scores), tf.ones_like(scores)
    negative = (ordered(scores) < 0) & ~tf.math.is_nan(scores)
    return tf.where(negative, zero, tf.where(scores > 1, one, scores))
