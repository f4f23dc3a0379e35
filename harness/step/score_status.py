"""Whether a binding's scores are of the scale that its metrics expect, as the status of the output. All in the graph."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from harness.metrics.contract import Binding, Inputs, ScoreScale
from harness.metrics.status import NAMED_CLASSES, Status
from harness.step.probabilities import buckets, probability_status, within_range

__all__ = ["PLAIN", "score_status", "status_within_examples", "statuses"]

PLAIN = tuple(status for status in Status if status < Status.SUM)  # what positions with scores of any scale can be


def statuses(binding: Binding, output: Any, shape: Any) -> int:
    """Return how many statuses positions of this shape have; more where scores are looked at."""
    if binding.scale is ScoreScale.ANY or binding.classes is not None:
        return len(PLAIN)
    if binding.inputs is Inputs.RAW:
        return buckets(max(output.shape[-1], 2)) if _looked_within(binding, output) else len(PLAIN)
    scores = output.shape.num_elements() // shape.num_elements()
    single = scores == 1 and binding.inputs in (Inputs.CLASSES, Inputs.BINARY)
    return buckets(2 if single else scores) if _looked_at(binding, single=single) else len(PLAIN)


def _looked_at(binding: Binding, *, single: bool) -> bool:
    """Return whether scores of this binding have to be probabilities; `single` where there is one a position."""
    return binding.scale is ScoreScale.PROBABILITY or (binding.scale is ScoreScale.DECISION and single)


def _looked_within(binding: Binding, output: Any) -> bool:
    """Return the same of an output that is read as it is, [B, ..., C] where it holds scores."""
    scores = (output.dtype.is_floating or output.dtype.is_integer) and len(output.shape) > 1
    return scores and _looked_at(binding, single=output.shape[-1] == 1)


def score_status(binding: Binding, scores: Any, good_output: Any, *, exclusive: bool, single: bool) -> tuple[Any, Any]:
    """Return scores as the metric may read them, and the status of the output, int32 [...]; see `probability_status`."""
    status = tf.fill(tf.shape(good_output), int(Status.VALID))
    if _looked_at(binding, single=single):
        status = probability_status(scores, exclusive=exclusive, single=single)
        scores = within_range(scores) if binding.scale is ScoreScale.PROBABILITY else scores
    return scores, tf.ensure_shape(tf.where(good_output, status, int(Status.OUTPUT)), good_output.shape)


def status_within_examples(binding: Binding, labels: Any, predictions: Any) -> tuple[Any, Any]:
    """Return an output that is read as it is, and the status of each example, int32 [B]: that of its worst position."""
    rows = predictions.shape[0]
    if not _looked_within(binding, predictions):
        return predictions, tf.fill([rows], int(Status.VALID))
    scores = predictions if predictions.dtype.is_floating else tf.cast(predictions, tf.float32)
    single = predictions.shape[-1] == 1
    scores = tf.concat([1 - scores, scores], axis=-1) if single else scores
    status = probability_status(scores, exclusive=True, single=single)
    if binding.ignore_label is not None and labels is not None and labels.shape.num_elements() == status.shape.num_elements():
        ignored = tf.reshape(labels == tf.cast(binding.ignore_label, labels.dtype), tf.shape(status))
        status = tf.where(ignored, int(Status.VALID), status)
    status = tf.reshape(status, [rows, -1])
    last = int(Status.OUTSIDE) + NAMED_CLASSES
    first = tf.reduce_min(tf.where(status >= int(Status.OUTSIDE), status, last), axis=1)
    uneven = tf.where(tf.reduce_any(status == int(Status.SUM), axis=1), int(Status.SUM), int(Status.VALID))
    if binding.scale is ScoreScale.PROBABILITY and predictions.dtype.is_floating:
        predictions = within_range(predictions)
    return predictions, tf.where(first < last, first, uneven)
