"""One batch: labels and outputs -> terms, and their sums over the batch, all in the graph.

What the metrics' `terms` return is laid side by side, so that a batch costs a handful of operations however many
metrics there are: exact numbers as columns of limbs, counts as one histogram. The state lives on the CPU: TensorFlow's
GPU build has no int64 kernels for it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import tensorflow as tf

from harness.errors import ShapeError
from harness.exact.floating_point import subnormals_kept
from harness.exact.limbs import CELL, LIMB_BITS
from harness.exact.tf_limbs import exact_graph, histogram, paired_sum, sum_cells, to_cells, two_product
from harness.exact.tf_subnormals import widened
from harness.metrics.contract import Binding, Count, Gram, HostMetric, Metric, Number, Rows, ScoreScale
from harness.step.positions import Positions, positions_of
from harness.step.term_shapes import check_host_terms, check_term
from harness.sums.layout import INFINITE, Counted, Crossed, Layout, RowLayout, Summed

__all__ = ["BatchTerms", "Terms", "host_failures"]


@dataclass
class BatchTerms:
    """What one batch adds, before it is summed.

    Attributes:
      numbers: column, and its parts float64 [B, k]: a value, then what rounding took from it.
      counts: column, bucket of each position int32 [B * M] (negative for none), M.
      weighted: column, bucket int32 [B * M], the weight float64 [B * M], M.
      grams: column, what the batch adds to it, int64 [column.size], and of how many blocks.
      shared: metric or binding, and the one whose columns it shares.
      rows: by metric: int64 [n, columns], and the example in the batch int64 [n] that each belongs to.
    """

    numbers: list[tuple[Summed, list[Any]]] = field(default_factory=list)
    counts: list[tuple[Counted, Any, int]] = field(default_factory=list)
    weighted: list[tuple[Summed, Any, Any, int]] = field(default_factory=list)
    grams: list[tuple[Crossed, Any, int]] = field(default_factory=list)
    rows: dict[str, tuple[RowLayout, Any, Any]] = field(default_factory=dict)
    shared: list[tuple[Any, Any]] = field(default_factory=list)

    @property
    def layout(self) -> Layout:
        """The layout of the state that these terms add up to."""
        summed = [column for column, _ in self.numbers] + [column for column, *_ in self.weighted]
        counted, crossed = tuple(column for column, *_ in self.counts), tuple(column for column, *_ in self.grams)
        return Layout(tuple(summed), counted, tuple(self.shared), crossed)

    @property
    def additions(self) -> int:
        """How many numbers a batch may add to one cell, or to one entry of a Gram matrix."""
        numbers = [parts[0].shape[0] * len(parts) for _, parts in self.numbers]
        weighted = [index.shape[0] for _, index, *_ in self.weighted]
        return max([*numbers, *weighted, *(blocks for *_, blocks in self.grams)], default=0)

    def without(self, keys: Collection[str]) -> BatchTerms:
        """Return the sums without those of some metrics; what they share with others stays."""
        needed = {first for key, first in self.shared if key not in keys}
        keys = set(keys) - needed
        if not keys:
            return self

        def kept(columns: list[Any]) -> list[Any]:
            return [entry for entry in columns if entry[0].key[0] not in keys]

        return BatchTerms(kept(self.numbers), kept(self.counts), kept(self.weighted))

    def cells(self) -> Any:
        """Return the numbers of each example as cells, float64 [B, K, CELL]; None without numbers."""
        if not self.numbers:
            return None
        # The parts of an error-free pair go into the same cells. Columns with more parts come last, so that each
        # further level covers a run of columns at the end.
        cells = to_cells(tf.concat([parts[0] for _, parts in self.numbers], axis=1))
        for level in range(1, len(self.numbers[-1][1])):
            more = to_cells(tf.concat([parts[level] for _, parts in self.numbers if len(parts) > level], axis=1))
            cells += tf.pad(more, [[0, 0], [cells.shape[1] - more.shape[1], 0], [0, 0]])
        return cells

    def sums(self) -> Any:
        """Return the sums of the batch, int64 [layout.size]."""
        return exact_graph(self._sums)()

    def _sums(self) -> Any:
        values, columns = [], []
        at = 0
        for column, parts in self.numbers:
            width = column.size // CELL
            for part in parts:  # of an error-free pair both go into the same cell
                values.append(tf.reshape(part, [-1]))
                columns.append(tf.tile(tf.range(at, at + width), part.shape[:1]))
            at += width
        for column, index, weight, _ in self.weighted:
            size = column.size // CELL
            values.append(weight)
            columns.append(tf.where((index >= 0) & (index < size), index + at, -1))
            at += size
        parts = [self._counted(), *(sums for _, sums, _ in self.grams)]
        if values:
            parts = [sum_cells(tf.concat(values, axis=0), tf.concat(columns, axis=0), at), *parts]
        return tf.concat(parts, axis=0)

    def _counted(self) -> Any:
        """Return all counts, side by side."""
        offsets = np.cumsum([0] + [column.size for column, *_ in self.counts])
        # Columns of as many positions are shifted into their place together: a batch costs a few operations, not a few
        # a column.
        alike: dict[int | None, list[int]] = {}
        for number, (_, index, _) in enumerate(self.counts):
            alike.setdefault(index.shape[0], []).append(number)
        indices = []
        for numbers in alike.values():
            index = tf.stack([self.counts[number][1] for number in numbers])
            sizes = np.array([[self.counts[number][0].size] for number in numbers], np.int32)
            shifted = index + offsets[numbers].astype(np.int32)[:, None]
            indices.append(tf.reshape(tf.where((index >= 0) & (index < sizes), shifted, -1), [-1]))
        if not indices:  # a job that only predicts has no metrics
            return tf.zeros([0], tf.int64)
        return histogram(tf.concat(indices, axis=0), int(offsets[-1]))


class Terms:
    """Forms the terms of a batch for a set of metrics.

    Args:
      metrics: by key.
      bindings: what each reads, by key.
    """

    def __init__(self, metrics: Mapping[str, Metric], bindings: Mapping[str, Binding]) -> None:
        self._metrics = metrics
        self._bindings = bindings

    @property
    def features(self) -> tuple[str, ...]:
        """The features that the terms read."""
        read = [n for b in self._bindings.values() for n in (b.label, b.weight, *(feature for _, feature in b.also))]
        return tuple(dict.fromkeys(name for name in read if name is not None))

    @property
    def outputs(self) -> tuple[str, ...]:
        """The outputs of the model that the terms read."""
        return tuple(dict.fromkeys(n for b in self._bindings.values() for n in (b.output, *(output for _, output in b.outputs))))

    def __call__(self, features: Mapping[str, Any], outputs: Mapping[str, Any], mask: Any) -> BatchTerms:
        """Return the terms of a batch.

        Args:
          features: labels, weights and what else metrics read, by feature name, [B, ...].
          outputs: by output name, [B, ...].
          mask: bool [B], False where an example is padding.
        Raises: ShapeError: a tensor does not fit its metric.
        """
        found = BatchTerms()
        groups: dict[Binding, Positions] = {}
        owners: dict[Binding, Binding] = {}
        known: dict[Any, str] = {}
        with tf.device("/CPU:0"):
            for key, binding in self._bindings.items():
                if binding in owners:
                    continue
                try:
                    positions = positions_of(binding, features, outputs, mask)
                except ShapeError as exc:
                    raise ShapeError(f"metric {key}: {exc}") from None
                # Where nothing was asked of the scores, the positions are those of who asks nothing.
                owner = binding if positions.scores_checked else replace(binding, scale=ScoreScale.ANY)
                owners[binding] = owner
                if owner not in groups:
                    groups[owner] = _shared(found, owner, positions)
                if owner != binding:
                    found.shared.append((binding, owner))
            for key, metric in self._metrics.items():
                binding = owners[self._bindings[key]]
                positions = groups[binding]
                if (statistic := metric.statistic()) is not None:
                    first = known.setdefault((binding, type(metric).terms, statistic), key)
                    if first != key:
                        found.shared.append((key, first))
                        continue
                also = {option: features[feature] for option, feature in binding.also}
                also |= {name: outputs[output] for name, output in binding.outputs}
                try:
                    if isinstance(metric, HostMetric):
                        terms: Mapping[str, Any] = _host_terms(metric, positions, mask, also)
                    else:
                        terms = metric.terms(positions.labels, positions.predictions, **also)
                        for name, term in terms.items():
                            check_term(metric, name, term, positions.valid.shape[0])
                except ShapeError as exc:
                    raise ShapeError(f"metric {key}: {exc}") from None
                for name, term in terms.items():
                    _add(found, key, name, term, positions)
                    if isinstance(term, Number) and metric.infinite_term():
                        _add_infinite(found, key, name, term, positions)
        found.numbers.sort(key=lambda entry: len(entry[1]))
        return found


def _shared(found: BatchTerms, binding: Binding, positions: Positions) -> Positions:
    """Add what all metrics of one binding share: how many positions are valid or not, and their weight."""
    found.counts.append((Counted((binding, "status"), positions.statuses), positions.status, positions.per_example))
    if positions.per_example > 1:
        scored = tf.reduce_any(tf.reshape(positions.valid, [-1, positions.per_example]), axis=1)
        found.counts.append((Counted((binding, "examples"), 1), tf.where(scored, 0, -1), 1))
    if binding.weight is not None:
        _add_number(found, (binding, "weight"), Number(tf.ones_like(positions.weights)), positions)
    if binding.weight is not None or positions.per_example > 1:
        weight = _example_weight(positions)
        found.numbers.append((Summed((binding, "weight^2"), ()), [(weight * weight)[:, None]]))
    return positions


def _add(found: BatchTerms, key: str, name: str, term: Any, positions: Positions) -> None:
    if isinstance(term, Number):
        _add_number(found, (key, name), term, positions)
        if term.spread:
            _add_spread(found, key, name, term, positions)
    elif isinstance(term, Count):
        index = tf.where(positions.valid, tf.cast(term.index, tf.int32), -1)
        if positions.weights is None:
            found.counts.append((Counted((key, name), term.size), index, positions.per_example))
        else:
            found.weighted.append((Summed((key, name), (term.size,)), index, positions.weights, positions.per_example))
    elif isinstance(term, Gram):
        blocks = -(-int(term.values.shape[0]) // Gram.BLOCK)
        found.grams.append((Crossed((key, name), int(term.values.shape[1])), _gram(term, positions), blocks))
    elif isinstance(term, Rows):
        found.rows[key] = _rows(term, positions)
    else:
        raise ShapeError(f"metric {key}: terms returned a {type(term).__name__}, expected Number, Count, Gram or Rows")


def _add_number(found: BatchTerms, key: tuple[Any, str], term: Number, positions: Positions) -> None:
    values = widened(term.values)
    parts = [values] if term.low is None else [values, widened(term.low)]
    width = values.shape[1:].num_elements() if len(values.shape) > 1 else 1
    parts = [tf.reshape(part, [-1, width]) for part in parts]
    if positions.weights is not None:
        parts = [half for part in parts for half in two_product(part, positions.weights[:, None])]
    # where, not multiply: a masked NaN times 0 is NaN
    keep = positions.valid[:, None]
    parts = [tf.where(keep, part, tf.zeros_like(part)) for part in parts]
    if positions.per_example > 1 and (term.low is not None or width == 1):
        # Rounded to float64, the sum of an example could lose what `value` subtracts.
        rows = [tf.reshape(part, [-1, positions.per_example, width]) for part in parts]
        parts = list(paired_sum(rows[0], tf.add_n(rows[1:]) if rows[1:] else tf.zeros_like(rows[0])))
    else:
        parts = [_per_example(part, positions) for part in parts]
    found.numbers.append((Summed(key, tuple(values.shape[1:])), parts))


def _add_infinite(found: BatchTerms, key: str, name: str, term: Number, positions: Positions) -> None:
    """Count the positions where a number is infinite, whatever their weight."""
    infinite = tf.reduce_any(tf.reshape(tf.math.is_inf(term.values), [positions.valid.shape[0], -1]), axis=1)
    index = tf.where(infinite & positions.valid, 0, -1)
    found.counts.append((Counted((key, name + INFINITE), 1), index, positions.per_example))


def _add_spread(found: BatchTerms, key: str, name: str, term: Number, positions: Positions) -> None:
    """Add what a standard error needs: per example a, the weighted value, and b, the weight: a^2 and a b."""
    value = widened(term.values)
    weighted = value if positions.weights is None else value * positions.weights
    a = _per_example(tf.where(positions.valid, weighted, tf.zeros_like(value))[:, None], positions)
    found.numbers.append((Summed((key, f"{name}^2"), ()), [a * a]))
    if positions.weights is not None or positions.per_example > 1:
        found.numbers.append((Summed((key, f"{name}*weight"), ()), [a * _example_weight(positions)[:, None]]))


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


def _host_terms(metric: HostMetric, positions: Positions, mask: Any, also: Mapping[str, Any]) -> Mapping[str, Number]:
    """Call a host-side library on the real examples of a batch; padding gets zeros."""
    names = list(also)

    def call(real: np.ndarray, labels: np.ndarray, predictions: np.ndarray, *more: np.ndarray) -> np.ndarray:
        features = {name: array[real] for name, array in zip(names, more, strict=True)}
        found = np.zeros([len(real), len(metric.columns())])
        try:
            with subnormals_kept():
                rows = metric.host_terms(labels[real], predictions[real], **features)
            found[real] = check_host_terms(metric, rows, int(real.sum()))
        except Exception as exc:
            host_failures.append(exc)
            raise
        return found

    labels = tf.zeros_like(mask) if positions.labels is None else positions.labels
    # On no examples first: what the metric cannot read, or a library that is missing, is said before there is work.
    nothing = [_nothing(tensor) for tensor in (labels, positions.predictions, *also.values())]
    check_host_terms(metric, metric.host_terms(nothing[0], nothing[1], **dict(zip(names, nothing[2:], strict=True))), 0)
    found = tf.numpy_function(call, [mask, labels, positions.predictions, *also.values()], tf.float64, stateful=False)
    found = tf.ensure_shape(found, [mask.shape[0], len(metric.columns())])
    return {name: Number(found[:, number], spread=metric.spread) for number, name in enumerate(metric.columns())}


def _nothing(tensor: Any) -> np.ndarray:
    """Return an array of no examples, of the dtype and inner shape of a tensor."""
    return np.zeros([0, *(1 if size is None else size for size in tensor.shape[1:])], tensor.dtype.as_numpy_dtype)


# What host terms raised: TensorFlow turns it into a text of its own. Read by whoever translates its errors.
host_failures: list[BaseException] = []
