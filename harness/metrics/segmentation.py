"""Metrics of a class per pixel: over all pixels, or image by image. TensorFlow is imported where the graph is built.

Labels are [B, H, W] (or any shape of positions), outputs are scores [B, H, W, C], one score [B, H, W, 1] of class 1 of two,
or, with the option `classes`, the predicted classes themselves, integers [B, H, W].
"""

from __future__ import annotations

from collections.abc import Hashable
from fractions import Fraction
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from harness.errors import ShapeError
from harness.metrics import shares
from harness.metrics.classification import Accuracy, PerClassMetric, class_names
from harness.metrics.contract import Binding, Count, Inputs, Number, Term, Totals, Undefined, ratio
from harness.metrics.shares import Average, OneVsRest, Share

__all__ = ["Dice", "IoU", "MeanIoU", "PixelAccuracy", "RegionMetric"]


class PixelAccuracy(Accuracy):
    """Share of pixels whose predicted class is the label."""

    summary: ClassVar[str] = "sum of w [argmax p = y] / sum of w, over pixels"
    source: ClassVar[str] = "J. Long, E. Shelhamer, T. Darrell, Fully Convolutional Networks, 2015"


class RegionMetric(PerClassMetric):
    """Base of metrics of the overlap of each class's pixels.

    All pixels of all images make one region a class, unless `per_image` asks for the mean over images of the value of each
    image. A class that is neither labelled nor predicted is left out of the mean of an image, and an image without any
    class is left out; for one class (`binary`, `per_class`) `zero_division` may make it count. `include_background: false`
    leaves out class 0.
    """

    include_background: bool = Field(True, description="whether class 0 counts")
    per_image: bool = Field(False, description="mean over images of each image's value, not one value of all pixels")

    @model_validator(mode="after")
    def _images_have_no_weighted_mean(self) -> Self:
        if self.per_image and self.average == "weighted":
            raise ValueError("per_image: average is macro, micro, per_class or binary")
        return self

    def binding(self, output: str, label: str | None, weight: str | None) -> Binding:
        """Return what the metric reads; whole images where each has a value of its own."""
        binding = super().binding(output, label, weight)
        if not self.per_image:
            return binding
        return Binding(Inputs.RAW, binding.output, binding.label, binding.weight, self.ignore_label, scale=binding.scale)

    @property
    def first_class(self) -> int:
        """The first of the classes that take part."""
        return 0 if self.include_background or self.average == "binary" else 1

    def statistic(self) -> Hashable:
        """Return what tells these sums apart; None where they are the values of images, each metric's own."""
        return None if self.per_image else super().statistic()

    def terms(self, labels: Any, predictions: Any) -> dict[str, Term]:
        """Count each class over all pixels, or return the value of each image."""
        return self._image_terms(labels, predictions) if self.per_image else super().terms(labels, predictions)

    def value(self, totals: Totals) -> float | dict[str, float | None]:
        """Return the average, or the value of each class."""
        if not self.per_image:
            return super().value(totals)
        if totals["invalid"][0]:
            raise Undefined("some images have labels or predictions that are NaN, infinite or out of range")
        sums, images = totals.exact("share"), totals.exact("images")
        reason = "no image has a class to score (zero_division: 0 or 1 says what it counts as)"
        if self.average != "per_class":
            return ratio(sums, images, reason)
        first = 0 if self.include_background else 1
        names = class_names(totals, len(sums) + first)[first:]
        return {n: float(Fraction(s) / i) if i else None for n, s, i in zip(names, sums, images, strict=True)}

    def class_support(self, totals: Totals) -> dict[str, float] | None:
        """Return how many pixels have the label of each class; not where images have values of their own."""
        return None if self.per_image else super().class_support(totals)

    def _image_terms(self, labels: Any, predictions: Any) -> dict[str, Term]:
        """Return the value of each image, and whether it has one."""
        import tensorflow as tf

        label, predicted, invalid, size = self._pixels(labels, predictions)
        if self.average == "binary" and self.positive >= size:
            raise ShapeError(f"positive={self.positive}, but the output has {size} classes")

        def count(classes: Any) -> Any:
            """Count each class of each image, float64 [B, C], from [B, P]; negative for none."""
            rows = tf.range(tf.shape(classes)[0])[:, None] * size
            index = tf.reshape(tf.where(classes < 0, -1, classes + rows), [-1])
            ones = tf.ones_like(index, tf.int64)
            flat = tf.math.unsorted_segment_sum(ones, index, tf.shape(classes)[0] * size)
            return tf.cast(tf.reshape(flat, [-1, size]), tf.float64)

        sums = [count(tf.where(predicted == label, label, -1)), count(predicted), count(label)]
        if self.average == "binary":
            sums = [part[:, self.positive] for part in sums]
        elif not self.include_background:
            sums = [part[:, 1:] for part in sums]
        if self.average == "micro":
            sums = [tf.reduce_sum(part, axis=1) for part in sums]
        share = self.share(OneVsRest(sums[0], sums[1], sums[2], tf.zeros_like(sums[0])))
        some = share.below > 0
        value = tf.where(some, share.above / tf.where(some, share.below, tf.ones_like(share.below)), tf.zeros_like(share.below))
        if self.average == "macro":
            classes = tf.reduce_sum(tf.cast(some, tf.float64), axis=1)
            some = classes > 0
            value = tf.reduce_sum(value, axis=1) / tf.maximum(classes, 1.0)
        elif self.zero_division is not None:
            value = tf.where(some, value, tf.cast(self.zero_division, tf.float64) * tf.ones_like(value))
            some = tf.ones_like(some)
        return {
            "share": Number(value),
            "images": Number(tf.cast(some, tf.float64)),
            "invalid": Count(tf.where(invalid, 0, -1), 1),
        }

    def _pixels(self, labels: Any, predictions: Any) -> tuple[Any, Any, Any, int]:
        """Return label and predicted class of each pixel, int32 [B, P], -1 where ignored; invalid images; and C."""
        import tensorflow as tf

        if labels is None:
            raise ShapeError("needs a label; set data.label, or label: of the metric")
        if self.one_hot:
            from harness.metrics.tf_one_hot import class_of_row

            labels = class_of_row(labels)
        if len(labels.shape) > 2 and labels.shape[-1] == 1:
            labels = tf.squeeze(labels, -1)
        batch = tf.shape(labels)[0]
        if self.classes and predictions.dtype.is_integer and predictions.shape[1:] == (*labels.shape[1:], 1):
            predictions = tf.squeeze(predictions, -1)
        of_pixels = predictions.shape[1:] if self.classes else predictions.shape[1:-1]
        fits = predictions.dtype.is_integer if self.classes else predictions.dtype.is_floating
        if not (labels.dtype.is_integer and fits and of_pixels == labels.shape[1:]):
            raise ShapeError(
                "expected integer labels [B, H, W], and scores [B, H, W, C] or (with classes: C) an integer output [B, H, W]; "
                f"found {labels.dtype.name} {labels.shape} and {predictions.dtype.name} {predictions.shape}"
            )
        if self.classes:
            size, predicted = self.classes, tf.cast(predictions, tf.int64)
            good = (predicted >= 0) & (predicted < size)
        else:
            if predictions.shape[-1] == 1:
                other = tf.zeros_like(predictions) if self.from_logits else 1 - predictions
                predictions = tf.concat([other, predictions], axis=-1)
            size = int(predictions.shape[-1])
            good = tf.reduce_all(tf.math.is_finite(predictions), axis=-1)
            predicted = tf.cast(tf.reshape(self.predicted(tf.reshape(predictions, [-1, size])), tf.shape(labels)), tf.int64)
        label = tf.cast(labels, tf.int64)
        ignored = tf.zeros_like(good) if self.ignore_label is None else label == self.ignore_label
        good &= (label >= 0) & (label < size)
        keep = good & ~ignored
        label, predicted = (tf.reshape(tf.cast(tf.where(keep, part, -1), tf.int32), [batch, -1]) for part in (label, predicted))
        return label, predicted, tf.reduce_any(tf.reshape(~good & ~ignored, [batch, -1]), axis=1), size


class IoU(RegionMetric):
    """Intersection over union of the pixels of each class.

    `ignore_label` is the `ignore_class` of Keras: pixels with that label are left out; where it is a class that is predicted
    for other pixels, it counts as any other.
    """

    summary: ClassVar[str] = "TP / (TP + FP + FN) of each class's pixels"
    source: ClassVar[str] = "keras.metrics.IoU, torchmetrics.segmentation.MeanIoU(per_class=True)"

    average: Average = Field(
        "per_class",
        description="macro: mean over classes; weighted: the same, by labels; "
        "micro: of all classes together; per_class: one value each; binary: of the class `positive`",
    )

    def share(self, sums: OneVsRest) -> Share:
        """Return intersection over union."""
        return shares.jaccard(sums)


class MeanIoU(IoU):
    """Mean over classes of intersection over union; classes that occur nowhere are left out."""

    summary: ClassVar[str] = "mean over classes of TP / (TP + FP + FN)"
    source: ClassVar[str] = "keras.metrics.MeanIoU; per_image: torchmetrics.segmentation.MeanIoU"

    average: Average = Field(
        "macro",
        description="macro: mean over classes; weighted: the same, by labels; "
        "micro: of all classes together; per_class: one value each; binary: of the class `positive`",
    )


class Dice(RegionMetric):
    """Twice the intersection over the sum of both areas, of each class; the F1 score of its pixels."""

    summary: ClassVar[str] = "2 TP / (2 TP + FP + FN) of each class's pixels, averaged"
    source: ClassVar[str] = "torchmetrics.segmentation.DiceScore; per_image: its aggregation_level='samplewise'"

    def share(self, sums: OneVsRest) -> Share:
        """Return twice the intersection over both areas."""
        return shares.f_beta(sums, 1)
