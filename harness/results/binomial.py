"""The exact interval of a proportion: k of n, by the binomial distribution itself. Pure Python.

Near 0 and 1 a bootstrap promises too much: where all of n examples are right, every replicate is 1. The interval of
Clopper and Pearson holds its level whatever n and the truth are. Wilson's is shorter and holds its level on average, but falls
to 84 % where the truth lies about 0.2 / n from 0 or 1, at any n (L. D. Brown, T. T. Cai, A. DasGupta, Interval estimation
for a binomial proportion, Statistical Science 16, 2001): that is where it would be used.
"""

from __future__ import annotations

import math
from statistics import NormalDist

__all__ = ["clopper_pearson", "clopper_pearson_by_terms"]

HALVINGS = 100  # of [0, 1]: down to what float64 can tell apart
FEW = 64  # successes or failures, up to which all terms are added
STEPS = 50  # of Newton's method, which takes about five
CLOSE = 1e-12  # of p: each step doubles the digits, so that the one after it would change nothing
NEGLIGIBLE = 1e-17  # of a sum: a term that changes nothing


def clopper_pearson(successes: int, trials: int, level: float) -> tuple[float, float]:
    """Return what `clopper_pearson_by_terms` does, to the last digits, in less than a millisecond for thousands of either.

    >>> [round(end, 9) for end in clopper_pearson(1000, 2000, 0.9999)]
    [0.456340748, 0.543659252]
    """
    if 2 * successes > trials:
        low, high = clopper_pearson(trials - successes, trials, level)
        return 1 - high, 1 - low
    if successes <= FEW:
        return clopper_pearson_by_terms(successes, trials, level)
    tail = (1 - level) / 2
    return _end(successes, trials, tail, is_high=False), _end(successes, trials, tail, is_high=True)


def clopper_pearson_by_terms(successes: int, trials: int, level: float) -> tuple[float, float]:
    """Return the interval of a proportion that the exact binomial test does not reject at either end.

    Args:
      successes, trials: k of n, 0 <= k <= n, n >= 1.
      level: of the interval; each end errs by half of the rest.
    Returns: the p at which P(X >= k) is (1 - level) / 2, and that at which P(X <= k) is; 0 and 1 where k is 0 or n.

    Source: C. J. Clopper, E. S. Pearson, Biometrika 26, 1934.

    >>> [round(end, 4) for end in clopper_pearson_by_terms(20, 20, 0.95)]
    [0.8316, 1.0]
    >>> [round(end, 4) for end in clopper_pearson_by_terms(1, 50, 0.95)]
    [0.0005, 0.1065]
    """
    if 2 * successes > trials:
        low, high = clopper_pearson_by_terms(trials - successes, trials, level)
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


def _end(successes: int, trials: int, tail: float, *, is_high: bool) -> float:
    """Return the p at which P(X <= successes) is a probability, or P(X >= successes) for the lower end.

    Newton's method on the logarithm of that probability. It is concave in p, since the beta distribution that it is the tail of
    has a log-concave density: from the second step on p comes nearer from one side, and never passes the end.
    """
    p = _wilson(successes, trials, tail, is_high=is_high)
    for _ in range(STEPS):
        logarithm, slope = _log_tail(successes, trials, p, is_upper=not is_high)
        step = (math.log(tail) - logarithm) / slope
        p = p + step if 0 < p + step < 1 else (p + (step > 0)) / 2
        if abs(step) < CLOSE * p:
            break
    return p


def _wilson(successes: int, trials: int, tail: float, *, is_high: bool) -> float:
    """Return about where an end lies: Wilson's, of the normal distribution.

    Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference, Journal of the American
    Statistical Association 22, 1927.
    """
    z = -NormalDist().inv_cdf(tail)
    reach = z * math.sqrt(successes * (trials - successes) / trials + z * z / 4)
    return (successes + z * z / 2 + (reach if is_high else -reach)) / (trials + z * z)


def _log_tail(successes: int, trials: int, p: float, *, is_upper: bool) -> tuple[float, float]:
    """Return log P(X >= successes), or log P(X <= successes), and its derivative by p.

    The derivative of P(X >= k) is k P(X = k) / p, and that of P(X <= k) is -(n - k) P(X = k) / (1 - p).
    """
    failures, odds = trials - successes, p / (1 - p)
    chance = _log_chance(successes, trials, p)
    if is_upper:
        ratio = _tail_ratio(successes, trials, odds)
        return chance + math.log(ratio), successes / (p * ratio)
    ratio = _tail_ratio(failures, trials, 1 / odds)
    return chance + math.log(ratio), -failures / ((1 - p) * ratio)


def _tail_ratio(least: int, trials: int, odds: float) -> float:
    """Return P(X >= least) / P(X = least), from one term to the next."""
    total = term = 1.0
    for x in range(least, trials):
        term *= (trials - x) / (x + 1) * odds
        total += term
        if term < NEGLIGIBLE * total:
            break
    return total


def _log_chance(successes: int, trials: int, p: float) -> float:
    """Return log P(X = successes) by Stirling's formula, in which nothing large cancels; more than `FEW` of either.

    Source: C. Loader, Fast and accurate computation of binomial probabilities, 2000.
    """
    failures, surplus = trials - successes, trials * p - successes
    deviance = successes * math.log1p(surplus / successes) + failures * math.log1p(-surplus / failures)
    rest = _stirling_rest(trials) - _stirling_rest(successes) - _stirling_rest(failures)
    return deviance + rest - math.log(2 * math.pi * successes * failures / trials) / 2


def _stirling_rest(n: int) -> float:
    """Return log n! less Stirling's formula, to 16 digits after the point for n above `FEW`."""
    return (1 / 12 - (1 / 360 - 1 / (1260 * n * n)) / (n * n)) / n
