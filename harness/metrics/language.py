"""Metrics of a language model's scores per token. TensorFlow is imported where the graph is built."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from pydantic import Field

from harness.errors import ShapeError
from harness.metrics.classification import CrossEntropy
from harness.metrics.contract import Count, Inputs, Metric, Number, ScoreScale, Term, Totals, Undefined, ratio
from harness.metrics.likelihood import EPSILON, impossible

__all__ = ["BitsPerByte", "Perplexity"]


class Perplexity(CrossEntropy):
    """Exponential of the mean negative log likelihood of a token; tokens with `ignore_label` do not count."""

    summary: ClassVar[str] = "exp(- sum of w ln p[y] / sum of w)"
    source: ClassVar[str] = "torchmetrics.text.Perplexity, keras_hub.metrics.Perplexity"

    def value(self, totals: Totals) -> float:
        """Return the exponential of the mean loss."""
        return _exp(totals.mean("loss"))

    def standard_error(self, totals: Totals) -> float | None:
        """Return that of the mean loss, carried through the exponential (delta method)."""
        error = totals.mean_error("loss")
        return None if error is None else self.value(totals) * error


def _exp(x: float) -> float:
    try:
        return math.exp(x)
    except OverflowError:
        raise Undefined(f"exp({x:g}) is beyond the largest float64") from None


class BitsPerByte(Metric):
    """Negative log likelihood of all tokens, in bits, per byte of the text they stand for; comparable between tokenisers.

    `bytes` names a feature: how many bytes an example's text has, [B], or each of its tokens, in the shape of the
    labels. Tokens with `ignore_label` do not count, nor do their bytes where those are given by token.
    """

    # The engine's positions would count the bytes of an example once per token: examples as they are.
    inputs: ClassVar[Inputs] = Inputs.RAW
    score_scale: ClassVar[ScoreScale] = ScoreScale.PROBABILITY
    features: ClassVar[tuple[str, ...]] = ("bytes",)
    summary: ClassVar[str] = "- sum of w log2 p[y] / sum of w bytes"
    source: ClassVar[str] = "L. Gao et al., The Pile, 2020, section 3.1"

    bytes: str = Field(description="feature with the bytes of each example, or of each token")
    from_logits: bool = Field(False, description="the output holds logits, not probabilities")
    ignore_label: int | None = Field(None, description="positions with this label are left out")
    epsilon: float = Field(0.0, ge=0, lt=0.5, description=EPSILON)

    def infinite_term(self) -> str | None:
        """Say that a label was held to be impossible."""
        return impossible(from_logits=self.from_logits, epsilon=self.epsilon)

    def terms(self, labels: Any, predictions: Any, bytes: Any) -> dict[str, Term]:
        """Return loss and bytes of each example; NaN where a label is out of range."""
        import tensorflow as tf

        from harness.exact.tf_subnormals import log, widened

        if labels is None or labels.shape != predictions.shape[:-1] or not labels.dtype.is_integer:
            shown = "none" if labels is None else f"{labels.dtype.name} {labels.shape}"
            raise ShapeError(f"expected integer labels [B, ...] and scores [B, ..., C], found {shown} and {predictions.shape}")
        if bytes.shape not in (labels.shape, labels.shape[:1], [*labels.shape[:1], 1]):
            raise ShapeError(f"bytes: expected one number per example or per label {labels.shape}, found {bytes.shape}")
        rows = labels.shape[0]
        counted = tf.ones_like(labels, tf.bool) if self.ignore_label is None else labels != self.ignore_label
        size = predictions.shape[-1]
        good = (labels >= 0) & (labels < size)
        own = widened(tf.gather(predictions, tf.where(good, labels, 0), axis=-1, batch_dims=len(labels.shape)))
        if self.from_logits:
            loss = tf.reduce_logsumexp(tf.cast(predictions, tf.float64), axis=-1) - own
        else:
            loss = -log(own, predictions.dtype)
        if self.epsilon:
            loss = tf.clip_by_value(loss, -math.log1p(-self.epsilon), -math.log(self.epsilon))
        loss = tf.where(good, loss, tf.constant(math.nan, tf.float64))
        loss = tf.where(counted, loss, tf.zeros_like(loss))
        length = tf.cast(bytes, tf.float64)
        if len(labels.shape) > 1 and bytes.shape == labels.shape:
            length = tf.where(counted, length, tf.zeros_like(length))
        negative = tf.reduce_any(tf.reshape(length, [rows, -1]) < 0, axis=1)
        return {
            "negative": Count(tf.where(negative, 0, -1), 1),
            "loss": Number(tf.reduce_sum(tf.reshape(loss, [rows, -1]), axis=1)),
            "bytes": Number(tf.reduce_sum(tf.reshape(length, [rows, -1]), axis=1)),
        }

    def value(self, totals: Totals) -> float:
        """Return the ratio of the sums, in bits."""
        if totals["negative"][0]:
            raise Undefined(f"'{self.bytes}' is negative in some examples: expected how many bytes there are")
        return ratio(totals.exact("loss"), totals.exact("bytes"), "there are no bytes, or their total weight is zero") / math.log(
            2
        )
