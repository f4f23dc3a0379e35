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

from harness.metrics.contract import Proportion, Undefined

__all__ = [
    "OneVsRest", "Share", "accuracy", "averaged", "f_beta", "jaccard", "precision", "recall", "specificity", "together",
]  # fmt: skip

Average = Literal["macro", "micro", "weighted", "per_class", "binary"]


@dataclass(frozen=True)
class OneVsRest:
    """Weight of the positions where a class is label and prediction, prediction, label, and of all positions."""

    hits: Fraction
    predicted: Fraction
    labelled: Fraction
    total: Fraction


@dataclass(frozen=True)
class Share:
    """One sum over another; `undefined` says what it means when the lower one is zero."""

    above: Fraction
    below: Fraction
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


def _sum(ratios: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Add ratios of integers; not brought to lowest terms.

    >>> _sum([(1, 2), (1, 4)])
    (3, 4)
    """
    below = math.lcm(*(below for _, below in ratios))
    return sum(above * (below // own) for above, own in ratios), below


def together(classes: Sequence[OneVsRest]) -> OneVsRest:
    """Add up the sums of several classes."""
    zero = Fraction(0)
    return OneVsRest(
        sum((sums.hits for sums in classes), zero),
        sum((sums.predicted for sums in classes), zero),
        sum((sums.labelled for sums in classes), zero),
        sum((sums.total for sums in classes), zero),
    )
