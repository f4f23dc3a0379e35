"""What the loss of each example is, and what was predicted of it: read of a group of batches, in the graph."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import tensorflow as tf

from harness.errors import ShapeError
from harness.exact.tf_subnormals import exceeds, highest, widened
from harness.metrics.contract import Binding, Inputs, Metric
from harness.metrics.example_loss import loss_term
from harness.metrics.status import Status
from harness.step.class_labels import ClassLabels
from harness.step.own_code import own_code
from harness.step.paired_positions import BASELINE, paired_positions
from harness.step.positions import Positions

__all__ = ["LossReader", "ScoredExamples"]

MOST_SCORES = 1024  # that are kept of an example
NONE = -1  # in place of a class that is not known


@dataclass(frozen=True)
class ScoredExamples:
    """What is known of the examples of a group.

    Attributes:
      columns: numbers by name, int64 or float64 [N]; the loss first.
      scores: float64 [N, scores]; None where the output is no row of scores.
      scored: whether the metric counts it, bool [N]; of what it leaves out nothing is kept.
      undefined: of those, whether the loss is not a number: the output or the label is not, or lies out of range.
      classes: of label and prediction; 0 where they are none.
    """

    columns: Mapping[str, Any]
    scores: Any
    scored: Any
    undefined: Any
    classes: int

    def packed(self, rows: Any) -> Any:
        """Return the columns and scores of some examples, int64 [n, columns + scores]."""
        parts = [tf.bitcast(tf.gather(column, rows), tf.int64)[:, None] for column in self.columns.values()]
        if self.scores is not None:
            parts.append(tf.bitcast(tf.gather(self.scores, rows), tf.int64))
        return tf.concat(parts, axis=1)


class LossReader:
    """Reads the examples of a group by the loss of a metric, whatever weighs them.

    Args:
      key, metric, binding: of the metric.
      labels: looks up class labels that are text.
    """

    def __init__(self, key: str, metric: Metric, binding: Binding, labels: ClassLabels) -> None:
        self._key = key
        self._metric = metric
        self._binding = replace(binding, weight=None)
        self._labels = labels

    def read(self, features: Mapping[str, Any], outputs: Mapping[str, Any], mask: Any) -> ScoredExamples:
        """Read label, prediction and loss of the examples of a group.

        Args:
          features, outputs: by name, [N, ...].
          mask: bool [N], the examples that count.
        Raises: ShapeError: a tensor does not fit.
        """
        binding = self._binding
        features = self._labels.look_up(features)
        try:
            read = paired_positions(*self._labels.read_by(binding, features), outputs, mask)
        except ShapeError as exc:
            raise ShapeError(f"examples.by: metric {self._key}: {exc}") from None
        loss, undefined = self._loss(read, features, outputs)
        scored = _any(read.valid, read) | undefined
        columns = {"loss": tf.where(undefined, tf.constant(math.nan, tf.float64), loss)}
        classes = 0
        if read.per_example == 1:
            known, classes = _predicted(binding, read, undefined)
            columns |= known
        output = outputs[binding.output]
        row = output.dtype.is_floating and output.shape.rank <= 2 and binding.inputs is not Inputs.NUMBERS
        scores = tf.reshape(widened(output), [output.shape[0], -1]) if row else None
        if scores is not None and scores.shape[1] > MOST_SCORES:
            scores = None
        return ScoredExamples(columns, scores, scored, undefined, classes)

    def _loss(self, read: Positions, features: Mapping[str, Any], outputs: Mapping[str, Any]) -> tuple[Any, Any]:
        """Return the loss of each example, the sum over its positions, float64 [N], and where it is not a number, bool [N]."""
        metric, binding = self._metric, self._binding
        also = {option: features[feature] for option, feature in binding.also}
        also |= {name: outputs[output] for name, output in binding.outputs}
        if read.baseline is not None:
            also[BASELINE] = read.baseline
        terms = own_code(self._key, metric, lambda: metric.terms(read.labels, read.predictions, **also))
        values = widened(terms[loss_term(metric)].values)
        if values.shape.num_elements() != read.valid.shape[0]:
            raise ShapeError(f"examples.by: metric {self._key} has {list(values.shape[1:])} numbers a position, expected one")
        values = tf.where(read.valid, tf.reshape(values, [-1]), tf.zeros([], tf.float64))
        undefined = (read.status > int(Status.VALID)) | tf.math.is_nan(values)
        loss = values if read.per_example == 1 else tf.reduce_sum(tf.reshape(values, [-1, read.per_example]), axis=1)
        return loss, _any(undefined, read)


def _any(positions: Any, read: Positions) -> Any:
    """Return which examples have such a position, bool [N]."""
    return tf.reduce_any(tf.reshape(positions, [-1, read.per_example]), axis=1)


def _predicted(binding: Binding, read: Positions, undefined: Any) -> tuple[dict[str, Any], int]:
    """Return label, prediction and how sure it is, each [N], and how many classes there are; nothing of what is no number."""
    unlabelled = read.status == int(Status.LABEL)
    if binding.inputs is Inputs.NUMBERS:
        nan = tf.constant(math.nan, tf.float64)
        label, prediction = tf.where(unlabelled, nan, read.labels), tf.where(undefined, nan, read.predictions)
        return {"label": label, "prediction": prediction}, 0
    confidence = {}
    if binding.inputs is Inputs.BINARY:
        classes, predicted = 2, exceeds(read.predictions, 0.5)
        confidence["confidence"] = tf.where(predicted, read.predictions, 1 - read.predictions)
    elif binding.inputs is Inputs.CLASSES and binding.classes is not None:
        classes, predicted = binding.classes, read.predictions
    elif binding.inputs is Inputs.CLASSES:
        classes, predicted = int(read.predictions.shape[1]), highest(read.predictions)
        own = widened(tf.gather(read.predictions, predicted, axis=1, batch_dims=1))
        confidence["confidence"] = _of_logits(read.predictions, own) if binding.from_logits else own
    else:
        return {}, 0
    none = tf.constant(NONE, tf.int64)
    label = tf.where(unlabelled, none, tf.cast(read.labels, tf.int64))
    return {"label": label, "prediction": tf.where(undefined, none, tf.cast(predicted, tf.int64)), **confidence}, classes


def _of_logits(logits: Any, top: Any) -> Any:
    """Return the probability of the class with the highest logit, float64 [N]."""
    return 1 / tf.reduce_sum(tf.exp(tf.cast(logits, tf.float64) - top[:, None]), axis=1)
