"""Metrics of a ranking within groups: the examples of one query, user or session, wherever in the data they are.

The rows of a group come sorted by descending score; of equal scores the lower example id ranks first. The value is the
mean over groups. What a group adds is computed from its own rows alone and summed exactly, so that neither the order of
the groups nor their number per part shows in it.

Weights are of groups, as in `sklearn.metrics.ndcg_score`: all examples of a group carry its weight, and those of weight 0
are not there. Sums are in units of the weights; the mean is a quotient of two. A bootstrap draws whole groups: how often a
group was drawn is a weight of its value.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from harness.exact import wide_integers as wide
from harness.metrics.contract import Proportion, Totals
from harness.metrics.group_mean import EMPTY, Gain, Graded, Grouped, WithoutRelevant, good_labels, group_sums, label_gains
from harness.metrics.groups import Ranked, exact_sum, ratios, segment_sum

__all__ = [
    "GroupedAuc", "HitRate", "MeanAveragePrecision", "MeanReciprocalRank", "Ndcg", "PrecisionAtK", "RecallAtK",
]  # fmt: skip

Weighting = Literal["groups", "examples", "positives", "pairs"]


class _Relevance(Graded):
    """Base of metrics of relevant examples: those with a label above `relevant_above`."""

    relevant_above: float = Field(0.0, allow_inf_nan=False, description="labels above this are relevant")

    def fold(self, part: Any) -> dict[str, Any]:
        """Sum the scores of the groups of a part."""
        ranked = Ranked.of(part)
        hits = (ranked.label > self.relevant_above).astype(np.int64)
        relevant = ranked.sum(hits)
        some = relevant > 0
        return self.average(ranked, some, self.score(ranked, hits, relevant, some))

    def score(self, ranked: Ranked, hits: np.ndarray, relevant: np.ndarray, some: np.ndarray) -> Fraction:
        """Sum the scores of the groups in `some`, times their weights.

        Args:
          ranked: the rows. hits: int64 [n], 1 where relevant.
          relevant: int64 [groups], how many are. some: bool [groups], where any is.
        """
        raise NotImplementedError


class MeanReciprocalRank(_Relevance):
    """Mean over groups of one over the rank of the first relevant example; beyond k it counts as 0."""

    summary: ClassVar[str] = "mean over groups of 1 / rank of the first relevant example"
    source: ClassVar[str] = "torchmetrics.retrieval.RetrievalMRR"

    k: int | None = Field(None, ge=1, description="how many of the first places count; null: all")

    def score(self, ranked: Ranked, hits: np.ndarray, relevant: np.ndarray, some: np.ndarray) -> Fraction:
        """Sum the reciprocal ranks."""
        first = ranked.place[(hits == 1) & (ranked.running(hits) == 1)] + 1
        reached = first <= (self.k or len(hits))
        if (weights := ranked.weights(some)) is not None:
            return ratios(np.ones_like(first[reached]), first[reached], weights[reached])
        places, times = np.unique(first[reached], return_counts=True)
        return ratios(np.ones_like(places), places, times)


class MeanAveragePrecision(_Relevance):
    """Mean over groups of the average, over relevant examples, of the precision at their rank.

    Up to k: relevant examples beyond rank k add nothing. The sum is divided by the number of relevant examples of the
    group, as trec_eval does, or by at most k with `divisor: reachable`. A group without relevant examples is left out,
    unless `without_relevant` says what it counts as.
    """

    summary: ClassVar[str] = "mean over groups of (sum over relevant ranks r <= k of precision at r) / relevant examples"
    source: ClassVar[str] = "trec_eval map and map_cut; sklearn.metrics.average_precision_score of each group (without ties)"

    k: int | None = Field(None, ge=1, description="how many of the first places count; null: all")
    divisor: Literal["relevant", "reachable"] = Field("relevant", description="all relevant examples of the group, or at most k")
    without_relevant: WithoutRelevant = Field("skip", description=EMPTY)

    def score(self, ranked: Ranked, hits: np.ndarray, relevant: np.ndarray, some: np.ndarray) -> Fraction:
        """Sum the average precisions, each a float64."""
        place = ranked.place + 1
        inside = place <= (self.k or len(place))
        above = ranked.sum(np.where((hits == 1) & inside, ranked.running(hits) / place, 0.0))
        below = relevant if self.k is None or self.divisor == "relevant" else np.minimum(relevant, self.k)
        return exact_sum(above[some] / below[some], ranked.weights(some))


class _AtK(_Relevance):
    """Base of metrics of the relevant examples among the first k of each group."""

    k: int = Field(10, ge=1, description="how many of the first places count")

    def score(self, ranked: Ranked, hits: np.ndarray, relevant: np.ndarray, some: np.ndarray) -> Fraction:
        """Sum what the hits of each group make."""
        reached = ranked.sum(hits * (ranked.place < self.k))
        return self.score_hits(reached[some], relevant[some], ranked.weights(some))

    def score_hits(self, reached: np.ndarray, relevant: np.ndarray, weights: np.ndarray | None) -> Fraction:
        """Sum over groups: of hits within k and of relevant examples, int64 [groups], times weights, object [groups]."""
        raise NotImplementedError


class PrecisionAtK(_AtK):
    """Mean over groups of the share of the first k ranks that are relevant; a group of fewer than k has empty ranks."""

    summary: ClassVar[str] = "mean over groups of relevant examples within rank k / k"
    source: ClassVar[str] = "trec_eval P_k; torchmetrics.retrieval.RetrievalPrecision"

    def score_hits(self, reached: np.ndarray, relevant: np.ndarray, weights: np.ndarray | None) -> Fraction:
        """Sum hits over k."""
        return Fraction(sum((reached if weights is None else reached * weights).tolist()), self.k)


class RecallAtK(_AtK):
    """Mean over groups of the share of relevant examples within rank k.

    A group without relevant examples is left out, unless `without_relevant` says what it counts as.
    """

    summary: ClassVar[str] = "mean over groups of relevant examples within rank k / relevant examples"
    source: ClassVar[str] = "trec_eval recall_k; torchmetrics.retrieval.RetrievalRecall (which counts empty groups as 0)"

    without_relevant: WithoutRelevant = Field("skip", description=EMPTY)

    def score_hits(self, reached: np.ndarray, relevant: np.ndarray, weights: np.ndarray | None) -> Fraction:
        """Sum hits over relevant."""
        return ratios(reached, relevant, weights)


class HitRate(_AtK):
    """Share of groups with a relevant example within rank k."""

    summary: ClassVar[str] = "mean over groups of [a relevant example within rank k]"
    source: ClassVar[str] = "torchmetrics.retrieval.RetrievalHitRate"

    def score_hits(self, reached: np.ndarray, relevant: np.ndarray, weights: np.ndarray | None) -> Fraction:
        """Count the groups with a hit."""
        hit = reached > 0
        return Fraction(int(hit.sum()) if weights is None else sum(weights[hit].tolist()))

    def proportion(self, totals: Totals) -> Proportion | dict[str, Proportion]:
        """Return the groups with a hit, of all."""
        share = Proportion(totals.exact("score"), totals.exact("weight"))
        return {"mean": share} if self.counts else share


class Ndcg(Graded):
    """Mean over groups of the discounted cumulative gain, relative to the best possible order.

    The gain of a label y is 2^y - 1 (`exponential`) or y (`linear`); the discount at rank r is 1 / log2(1 + r).
    `ties: average` gives tied examples the average of all their orders, as scikit-learn does. A group without gain is
    left out, unless `without_relevant` says what it counts as (scikit-learn: 0).
    """

    summary: ClassVar[str] = "mean over groups of DCG@k / ideal DCG@k"
    source: ClassVar[str] = "sklearn.metrics.ndcg_score (gain: linear, ties: average); Burges et al. 2005 (exponential)"

    k: int | None = Field(None, ge=1, description="how many of the first places count; null: all")
    gain: Gain = Field("exponential", description="2^label - 1, or the label")
    ties: Literal["order", "average"] = Field("order", description="equal scores: by example id, or the average of all orders")
    without_relevant: WithoutRelevant = Field("skip", description=EMPTY)

    def fold(self, part: Any) -> dict[str, Any]:
        """Sum the scores of the groups of a part, each a float64."""
        ranked = Ranked.of(part)
        good = good_labels(ranked.label, self.gain)
        gains = label_gains(np.where(good, ranked.label, 0.0), self.gain)
        discounts = self._discounts(int(ranked.sizes.max(initial=0)))
        gained = gains * discounts[ranked.place]
        if self.ties == "average":
            runs = ranked.ties
            sums = segment_sum(gains, runs) * segment_sum(discounts[ranked.place], runs)
            # what a run of ties adds stands at its first row
            gained = np.zeros(len(gains))
            gained[runs] = sums / np.diff(runs, append=len(gains))
        order = np.lexsort((-gains, ranked.spread(np.arange(len(ranked.starts)))))
        best = ranked.sum(gains[order] * discounts[ranked.place])
        some = best > 0
        score = exact_sum(ranked.sum(gained)[some] / best[some], ranked.weights(some))
        return self.average(ranked, some, score, int((~good).sum()))

    def _discounts(self, size: int) -> np.ndarray:
        reach = size if self.k is None else min(size, self.k)
        table = np.zeros(size)
        table[:reach] = [1.0 / math.log2(place + 2) for place in range(reach)]
        return table


class GroupedAuc(Grouped):
    """Mean over groups of the area under the ROC curve of each; ties count by half.

    Groups whose labels are all of one class have no such area and are left out. `weighting` says what a group counts
    for: one, its examples, its positive ones, or its pairs of a positive and a negative example; times its weight.
    """

    summary: ClassVar[str] = "mean over groups of P(score of a positive > score of a negative), ties by half"
    source: ClassVar[str] = "GAUC (Zhou et al. 2018, deep interest network); sklearn.metrics.roc_auc_score of each group"
    nothing: ClassVar[str] = "no group has examples of both classes"

    relevant_above: float = Field(0.0, allow_inf_nan=False, description="labels above this are positive")
    weighting: Weighting = Field("groups", description="what a group counts for: one, or how many it has of these")

    def fold(self, part: Any) -> dict[str, Any]:
        """Sum the areas of the groups of a part, times their weight."""
        ranked = Ranked.of(part)
        positive = (ranked.label > self.relevant_above).astype(np.int64)
        negative = 1 - positive
        positives, negatives = ranked.sum(positive), ranked.sum(negative)
        # Rows come by descending score: a run of ties beats the negatives after it, and half of those in it.
        runs = ranked.ties
        tied = segment_sum(negative, runs)
        last = np.append(runs[1:], len(positive)) - 1 if len(runs) else runs
        after = (ranked.spread(negatives) - ranked.running(negative))[last]
        wins = np.zeros(len(positive), np.int64)
        wins[runs] = segment_sum(positive, runs) * (2 * after + tied)
        both = (positives > 0) & (negatives > 0)
        doubled, pairs = ranked.sum(wins)[both], (positives * negatives)[both]
        by = {"groups": np.ones_like(pairs), "examples": ranked.sizes[both], "positives": positives[both], "pairs": pairs}
        weights = by[self.weighting]
        if (times := ranked.weights(both)) is not None:
            weights, doubled_pairs = wide.multiply(weights, times), wide.multiply(doubled, times)
        else:
            doubled_pairs = doubled
        # By pairs the number of pairs cancels: what is left is an integer.
        exact = self.weighting == "pairs"
        score = Fraction(wide.total(doubled_pairs), 2) if exact else ratios(doubled, 2 * pairs, weights)
        return group_sums(ranked, score, sum(weights.tolist()), ranked.count(both), ranked.count(~both))
