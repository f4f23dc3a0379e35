"""The weights of positions in the graph: brought to their shape, and which of them cannot be used. Knows no metric."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from harness.errors import ShapeError
from harness.exact.limbs import EXACT
from harness.exact.tf_subnormals import ordered, widened
from harness.metrics.contract import Binding, Inputs
from harness.sums.layout import Status

__all__ = ["as_float64", "shown", "weights_of"]


def weights_of(binding: Binding, weights: Any, shape: Any, labels: int | None = None) -> tuple[Any, Any]:
    """Return weights float64 in the shape of the positions, 0 where they cannot be used, and the Status of each, int32.

    Args:
      binding: names the weight.
      weights: numbers [B], [B, 1] or in the shape of the positions, whose inner dimensions may be one.
      shape: of the positions, [B, ...].
      labels: how many labels or outputs a position has, where it is one of several.
    Raises: ShapeError: they are strings, or of another shape.
    """
    if weights.dtype == tf.string:
        raise ShapeError(f"weight '{binding.weight}' is a string, expected numbers")
    values, exact = as_float64(weights)
    values, exact = (_laid(binding, tensor, shape, labels) for tensor in (values, exact))
    small = (tf.abs(values) < tf.constant(EXACT, tf.float64)) & (ordered(values) != 0)
    status = tf.where(small, int(Status.SMALL_WEIGHT), int(Status.VALID))
    status = tf.where(exact, status, int(Status.ROUNDED))
    status = tf.where(ordered(values) < 0, int(Status.NEGATIVE), status)
    status = tf.where(tf.math.is_finite(values), status, int(Status.WEIGHT))
    usable = (status == int(Status.VALID)) | (status == int(Status.SMALL_WEIGHT))
    return tf.where(usable, values, tf.zeros_like(values)), status


def as_float64(numbers: Any) -> tuple[Any, Any]:
    """Return numbers as float64, and which of them it holds as they are: integers above 2^53 may be none, bool [...]."""
    values = widened(numbers)
    if not numbers.dtype.is_integer or numbers.dtype.size < 8:
        return values, tf.ones_like(values, tf.bool)
    # The largest integers round up to a number that has no way back.
    inside = values < tf.constant(2.0 ** (64 if numbers.dtype.is_unsigned else 63), tf.float64)
    back = tf.cast(tf.where(inside, values, tf.zeros_like(values)), numbers.dtype)
    return values, inside & (back == numbers)


def shown(tensor: Any) -> str:
    """Write dtype and shape, the batch dimension as B."""
    return f"{tensor.dtype.name} {_sizes(tensor.shape)}"


def _sizes(shape: Any) -> str:
    inner = ", ".join("?" if d is None else str(d) for d in shape[1:])
    return f"[B{', ' + inner if inner else ''}]"


def _laid(binding: Binding, weights: Any, shape: Any, labels: int | None) -> Any:
    """Bring weights to the shape of the positions: one for all of an example, or one each."""
    if weights.shape.num_elements() == shape[0]:
        return tf.broadcast_to(tf.reshape(weights, [shape[0]] + [1] * (len(shape) - 1)), shape)
    inner, positions = ([d for d in sizes[1:] if d != 1] for sizes in (weights.shape.as_list(), shape.as_list()))
    # In one dimension they are in the order of the positions; of another shape, [3, 2] for [2, 3], they would be mixed up.
    if inner == positions or inner == [shape[1:].num_elements()]:
        return tf.reshape(weights, shape)
    each = f" or per position {_sizes(shape)}" if len(shape) > 1 else ""
    message = f"expected one weight per example [B]{each}, found '{binding.weight}' {shown(weights)}"
    if labels is not None and weights.shape == [*shape, labels]:
        message += (
            f": one per {'label' if binding.inputs is Inputs.MULTILABEL else 'output'}. All of an example weigh the same, as by "
            f"scikit-learn's sample_weight; report {_APART[binding.inputs]} and weigh the values it gives"
        )
    raise ShapeError(message)


_APART = {Inputs.MULTILABEL: "average: per_class", Inputs.MULTIOUTPUT: "multioutput: raw"}
