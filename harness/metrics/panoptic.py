"""Panoptic quality: segments of labels and predictions are matched image by image, on the host, in NumPy."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from harness.errors import ShapeError
from harness.metrics.contract import HostMetric, Table, Totals, Undefined

__all__ = ["PanopticQuality", "match_segments"]

SUMS = ("iou", "tp", "fp", "fn")


class PanopticQuality(HostMetric):
    """Panoptic quality: PQ = SQ x RQ (A. Kirillov and others, Panoptic Segmentation, 2019).

    Labels and predictions are integers [B, H, W, 2]: category and instance of each pixel. `things` and `stuffs` list the
    categories; all pixels of one stuff category in an image are one segment. Pixels of any other category are void.
    Segments of one category match where their IoU, without the void pixels of the label, exceeds one half. A predicted
    segment that lies for more than half on void pixels is not counted where it matches nothing. Crowd regions: make
    them void.

    Averages are over the categories that occur in labels or predictions; one without a match enters the mean SQ as 0, as in
    panopticapi. Differs from TorchMetrics, which takes void predictions out of the union and out of the missed as well.
    """

    summary: ClassVar[str] = "PQ = sum of IoU / (TP + FP/2 + FN/2), SQ = sum of IoU / TP, RQ = TP / (TP + FP/2 + FN/2)"
    source: ClassVar[str] = "panopticapi.evaluation.pq_compute"
    takes_weights: ClassVar[bool] = False

    things: tuple[int, ...] = Field((), description="categories whose instances are told apart")
    stuffs: tuple[int, ...] = Field((), description="categories without instances")
    average: Literal["macro", "per_class"] = Field("macro", description="mean over categories, or one value each")

    @field_validator("average", mode="before")
    @classmethod
    def _none_is_per_class(cls, value: Any) -> Any:
        return "per_class" if value in (None, "none") else value

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        every = self.things + self.stuffs
        if not every or len(set(every)) < len(every):
            raise ValueError("things and stuffs: list each category once, in one of the two")
        return self

    def columns(self) -> tuple[str, ...]:
        """Name the sums of each category."""
        return tuple(f"{name} {category}" for category in self.things + self.stuffs for name in SUMS)

    def host_terms(self, labels: np.ndarray, predictions: np.ndarray, **features: np.ndarray) -> np.ndarray:
        """Match the segments of each image.

        Args:
          labels, predictions: integers [n, H, W, 2].
        Raises: ShapeError: the two are not category and instance maps of one size.
        """
        if labels.shape != predictions.shape or labels.ndim < 4 or labels.shape[-1] != 2:
            raise ShapeError(
                "expected category and instance of each pixel, [B, H, W, 2], in label and output, found "
                f"{list(labels.shape)} and {list(predictions.shape)}"
            )
        for what, array in (("label", labels), ("output", predictions)):
            if array.dtype.kind not in "iu":
                raise ShapeError(f"expected integer categories and instances, found {what} of {array.dtype}")
        rows = [
            match_segments(label.reshape(-1, 2), predicted.reshape(-1, 2), self.things, self.stuffs).ravel()
            for label, predicted in zip(labels, predictions, strict=True)
        ]
        return np.array(rows, np.float64).reshape(len(labels), len(self.columns()))

    def value(self, totals: Totals) -> dict[str, float | None] | Table:
        """Return the means over all categories, over things, and over stuffs; or a table of the categories."""
        qualities = {
            category: _quality(*(totals[f"{name} {category}"] for name in SUMS)) for category in self.things + self.stuffs
        }
        if self.average == "per_class":
            lines = (
                (*self._name(category, totals), *qualities[category], *(int(totals[f"{name} {category}"]) for name in SUMS[1:]))
                for category in qualities
            )
            return Table(("class", "pq", "sq", "rq", "tp", "fp", "fn"), tuple(lines))
        groups = {"": self.things + self.stuffs}
        if self.things and self.stuffs:
            groups |= {"_things": self.things, "_stuffs": self.stuffs}
        values: dict[str, float | None] = {}
        for suffix, categories in groups.items():
            present = [qualities[category] for category in categories if qualities[category][0] is not None]
            if not suffix and not present:
                raise Undefined("no category of things or stuffs occurs in labels or predictions")
            for number, name in enumerate(("pq", "sq", "rq")):
                column = [quality[number] or 0.0 for quality in present]
                values[name + suffix] = math.fsum(column) / len(column) if column else None
        return values

    def _name(self, category: int, totals: Totals) -> tuple[str]:
        names = totals.classes or ()
        return (names[category] if 0 <= category < len(names) else str(category),)


def _quality(iou: float, tp: float, fp: float, fn: float) -> tuple[float | None, float | None, float | None]:
    """Return PQ, SQ and RQ of one category, None where they are 0/0."""
    segments = tp + fp / 2 + fn / 2
    if not segments:
        return None, None, None
    return iou / segments, iou / tp if tp else None, tp / segments


def match_segments(label: np.ndarray, predicted: np.ndarray, things: tuple[int, ...], stuffs: tuple[int, ...]) -> np.ndarray:
    """Match the segments of one image.

    Args:
      label, found: category and instance of each pixel, integers [P, 2].
    Returns: float64 [categories, 4]: sum of IoU, TP, FP, FN of things, then stuffs.

    >>> one = np.array([[7, 1], [7, 1], [7, 2], [0, 0]])
    >>> match_segments(one, np.array([[7, 3], [7, 3], [7, 4], [7, 4]]), (7,), ()).tolist()
    [[2.0, 2.0, 0.0, 0.0]]
    """
    categories = things + stuffs
    of_label, label_category, label_area = _segments(label, categories, len(things))
    of_found, found_category, found_area = _segments(predicted, categories, len(things))
    pairs, overlap = np.unique(of_label * len(found_area) + of_found, return_counts=True)
    first, second = pairs // len(found_area), pairs % len(found_area)
    on_void = np.zeros(len(found_area), np.int64)
    on_void[second[first == 0]] = overlap[first == 0]

    union = label_area[first] + found_area[second] - overlap - on_void[second]
    same = (first > 0) & (second > 0) & (label_category[first] == found_category[second])
    # IoU > 1/2 in integers; two segments cannot both overlap a third so far.
    matched = same & (2 * overlap > union)
    first, second = first[matched], second[matched]

    missed = np.ones(len(label_area), bool)
    missed[[0, *first]] = False
    wrong = 2 * on_void <= found_area
    wrong[[0, *second]] = False
    size = len(categories)
    return np.stack(
        [
            np.bincount(label_category[first], overlap[matched] / union[matched], size),
            np.bincount(label_category[first], minlength=size),
            np.bincount(found_category[wrong], minlength=size),
            np.bincount(label_category[missed], minlength=size),
        ],
        axis=1,
    ).astype(np.float64)


def _segments(pixels: np.ndarray, categories: tuple[int, ...], things: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Number the segments of one image; segment 0 is the void.

    Returns: segment of each pixel [P]; index of the category (0 for the void too) and area of each segment.
    """
    order = np.argsort(categories)
    ordered = np.array(categories)[order]
    at = np.minimum(np.searchsorted(ordered, pixels[:, 0]), len(categories) - 1)
    known = ordered[at] == pixels[:, 0]
    category = np.where(known, order[at], -1)
    names, instance = np.unique(pixels[:, 1], return_inverse=True)
    instance = np.where((category >= 0) & (category < things), instance.ravel(), 0)
    # The void is (-1, 0), the smallest code; it is put in front even where no pixel is void.
    codes, segment = np.unique(np.concatenate([[0], (category + 1) * len(names) + instance]), return_inverse=True)
    area = np.bincount(segment.ravel()[1:], minlength=len(codes))
    return segment.ravel()[1:], np.maximum(codes // len(names) - 1, 0), area
