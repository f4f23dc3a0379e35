"""What a binding reads of a batch, as positions: flattened, checked, harmless where invalid. All in the graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import tensorflow as tf

from harness.errors import ShapeError
from harness.exact.tf_limbs import exact_graph
from harness.exact.tf_subnormals import same, widened
from harness.metrics.contract import Binding, Inputs
from harness.metrics.status import Status
from harness.metrics.tf_one_hot import class_of_row
from harness.step.score_status import PLAIN, score_status, status_within_examples, statuses
from harness.step.weights import as_float64, shown, weights_of

__all__ = ["Positions", "positions_of"]


@dataclass(frozen=True)
class Positions:
    """What is scored: examples x positions, flattened to N; invalid ones hold harmless values.

    Attributes:
      labels: [N] or [N, L], None without labels.
      predictions: [N] or [N, C].
      weights: float64 [N], None where nothing is weighted.
      valid: bool [N].
      status: int32 [N], a Status, or -1 for masked and ignored.
      per_example: positions of one example.
      statuses: how many statuses there are; more than those of PLAIN where scores were looked at, see `Status`.
      baseline: a second output at the same positions, in the shape of the predictions; None where there is one alone.
    """

    labels: Any
    predictions: Any
    weights: Any
    valid: Any
    status: Any
    per_example: int
    statuses: int = len(PLAIN)
    baseline: Any = None

    @property
    def scores_checked(self) -> bool:
        """Whether it was looked at that scores are probabilities."""
        return self.statuses > len(PLAIN)


def positions_of(binding: Binding, features: Mapping[str, Any], outputs: Mapping[str, Any], mask: Any) -> Positions:
    """Flatten what a binding reads to positions, and find out which of them are valid.

    Raises: ShapeError: label, output or weight do not fit each other.
    """
    predictions = outputs[binding.output]
    labels = None if binding.label is None else features[binding.label]
    rounded = _rounded(binding, labels, predictions)
    if binding.inputs is Inputs.RAW:
        shape, good_label, ignored = mask.shape, tf.ones_like(mask), False
        predictions, output_status = status_within_examples(binding, labels, predictions)
    else:
        if not (predictions.dtype.is_floating or predictions.dtype.is_integer or predictions.dtype.is_bool):
            raise ShapeError(f"output '{binding.output}' is {predictions.dtype.name}, metrics need numbers")
        reader = partial(_READERS[binding.inputs], binding)
        # All are read by comparisons and exact casts alone, but that a binary score may be computed.
        read = reader if binding.inputs is Inputs.BINARY and binding.from_logits else exact_graph(reader)
        labels, predictions, good_label, output_status, ignored = read(labels, predictions)
        shape = output_status.shape
    if not shape.is_fully_defined():
        raise ShapeError(f"output '{binding.output}' {shown(predictions)}: expected sizes that are known")
    per_example = shape.num_elements() // shape[0]
    counted = tf.broadcast_to(tf.reshape(mask, [-1] + [1] * (len(shape) - 1)), shape) & ~tf.cast(ignored, tf.bool)
    weights = None
    status = tf.where(good_label, output_status, int(Status.LABEL))
    for tensor in rounded:
        lost = tf.reduce_any(tf.reshape(tensor, [*shape, -1]), axis=-1)
        status = tf.where(lost & (status == int(Status.VALID)), int(Status.ROUNDED), status)
    several = binding.inputs in (Inputs.MULTILABEL, Inputs.MULTIOUTPUT)
    if binding.weight is not None:
        labels_each = predictions.shape[-1] if several else None
        weights, usable = weights_of(binding, features[binding.weight], shape, labels_each)
        # A small weight says nothing of a position that is no good for another reason.
        usable = tf.where(
            status == int(Status.VALID), usable, tf.where(usable == int(Status.SMALL_WEIGHT), int(Status.VALID), usable)
        )
        status = tf.where(usable == int(Status.VALID), status, usable)
    status = tf.reshape(tf.where(counted, status, -1), [-1])
    valid = status == int(Status.VALID)
    if binding.weight is not None:
        valid |= status == int(Status.SMALL_WEIGHT)
    inner = 1 if several or (binding.inputs is Inputs.CLASSES and binding.classes is None) else 0
    if binding.inputs is not Inputs.RAW:
        predictions = tf.reshape(predictions, [-1, *predictions.shape[len(predictions.shape) - inner :]])
        if labels is not None:
            kept = 1 if several else 0
            labels = tf.reshape(labels, [-1, *labels.shape[len(labels.shape) - kept :]])
    return Positions(
        labels,
        predictions,
        None if weights is None else tf.reshape(weights, [-1]),
        valid,
        status,
        per_example,
        statuses(binding, outputs[binding.output], shape),
    )


def _rounded(binding: Binding, labels: Any, predictions: Any) -> list[Any]:
    """Return which numbers are integers that no float64 holds, bool in the shape of each tensor that may have some."""
    if binding.inputs is Inputs.RAW or binding.classes is not None:
        return []
    # Labels that are classes are compared as the integers they are.
    numbers = [predictions] + ([labels] if binding.inputs in (Inputs.NUMBERS, Inputs.MULTIOUTPUT) else [])
    return [~as_float64(tensor)[1] for tensor in numbers if tensor.dtype in (tf.int64, tf.uint64)]


def _read_classes(binding: Binding, labels: Any, predictions: Any) -> tuple[Any, ...]:
    if binding.classes is not None:
        return _read_predicted(binding, binding.classes, labels, predictions)
    scores = predictions.shape.num_elements()
    labels, predictions = _classes(binding, labels, predictions)
    single = predictions.shape.num_elements() != scores
    good_output = tf.reduce_all(tf.math.is_finite(predictions), axis=-1)
    predictions = tf.where(good_output[..., None], predictions, tf.zeros_like(predictions))
    whole = tf.cast(labels, tf.int32)
    good_label = same(tf.cast(whole, labels.dtype), labels) & (labels >= 0) & (labels < predictions.shape[-1])
    predictions, output_status = score_status(binding, predictions, good_output, exclusive=True, single=single)
    return tf.where(good_label, whole, 0), predictions, good_label, output_status, _ignored(binding, labels)


def _read_predicted(binding: Binding, classes: int, labels: Any, predictions: Any) -> tuple[Any, ...]:
    """Read an output that is the predicted class itself."""
    if not predictions.dtype.is_integer:
        raise ShapeError(
            f"classes={classes} is for an integer output of predicted classes, found output '{binding.output}' "
            f"{shown(predictions)}"
        )
    if binding.one_hot:
        labels = class_of_row(labels)
    labels = _same_shape(binding, labels, predictions)
    if labels.dtype.is_bool:
        labels = tf.cast(labels, tf.int32)
    label, predicted = tf.cast(labels, tf.int32), tf.cast(predictions, tf.int32)
    good_label = same(tf.cast(label, labels.dtype), labels) & (label >= 0) & (label < classes)
    good_output = (tf.cast(predicted, predictions.dtype) == predictions) & (predicted >= 0) & (predicted < classes)
    label, predicted = tf.where(good_label, label, 0), tf.where(good_output, predicted, 0)
    output_status = tf.where(good_output, int(Status.VALID), int(Status.OUTPUT))
    return label, predicted, good_label, output_status, _ignored(binding, labels)


def _read_binary(binding: Binding, labels: Any, predictions: Any) -> tuple[Any, ...]:
    labels, scores, good_label, output_status, ignored = _read_classes(binding, labels, predictions)
    if binding.positive >= scores.shape[-1]:
        raise ShapeError(f"positive={binding.positive}, but output '{binding.output}' has {scores.shape[-1]} classes")
    if binding.from_logits:
        scores = tf.cast(scores, tf.float64)
        top = tf.reduce_max(scores, axis=-1, keepdims=True)
        powers = tf.exp(scores - top)
        scores = powers / tf.reduce_sum(powers, axis=-1, keepdims=True)
    own = widened(scores[..., binding.positive])
    return tf.cast(labels == binding.positive, tf.int32), own, good_label, output_status, ignored


def _read_multilabel(binding: Binding, labels: Any, predictions: Any) -> tuple[Any, ...]:
    labels = _same_shape(binding, labels, predictions)
    if len(predictions.shape) < 2:
        raise ShapeError(f"expected labels and scores [B, ..., L], found output '{binding.output}' {shown(predictions)}")
    if not predictions.dtype.is_floating:
        predictions = tf.cast(predictions, tf.float64)
    # Not cast otherwise: a threshold is compared in the output's own precision.
    good_output = tf.reduce_all(tf.math.is_finite(predictions), axis=-1)
    predictions = tf.where(good_output[..., None], predictions, tf.zeros_like(predictions))
    good_label = tf.reduce_all(same(labels, tf.zeros([], labels.dtype)) | same(labels, tf.ones([], labels.dtype)), axis=-1)
    labels = tf.cast(labels, tf.float64)
    ignored = False if binding.ignore_label is None else tf.reduce_any(labels == binding.ignore_label, axis=-1)
    labels = tf.cast(tf.where(good_label[..., None], labels, tf.zeros_like(labels)), tf.int32)
    predictions, output_status = score_status(binding, predictions, good_output, exclusive=False, single=False)
    return labels, predictions, good_label, output_status, ignored


def _read_numbers(binding: Binding, labels: Any, predictions: Any) -> tuple[Any, ...]:
    predictions = widened(predictions)
    good_output = tf.math.is_finite(predictions)
    predictions = tf.where(good_output, predictions, tf.zeros_like(predictions))
    scores, output_status = score_status(binding, predictions[..., None], good_output, exclusive=False, single=True)
    predictions = scores[..., 0]
    if binding.inputs is Inputs.OUTPUT:
        return None, predictions, tf.ones_like(good_output), output_status, False
    labels = widened(_same_shape(binding, labels, predictions))
    good_label = tf.math.is_finite(labels)
    return tf.where(good_label, labels, tf.zeros_like(labels)), predictions, good_label, output_status, False


def _read_multioutput(binding: Binding, labels: Any, predictions: Any) -> tuple[Any, ...]:
    labels = _same_shape(binding, labels, predictions)
    # A last dimension of 1 may be there or not: [B, T, 1] are T outputs, as [B, T] are; [B] is one.
    inner = predictions.shape.as_list()[1:]
    while len(inner) > 1 and inner[-1] == 1:
        inner.pop()
    shape = [predictions.shape[0], *(inner or [1])]
    labels, predictions = tf.reshape(labels, shape), tf.reshape(predictions, shape)
    labels, predictions, good_label, output_status, ignored = _read_numbers(binding, labels, predictions)
    return labels, predictions, tf.reduce_all(good_label, axis=-1), tf.reduce_max(output_status, axis=-1), ignored


_READERS = {
    Inputs.CLASSES: _read_classes,
    Inputs.BINARY: _read_binary,
    Inputs.MULTILABEL: _read_multilabel,
    Inputs.NUMBERS: _read_numbers,
    Inputs.MULTIOUTPUT: _read_multioutput,
    Inputs.OUTPUT: _read_numbers,
}


def _ignored(binding: Binding, labels: Any) -> Any:
    if binding.ignore_label is None:
        return False
    if labels.dtype.is_integer and not labels.dtype.min <= binding.ignore_label <= labels.dtype.max:
        return False  # cast, -1 would become 255 of uint8, which is another label
    return same(labels, tf.cast(binding.ignore_label, labels.dtype))


def _classes(binding: Binding, labels: Any, predictions: Any) -> tuple[Any, Any]:
    """Return labels [B, ...] and scores [B, ..., C >= 2], whichever way the two were given."""
    if not predictions.dtype.is_floating:
        predictions = tf.cast(predictions, tf.float64)
    if not (labels.dtype.is_floating or labels.dtype.is_integer or labels.dtype.is_bool):
        raise ShapeError(_no_class(binding, labels))
    if labels.dtype.is_bool:
        labels = tf.cast(labels, tf.int32)
    rank = len(predictions.shape)
    width = None
    if binding.one_hot:
        width, labels = labels.shape[-1], class_of_row(labels)
    elif labels.shape == predictions.shape and rank > 1 and predictions.shape[-1] > 1:
        raise ShapeError(_one_shape(binding, labels, predictions))
    if len(labels.shape) == rank and rank > 1 and labels.shape[-1] == 1:
        labels = tf.squeeze(labels, -1)
    if rank > 1 and predictions.shape[-1] == 1:
        predictions = tf.squeeze(predictions, -1)
    if labels.shape == predictions.shape:
        # One score per position: the score of class 1 of two.
        other = tf.zeros_like(predictions) if binding.from_logits else 1 - predictions
        predictions = tf.stack([other, predictions], axis=-1)
    if None in predictions.shape.as_list() or labels.shape != predictions.shape[:-1] or len(predictions.shape) < 2:
        raise ShapeError(
            f"expected class labels [B, ...] and scores [B, ..., C] of known size, found label '{binding.label}' "
            f"{shown(labels)} and output '{binding.output}' {shown(predictions)}; bind another with output: or label:, or, "
            "for an integer output of predicted classes, say how many there are with classes:"
        )
    if width not in (None, predictions.shape[-1]):
        raise ShapeError(
            f"one_hot: expected a label of one column for each of the {predictions.shape[-1]} classes of output "
            f"'{binding.output}', found {width} columns in label '{binding.label}'"
        )
    return labels, predictions


def _no_class(binding: Binding, labels: Any) -> str:
    """Say what a class label that is no number lacks."""
    if labels.dtype != tf.string:
        return f"label '{binding.label}' is {labels.dtype.name}, class labels are numbers or names of classes"
    if binding.one_hot:
        return f"label '{binding.label}' is text, a one-hot label is a row of numbers; leave out one_hot where it names its class"
    return f"label '{binding.label}' is text: name the classes in the order of the output's columns with data.classes"


def _one_shape(binding: Binding, labels: Any, predictions: Any) -> str:
    """Say what labels and scores of one shape may be: which of it they are is not guessed from the values."""
    return (
        f"expected class labels [B, ...] and scores [B, ..., C], found label '{binding.label}' {shown(labels)} and output "
        f"'{binding.output}' {shown(predictions)}, of one shape. Write one_hot: true on the metric where each row of the label "
        "has one 1, for its class. Where a row may have several 1s, take a metric of several labels: multilabel_accuracy, "
        "multilabel_precision, exact_match, hamming_loss, ranking_loss and others, see `harness metrics`. Where it is one "
        "score for each of several positions, give the output a last dimension of 1. For an integer output of predicted classes, "
        "say how many there are with classes:"
    )


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
            f"expected label and output of one shape, found label '{binding.label}' {shown(labels)} and output "
            f"'{binding.output}' {shown(predictions)}; bind another with output: or label:"
        )
    return labels
