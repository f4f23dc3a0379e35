"""Detection metrics of COCO. pycocotools matches the boxes of one image where it is evaluated; scores and matches are kept.

What is exchanged is a row per detection: its score, and for each area range and IoU threshold one bit that says whether
it was matched and one that says whether it is ignored; and a row per image and category that says how many boxes there
were to find. The curves are made of them at the end, as COCOeval.accumulate does.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from harness.errors import ShapeError
from harness.exact.floating_point import subnormals_kept
from harness.metrics.coco import AREAS, BAD, COUNT_BITS, IOUS, MOST, RECALLS, ROW, Category, Guesses, Truths, evaluator, match
from harness.metrics.contract import Inputs, RowMetric, Rows, Term, Totals, Undefined, ratio
from harness.metrics.groups import exact_sum

__all__ = ["Coco"]

# name -> area, how many detections of an image count, IoU threshold (None: the mean over all)
PRECISIONS = {
    "AP": ("all", None), "AP50": ("all", 0), "AP75": ("all", 5),
    "AP_small": ("small", None), "AP_medium": ("medium", None), "AP_large": ("large", None),
}  # fmt: skip
RECALLED = {
    "AR1": ("all", 1), "AR10": ("all", 10), "AR100": ("all", MOST),
    "AR_small": ("small", MOST), "AR_medium": ("medium", MOST), "AR_large": ("large", MOST),
}  # fmt: skip


# What goes with the boxes, by its option: those to find, those found, or the image.
COLUMNS = {
    "label_classes": "boxes", "label_count": "image", "crowd": "boxes", "area": "boxes",
    "scores": "found", "classes": "found", "count": "image",
}  # fmt: skip


@dataclass(frozen=True)
class _Image:
    """One image: its boxes, and what goes with them, in the order of COLUMNS."""

    label: np.ndarray
    output: np.ndarray
    label_classes: np.ndarray
    label_count: np.ndarray
    crowd: np.ndarray
    area: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    count: np.ndarray


class Coco(RowMetric):
    """Average precision and recall of boxes as COCO defines them: all twelve numbers, or with `per_class` AP by class.

    The output (`output`) and the label (`label`) are boxes, [B, M, 4] and [B, G, 4], in pixels: the area ranges are in
    pixels. `scores` and `classes` name the outputs that go with the boxes, [B, M], `label_classes` the feature, [B, G].
    Boxes of a class below zero are padding, and so are those from `count` (an output) and `label_count` (a feature),
    [B], on. `crowd` [B, G] marks regions that may be matched many times and need not be; `area` [B, G] is that of the
    object where it is not that of its box. A number without boxes to find is null.
    """

    inputs: ClassVar[Inputs] = Inputs.RAW
    takes_weights: ClassVar[bool] = False
    features: ClassVar[tuple[str, ...]] = ("label_classes", "label_count", "crowd", "area")
    extra_outputs: ClassVar[tuple[str, ...]] = ("scores", "classes", "count")
    summary: ClassVar[str] = (
        "mean over classes, IoU 0.5 : 0.05 : 0.95 and recall 0 : 0.01 : 1 of interpolated precision; mean recall"
    )
    source: ClassVar[str] = "pycocotools.cocoeval.COCOeval (Lin et al. 2014)"

    scores: str = Field(description="output: scores of the detections, [B, M]")
    classes: str = Field(description="output: classes of the detections, [B, M]")
    label_classes: str = Field(description="feature: classes of the boxes to find, [B, G]")
    box_format: Literal["xywh", "xyxy", "yxyx"] = Field(description="of output and label; xywh is left, top, width, height")
    count: str | None = Field(None, description="output: how many detections there are, [B]; null: those of class 0 or more")
    label_count: str | None = Field(None, description="feature: how many boxes to find, [B]; null: those of class 0 or more")
    crowd: str | None = Field(None, description="feature: 1 where a box is of a crowd, [B, G]; null: none is")
    area: str | None = Field(None, description="feature: areas of the objects to find, [B, G]; null: those of their boxes")
    per_class: bool = Field(False, description="whether AP by class is reported in place of the twelve numbers")

    def terms(self, labels: Any, predictions: Any, **columns: Any) -> dict[str, Term]:
        """Match the boxes of each image on the host; keep what the curves are made of.

        Args:
          columns: the features and outputs that go with the boxes, by the option that names them.
        Raises: ShapeError: boxes, classes and scores do not go together. UsageError: pycocotools is missing.
        """
        import tensorflow as tf

        from harness.exact.tf_subnormals import widened

        evaluator()  # here and not on the host side, where TensorFlow would wrap the error
        if labels is None:
            raise ShapeError("coco: needs the boxes to find; set data.label, or label: of the metric")
        batch = labels.shape[0]
        boxes, detections = _boxes("label", labels), _boxes("output", predictions)
        if boxes >= 1 << COUNT_BITS:
            raise ShapeError(f"expected fewer than {1 << COUNT_BITS} boxes an image, found label {labels.shape}")
        shapes = {"boxes": [batch, boxes], "found": [batch, detections], "image": [batch]}
        missing = {"label_count": boxes, "count": detections, "crowd": 0, "scores": 0}  # what is no size and no class is -1
        read = [_column(tf, name, columns.get(name), shapes[of], missing.get(name, -1)) for name, of in COLUMNS.items()]
        tensors = [widened(labels), widened(predictions), *read]
        kinds = [tf.float64] + [tf.int64] * 6
        key, group, place, matched, ignored, counted, image = (
            tf.ensure_shape(column, [None]) for column in tf.numpy_function(self._rows, tensors, kinds, stateful=False)
        )
        # The ties of one image are in the order of `place` because its name comes last.
        values = {"counted": counted, "ignored": ignored, "matched": matched, "place": place}
        return {"rows": Rows(key, values, group, image)}

    def _rows(self, labels: np.ndarray, predictions: np.ndarray, *columns: np.ndarray) -> tuple[np.ndarray, ...]:
        """Make the rows of a batch: key, group, place, matched, ignored, counted, image."""
        with subnormals_kept():
            return self._matched(labels, predictions, *columns)

    def _matched(self, labels: np.ndarray, predictions: np.ndarray, *columns: np.ndarray) -> tuple[np.ndarray, ...]:
        known: dict[bytes, np.ndarray] = {}
        blocks = []
        for number, image in enumerate(zip(labels, predictions, *columns, strict=True)):
            # A short batch is filled up with copies of its first image: matching is what takes the time.
            content = b"".join(part.tobytes() for part in image)
            if content not in known:
                known[content] = self._match(_Image(*image))
            block = known[content].copy()
            block["image"] = number
            blocks.append(block)
        rows = np.concatenate(blocks) if blocks else np.zeros(0, ROW)
        return tuple(np.ascontiguousarray(rows[name]) for name in ROW.names or ())

    def _match(self, image: _Image) -> np.ndarray:
        """Match one image without its padding."""
        true, seen = _real(image.label_classes, image.label_count), _real(image.classes, image.count)
        boxes, detections = self._xywh(image.label[true]), self._xywh(image.output[seen])
        areas = image.area[true] if self.area else boxes[:, 2] * boxes[:, 3]
        return match(
            Truths(boxes, image.label_classes[true], areas, image.crowd[true] != 0),
            Guesses(detections, image.classes[seen], image.scores[seen]),
        )

    def _xywh(self, boxes: np.ndarray) -> np.ndarray:
        """Bring boxes [M, 4] to left, top, width, height."""
        if self.box_format == "xywh":
            return boxes
        if self.box_format == "yxyx":
            boxes = boxes[:, [1, 0, 3, 2]]
        return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)

    def fold(self, part: Any) -> dict[str, Any]:
        """Sum precision and recall over the categories of a part, and count what was summed."""
        sums: dict[str, Any] = {name: Fraction(0) for name in (*PRECISIONS, *RECALLED)}
        sums |= {f"{name} of": 0 for name in sums} | {"bad": 0}
        edges = np.append(part.groups, len(part)).tolist()
        for start, stop in pairwise(edges):
            rows = {name: np.repeat(column[start:stop], part.multiplicity[start:stop]) for name, column in part.values.items()}
            sums["bad"] += int(rows["counted"][rows["place"] == BAD].sum())
            category = Category.of(rows)
            self._add(sums, category, f"class {part.group[start]}")
        return sums

    def _add(self, sums: dict[str, Any], category: Category, name: str) -> None:
        """Add the numbers of one category, where it has boxes to find."""
        for area in AREAS:
            if not category.to_find(area):
                continue
            recall, precision = category.curve(area)
            for key, (where, threshold) in PRECISIONS.items():
                if where == area:
                    points = precision if threshold is None else precision[threshold]
                    sums[key] += exact_sum(points.ravel())
                    sums[f"{key} of"] += points.size
            for key, (where, most) in RECALLED.items():
                if where == area:
                    reached = recall if most == MOST else category.curve(area, most)[0]
                    sums[key] += exact_sum(reached)
                    sums[f"{key} of"] += reached.size
            if self.per_class and area == "all":
                sums[name] = exact_sum(precision.ravel())

    def value(self, totals: Totals) -> dict[str, float | None]:
        """Return the twelve numbers, or AP by class.

        Raises: Undefined: a box or score is no number, or there are no boxes to find.
        """
        if bad := totals.exact("bad"):
            raise Undefined(f"{bad} boxes, scores or classes are NaN, infinite or no whole class")
        if not totals.exact("AP of"):
            raise Undefined("there are no boxes to find")
        if self.per_class:
            numbers = sorted(int(name.removeprefix("class ")) for name in totals if name.startswith("class "))
            points = len(IOUS) * len(RECALLS)
            return {_class_name(totals, c): ratio(totals.exact(f"class {c}"), points, "") for c in numbers}
        values: dict[str, float | None] = {}
        for name in (*PRECISIONS, *RECALLED):
            summed = totals.exact(f"{name} of")
            values[name] = ratio(totals.exact(name), summed, "") if summed else None
        return values


def _real(classes: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Return which boxes of an image are there, bool [M]; a class that is NaN is there, and wrong."""
    return ~(classes < 0) & (np.arange(len(classes)) < count)


def _boxes(what: str, boxes: Any) -> int:
    """Return how many boxes an image has room for."""
    if boxes.shape.rank != 3 or boxes.shape[2] != 4 or None in boxes.shape.as_list():
        raise ShapeError(f"coco: expected boxes [B, M, 4] of known size, found {what} {boxes.dtype.name} {boxes.shape}")
    return int(boxes.shape[1])


def _column(tf: Any, what: str, column: Any, shape: list[int], default: int) -> Any:
    """Return what goes with the boxes as float64, or its default."""
    from harness.exact.tf_subnormals import widened

    if column is None:
        return tf.fill(shape, tf.constant(default, tf.float64))
    if column.dtype == tf.string or column.shape.num_elements() != int(np.prod(shape)):
        inner = ", ".join(map(str, ["B", *shape[1:]]))
        raise ShapeError(
            f"coco: expected {what} [{inner}], numbers that go with the boxes, found {column.dtype.name} {column.shape}"
        )
    return tf.reshape(widened(column), shape)


def _class_name(totals: Totals, number: int) -> str:
    names = totals.classes or ()
    return names[number] if 0 <= number < len(names) else str(number)
