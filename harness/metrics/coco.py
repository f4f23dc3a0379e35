"""COCO's matching of the boxes of one image, by pycocotools, and COCO's curves of what was matched. NumPy only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.errors import UsageError

__all__ = [
    "AREAS", "BAD", "COUNT_BITS", "IOUS", "MOST", "RECALLS", "ROW", "TRUTH",
    "Category", "Guesses", "Truths", "evaluator", "match",
]  # fmt: skip

# COCOeval's parameters for boxes, computed as it does: 0.5 : 0.05 : 0.95, 0 : 0.01 : 1.
IOUS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
MOST = 100  # detections of one category in an image that are matched at all
AREAS = {"all": (0.0, 1e5**2), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e5**2)}
COUNT_BITS = 15  # of the boxes to find in an image, by category and area: four such counts in an int64

TRUTH, BAD = -1, -2  # in the column `place`: a row that counts boxes to find; a row for a box or score that is no number

ROW = np.dtype(
    [("key", np.float64), ("group", np.int64), ("place", np.int64), ("matched", np.int64), ("ignored", np.int64),
     ("counted", np.int64), ("image", np.int64)]
)  # fmt: skip


@dataclass(frozen=True)
class Truths:
    """The boxes to find in one image.

    Args:
      boxes: float64 [G, 4], left, top, width, height. classes: float64 [G], whole numbers.
      areas: float64 [G]. crowd: bool [G].
    """

    boxes: np.ndarray
    classes: np.ndarray
    areas: np.ndarray
    crowd: np.ndarray


@dataclass(frozen=True)
class Guesses:
    """The detections in one image: boxes float64 [M, 4] as those of `Truths`, classes and scores float64 [M]."""

    boxes: np.ndarray
    classes: np.ndarray
    scores: np.ndarray


def match(truths: Truths, guesses: Guesses) -> np.ndarray:
    """Match the boxes of one image, category by category.

    Returns: rows, ROW [n]: one per detection, and one per category with boxes to find; their `image` is 0. Where a number
      is NaN or infinite, or a class no whole number, one row that says how many boxes are wrong.
    """
    wrong = _wrong(truths.boxes, truths.classes, truths.areas) + _wrong(guesses.boxes, guesses.classes, guesses.scores)
    if wrong:
        return np.array([(0.0, 0, BAD, 0, 0, wrong, 0)], ROW)
    evaluation = evaluator()
    # What COCOeval._prepare fills from its data base. Ids begin at 1: COCOeval takes a match with id 0 for none.
    for j, category in enumerate(truths.classes.astype(np.int64).tolist()):
        crowd = int(truths.crowd[j])
        evaluation._gts[0, category].append(
            {"id": j + 1, "bbox": truths.boxes[j].tolist(), "area": float(truths.areas[j]), "iscrowd": crowd, "ignore": crowd}
        )
    for j, category in enumerate(guesses.classes.astype(np.int64).tolist()):
        box = guesses.boxes[j].tolist()
        evaluation._dts[0, category].append(
            {"id": j + 1, "bbox": box, "area": box[2] * box[3], "score": float(guesses.scores[j])}
        )
    categories = sorted({category for _, category in (*evaluation._gts, *evaluation._dts)})
    return np.array([row for category in categories for row in _category(evaluation, category)], ROW)


def _wrong(boxes: np.ndarray, classes: np.ndarray, numbers: np.ndarray) -> int:
    good = np.isfinite(np.column_stack([boxes, classes, numbers])).all(axis=1) & (classes == np.rint(classes))
    return int((~good).sum())


def _category(evaluation: Any, category: int) -> Iterator[tuple[Any, ...]]:
    """Let COCOeval match one category of one image, in every area range; yield its rows."""
    evaluation.ious[0, category] = evaluation.computeIoU(0, category)
    images = [evaluation.evaluateImg(0, category, list(limits), MOST) for limits in AREAS.values()]
    weights = 1 << np.arange(len(AREAS) * len(IOUS), dtype=np.int64)
    matched = weights @ np.concatenate([image["dtMatches"] != 0 for image in images]).astype(np.int64)
    ignored = weights @ np.concatenate([image["dtIgnore"] != 0 for image in images]).astype(np.int64)
    for place, score in enumerate(images[0]["dtScores"]):
        yield -score, category, place, matched[place], ignored[place], 0, 0
    truths = [int(np.count_nonzero(np.asarray(image["gtIgnore"]) == 0)) for image in images]
    if any(truths):
        yield 0.0, category, TRUTH, 0, 0, sum(n << COUNT_BITS * a for a, n in enumerate(truths)), 0


@dataclass(frozen=True)
class Category:
    """All detections of one category by descending score, and how many boxes there were to find.

    Args:
      place: int64 [n], place among the detections of its image.
      matched, ignored: int64 [n], bit 10 a + t for area range a and IoU threshold t.
      truths: int64 [areas].
    """

    place: np.ndarray
    matched: np.ndarray
    ignored: np.ndarray
    truths: np.ndarray

    @classmethod
    def of(cls, rows: dict[str, np.ndarray]) -> Category:
        """Tell detections from the rows that count boxes."""
        packed = rows["counted"][rows["place"] == TRUTH]
        shifts = np.arange(len(AREAS)) * COUNT_BITS
        truths = (packed[:, None] >> shifts & (1 << COUNT_BITS) - 1).sum(axis=0)
        seen = rows["place"] >= 0
        return cls(rows["place"][seen], rows["matched"][seen], rows["ignored"][seen], truths)

    def to_find(self, area: str) -> int:
        """Return how many boxes there were to find."""
        return int(self.truths[list(AREAS).index(area)])

    def curve(self, area: str, most: int = MOST) -> tuple[np.ndarray, np.ndarray]:
        """Return recall, float64 [T], and precision at the 101 recalls, [T, R], as COCOeval.accumulate computes them."""
        inside = self.place < most
        recall, precision = np.zeros(len(IOUS)), np.zeros((len(IOUS), len(RECALLS)))
        for t in range(len(IOUS)):
            bit = list(AREAS).index(area) * len(IOUS) + t
            counts = (self.ignored >> bit & 1 == 0) & inside
            matched = self.matched >> bit & 1 == 1
            # COCOeval keeps ignored detections on the curve, where they change neither sum
            tp = np.cumsum((matched & counts)[inside]).astype(np.float64)
            fp = np.cumsum((~matched & counts)[inside]).astype(np.float64)
            if not len(tp):
                continue
            reached = tp / self.to_find(area)
            best = np.maximum.accumulate((tp / (fp + tp + np.spacing(1)))[::-1])[::-1]
            at = np.searchsorted(reached, RECALLS, side="left")
            recall[t] = reached[-1]
            precision[t] = np.append(best, 0.0)[at]
        return recall, precision


def evaluator() -> Any:
    """Return a COCOeval for the boxes of one image, without a data base.

    Raises: UsageError: pycocotools is missing.
    """
    try:
        from pycocotools.cocoeval import COCOeval
    except ImportError as exc:
        raise UsageError("coco needs pycocotools: pip install 'exact-harness[detection]'") from exc
    evaluation = COCOeval(iouType="bbox")
    evaluation._gts, evaluation._dts = defaultdict(list), defaultdict(list)
    return evaluation
