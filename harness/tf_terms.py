"""One batch: labels and outputs -> positions -> terms -> sums, all in the graph.

The sums of a batch are one int64 vector, laid out by `Sums`: exact cells first, then counts. What a metric's `terms`
returns is concatenated with that of all others, so that a batch costs a handful of operations however many metrics
there are. The state lives on the CPU: TensorFlow's GPU build has no int64 kernels for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from harness.errors import ShapeError
from harness.metrics.contract import Binding, Count, Inputs, Metric, Number
from harness.state import Counted, Layout, Status, Summed
from harness.tf_exact import to_cells, two_product

__all__ = ["BatchSums"]


@dataclass(frozen=True)
class _Positions:
    """What is scored: `shape` examples x positions, flattened to N; invalid ones hold harmless values."""

    labels: Any  # [N] or None
    predictions: Any  # [N] or [N, C]
    weights: Any  # float64 [N] or None
    valid: Any  # bool [N]
    status: Any  # int32 [N]: a Status, or -1 for masked and ignored
    per_example: int


class BatchSums:
    """Forms the sums of one batch for a set of metrics. Tracing it fixes the layout of the state.

    Args:
      metrics: by key.
      bindings: what each reads, by key.
    """

    def __init__(self, metrics: Mapping[str, Metric], bindings: Mapping[str, Binding]) -> None:
        self._metrics = metrics
        self._bindings = bindings
        self.layout: Layout | None = None

    def __call__(self, features: Mapping[str, Any], outputs: Mapping[str, Any], mask: Any) -> Any:
        """Return the sums of a batch, int64 [layout.size].

        Args:
          features: labels and weights by feature name, [B, ...].
          outputs: by output name, [B, ...].
          mask: bool [B], False where an example is padding.
        Raises: ShapeError: a tensor does not fit its metric.
        """
        cells = _Cells()
        counts = _Counts()
        groups: dict[Binding, _Positions] = {}
        with tf.device("/CPU:0"):
            for binding in dict.fromkeys(self._bindings.values()):
                positions = groups[binding] = _positions(binding, features, outputs, mask)
                counts.add((binding, "status"), positions.status, len(Status))
                if positions.per_example > 1:
                    scored = tf.reduce_any(tf.reshape(positions.valid, [-1, positions.per_example]), axis=1)
                    counts.add((binding, "examples"), tf.where(scored, 0, -1), 1)
                if binding.weight is not None:
                    cells.add((binding, "weight"), tf.ones_like(positions.weights), None, positions)
            for key, metric in self._metrics.items():
                positions = groups[self._bindings[key]]
                try:
                    terms = metric.terms(positions.labels, positions.predictions)
                except ShapeError as exc:
                    raise ShapeError(f"metric {key}: {exc}") from None
                for name, term in terms.items():
                    if isinstance(term, Number):
                        cells.add((key, name), term.values, term.low, positions)
                    elif positions.weights is None:
                        counts.add((key, name), tf.where(positions.valid, tf.cast(term.index, tf.int32), -1), term.size)
                    else:
                        cells.count((key, name), term, positions)
            self.layout = Layout(tuple(cells.columns), tuple(counts.columns))
            return tf.concat([*cells.sums(), counts.sums()], axis=0)


class _Cells:
    """Exact sums: per-position numbers, side by side, then weighted counts."""

    def __init__(self) -> None:
        self.numbers: list[Summed] = []
        self.weighted: list[Summed] = []
        self._columns: list[Any] = []
        self._rows: list[Any] = []
        self._binned: list[Any] = []

    @property
    def columns(self) -> list[Summed]:
        return self.numbers + self.weighted

    def add(self, key: tuple[Any, str], values: Any, low: Any, positions: _Positions) -> None:
        values = tf.cast(values, tf.float64)
        shape = tuple(values.shape[1:])
        self.numbers.append(Summed(key, shape))
        parts = [values] if low is None else [values, tf.cast(low, tf.float64)]
        keep = positions.valid
        if shape:
            parts = [tf.reshape(part, [-1, values.shape.num_elements() // values.shape[0]]) for part in parts]
        else:
            parts = [part[:, None] for part in parts]
        if positions.weights is not None:
            parts = [half for part in parts for half in two_product(part, positions.weights[:, None])]
        # where, not multiply: a masked NaN times 0 is NaN
        parts = [_per_example(tf.where(keep[:, None], part, tf.zeros_like(part)), positions) for part in parts]
        self._columns.append(parts)

    def count(self, key: tuple[Any, str], term: Count, positions: _Positions) -> None:
        self.weighted.append(Summed(key, (term.size,)))
        index = tf.where(positions.valid, tf.cast(term.index, tf.int32), -1)
        cells = tf.cast(to_cells(positions.weights), tf.int64)
        self._binned.append(tf.reshape(tf.math.unsorted_segment_sum(cells, index, term.size), [-1]))

    def sums(self) -> list[Any]:
        if not self._columns:
            return self._binned
        # The low parts of error-free pairs go to the same cells as the high ones: extra rows of the same columns.
        depth = max(len(parts) for parts in self._columns)
        first = tf.concat([parts[0] for parts in self._columns], axis=1)
        total = tf.reduce_sum(to_cells(first), axis=0)
        for level in range(1, depth):
            rest = [parts[level] if level < len(parts) else tf.zeros_like(parts[0]) for parts in self._columns]
            total += tf.reduce_sum(to_cells(tf.concat(rest, axis=1)), axis=0)
        return [tf.reshape(tf.cast(total, tf.int64), [-1]), *self._binned]


class _Counts:
    """Histograms, side by side in one segment sum."""

    def __init__(self) -> None:
        self.columns: list[Counted] = []
        self._indices: list[Any] = []
        self._size = 0

    def add(self, key: tuple[Any, str], index: Any, size: int) -> None:
        self.columns.append(Counted(key, size))
        inside = (index >= 0) & (index < size)
        self._indices.append(tf.where(inside, index + self._size, -1))
        self._size += size

    def sums(self) -> Any:
        index = tf.concat([tf.reshape(part, [-1]) for part in self._indices], axis=0)
        return tf.math.unsorted_segment_sum(tf.ones_like(index, tf.int64), index, self._size)


def _per_example(values: Any, positions: _Positions) -> Any:
    """Sum the positions of an example in their fixed order: what one example adds is one number."""
    if positions.per_example == 1:
        return values
    return tf.reduce_sum(tf.reshape(values, [-1, positions.per_example, values.shape[-1]]), axis=1)


def _positions(binding: Binding, features: Mapping[str, Any], outputs: Mapping[str, Any], mask: Any) -> _Positions:
    """Flatten what a binding reads to positions, and find out which of them are valid."""
    predictions = outputs[binding.output]
    labels = None if binding.label is None else features[binding.label]
    if not (predictions.dtype.is_floating or predictions.dtype.is_integer or predictions.dtype.is_bool):
        raise ShapeError(f"output '{binding.output}' is {predictions.dtype.name}, metrics need numbers")
    if binding.inputs is Inputs.CLASSES:
        labels, predictions = _classes(binding, labels, predictions)
        good_output = tf.reduce_all(tf.math.is_finite(predictions), axis=-1)
        predictions = tf.where(good_output[..., None], predictions, tf.zeros_like(predictions))
        whole = tf.cast(labels, tf.int32)
        good_label = (tf.cast(whole, labels.dtype) == labels) & (labels >= 0) & (labels < predictions.shape[-1])
        ignored = False if binding.ignore_label is None else labels == tf.cast(binding.ignore_label, labels.dtype)
        labels = tf.where(good_label, whole, 0)
    else:
        predictions = tf.cast(predictions, tf.float64)
        good_output = tf.math.is_finite(predictions)
        predictions = tf.where(good_output, predictions, tf.zeros_like(predictions))
        good_label, ignored = tf.ones_like(good_output), False
        if binding.inputs is Inputs.NUMBERS:
            labels = tf.cast(_same_shape(binding, labels, predictions), tf.float64)
            good_label = tf.math.is_finite(labels)
            labels = tf.where(good_label, labels, tf.zeros_like(labels))
    shape = good_output.shape
    per_example = shape.num_elements() // shape[0]
    counted = tf.broadcast_to(tf.reshape(mask, [-1] + [1] * (len(shape) - 1)), shape) & ~tf.cast(ignored, tf.bool)
    weights = good_weight = None
    if binding.weight is not None:
        weights, good_weight = _weights(binding, features[binding.weight], shape)
    status = tf.where(good_output, int(Status.VALID), int(Status.OUTPUT))
    status = tf.where(good_label, status, int(Status.LABEL))
    if good_weight is not None:
        status = tf.where(good_weight, status, int(Status.WEIGHT))
    status = tf.reshape(tf.where(counted, status, -1), [-1])
    flat = [-1, predictions.shape[-1]] if binding.inputs is Inputs.CLASSES else [-1]
    return _Positions(
        None if labels is None else tf.reshape(labels, [-1]),
        tf.reshape(predictions, flat),
        None if weights is None else tf.reshape(weights, [-1]),
        status == int(Status.VALID),
        status,
        per_example,
    )


def _classes(binding: Binding, labels: Any, predictions: Any) -> tuple[Any, Any]:
    """Return labels [B, ...] and scores [B, ..., C >= 2], whichever way the two were given."""
    if not predictions.dtype.is_floating:
        predictions = tf.cast(predictions, tf.float32)
    if not (labels.dtype.is_floating or labels.dtype.is_integer or labels.dtype.is_bool):
        raise ShapeError(f"label '{binding.label}' is {labels.dtype.name}, class labels are integers")
    if labels.dtype.is_bool:
        labels = tf.cast(labels, tf.int32)
    rank = len(predictions.shape)
    one_hot = labels.shape == predictions.shape and rank > 1 and predictions.shape[-1] > 1
    if len(labels.shape) == rank and rank > 1 and labels.shape[-1] == 1:
        labels = tf.squeeze(labels, -1)
    if rank > 1 and predictions.shape[-1] == 1:
        predictions = tf.squeeze(predictions, -1)
    if labels.shape == predictions.shape and not one_hot:
        # One score per position: the score of class 1 of two.
        other = tf.zeros_like(predictions) if binding.from_logits else 1 - predictions
        predictions = tf.stack([other, predictions], axis=-1)
    elif one_hot and len(predictions.shape) == 2:
        certain = (tf.reduce_sum(labels, axis=-1) == 1) & (tf.reduce_max(labels, axis=-1) == 1)
        labels = tf.where(certain, tf.argmax(labels, axis=-1, output_type=tf.int32), -1)
    if None in predictions.shape.as_list() or labels.shape != predictions.shape[:-1] or len(predictions.shape) < 2:
        raise ShapeError(
            f"expected class labels [B, ...] and scores [B, ..., C] of known size, found label '{binding.label}' "
            f"{_show(labels)} and output '{binding.output}' {_show(predictions)}; bind another with output: or label:"
        )
    return labels, predictions


def _same_shape(binding: Binding, labels: Any, predictions: Any) -> Any:
    """Return labels in the shape of the predictions; a last dimension of 1 may be there or not."""
    if labels.dtype == tf.string:
        raise ShapeError(f"label '{binding.label}' is a string, this metric needs numbers")
    if labels.shape != predictions.shape and labels.shape.num_elements() == predictions.shape.num_elements():
        squeezed = [d for d in labels.shape.as_list() if d != 1], [d for d in predictions.shape.as_list() if d != 1]
        if squeezed[0] == squeezed[1]:
            return tf.reshape(labels, predictions.shape)
    if labels.shape != predictions.shape:
        raise ShapeError(
            f"expected label and output of one shape, found label '{binding.label}' {_show(labels)} and output "
            f"'{binding.output}' {_show(predictions)}; bind another with output: or label:"
        )
    return labels


def _weights(binding: Binding, weights: Any, shape: Any) -> tuple[Any, Any]:
    """Return weights float64 broadcast to the positions, and which are finite."""
    if weights.dtype == tf.string:
        raise ShapeError(f"weight '{binding.weight}' is a string, expected numbers")
    weights = tf.cast(weights, tf.float64)
    if weights.shape.num_elements() == shape[0]:
        weights = tf.broadcast_to(tf.reshape(weights, [shape[0]] + [1] * (len(shape) - 1)), shape)
    elif weights.shape.num_elements() == shape.num_elements():
        weights = tf.reshape(weights, shape)
    else:
        raise ShapeError(f"expected one weight per example or per position {shape}, found '{binding.weight}' {_show(weights)}")
    good = tf.math.is_finite(weights)
    return tf.where(good, weights, tf.zeros_like(weights)), good


def _show(tensor: Any) -> str:
    """Write dtype and shape, the batch dimension as B."""
    inner = ", ".join("?" if d is None else str(d) for d in tensor.shape[1:])
    return f"{tensor.dtype.name} [B{', ' + inner if inner else ''}]"
