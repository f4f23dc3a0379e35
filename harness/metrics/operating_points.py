"""The best that a threshold can do while it keeps a bound. Exact: every distinct score is a threshold."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from harness.exact import wide_integers as wide
from harness.metrics.contract import Totals, Undefined
from harness.metrics.staircase import ScoreMetric, Staircase, decimal, first, highest

if TYPE_CHECKING:
    from harness.metrics.row_part import Part

__all__ = ["PrecisionAtRecall", "RecallAtPrecision", "SensitivityAtSpecificity", "SpecificityAtSensitivity"]

BLOCK = 1 << 16  # thresholds that are looked at together


class _AtBest(ScoreMetric):
    """Base of metrics that are the best a threshold can do while it keeps a bound.

    Every distinct score is a threshold. Keras and TFMA try evenly spaced ones, 200 and 1,000 where nothing else is said, and
    may miss the best.
    """

    report: Literal["value", "threshold"] = Field("value", description="the best value, or the threshold that reaches it")
    refusal: ClassVar[str] = "no threshold keeps the bound"

    def best(self, stairs: Staircase) -> tuple[Fraction, int] | None:
        """Return the best value among the thresholds of a part, larger is better, and the index of its threshold."""
        raise NotImplementedError

    def fold(self, part: Part) -> dict[str, Any]:
        """Return the best value of this part, and its threshold: of equal values the highest."""
        stairs = Staircase.of(part)
        totals = stairs.totals()
        both = stairs.positive and stairs.negative
        best = self.best(stairs) if len(stairs) and both else None
        return totals if best is None else {"best": (best[0], stairs.threshold(best[1])), **totals}

    def value(self, totals: Totals) -> float:
        """Return the best value, or the threshold that has it."""
        self.sides(totals)
        if "best" not in totals:
            raise Undefined(self.refusal)
        value, threshold = totals.exact("best")
        return float(value if self.report == "value" else threshold)


class PrecisionAtRecall(_AtBest):
    """Highest precision of a threshold whose recall is at least `recall`. Exact."""

    summary: ClassVar[str] = "max of TP / (TP + FP) over thresholds with TP / P >= recall"
    source: ClassVar[str] = "sklearn.metrics.precision_recall_curve without its last point; keras.metrics.PrecisionAtRecall"

    recall: float = Field(gt=0, le=1, description="the least recall")

    def best(self, stairs: Staircase) -> tuple[Fraction, int] | None:
        """See `_AtBest.best`."""
        least = decimal(self.recall) * stairs.positive
        count = first(len(stairs), lambda i: int(stairs.tp[i]) < least)
        if not count:
            return None
        tp, called = stairs.tp[:count], stairs.tp[:count] + stairs.fp[:count]
        guess = (tp / called).astype(np.float64)
        at = highest(guess, lambda index: tp[index].astype(object), lambda index: called[index].astype(object))
        return Fraction(int(tp[at]), int(called[at])), at


class RecallAtPrecision(_AtBest):
    """Highest recall of a threshold whose precision is at least `precision`; null where none has it. Exact."""

    summary: ClassVar[str] = "max of TP / P over thresholds with TP / (TP + FP) >= precision"
    source: ClassVar[str] = "sklearn.metrics.precision_recall_curve; keras.metrics.RecallAtPrecision (which says 0 for null)"
    refusal: ClassVar[str] = "no threshold has the precision asked for"

    precision: float = Field(gt=0, le=1, description="the least precision")

    def best(self, stairs: Staircase) -> tuple[Fraction, int] | None:
        """See `_AtBest.best`."""
        bound = decimal(self.precision)
        for start in range(0, len(stairs), BLOCK):
            tp, fp = (column[start : start + BLOCK] for column in (stairs.tp, stairs.fp))
            scale = np.array([bound.denominator - bound.numerator]), np.array([bound.numerator])
            # TP / (TP + FP) >= a / b, as (b - a) TP >= a FP
            good = np.flatnonzero(wide.multiply(tp, scale[0]) >= wide.multiply(fp, scale[1]))
            good = good[tp[good] > 0]
            if len(good):
                # tp falls as thresholds rise; of equal ones the highest threshold
                same = good[tp[good] == tp[good[0]]]
                return Fraction(int(tp[same[0]]), stairs.positive), start + int(same[-1])
        return None


class SensitivityAtSpecificity(_AtBest):
    """Highest sensitivity of a threshold whose specificity is at least `specificity`. Exact.

    0 where only a threshold above every score has it; which threshold is null then.
    """

    summary: ClassVar[str] = "max of TP / P over thresholds with TN / N >= specificity"
    source: ClassVar[str] = "sklearn.metrics.roc_curve; keras.metrics.SensitivityAtSpecificity"
    refusal: ClassVar[str] = "only a threshold above every score has the specificity asked for"

    specificity: float = Field(ge=0, le=1, description="the least specificity")

    def best(self, stairs: Staircase) -> tuple[Fraction, int] | None:
        """See `_AtBest.best`."""
        most = (1 - decimal(self.specificity)) * stairs.negative
        index = first(len(stairs), lambda i: int(stairs.fp[i]) <= most)
        if index == len(stairs):
            return None
        tp = int(stairs.tp[index])
        return Fraction(tp, stairs.positive), first(len(stairs), lambda i: int(stairs.tp[i]) < tp) - 1

    def value(self, totals: Totals) -> float:
        """Return the sensitivity, or the threshold that has it."""
        self.sides(totals)
        return 0.0 if "best" not in totals and self.report == "value" else super().value(totals)


class SpecificityAtSensitivity(_AtBest):
    """Highest specificity of a threshold whose sensitivity is at least `sensitivity`. Exact."""

    summary: ClassVar[str] = "max of TN / N over thresholds with TP / P >= sensitivity"
    source: ClassVar[str] = "sklearn.metrics.roc_curve; keras.metrics.SpecificityAtSensitivity"

    sensitivity: float = Field(gt=0, le=1, description="the least sensitivity")

    def best(self, stairs: Staircase) -> tuple[Fraction, int] | None:
        """See `_AtBest.best`."""
        least = decimal(self.sensitivity) * stairs.positive
        index = first(len(stairs), lambda i: int(stairs.tp[i]) < least) - 1
        return None if index < 0 else (1 - Fraction(int(stairs.fp[index]), stairs.negative), index)
