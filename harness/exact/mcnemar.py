"""McNemar's exact test: whether examples that are right on one side only fall to either side alike. Pure Python.

Of n such examples m fall to the side that has fewer. If both sides are alike, m is binomial with n and 1/2, and p is twice
P(X <= m). Up to MOST_WHOLE examples that is a ratio of whole numbers, rounded once. Beyond, the largest term comes from
Stirling's series, and the others from their ratios to it.
"""

from __future__ import annotations

import math

__all__ = ["mcnemar"]

MOST_WHOLE = 2000
FEWEST_BY_SERIES = 16  # beyond MOST_WHOLE examples fewer have a p-value below the smallest float64
RESOLVED = 2.0**-60  # terms below this share of the sum change nothing


def mcnemar(first_only: int, second_only: int) -> float:
    """Return the exact p-value, two-sided, of as many examples being right on one side only as on the other.

    Source: Q. McNemar, Psychometrika 12, 1947; the binomial distribution itself instead of its limit.

    >>> mcnemar(0, 5), mcnemar(3, 3)
    (0.0625, 1.0)
    >>> f"{mcnemar(500_000, 501_500):.9f}"
    '0.134165167'
    """
    total, fewer = first_only + second_only, min(first_only, second_only)
    if 2 * fewer == total:
        return 1.0
    if total <= MOST_WHOLE:
        below = sum(math.comb(total, k) for k in range(fewer + 1))
        return min(2 * below / 2**total, 1.0)
    if fewer < FEWEST_BY_SERIES:
        return 0.0
    return min(2 * _term(fewer, total) * _sum_of_ratios(fewer, total), 1.0)


def _term(fewer: int, total: int) -> float:
    """Return P(X = fewer).

    With d = 1 - 2 m / n, Stirling's series for the three factorials leaves
    sqrt(2 / (pi n (1 - d^2))) exp(-n / 2 ((1 + d) ln(1 + d) + (1 - d) ln(1 - d)) + rest).
    """
    d = (total - 2 * fewer) / total
    exponent = total / 2 * ((1 + d) * math.log1p(d) + (1 - d) * math.log1p(-d))
    rest = _stirling(total) - _stirling(fewer) - _stirling(total - fewer)
    return math.sqrt(2 / (math.pi * total * (1 - d * d))) * math.exp(rest - exponent)


def _stirling(n: int) -> float:
    """Return what Stirling's formula lacks of ln n!, to 1e-14 from 16 on."""
    square = 1.0 / (n * n)
    return (1 / 12 - square * (1 / 360 - square * (1 / 1260 - square / 1680))) / n


def _sum_of_ratios(fewer: int, total: int) -> float:
    """Return the sum of P(X = k) / P(X = fewer) over all k up to fewer."""
    ratios, ratio = [1.0], 1.0
    for k in range(fewer, 0, -1):
        ratio *= k / (total - k + 1)
        ratios.append(ratio)
        if ratio < RESOLVED:
            break
    return math.fsum(ratios)
