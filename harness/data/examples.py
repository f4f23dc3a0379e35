"""tf.train.Example and SequenceExample: what features records have, how they are parsed, and what is wrong with one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from harness.data.source import SERIALIZED, Feature, Kind

__all__ = ["check", "infer", "misfit", "parse"]

LISTS = {"float_list": "float32", "int64_list": "int64", "bytes_list": "string"}
USUAL = 0.8  # share of records that have to agree in a length, for it to be taken for the length


def infer(records: Sequence[bytes]) -> dict[str, Feature]:
    """Say which features some records have: dtype and number of values, None where records differ.

    Raises: google.protobuf.message.DecodeError: one is neither an Example nor a SequenceExample.
    """
    import tensorflow as tf

    counts_by_name: dict[str, Counter[Feature]] = {}
    for data in records:
        example = tf.train.SequenceExample.FromString(data)  # an Example is one without feature lists
        for name, value in example.context.feature.items():
            counts_by_name.setdefault(name, Counter())[_feature(value)] += 1
        for name, values in example.feature_lists.feature_list.items():
            inner = _feature(values.feature[0]) if values.feature else Feature("float32", (1,))
            shape = inner.shape[0]
            steps = (None,) if shape == 1 else (None, shape)
            counts_by_name.setdefault(name, Counter())[Feature(inner.dtype, steps, Kind.SEQUENCE)] += 1
    return {name: _usual(counts) for name, counts in sorted(counts_by_name.items())}


def _usual(counts: Counter[Feature]) -> Feature:
    (feature, times), *_ = counts.most_common(1)
    if times >= USUAL * sum(counts.values()) or feature.kind is Kind.SEQUENCE:
        return feature
    return Feature(feature.dtype, (None,))


def _feature(value: Any) -> Feature:
    kind = value.WhichOneof("kind")
    if kind is None:
        return Feature("float32", (0,))
    return Feature(LISTS[kind], (len(getattr(value, kind).value),))


def parse(serialized: Any, wanted: Mapping[str, Feature]) -> dict[str, Any]:
    """Parse a batch of records at once.

    Args:
      serialized: string [B].
      wanted: features by name.
    Returns: [B, ...] by name.
    """
    import tensorflow as tf

    specs = {name: _spec(feature) for name, feature in wanted.items() if name != SERIALIZED and feature.kind is not Kind.SEQUENCE}
    lists = {name: _list_spec(feature) for name, feature in wanted.items() if feature.kind is Kind.SEQUENCE}
    lengths: Mapping[str, Any] = {}
    if lists:
        context, steps, lengths = tf.io.parse_sequence_example(serialized, specs or None, lists)
        tensors = {**(context or {}), **steps}
    else:
        tensors = dict(tf.io.parse_example(serialized, specs)) if specs else {}
    parsed = {name: _dense(tensors[name], feature, lengths.get(name)) for name, feature in wanted.items() if name != SERIALIZED}
    if SERIALIZED in wanted:
        parsed[SERIALIZED] = serialized
    return parsed


def _spec(feature: Feature) -> Any:
    import tensorflow as tf

    dtype = tf.as_dtype(feature.dtype)
    if feature.kind is Kind.IMAGE:
        return tf.io.FixedLenFeature((), tf.string)
    if feature.kind is Kind.VARIABLE:
        return tf.io.VarLenFeature(dtype)
    if feature.kind is Kind.SPARSE:
        *indices, values = feature.keys
        return tf.io.SparseFeature(indices, values, dtype, list(feature.shape))
    if feature.kind is Kind.RAGGED:
        values, lengths = feature.keys
        return tf.io.RaggedFeature(dtype, values, [tf.io.RaggedFeature.RowLengths(lengths)], row_splits_dtype=tf.int64)
    if feature.pad is None:
        return tf.io.FixedLenFeature(feature.shape, dtype)
    return tf.io.FixedLenFeature(
        feature.shape, dtype, default_value=np.full([d or 0 for d in feature.shape], feature.pad).tolist()
    )


def _list_spec(feature: Feature) -> Any:
    import tensorflow as tf

    return tf.io.FixedLenSequenceFeature(feature.shape[1:], tf.as_dtype(feature.dtype))


def _dense(parsed: Any, feature: Feature, lengths: Any) -> Any:
    """Bring what was parsed to the feature's shape; refuse what has more values than that."""
    import tensorflow as tf

    from harness.data import pictures

    if feature.kind is Kind.IMAGE:
        return pictures.decode(parsed, feature)
    if feature.kind is Kind.FIXED:
        return parsed
    pad = feature.pad if feature.pad is not None else "" if feature.dtype == "string" else 0
    pad = tf.constant(pad, tf.as_dtype(feature.dtype))
    shape = [int(d or 0) for d in feature.shape]
    if feature.kind is Kind.SPARSE:
        return tf.ensure_shape(tf.sparse.to_dense(parsed, default_value=pad), [None, *shape])
    if feature.kind is Kind.RAGGED:
        most = parsed.bounding_shape(out_type=tf.int64)[1:]
        with tf.control_dependencies([tf.debugging.assert_less_equal(most, tf.constant(shape, tf.int64))]):
            return tf.ensure_shape(parsed.to_tensor(pad, shape=[None, *shape]), [None, *shape])
    if feature.kind is Kind.VARIABLE:
        parsed = tf.sparse.to_dense(parsed, default_value=pad)
    else:
        steps = tf.sequence_mask(lengths, tf.shape(parsed)[1])
        steps = tf.reshape(steps, tf.concat([tf.shape(steps), tf.ones([len(shape) - 1], tf.int32)], axis=0))
        parsed = tf.where(steps, parsed, pad)
    missing = shape[0] - tf.shape(parsed)[1]  # negative where there are too many: tf.pad refuses that
    padded = tf.pad(parsed, [[0, 0], [0, missing], *([[0, 0]] * (len(shape) - 1))], constant_values=pad)
    return tf.ensure_shape(padded, [None, *shape])


def check(records: Sequence[bytes], wanted: Mapping[str, Feature]) -> list[str | None]:
    """Say what is wrong with each of some records, None where it can be parsed."""
    import tensorflow as tf

    plain = {name: feature for name, feature in wanted.items() if name != SERIALIZED}
    if plain:
        try:
            parse(tf.constant(list(records)), plain)
            return [None] * len(records)
        except (tf.errors.OpError, ValueError):
            pass  # one of them; found below
    return [misfit(data, wanted) for data in records]


def misfit(data: bytes, wanted: Mapping[str, Feature]) -> str | None:
    """Say how a record differs from what is wanted, None where it fits."""
    import tensorflow as tf

    try:
        example = tf.train.SequenceExample.FromString(data)
    except Exception as exc:  # noqa: BLE001 - protobuf's DecodeError, whose home depends on the implementation
        return f"not a tf.train.Example: {exc}"
    for name, feature in wanted.items():
        if name == SERIALIZED:
            continue
        if feature.kind is Kind.SEQUENCE:
            wrong = _list_misfit(name, feature, example.feature_lists.feature_list)
        else:
            wrong = _misfit(name, feature, example.context.feature)
        if wrong:
            return wrong
        if feature.kind is not Kind.FIXED:
            try:
                parse(tf.constant([data]), {name: feature})
            except (tf.errors.OpError, ValueError) as exc:
                return f"feature '{name}': expected {feature}, found other values: {' '.join(str(exc).split())[:200]}"
    return None


def _misfit(name: str, wanted: Feature, features: Any) -> str | None:
    if wanted.kind in (Kind.SPARSE, Kind.RAGGED, Kind.VARIABLE):
        keys = wanted.keys or (name,)
        if wanted.kind is not Kind.VARIABLE and (missing := [key for key in keys if key not in features]):
            return f"feature '{name}': '{missing[0]}' is missing; the record has {', '.join(sorted(features)) or 'none'}"
        count = len(_values(features[keys[-1]])) if keys[-1] in features else 0
        if wanted.kind is Kind.VARIABLE and count > (wanted.shape[0] or 0):
            return f"feature '{name}': expected at most {wanted.shape[0]} values, found {count}"
        return None
    if name not in features or features[name].WhichOneof("kind") is None:
        if wanted.pad is not None:
            return None
        return f"feature '{name}' is missing; the record has {', '.join(sorted(features)) or 'none'}"
    feature = _feature(features[name])
    dtype = "string" if wanted.kind is Kind.IMAGE else wanted.dtype
    if feature.dtype != dtype:
        return f"feature '{name}': expected {wanted}, found {feature.dtype} values"
    count = 1 if wanted.kind is Kind.IMAGE else prod(d or 0 for d in wanted.shape)
    if feature.shape != (count,):
        return f"feature '{name}': expected {wanted}, that is {count} values, found {feature.shape[0]}"
    return None


def _list_misfit(name: str, wanted: Feature, lists: Any) -> str | None:
    if name not in lists:
        return f"feature list '{name}' is missing; the record has {', '.join(sorted(lists)) or 'none'}"
    steps = len(lists[name].feature)
    return (
        f"feature list '{name}': expected at most {wanted.shape[0]} steps, found {steps}"
        if steps > (wanted.shape[0] or 0)
        else None
    )


def _values(feature: Any) -> Any:
    kind = feature.WhichOneof("kind")
    return getattr(feature, kind).value if kind else ()
