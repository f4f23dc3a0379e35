"""The exact interval of a proportion: k of n, by the binomial distribution itself. Pure Python.

Near 0 and 1 a bootstrap promises too much: where all of n examples are right, every replicate is 1. The interval of
Clopper and Pearson holds its level whatever n and the truth are. Wilson's is shorter and holds its level on average, but falls
to 84 % where the truth lies about 0.2 / n from 0 or 1, at any n (L. D. Brown, T. T. Cai, A. DasGupta, Interval estimation
for a binomial proportion, Statistical Science 16, 2001): that is where it would be used.
"""

from __future__ import annotations

import math

__all__ = ["clopper_pearson"]

HALVINGS = 100  # of [0, 1]: down to what float64 can tell apart


def clopper_pearson(successes: int, trials: int, level: float) -> tuple[float, float]:
    """Return the interval of a proportion that the exact binomial test does not reject at either end.

    Args:
      successes, trials: k of n, 0 <= k <= n, n >= 1.
      level: of the interval; each end errs by half of the rest.
    Returns: the p at which P(X >= k) is (1 - level) / 2, and that at which P(X <= k) is; 0 and 1 where k is 0 or n.

    Source: C. J. Clopper, E. S. Pearson, Biometrika 26, 1934.

    >>> [round(end, 4) for end in clopper_pearson(20, 20, 0.95)]
    [0.8316, 1.0]
    >>> [round(end, 4) for end in clopper_pearson(1, 50, 0.95)]
    [0.0005, 0.1065]
    """
    if 2 * successes > trials:
        low, high = clopper_pearson(trials - successes, trials, level)
        return 1 - high, 1 - low
    tail = (1 - level) / 2
    high = _crossing(successes, trials, tail)
    low = _crossing(successes - 1, trials, 1 - tail) if successes else 0.0
    return low, high


def _crossing(most: int, trials: int, probability: float) -> float:
    """Return the p at which P(X <= most) of `trials` falls to a probability: it falls as p rises."""
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        p = (low + high) / 2
        if _below(most, trials, p) > probability:
            low = p
        else:
            high = p
    return (low + high) / 2


def _below(most: int, trials: int, p: float) -> float:
    """Return P(X <= most), term by term: there are few of them near 0 and 1."""
    if p in (0.0, 1.0):
        return float(p == 0.0 or most >= trials)
    chance, other = math.log(p), math.log1p(-p)
    terms, choices = [], 0.0
    for x in range(min(most, trials) + 1):
        terms.append(math.exp(choices + x * chance + (trials - x) * other))
        choices += math.log((trials - x) / (x + 1)) if x < trials else 0.0
    return math.fsum(terms)
