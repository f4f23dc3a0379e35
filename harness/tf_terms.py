"""One batch: labels and outputs -> terms, and their sums over the batch, all in the graph.

What the metrics' `terms` return is laid side by side, so that a batch costs a handful of operations however many
metrics there are: exact numbers as columns of limbs, counts as one histogram. The state lives on the CPU: TensorFlow's
GPU build has no int64 kernels for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from harness.errors import ShapeError
from harness.metrics.contract import Binding, Count, HostMetric, Metric, Number, Rows
from harness.state import Counted, Layout, RowLayout, Status, Summed
from harness.tf_exact import paired_sum, to_cells, two_product
from harness.tf_positions import Positions, positions_of

__all__ = ["BatchTerms", "Terms", "host_failures"]


@dataclass
class BatchTerms:
    """What one batch adds, before it is summed.

    Attributes:
      numbers: column, and its parts float64 [B, k]: a value, then what rounding took from it.
      counts: column, bucket of each position int32 [B * M] (negative for none), M.
      weighted: column, bucket int32 [B * M], the weight as cells float64 [B * M, CELL], M.
      rows: by metric: int64 [n, columns], and the example in the batch int64 [n] that each belongs to.
    """

    numbers: list[tuple[Summed, list[Any]]] = field(default_factory=list)
    counts: list[tuple[Counted, Any, int]] = field(default_factory=list)
    weighted: list[tuple[Summed, Any, Any, int]] = field(default_factory=list)
    rows: dict[str, tuple[RowLayout, Any, Any]] = field(default_factory=dict)

    @property
    def layout(self) -> Layout:
        """The layout of the state that these terms add up to."""
        summed = [column for column, _ in self.numbers] + [column for column, *_ in self.weighted]
        return Layout(tuple(summed), tuple(column for column, *_ in self.counts))

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
        parts = []
        cells = self.cells()
        if cells is not None:
            parts.append(tf.reshape(tf.cast(tf.reduce_sum(cells, axis=0), tf.int64), [-1]))
        for column, index, weight, _ in self.weighted:
            binned = tf.math.unsorted_segment_sum(tf.cast(weight, tf.int64), index, column.shape[0])
            parts.append(tf.reshape(binned, [-1]))
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
        index = tf.concat(indices, axis=0)
        parts.append(tf.math.unsorted_segment_sum(tf.ones_like(index, tf.int64), index, int(offsets[-1])))
        return tf.concat(parts, axis=0)


class Terms:
    """Forms the terms of a batch for a set of metrics.

    Args:
      metrics: by key.
      bindings: what each reads, by key.
    """

    def __init__(self, metrics: Mapping[str, Metric], bindings: Mapping[str, Binding]) -> None:
        self._metrics = metrics
        self._bindings = bindings

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
        with tf.device("/CPU:0"):
            for binding in dict.fromkeys(self._bindings.values()):
                groups[binding] = _shared(found, binding, positions_of(binding, features, outputs, mask))
            for key, metric in self._metrics.items():
                positions, binding = groups[self._bindings[key]], self._bindings[key]
                also = {option: features[feature] for option, feature in binding.also}
                also |= {name: outputs[output] for name, output in binding.outputs}
                try:
                    if isinstance(metric, HostMetric):
                        terms: Mapping[str, Any] = _host_terms(metric, positions, mask, also)
                    else:
                        terms = metric.terms(positions.labels, positions.predictions, **also)
                except ShapeError as exc:
                    raise ShapeError(f"metric {key}: {exc}") from None
                for name, term in terms.items():
                    _add(found, key, name, term, positions)
        found.numbers.sort(key=lambda entry: len(entry[1]))
        return found


def _shared(found: BatchTerms, binding: Binding, positions: Positions) -> Positions:
    """Add what all metrics of one binding share: how many positions are valid or not, and their weight."""
    found.counts.append((Counted((binding, "status"), len(Status)), positions.status, positions.per_example))
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
            cells = to_cells(positions.weights)
            found.weighted.append((Summed((key, name), (term.size,)), index, cells, positions.per_example))
    elif isinstance(term, Rows):
        found.rows[key] = _rows(term, positions)
    else:
        raise ShapeError(f"metric {key}: terms returned a {type(term).__name__}, expected Number, Count or Rows")


def _add_number(found: BatchTerms, key: tuple[Any, str], term: Number, positions: Positions) -> None:
    values = tf.cast(term.values, tf.float64)
    parts = [values] if term.low is None else [values, tf.cast(term.low, tf.float64)]
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


def _add_spread(found: BatchTerms, key: str, name: str, term: Number, positions: Positions) -> None:
    """Add what a standard error needs: per example a, the weighted value, and b, the weight: a^2 and a b."""
    value = tf.cast(term.values, tf.float64)
    weighted = value if positions.weights is None else value * positions.weights
    a = _per_example(tf.where(positions.valid, weighted, tf.zeros_like(value))[:, None], positions)
    found.numbers.append((Summed((key, f"{name}^2"), ()), [a * a]))
    if positions.weights is not None or positions.per_example > 1:
        found.numbers.append((Summed((key, f"{name}*weight"), ()), [a * _example_weight(positions)[:, None]]))


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
    columns = [_bits(tf.cast(term.key, tf.float64))]
    if term.group is not None:
        columns.append(tf.cast(term.group, tf.int64))
    if positions.weights is not None:
        columns.append(_bits(tf.gather(positions.weights, owner)))
    columns += [_bits(tf.cast(c, tf.float64)) if c.dtype.is_floating else tf.cast(c, tf.int64) for c in term.values.values()]
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
            found[real] = metric.host_terms(labels[real], predictions[real], **features)
        except Exception as exc:
            host_failures.append(exc)
            raise
        return found

    labels = tf.zeros_like(mask) if positions.labels is None else positions.labels
    # On no examples first: what the metric cannot read, or a library that is missing, is said before there is work.
    nothing = [_nothing(tensor) for tensor in (labels, positions.predictions, *also.values())]
    metric.host_terms(nothing[0], nothing[1], **dict(zip(names, nothing[2:], strict=True)))
    found = tf.numpy_function(call, [mask, labels, positions.predictions, *also.values()], tf.float64, stateful=False)
    found = tf.ensure_shape(found, [mask.shape[0], len(metric.columns())])
    return {name: Number(found[:, number], spread=metric.spread) for number, name in enumerate(metric.columns())}


def _nothing(tensor: Any) -> np.ndarray:
    """Return an array of no examples, of the dtype and inner shape of a tensor."""
    return np.zeros([0, *(1 if size is None else size for size in tensor.shape[1:])], tensor.dtype.as_numpy_dtype)


# What host terms raised: TensorFlow turns it into a text of its own. Read by whoever translates its errors.
host_failures: list[BaseException] = []
