"""Metrics of one's own that reduce over the batch, each in another way."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from harness.metrics.contract import Count, Gram, HostMetric, Inputs, Metric, Number, RowMetric, Rows, Totals
from harness.metrics.means import MeanMetric

__all__ = ["REDUCING", "Honest", "HostReducing", "Outer"]


class Honest(Metric):
    """Mean squared error, and the same in two columns."""

    inputs: ClassVar[Inputs] = Inputs.NUMBERS

    def terms(self, labels: Any, predictions: Any) -> Any:
        error = tf.square(labels - predictions)
        return {"one": Number(error, spread=True), "two": Number(tf.stack([error, error], axis=1))}

    def value(self, totals: Totals) -> Any:
        return totals.mean("one")


class Mean(Honest):
    """A mean over the batch: a scalar."""

    def terms(self, labels: Any, predictions: Any) -> Any:
        error = tf.square(labels - predictions)
        return {"error": Number(tf.reduce_mean(error))}  # the line that is named: Mean


class Kept(Honest):
    """The same with its dimension kept: [1]."""

    def terms(self, labels: Any, predictions: Any) -> Any:
        return {"error": Number(tf.reduce_mean(tf.square(labels - predictions), keepdims=True))}  # Kept


class Columns(Honest):
    """A sum over the batch of two columns: [2]."""

    def terms(self, labels: Any, predictions: Any) -> Any:
        both = tf.stack([labels, predictions], axis=1)
        return {"error": Number(tf.reduce_sum(both, axis=0))}  # Columns


class Wide(Honest):
    """More than columns: [N, 2, 2]."""

    def terms(self, labels: Any, predictions: Any) -> Any:
        return {"error": Number(tf.ones([labels.shape[0], 2, 2], tf.float64))}  # Wide


class Low(Honest):
    """What rounding took, summed."""

    def terms(self, labels: Any, predictions: Any) -> Any:
        return {"error": Number(labels, tf.reduce_sum(predictions))}  # Low


class Spread(Honest):
    """A spread of columns."""

    def terms(self, labels: Any, predictions: Any) -> Any:
        return {"error": Number(tf.stack([labels, predictions], axis=1), spread=True)}  # Spread


class Bucket(Honest):
    """One bucket for the batch."""

    def terms(self, labels: Any, predictions: Any) -> Any:
        return {"error": Count(tf.reduce_max(tf.cast(labels, tf.int32)), 3)}  # Bucket


class Some(Honest):
    """Only some of the positions."""

    def terms(self, labels: Any, predictions: Any) -> Any:
        return {"error": Number(tf.boolean_mask(labels, labels > 0))}  # Some


class Constant(Honest):
    """A number of Python."""

    def terms(self, labels: Any, predictions: Any) -> Any:  # Constant
        return {"error": Number(1.0)}


class Crossed(Honest):
    """Features of the batch, not of its examples."""

    takes_weights: ClassVar[bool] = False

    def terms(self, labels: Any, predictions: Any) -> Any:
        return {"error": Gram(tf.reduce_mean(tf.stack([labels, predictions], axis=1), axis=0, keepdims=True), 8.0)}  # Crossed


class Each(MeanMetric):
    """The base writes `terms`; the author wrote `each`."""

    inputs: ClassVar[Inputs] = Inputs.NUMBERS

    def each(self, labels: Any, predictions: Any) -> Any:
        return tf.reduce_mean(labels)  # Each


class Row(RowMetric):
    """One row for the batch."""

    inputs: ClassVar[Inputs] = Inputs.NUMBERS

    def terms(self, labels: Any, predictions: Any) -> Any:
        return {"rows": Rows(predictions, {"label": tf.reduce_max(labels, keepdims=True)})}  # Row


REDUCING = (Mean, Kept, Columns, Wide, Low, Spread, Bucket, Some, Constant, Crossed, Each, Row)


class Outer(Honest):
    """Each position against all others: [N, N]."""

    def terms(self, labels: Any, predictions: Any) -> Any:
        return {"error": Number(labels[:, None] - predictions[None, :])}  # Outer


class HostReducing(HostMetric):
    """A host-side library that returns one line for all examples, or forgets one."""

    way: str = "mean"

    def columns(self) -> tuple[str, ...]:
        return "error", "size"

    def host_terms(self, labels: np.ndarray, predictions: np.ndarray, **features: np.ndarray) -> np.ndarray:  # HostReducing
        lines = np.stack([labels - predictions, labels], axis=1)
        if self.way == "mean":
            return lines.sum(axis=0)
        if self.way == "kept":
            return lines.sum(axis=0, keepdims=True)
        if self.way == "last":
            return lines[:-1] if len(lines) > 1 else lines
        return lines

    def value(self, totals: Totals) -> Any:
        return totals.mean("error")
