"""What a gate comes to: a judgement a rule, and the verdict of all of them. Knows no run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

__all__ = ["Gated", "Judgement", "Verdict", "worst"]


class Verdict(Enum):
    """What a rule, or the gate, comes to."""

    PASS = "PASS"
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"


@dataclass(frozen=True)
class Judgement:
    """What a rule comes to.

    Attributes:
      rule: in words, with the metric as the rule names it; `title` has what the metric is called instead. No two rules of a
        gate read alike.
      metric, label: key and label of the number; None of rules that are on none.
      verdict, value, low, high: of the number that decides; of slices the one that does worst.
      bound: what the value is held against; `is_floor`: above it is good.
      where: the slice that decides.
      reason: what else is to be said.
      examples, wanted_examples: that the number is of, and about how many it would take to know.
    """

    rule: str
    verdict: Verdict
    value: float | None
    bound: float | None
    low: float | None = None
    high: float | None = None
    where: str = ""
    reason: str = ""
    examples: int | None = None
    wanted_examples: int | None = None
    is_floor: bool = True
    metric: str | None = None
    label: str | None = None
    title: str = ""

    @property
    def room(self) -> float:
        """How far the value lies on the good side of its bound; a number without a value is as far as can be on the other."""
        if self.bound is None:
            return 0.0
        if self.value is None:
            return -math.inf
        return self.value - self.bound if self.is_floor else self.bound - self.value

    def with_distinction(self, words: str) -> Judgement:
        """Return the judgement of a rule that is told from others by some words, if any."""
        if not words:
            return self
        return replace(self, rule=f"{self.rule} ({words})", title=f"{self.title} ({words})" if self.title else "")


@dataclass(frozen=True)
class Gated:
    """What a gate finds.

    Attributes:
      judgements: one a rule, in the order of the rules.
      slices: of the rules on slices one a slice, by the rule's place.
      notes: what should be known of the two sides, and which slices are too small to be judged.
    """

    judgements: Sequence[Judgement]
    slices: Mapping[int, Sequence[Judgement]]
    notes: Sequence[str] = ()

    @property
    def verdict(self) -> Verdict:
        """Return FAIL where a rule fails, else INCONCLUSIVE where one is, else PASS."""
        return worst(self.judgements).verdict


def worst(judgements: Sequence[Judgement]) -> Judgement:
    """Return the judgement that decides."""
    order = {Verdict.FAIL: 0, Verdict.INCONCLUSIVE: 1, Verdict.PASS: 2}
    return min(judgements, key=lambda each: (order[each.verdict], each.room))
