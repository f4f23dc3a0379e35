"""The keys of slices in the graph: what an example's features say, as one text. See `sums/grid.py` for how it is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from harness.errors import ShapeError
from harness.exact.tf_subnormals import searchsorted, widened
from harness.job.specs import SliceFeature
from harness.sums.grid import ESCAPES, PART_END, SPEC_END

__all__ = ["keys_of", "text_of"]


def keys_of(number: int, spec: tuple[SliceFeature, ...], features: Mapping[str, Any], examples: Any) -> Any:
    """Return the key of each example's slice of one spec, string [B].

    Args:
      number: of the spec.
      spec: the features that are crossed.
      features: by name, [B, ...].
      examples: the shape [B], int32 [1].
    """
    parts = [_part(feature, features, crossed=len(spec) > 1) for feature in spec]
    return tf.strings.join([tf.fill(examples, f"{number}{SPEC_END}"), tf.strings.join(parts, separator=PART_END)])


def _part(feature: SliceFeature, features: Mapping[str, Any], *, crossed: bool) -> Any:
    """Return a feature's part of the key, string [B]: its kind, then its value or the number of its bucket."""
    tensor = features[feature.feature]
    if feature.buckets is not None:
        if tensor.dtype == tf.string:
            raise ShapeError(f"slices: buckets need a numeric feature, '{feature.feature}' is a string")
        values = widened(_scalar(feature.feature, tensor))
        bucket = searchsorted(feature.buckets, values, side="right")
        bucket = tf.where(tf.math.is_nan(values), len(feature.buckets) + 1, bucket)
        return tf.strings.join(["b", tf.strings.as_string(bucket)])
    text = text_of(feature.feature, features)
    if crossed and tensor.dtype == tf.string:
        for plain, escaped in ESCAPES:
            text = tf.strings.regex_replace(text, plain, escaped)
    return tf.strings.join(["s" if tensor.dtype == tf.string else "i", text])


def text_of(name: str, features: Mapping[str, Any]) -> Any:
    """Return the values of a feature as text, string [B].

    Raises: ShapeError: there are several an example, or they are no whole numbers.
    """
    tensor = _scalar(name, features[name])
    if tensor.dtype == tf.string:
        return tensor
    if tensor.dtype.is_floating:
        raise ShapeError(
            f"slices: feature '{name}' is {tensor.dtype.name}; cut it into buckets, {{feature: {name}, buckets: [...]}}"
        )
    return tf.strings.as_string(tensor if tensor.dtype == tf.uint64 else tf.cast(tensor, tf.int64))


def _scalar(name: str, tensor: Any) -> Any:
    if tensor.shape.num_elements() != tensor.shape[0]:
        raise ShapeError(f"slices: expected one value per example of '{name}', found {list(tensor.shape[1:])}")
    return tf.reshape(tensor, [-1])
