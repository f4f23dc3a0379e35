"""Means over groups: the base of the metrics of a ranking within a query, user or session; see `ranking.py`."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from harness.metrics.contract import Inputs, RowMetric, Rows, Term, Totals, Undefined, ratio
from harness.metrics.groups import Ranked, group_key

__all__ = ["EMPTY", "ByGroup", "Gain", "Graded", "Grouped", "WithoutRelevant", "good_labels", "group_sums", "label_gains"]

Gain = Literal["exponential", "linear"]

WithoutRelevant = Literal["skip", 0, 1]
EMPTY = "what a group without anything relevant counts as; skip: it is left out"


class ByGroup(RowMetric):
    """Base of metrics of groups. The feature `query` says which group an example belongs to."""

    inputs: ClassVar[Inputs] = Inputs.NUMBERS
    features: ClassVar[tuple[str, ...]] = ("query",)
    nothing: ClassVar[str] = "no group has a relevant example"  # why there may be no group to average

    query: str = Field(description="feature that says which group an example belongs to: integer or string")

    @property
    def drawn_by(self) -> str:
        """Name the feature whose values a bootstrap draws."""
        return self.query

    def terms(self, labels: Any, predictions: Any, query: Any = None) -> dict[str, Term]:
        """Keep score and label of every example, by group."""
        group = group_key(f"query '{self.query}'", query, predictions.shape.num_elements())
        return {"rows": Rows(-predictions, {"label": labels}, group)}

    def see_groups(self, totals: Totals) -> None:
        """See that every group can be scored.

        Raises: Undefined: a group has no weight of its own, or a label is no gain.
        """
        if uneven := totals.exact("uneven"):
            raise Undefined(f"{uneven} groups have examples of different weights: expected one weight a group")
        if bad := totals.exact("bad"):
            raise Undefined(f"{bad} labels are negative or too large to be a gain")


class Grouped(ByGroup):
    """Base of metrics that are a mean over groups.

    The feature `query` says which group an example belongs to. With `counts` the value is a mapping: the mean, how many
    groups went into it, and how many were left out. A bootstrap draws whole groups.
    """

    counts: bool = Field(False, description="whether the number of groups, and of those left out, is reported too")

    def value(self, totals: Totals) -> Any:
        """Return the mean over the groups that count.

        Raises: Undefined: there is none, or a group has no weight of its own.
        """
        self.see_groups(totals)
        mean = ratio(totals.exact("score"), totals.exact("weight"), self.nothing)
        if not self.counts:
            return mean
        return {"mean": mean, "groups": int(totals.exact("groups")), "left_out": int(totals.exact("left_out"))}


class Graded(Grouped):
    """Base of metrics that need something relevant in each group; groups without are left out, or count as 0 or 1."""

    without_relevant: WithoutRelevant = Field(0, description=EMPTY)

    def average(self, ranked: Ranked, some: np.ndarray, score: Fraction, bad: int = 0) -> dict[str, Any]:
        """Return what a part adds: `score` summed over the groups where `some` is true, bool [groups], and the others."""
        full, empty = ranked.count(some), ranked.count(~some)
        weight, other = ranked.weight(some), ranked.weight(~some)
        if self.without_relevant == "skip":
            return group_sums(ranked, score, weight, full, empty, bad)
        return group_sums(ranked, score + other * self.without_relevant, weight + other, full + empty, 0, bad)


def group_sums(ranked: Ranked, score: Any, weight: int, groups: int, left_out: int, bad: int = 0) -> dict[str, Any]:
    """Return what a part adds: the score and weight of its groups, how many they are, and why there are no more."""
    return {
        "score": score, "weight": weight, "groups": groups, "left_out": left_out, "bad": bad, "uneven": ranked.uneven,
    }  # fmt: skip


def good_labels(labels: np.ndarray, gain: Gain) -> np.ndarray:
    """Say which labels can be a gain, bool [n]: none is negative, and 2 to the power of one has to be far from overflow."""
    good: np.ndarray = (labels >= 0) & (labels <= (64 if gain == "exponential" else np.inf))
    return good


def label_gains(labels: np.ndarray, gain: Gain) -> np.ndarray:
    """Return what labels gain: themselves, or 2^label - 1; float64 [n].

    >>> label_gains(np.array([0.0, 1.0, 3.0]), "exponential").tolist()
    [0.0, 1.0, 7.0]
    """
    if gain == "linear":
        return labels
    # one by one, not as a vector: vector functions may give other bits at the end of an array
    distinct, where = np.unique(labels, return_inverse=True)
    return np.array([math.exp2(label) - 1.0 for label in distinct.tolist()], np.float64)[where]
