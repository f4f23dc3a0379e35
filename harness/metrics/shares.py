"""Shares of one class against the rest, from exact sums, and their averages. Pure Python; knows no graph.

Precision, recall, specificity, F-beta, Jaccard and accuracy are all a share of two sums of the same four numbers;
classes, labels and regions of an image differ only in where the four come from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import numpy as np

from harness.metrics.contract import Proportion, Undefined

__all__ = [
    "OneVsRest", "Share", "accuracy", "averaged", "averaged_draws", "f_beta", "jaccard", "precision", "recall",
    "specificity", "support", "together",
]  # fmt: skip

Average = Literal["macro", "micro", "weighted", "per_class", "binary"]


@dataclass(frozen=True)
class OneVsRest:
    """Weight of the positions where a class is label and prediction, prediction, label, and of all positions.

    Each is exact: a fraction, or whole numbers of many draws and classes, int64 [draws, C].
    """

    hits: Any
    predicted: Any
    labelled: Any
    total: Any


@dataclass(frozen=True)
class Share:
    """One sum over another; `undefined` says what it means when the lower one is zero."""

    above: Any
    below: Any
    undefined: str

    @property
    def proportion(self) -> Proportion:
        """Return the share as k of n."""
        return Proportion(self.above, self.below)


def precision(sums: OneVsRest) -> Share:
    """Return TP / (TP + FP)."""
    return Share(sums.hits, sums.predicted, "never predicted")


def recall(sums: OneVsRest) -> Share:
    """Return TP / (TP + FN)."""
    return Share(sums.hits, sums.labelled, "not among the labels")


def specificity(sums: OneVsRest) -> Share:
    """Return TN / (TN + FP)."""
    negatives = sums.total - sums.labelled
    return Share(negatives - (sums.predicted - sums.hits), negatives, "the label of every position")


def jaccard(sums: OneVsRest) -> Share:
    """Return TP / (TP + FP + FN)."""
    return Share(sums.hits, sums.labelled + sums.predicted - sums.hits, "neither predicted nor among the labels")


def accuracy(sums: OneVsRest) -> Share:
    """Return (TP + TN) / (TP + TN + FP + FN)."""
    return Share(sums.total - sums.predicted - sums.labelled + 2 * sums.hits, sums.total, "without any weight")


def f_beta(sums: OneVsRest, square: Any) -> Share:
    """Return (1 + b^2) TP / ((1 + b^2) TP + b^2 FN + FP), where TP + FN is `labelled` and TP + FP is `predicted`.

    `square` is b^2, a Fraction where the sums are.
    """
    below = square * sums.labelled + sums.predicted
    return Share((1 + square) * sums.hits, below, "neither predicted nor among the labels")


def averaged(
    classes: Sequence[tuple[str, OneVsRest]],
    share: Callable[[OneVsRest], Share],
    average: Average,
    *,
    zero_division: float | None = None,
    positive: int = 1,
    absent_count: bool = False,
) -> float | dict[str, float | None]:
    """Average the share of each class, or return it by class.

    Args:
      classes: name and sums of each class.
      zero_division: what a share of 0/0 counts as; None makes it undefined.
      positive: which class `binary` reports.
      absent_count: whether a class that is neither labelled nor predicted takes part in `macro`.
    Raises: Undefined: a share that takes part is 0/0, or no class takes part.

    >>> from fractions import Fraction as F
    >>> two = [("a", OneVsRest(F(1), F(2), F(1), F(3))), ("b", OneVsRest(F(1), F(1), F(2), F(3)))]
    >>> averaged(two, recall, "macro"), averaged(two, recall, "per_class")
    (0.75, {'a': 1.0, 'b': 0.5})
    """

    def divide(name: str, sums: OneVsRest) -> float:
        quotient = share(sums)
        if quotient.below:
            above, below = quotient.above, quotient.below
            # Python divides integers rounded once; fractions would be brought to their lowest terms before.
            return above.numerator * below.denominator / (above.denominator * below.numerator)
        if zero_division is not None:
            return float(zero_division)
        raise Undefined(f"{name} is 0/0: {quotient.undefined} (zero_division: 0 or 1 says what it counts as)")

    if average == "per_class":
        return {name: None if zero_division is None and not share(sums).below else divide("", sums) for name, sums in classes}
    if average == "micro":
        return divide("all classes together", together([sums for _, sums in classes]))
    if average == "binary":
        name, sums = classes[positive]
        return divide(f"class {name}", sums)
    if average == "weighted":
        # A class without labels has no weight in the average, so its share is not asked for.
        parts = [(sums.labelled, divide(f"class {name}", sums)) for name, sums in classes if sums.labelled]
    else:
        present = [(name, sums) for name, sums in classes if absent_count or sums.labelled or sums.predicted]
        parts = [(Fraction(1), divide(f"class {name}", sums)) for name, sums in present]
    if not parts:
        raise Undefined("no class has any weight")
    # A thousand slices with replicates feel what fractions cost: one numerator over one denominator.
    values = [value.as_integer_ratio() for _, value in parts]
    products = [(w.numerator * above, w.denominator * below) for (w, _), (above, below) in zip(parts, values, strict=True)]
    weights = [(weight.numerator, weight.denominator) for weight, _ in parts]
    (above, over), (below, under) = _sum(products), _sum(weights)
    return above * under / (over * below)


def averaged_draws(
    names: Sequence[str],
    sums: OneVsRest,
    share: Callable[[OneVsRest], Share],
    average: Average,
    *,
    zero_division: float | None = None,
    positive: int = 1,
) -> list[Any] | None:
    """Return what `averaged` does, to the bit, of many draws of unweighted counts; None for a draw where it is undefined.

    Args:
      names: of the classes.
      sums: int64 [draws, C], `total` [draws, 1].
    Returns: None where the counts are too large for whole numbers of 64 bits.
    """
    counts = sums.hits, sums.predicted, sums.labelled
    if average == "micro":
        hits, predicted, labelled = (count.sum(axis=1, keepdims=True) for count in counts)
        sums = OneVsRest(hits, predicted, labelled, sums.total * len(names))
    elif average == "binary":
        hits, predicted, labelled = (count[:, positive, None] for count in counts)
        sums = OneVsRest(hits, predicted, labelled, sums.total)
    quotient = share(sums)
    if quotient.below.dtype != np.int64 or np.max(quotient.below, initial=0) >= 1 << SHARE_BITS:
        return None
    empty = quotient.below == 0
    values = np.where(
        empty, np.nan if zero_division is None else zero_division, quotient.above / np.where(empty, 1, quotient.below)
    )
    if average == "per_class":
        return [dict(zip(names, (None if value != value else value for value in draw), strict=True)) for draw in values.tolist()]
    if average in ("micro", "binary"):
        return [None if value != value else value for value in values[:, 0].tolist()]
    takes_part = sums.labelled > 0 if average == "weighted" else (sums.labelled > 0) | (sums.predicted > 0)
    weights = np.where(takes_part, sums.labelled if average == "weighted" else 1, 0)
    undefined = ~takes_part.any(axis=1) | (takes_part & np.isnan(values)).any(axis=1)
    means = _exact_means(np.where(takes_part & ~undefined[:, None], values, 0.0), weights)
    return [None if lost else mean for lost, mean in zip(undefined.tolist(), means, strict=True)]


SHARE_BITS = 31  # of what divides: a share that is not 0 is 2^-31 at least, and a multiple of 2^-84
LIMB = 28


def _exact_means(shares: np.ndarray, weights: np.ndarray) -> list[float]:
    """Return weighted means, each rounded once; 0 where nothing weighs anything.

    Args:
      shares: float64 [draws, C], from 0 to 1, multiples of 2^-84.
      weights: int64 [draws, C], of less than 2^31 together.

    >>> _exact_means(np.array([[1 / 3, 1.0]]), np.array([[2, 1]]))
    [0.5555555555555556]
    """
    sums, rest = [], shares
    for _ in range(3):
        rest = rest * 2.0**LIMB
        limb = np.floor(rest)
        rest = rest - limb
        sums.append((limb.astype(np.int64) * weights).sum(axis=1).tolist())
    below = np.maximum(weights.sum(axis=1), 1).tolist()
    # Python divides integers rounded once.
    return [
        ((high << 2 * LIMB) + (middle << LIMB) + low) / (divisor << 3 * LIMB)
        for high, middle, low, divisor in zip(*sums, below, strict=True)
    ]


def _sum(ratios: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Add ratios of integers; not brought to lowest terms.

    >>> _sum([(1, 2), (1, 4)])
    (3, 4)
    """
    below = math.lcm(*(below for _, below in ratios))
    return sum(above * (below // own) for above, own in ratios), below


def support(classes: Sequence[tuple[str, OneVsRest]]) -> dict[str, float]:
    """Return how many positions have the label of each class, or their weight.

    >>> support([("a", OneVsRest(1, 2, Fraction(3), 4)), ("b", OneVsRest(1, 1, Fraction(1, 2), 4))])
    {'a': 3, 'b': 0.5}
    """
    return {name: int(sums.labelled) if sums.labelled.denominator == 1 else float(sums.labelled) for name, sums in classes}


def together(classes: Sequence[OneVsRest]) -> OneVsRest:
    """Add up the sums of several classes."""
    zero = Fraction(0)
    return OneVsRest(
        sum((sums.hits for sums in classes), zero),
        sum((sums.predicted for sums in classes), zero),
        sum((sums.labelled for sums in classes), zero),
        sum((sums.total for sums in classes), zero),
    )
