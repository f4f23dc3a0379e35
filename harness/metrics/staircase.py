"""The ROC staircase of sorted scores, exact: how many positives and negatives score at least each threshold.

Base of the exact binary metrics; knows nothing of what they make of it. Thresholds are the distinct scores, ascending;
an example is called positive where its score is at least the threshold.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from harness.errors import ShapeError
from harness.exact import wide_integers as wide
from harness.metrics.contract import Binding, Inputs, RowMetric, Rows, Term, Totals, Undefined

if TYPE_CHECKING:
    from harness.metrics.row_part import Part

__all__ = ["ScoreMetric", "Staircase", "decimal", "first", "highest"]


class ScoreMetric(RowMetric):
    """Base of metrics of the score of class `positive` against whether it is the label, over all thresholds.

    An output with one score gives that of class 1. Logits of several classes are compared by their log odds, which
    order examples as the probabilities do and do not saturate; thresholds are log odds then.
    """

    inputs: ClassVar[Inputs] = Inputs.CLASSES
    additive: ClassVar[tuple[str, ...] | None] = ("positive",)

    positive: int = Field(1, ge=0, description="the class that counts as positive")
    from_logits: bool = Field(False, description="the output holds logits, not probabilities")
    ignore_label: int | None = Field(None, description="positions with this label are left out")
    one_hot: bool = Field(False, description="the label is one-hot, a row [..., C] with a 1 for its class; all zeros: class -1")

    def binding(self, output: str, label: str | None, weight: str | None) -> Binding:
        """Return what the metric reads; see `Metric.binding`."""
        return Binding(
            self.inputs,
            self.output or output,
            self.label or label,
            self.weighing(weight),
            self.ignore_label,
            self.from_logits,
            one_hot=self.one_hot,
        )

    def terms(self, labels: Any, predictions: Any) -> dict[str, Term]:
        """Keep the score of each position, and whether it is positive.

        Raises: ShapeError: the output has no class of that number.
        """
        import tensorflow as tf

        from harness.exact.tf_subnormals import difference, widened

        classes = predictions.shape[-1]
        if self.positive >= classes:
            raise ShapeError(f"positive={self.positive}, but the output has {classes} classes")
        own = widened(predictions[:, self.positive])
        if self.from_logits:
            rest = widened(tf.concat([predictions[:, : self.positive], predictions[:, self.positive + 1 :]], axis=1))
            own = difference(own, rest[:, 0]) if classes == 2 else own - tf.reduce_logsumexp(rest, axis=1)
        return {"rows": Rows(own, {"positive": tf.cast(labels == self.positive, tf.int64)})}

    def cumulate(self, part: Part) -> dict[str, np.ndarray]:
        """Return how much each row counts, and how much of that is positive."""
        return {"positive": part.mass("positive"), "all": part.counts}

    def sides(self, totals: Totals) -> tuple[Fraction, Fraction]:
        """Return the total of the positives and of the negatives, in units.

        Raises: Undefined: one of them is zero.
        """
        positive, negative = totals.exact("positive"), totals.exact("negative")
        if not positive:
            raise Undefined(f"no example is positive: class {self.positive} is not among the labels")
        if not negative:
            raise Undefined(f"no example is negative: every label is class {self.positive}")
        return positive, negative


@dataclass(frozen=True)
class Staircase:
    """A part's thresholds, ascending, [n]; counts in units, int64 or object.

    Attributes:
      key: float64, the threshold.
      p, n: positives and negatives that score exactly this.
      tp, fp: positives and negatives that score at least this, in this and all later parts.
      positive, negative: totals over all parts.
      earlier: the same over the parts before this one.
    """

    key: np.ndarray
    p: np.ndarray
    n: np.ndarray
    positive: int
    negative: int
    earlier: tuple[int, int]

    @classmethod
    def of(cls, part: Part) -> Staircase:
        """Read a part of a ScoreMetric."""
        p = part.per_tie(part.mass("positive"))
        n = part.per_tie(part.counts) - p
        positive, negative = part.total["positive"], part.total["all"] - part.total["positive"]
        earlier = part.before["positive"], part.before["all"] - part.before["positive"]
        return cls(
            part.key if part.untied else part.key[part.ties],
            p,
            n,
            positive,
            negative,
            earlier,
        )

    @cached_property
    def tp(self) -> np.ndarray:
        """Return how many positives score at least each threshold."""
        return _at_least(self.p, self.earlier[0], self.positive)

    @cached_property
    def fp(self) -> np.ndarray:
        """Return how many negatives score at least each threshold."""
        return _at_least(self.n, self.earlier[1], self.negative)

    def __len__(self) -> int:
        return len(self.key)

    def threshold(self, index: int) -> Fraction:
        """Return a threshold as it is."""
        return Fraction(float(self.key[index]))

    def totals(self) -> dict[str, int]:
        """Return what this part adds to the totals that `ScoreMetric.sides` reads."""
        positive = wide.total(self.p)
        return {"positive": positive, "negative": wide.total(self.n)}


def _at_least(own: np.ndarray, before: int, total: int) -> np.ndarray:
    """Return the sums from each row to the end of all parts."""
    sums = wide.cumulative(own, before)
    if total >= wide.LIMIT:
        sums = sums.astype(object)
    np.subtract(total, sums, out=sums)
    return sums + own if object in (own.dtype, sums.dtype) else np.add(sums, own, out=sums)


def decimal(number: float) -> Fraction:
    """Return the number as it is written: 0.9 is nine tenths, not the nearest float64.

    >>> decimal(0.9)
    Fraction(9, 10)
    """
    return Fraction(repr(float(number)))


def first(count: int, holds: Callable[[int], bool]) -> int:
    """Return the first of `count` indices where a condition holds that stays true once it is; `count` where none does.

    >>> first(10, lambda i: i >= 7)
    7
    """
    return bisect_left(range(count), True, key=holds)


def highest(guess: np.ndarray, above: Callable[[np.ndarray], np.ndarray], below: Callable[[np.ndarray], np.ndarray]) -> int:
    """Return the last index where above/below is largest, compared exactly.

    Args:
      guess: float64 [n], n > 0, above/below but for rounding: within 1e-14 of the largest.
      above, below: return both, object [k] of Python integers, for indices [k]; below > 0.
    """
    left = np.flatnonzero(guess >= guess.max() - 1e-14)
    a, b = above(left), below(left)
    at = len(left) - 1
    while True:
        better = a * b[at] - a[at] * b
        rising = np.flatnonzero(better > 0)
        if not len(rising):
            return int(left[np.flatnonzero(better == 0)[-1]])
        at = int(rising[-1])
