"""Wilcoxon's signed-rank test: whether differences lie on both sides of 0 alike. Needs all of them, sorted. Pure NumPy."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

__all__ = ["SignedRanks", "signed_ranks"]

EXACT = 50  # differences that are not 0: of so few all ways to give them signs are counted


@dataclass(frozen=True)
class SignedRanks:
    """What the ranks of the differences' sizes add up to.

    Attributes:
      examples: whose difference is not 0.
      zeros: whose difference is 0; they are left out.
      positive, negative: sums of the ranks of positive and of negative differences; equal sizes share their mean rank.
      p: two-sided; exact of up to EXACT differences, else by the normal law; None where all differences are 0.
    """

    examples: int
    zeros: int
    positive: float
    negative: float
    p: float | None


def signed_ranks(differences: np.ndarray) -> SignedRanks:
    """Rank differences by their size and add up the ranks of either sign.

    Args:
      differences: float64 [n], no NaN.

    Source: F. Wilcoxon, Biometrics Bulletin 1, 1945; the variance with ties as scipy.stats.wilcoxon(zero_method="wilcox",
    correction=False, method="approx") has it, the exact law without ties as method="exact", and with ties as that of all signs.

    >>> signed_ranks(np.array([0.0, 1.0, -2.0, 2.0, 4.0]))
    SignedRanks(examples=4, zeros=1, positive=7.5, negative=2.5, p=0.5)
    """
    signed = differences[differences != 0]
    n = len(signed)
    if not n:
        return SignedRanks(0, len(differences), 0.0, 0.0, None)
    sizes = np.abs(signed)
    order = np.argsort(sizes, kind="stable")
    sizes = sizes[order]
    starts = np.flatnonzero(np.concatenate([[True], sizes[1:] != sizes[:-1]]))
    ties = np.diff(starts, append=n)
    # Twice the mean rank of a run of equal sizes: whole numbers add up exactly.
    doubled = np.repeat(2 * starts + ties + 1, ties)
    positive = int(doubled[signed[order] > 0].sum())
    negative = n * (n + 1) - positive
    if n <= EXACT:
        return SignedRanks(n, len(differences) - n, positive / 2, negative / 2, _exact(doubled.tolist(), positive))
    lengths, counts = (values.tolist() for values in np.unique(ties, return_counts=True))
    tied = sum(count * (length**3 - length) for length, count in zip(lengths, counts, strict=True))
    variance = (2 * n * (n + 1) * (2 * n + 1) - tied) / 48
    deviate = (positive - negative) / 4 / math.sqrt(variance)
    return SignedRanks(n, len(differences) - n, positive / 2, negative / 2, math.erfc(abs(deviate) / math.sqrt(2)))


def _exact(doubled: list[int], positive: int) -> float:
    """Return the share of all ways to give ranks their signs whose positive ones add up to as little or as much, two-sided.

    Args:
      doubled: twice the ranks. positive: sum of those that are positive.
    """
    ways = [1] + [0] * sum(doubled)
    for rank in doubled:
        ways = [ways[total] + (ways[total - rank] if total >= rank else 0) for total in range(len(ways))]
    fewer = min(sum(ways[: positive + 1]), sum(ways[positive:]))
    return min(2 * fewer / 2 ** len(doubled), 1.0)
