"""ROC AUC and average precision from a histogram of scores: a fixed state, and bounds that hold the exact value.

Of a bin it is known how many positives and negatives are in it, not in which order. Every order it could have been is
allowed for, so the exact value is certainly between `low` and `high`; bounds are rounded outwards.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from harness.metrics.binary import BinaryMetric
from harness.metrics.contract import Count, Term, Thresholds, Totals, Undefined
from harness.metrics.plots import plain

__all__ = ["BinnedAveragePrecision", "BinnedRocAuc"]


MARGIN = 2.0**-48
MOST_POINTS = 1000  # of what is shown


class _Binned(BinaryMetric):
    """Base of metrics of positives and negatives per bin of [0, 1]; a score outside counts in the bin next to it."""

    bound_names: ClassVar[tuple[str, str] | None] = ("low", "high")

    bins: int = Field(1000, ge=1, le=1 << 20, description="bins of the histogram of scores")

    def terms(self, labels: Any, predictions: Any) -> dict[str, Term]:
        """Count labels by bin; comparing with edges keeps the order of scores exactly."""
        from harness.exact.tf_subnormals import searchsorted

        edges = np.linspace(0, 1, self.bins + 1)[1:-1]
        index = searchsorted(edges, predictions, side="right")
        return {"bins": Count(2 * index + labels, 2 * self.bins)}

    def columns(self, totals: Totals) -> list[tuple[Fraction, Fraction]]:
        """Return negatives and positives of each bin that is not empty, by ascending score.

        Raises: Undefined: there are none of either.
        """
        sums = totals.exact("bins").reshape(-1, 2)
        negative, positive = sums.sum(axis=0)
        if not positive or not negative:
            raise Undefined(f"no label is {'positive' if not positive else 'negative'}")
        return [(n, p) for n, p in sums if n or p]

    def plots(self, totals: Totals) -> tuple[Thresholds]:
        """Return exact counts at edges of bins, `MOST_POINTS` of them at most: a score on an edge belongs to the bin above."""
        self.columns(totals)
        negatives, positives = totals.on_grid("bins").reshape(-1, 2).T
        fp, tp = (np.cumsum(counts[::-1])[::-1] for counts in (negatives, positives))
        edges = np.linspace(0, 1, self.bins + 1)
        numbers = np.unique(np.linspace(0, self.bins - 1, min(self.bins, MOST_POINTS)).round().astype(np.int64)).tolist()
        points = tuple((float(edges[i]), plain(tp[i]), plain(fp[i])) for i in numbers)
        return (Thresholds(plain(tp[0]), plain(fp[0]), points),)


class BinnedRocAuc(_Binned):
    """Area under the ROC curve from a histogram of scores, with guaranteed bounds.

    The estimate takes the scores of a bin for equal; it is off by at most half of high - low. keras.metrics.AUC and TFMA's
    auc join n thresholds by straight lines (200 and 10,000 of them, where nothing else is said): with bins: n - 1 that is the
    same estimate, but for a score on an edge, which belongs to the bin above here and to the one below there.
    """

    summary: ClassVar[str] = (
        "P(score of a positive > of a negative) + P(equal) / 2; bounds: all pairs within a bin wrong, or right"
    )
    source: ClassVar[str] = "sklearn.metrics.roc_auc_score lies in [low, high]; keras.metrics.AUC and TFMA's auc (no bounds)"

    def value(self, totals: Totals) -> dict[str, float]:
        """Return estimate, low and high.

        Of the pairs of a positive and a negative, those in different bins are ordered; the others are not known.
        """
        columns = self.columns(totals)
        below = right = same = Fraction(0)
        for negative, positive in columns:
            right += positive * below
            same += positive * negative
            below += negative
        pairs = below * sum((positive for _, positive in columns), Fraction(0))
        return {
            "estimate": float((right + same / 2) / pairs),
            "low": _round(right / pairs, -math.inf),
            "high": _round((right + same) / pairs, math.inf),
        }


class BinnedAveragePrecision(_Binned):
    """Average precision from a histogram of scores, with guaranteed bounds.

    The estimate takes the scores of a bin for equal. It is not the area of keras.metrics.AUC(curve='PR') or of TFMA's
    auc_precision_recall, which interpolate true and false positives between thresholds (J. Davis, M. Goadrich, 2006).
    """

    summary: ClassVar[str] = (
        "sum of (recall_k - recall_(k-1)) precision_k over descending scores; bounds: over all orders in a bin"
    )
    source: ClassVar[str] = "sklearn.metrics.average_precision_score lies in [low, high]"

    def value(self, totals: Totals) -> dict[str, float]:
        """Return estimate, low and high.

        A bin holds a positives and c negatives, with A positives and C negatives above it. A positive contributes the
        precision tp / (tp + fp) at its score. Highest: fp >= C and tp <= A + a, so all a contribute at most
        (A + a) / (A + a + C), as when they are equal and above the negatives. Lowest: fp <= C + c =: D, and at the
        positive that brings tp to x, precision is at least f(x) = x / (x + D); f rises, so the bin's positives
        contribute at least the integral of f from A to A + a, which is a - D ln((A + a + D) / (A + D)).
        """
        columns = self.columns(totals)
        positives = float(sum((positive for _, positive in columns), Fraction(0)))
        above_p = above_n = Fraction(0)
        estimate, low, high = [], [], []
        for negative, positive in reversed(columns):
            reached, most = above_p + positive, above_n + negative
            if positive:
                a, d = float(positive), float(most)
                estimate.append(a * float(reached / (reached + most)))
                high.append(a * float(reached / (reached + above_n)))
                low.append(a - d * math.log1p(float(positive / (above_p + most))) if d else a)
            above_p, above_n = reached, most
        # Floats, for fractions of a million denominators would fill the memory. Fewer than eight roundings of at most
        # 2^-53 of each bin's share go into a bound: 2^-48 covers them.
        return {
            "estimate": math.fsum(estimate) / positives,
            "low": max(math.fsum(low) / positives - MARGIN, 0.0),
            "high": min(math.fsum(high) / positives + MARGIN, 1.0),
        }


def _round(x: Fraction, towards: float) -> float:
    """Return the float64 next to x on the given side, x itself where it is one."""
    nearest = float(x)
    wrong = nearest < x if towards > 0 else nearest > x
    return math.nextafter(nearest, towards) if wrong else nearest
