"""From a metric's terms to columns of a batch: masked, weighted, summed over the positions of an example. In the graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from harness.errors import ShapeError
from harness.exact.limbs import LIMB_BITS
from harness.exact.tf_limbs import paired_sum, two_product
from harness.exact.tf_subnormals import traced, widened
from harness.metrics.contract import Binding, Count, Gram, Number, Rows
from harness.step.batch_terms import BatchTerms
from harness.step.positions import Positions
from harness.sums.layout import INFINITE, Counted, Crossed, RowLayout, Summed

__all__ = ["add_infinite", "add_shared", "add_term"]


def add_shared(terms: BatchTerms, binding: Binding, positions: Positions) -> None:
    """Add what all metrics of one binding share: how many positions are valid or not, and their weight."""
    terms.counts.append((Counted((binding, "status"), positions.statuses), positions.status, positions.per_example))
    if positions.per_example > 1:
        scored = tf.reduce_any(tf.reshape(positions.valid, [-1, positions.per_example]), axis=1)
        terms.counts.append((Counted((binding, "examples"), 1), tf.where(scored, 0, -1), 1))
    if binding.weight is not None:
        _add_number(terms, (binding, "weight"), Number(tf.ones_like(positions.weights)), positions)
    if binding.weight is not None or positions.per_example > 1:
        weight = _example_weight(positions)
        terms.numbers.append((Summed((binding, "weight^2"), ()), [(weight * weight)[:, None]]))


def add_term(terms: BatchTerms, key: str, name: str, term: Any, positions: Positions) -> None:
    """Add what a metric's term is of each position.

    Raises: ShapeError: it is none of the kinds.
    """
    if isinstance(term, Number):
        _add_number(terms, (key, name), term, positions)
        if term.spread:
            _add_spread(terms, key, name, term, positions)
    elif isinstance(term, Count):
        index = tf.where(positions.valid, tf.cast(term.index, tf.int32), -1)
        if positions.weights is None:
            terms.counts.append((Counted((key, name), term.size), index, positions.per_example))
        else:
            terms.weighted.append((Summed((key, name), (term.size,)), index, positions.weights, positions.per_example))
    elif isinstance(term, Gram):
        blocks = -(-int(term.values.shape[0]) // Gram.BLOCK)
        terms.grams.append((Crossed((key, name), int(term.values.shape[1])), _gram(term, positions), blocks))
    elif isinstance(term, Rows):
        terms.rows[key] = _rows(term, positions)
    else:
        raise ShapeError(f"metric {key}: terms returned a {type(term).__name__}, expected Number, Count, Gram or Rows")


def _add_number(terms: BatchTerms, key: tuple[Any, str], term: Number, positions: Positions) -> None:
    values = widened(term.values)
    parts = [values] if term.low is None else [values, widened(term.low)]
    width = values.shape[1:].num_elements() if len(values.shape) > 1 else 1
    parts = [tf.reshape(part, [-1, width]) for part in parts]
    if positions.weights is not None:
        parts = [half for part in parts for half in two_product(traced(part), positions.weights[:, None])]
    # where, not multiply: a masked NaN times 0 is NaN
    keep = positions.valid[:, None]
    parts = [tf.where(keep, part, tf.zeros_like(part)) for part in parts]
    if positions.per_example > 1 and (term.low is not None or width == 1):
        # Rounded to float64, the sum of an example could lose what `value` subtracts.
        rows = [tf.reshape(part, [-1, positions.per_example, width]) for part in parts]
        parts = list(paired_sum(rows[0], tf.add_n(rows[1:]) if rows[1:] else tf.zeros_like(rows[0])))
    else:
        parts = [_per_example(part, positions) for part in parts]
    terms.numbers.append((Summed(key, tuple(values.shape[1:])), parts))


def add_infinite(terms: BatchTerms, key: str, name: str, term: Number, positions: Positions) -> None:
    """Count the positions where a number is infinite, whatever their weight."""
    infinite = tf.reduce_any(tf.reshape(tf.math.is_inf(term.values), [positions.valid.shape[0], -1]), axis=1)
    index = tf.where(infinite & positions.valid, 0, -1)
    terms.counts.append((Counted((key, name + INFINITE), 1), index, positions.per_example))


def _add_spread(terms: BatchTerms, key: str, name: str, term: Number, positions: Positions) -> None:
    """Add what a standard error needs: per example a, the weighted value, and b, the weight: a^2 and a b."""
    value = widened(term.values)
    weighted = value if positions.weights is None else value * positions.weights
    a = _per_example(tf.where(positions.valid, weighted, tf.zeros_like(value))[:, None], positions)
    terms.numbers.append((Summed((key, f"{name}^2"), ()), [a * a]))
    if positions.weights is not None or positions.per_example > 1:
        terms.numbers.append((Summed((key, f"{name}*weight"), ()), [a * _example_weight(positions)[:, None]]))


def _gram(term: Gram, positions: Positions) -> Any:
    """Return the upper triangle of [x, 1]^T [x, 1] of the batch in two parts, then how many examples were refused."""
    values = widened(term.values)
    good = tf.reduce_all(tf.abs(values) < tf.constant(term.largest, tf.float64), axis=1)  # False for NaN as well
    keep = (good & positions.valid)[:, None]
    whole = tf.round(tf.where(keep, values, tf.zeros_like(values)) * tf.constant(2.0**Gram.BITS / term.largest, tf.float64))
    whole = tf.concat([whole, tf.cast(keep, tf.float64)], axis=1)
    rows, width = whole.shape
    upper = tf.constant(np.flatnonzero(np.triu(np.ones([width, width], bool))).astype(np.int32))
    low, high = [], []
    for at in range(0, rows, Gram.BLOCK):
        block = whole[at : at + Gram.BLOCK]
        sums = tf.cast(tf.gather(tf.reshape(tf.matmul(block, block, transpose_a=True), [-1]), upper), tf.int64)
        rest = tf.bitwise.right_shift(sums, tf.constant(LIMB_BITS, tf.int64))
        low.append(sums - tf.bitwise.left_shift(rest, tf.constant(LIMB_BITS, tf.int64)))
        high.append(rest)
    refused = tf.math.count_nonzero(positions.valid & ~good, dtype=tf.int64)
    return tf.concat([tf.add_n(low), tf.add_n(high), refused[None]], axis=0)


def _example_weight(positions: Positions) -> Any:
    """Return the weight of each example's valid positions, float64 [B]."""
    weights = tf.ones_like(positions.valid, tf.float64) if positions.weights is None else positions.weights
    return _per_example(tf.where(positions.valid, weights, tf.zeros_like(weights))[:, None], positions)[:, 0]


def _per_example(values: Any, positions: Positions) -> Any:
    """Sum the positions of an example in their fixed order: what one example adds is one number."""
    if positions.per_example == 1:
        return values
    return tf.reduce_sum(tf.reshape(values, [-1, positions.per_example, values.shape[-1]]), axis=1)


def _rows(term: Rows, positions: Positions) -> tuple[RowLayout, Any, Any]:
    """Pack rows into int64 columns, floats by their bits; keep those of valid positions."""
    owner = tf.range(tf.shape(positions.valid)[0]) if term.per_row is None else tf.cast(term.per_row, tf.int32)
    keep = tf.gather(positions.valid, owner)
    layout = RowLayout(
        grouped=term.group is not None,
        weighted=positions.weights is not None,
        values=tuple((name, "float64" if column.dtype.is_floating else "int64") for name, column in term.values.items()),
    )
    columns = [_bits(widened(term.key))]
    if term.group is not None:
        columns.append(tf.cast(term.group, tf.int64))
    if positions.weights is not None:
        columns.append(_bits(tf.gather(positions.weights, owner)))
    columns += [_bits(widened(c)) if c.dtype.is_floating else tf.cast(c, tf.int64) for c in term.values.values()]
    packed = tf.boolean_mask(tf.stack(columns, axis=1), keep)
    return layout, packed, tf.boolean_mask(owner // positions.per_example, keep)


def _bits(column: Any) -> Any:
    return tf.bitcast(column, tf.int64)
