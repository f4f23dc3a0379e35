"""Exact metrics of a score: every distinct score is a threshold, equal scores share theirs."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from harness.exact import wide_integers as wide
from harness.metrics.contract import Totals, ratio
from harness.metrics.staircase import ScoreMetric, Staircase, decimal, first, highest

if TYPE_CHECKING:
    from harness.metrics.row_part import Part

__all__ = [
    "AveragePrecision", "EqualErrorRate", "Gini", "KolmogorovSmirnov", "RocAuc",
]  # fmt: skip

DIGITS, DIGIT_BITS = 5, 30  # a term of average precision is rounded down to a multiple of 2^-150
BLOCK = 1 << 16


class _Area(ScoreMetric):
    """Base of metrics of the area under the ROC curve, up to a false positive rate if there is a limit."""

    def limit(self) -> Fraction | None:
        """Return the largest false positive rate that counts, None for all."""
        return None

    def fold(self, part: Part) -> dict[str, Any]:
        """Return twice the area under the steps of this part, in squared units."""
        stairs = Staircase.of(part)
        limit, start, cut = self.limit(), 0, Fraction(0)
        if limit is not None:
            most = limit * stairs.negative
            start = first(len(stairs), lambda i: int(stairs.fp[i]) <= most)
            if start:
                # The step that crosses the limit is cut there; steps of lower thresholds lie beyond.
                n, p = int(stairs.n[start - 1]), int(stairs.p[start - 1])
                width = most - (int(stairs.fp[start - 1]) - n)
                if width > 0:
                    cut = width * (2 * (int(stairs.tp[start - 1]) - p) + p * width / n)
        # A step is n wide; it rises from tp - p to tp.
        n_wide = stairs.n[start:]
        area = 2 * wide.dot(n_wide, stairs.tp[start:]) - wide.dot(n_wide, stairs.p[start:])
        return {"area": area + cut, **stairs.totals()}

    def area(self, totals: Totals) -> Fraction:
        """Return the area, exactly."""
        positive, negative = self.sides(totals)
        area: Fraction = totals.exact("area") / (2 * positive * negative)
        return area


class RocAuc(_Area):
    """Probability that a positive scores higher than a negative; equal scores count half. Exact.

    keras.metrics.AUC and TFMA's auc approximate it with a fixed number of thresholds: see binned_roc_auc.

    With `max_fpr` the area up to that false positive rate, standardised by McClish: 0.5 for a random score, 1 at best.
    """

    summary: ClassVar[str] = "(#{p > n} + #{p = n} / 2) / #{(p, n)} over all pairs of a positive and a negative"
    source: ClassVar[str] = "sklearn.metrics.roc_auc_score; D. K. McClish, Analyzing a portion of the ROC curve, 1989"

    max_fpr: float | None = Field(
        None, gt=0, le=1, description="area up to this false positive rate only, standardised; null: all of it"
    )

    def limit(self) -> Fraction | None:
        """Return `max_fpr`, None where it cuts nothing."""
        return None if self.max_fpr in (None, 1.0) else decimal(self.max_fpr)

    def value(self, totals: Totals) -> float:
        """Return the area, rounded once."""
        area, most = self.area(totals), self.limit()
        if most is None:
            return float(area)
        least = most**2 / 2
        return float((1 + (area - least) / (most - least)) / 2)


class Gini(_Area):
    """Twice the area under the ROC curve, minus one: 0 for a random score, 1 at best. Exact."""

    summary: ClassVar[str] = "2 AUC - 1"
    source: ClassVar[str] = "sklearn.metrics.roc_auc_score"

    def value(self, totals: Totals) -> float:
        """Return 2 AUC - 1, rounded once."""
        return float(2 * self.area(totals) - 1)


class AveragePrecision(ScoreMetric):
    """Mean over the positives of the precision at their score. Equal scores share one threshold.

    The precisions enter the sum rounded down to a multiple of 2^-150. Nothing is interpolated between thresholds:
    keras.metrics.AUC(curve='PR') and TFMA's auc_precision_recall do that, and give another number. Null where no example is
    positive; scikit-learn then says 0.
    """

    summary: ClassVar[str] = "sum over thresholds, descending, of (R_k - R_(k-1)) P_k"
    source: ClassVar[str] = "sklearn.metrics.average_precision_score"

    def fold(self, part: Part) -> dict[str, Any]:
        """Return the sum of positives times precision, over the thresholds of this part."""
        stairs = Staircase.of(part)
        rows = np.flatnonzero(stairs.p)
        precision = 0
        for at in range(0, len(rows), BLOCK):
            index = rows[at : at + BLOCK]
            p, tp = stairs.p[index], stairs.tp[index]
            precision += _quotients(wide.multiply(p, tp), tp + stairs.fp[index])
        return {"precision": Fraction(precision, 1 << DIGITS * DIGIT_BITS), **stairs.totals()}

    def value(self, totals: Totals) -> float:
        """Return the mean precision."""
        reason = f"no example is positive: class {self.positive} is not among the labels"
        return ratio(totals.exact("precision"), totals.exact("positive"), reason)


def _quotients(above: np.ndarray, below: np.ndarray) -> int:
    """Add up above/below, each rounded down to a multiple of 2^-150, in that unit."""
    if object in (above.dtype, below.dtype) or int(below.max()) >= 1 << 63 - DIGIT_BITS:
        return sum((a << DIGITS * DIGIT_BITS) // b for a, b in zip(above.tolist(), below.tolist(), strict=True))
    # Long division in base 2^30: the remainder is below 2^33, so that the next dividend fits.
    quotient, rest = np.divmod(above, below)
    total = wide.total(quotient)
    for _ in range(DIGITS):
        quotient, rest = np.divmod(rest << DIGIT_BITS, below)
        total = (total << DIGIT_BITS) + wide.total(quotient)
    return total


class KolmogorovSmirnov(ScoreMetric):
    """Largest distance between the score distributions of positives and negatives. Exact."""

    summary: ClassVar[str] = "max over thresholds of |TPR - FPR|"
    source: ClassVar[str] = "scipy.stats.ks_2samp(...).statistic"
    no_interval: ClassVar[str | None] = (
        "chance makes the largest of all gaps larger than the true one, and a replicate's larger still: near 0 the bootstrap "
        "does not hold; roc_auc has an interval"
    )

    def fold(self, part: Part) -> dict[str, Any]:
        """Return the largest distance at the thresholds of this part, times positives times negatives."""
        stairs = Staircase.of(part)
        if not len(stairs) or not stairs.positive or not stairs.negative:
            return stairs.totals()
        guess = np.abs(stairs.tp / stairs.positive - stairs.fp / stairs.negative).astype(np.float64)

        def distance(index: np.ndarray) -> np.ndarray:
            tp, fp = (column[index].astype(object) for column in (stairs.tp, stairs.fp))
            return np.abs(tp * stairs.negative - fp * stairs.positive)

        best = np.array([highest(guess, distance, lambda index: np.full(len(index), 1, object))])
        return {"best": (int(distance(best)[0]),), **stairs.totals()}

    def value(self, totals: Totals) -> float:
        """Return the largest distance."""
        positive, negative = self.sides(totals)
        return float(totals.exact("best")[0] / (positive * negative))


class EqualErrorRate(ScoreMetric):
    """Error rate where false positive and false negative rate are equal, on the ROC curve joined by straight lines. Exact."""

    summary: ClassVar[str] = "FPR where FPR = 1 - TPR"
    source: ClassVar[str] = "the root of 1 - x - interp(x, fpr, tpr) over sklearn.metrics.roc_curve"

    def fold(self, part: Part) -> dict[str, Any]:
        """Return the two ends of the step on which the rates cross, where it is in this part."""
        stairs = Staircase.of(part)
        totals = stairs.totals()
        positive, negative = stairs.positive, stairs.negative
        if not positive or not negative:
            return totals

        def excess(index: int, inclusive: bool) -> int:
            """FPR - FNR, times both totals: rises from -1 to 1 as the threshold falls."""
            fp, tp = int(stairs.fp[index]), int(stairs.tp[index])
            if not inclusive:
                fp, tp = fp - int(stairs.n[index]), tp - int(stairs.p[index])
            return fp * positive + tp * negative - positive * negative

        # The last threshold at which the false positives prevail: just above it they do not.
        index = first(len(stairs), lambda i: excess(i, True) < 0) - 1
        if index < 0 or excess(index, False) >= 0:
            return totals
        low, high = excess(index, False), excess(index, True)
        n = int(stairs.n[index])
        crossing = int(stairs.fp[index]) - n + Fraction(-low, high - low) * n
        return {"crossing": crossing, **totals}

    def value(self, totals: Totals) -> float:
        """Return the false positive rate at the crossing."""
        _, negative = self.sides(totals)
        return float(totals.exact("crossing") / negative)
