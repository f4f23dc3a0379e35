"""Whether 95 % intervals hold what they say: simulate data whose truth is known, and count how often they cover it.

The multiplicities and intervals are those of a run (`harness.bootstrap`), the values those of the metrics; only the
sums over examples are taken here, for all replicates at once, in NumPy. A simulation is a seed: no TensorFlow, no files.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from harness.bootstrap import Interval, interval, multiplicities
from harness.job import MetricSpec
from harness.metrics import make
from harness.metrics.contract import Totals, Undefined

__all__ = ["QUESTIONS", "Coverage", "auc_values", "coverage", "r2_values", "share_values", "table"]

EXAMPLES = 1000
REPLICATES = 200
LEVEL = 0.95
ACCURACY = 0.85
SEPARATION = 1.0  # distance of the means of positives and negatives, in standard deviations
POSITIVES = 0.3
NOISE = 0.7  # of a label around its prediction, whose own standard deviation is 1

Values = list[float | None]


@dataclass(frozen=True)
class Coverage:
    """How many of the simulations' intervals cover the truth, by kind of interval."""

    metric: str
    truth: float
    simulations: int
    percentile: int
    basic: int
    normal: int  # value -+ 1.96 standard errors of the bootstrap

    def share(self, kind: str) -> float:
        """Return the share of one kind."""
        found: int = getattr(self, kind)
        return found / self.simulations


def share_values(random: np.random.Generator, times: np.ndarray) -> Values:
    """Simulate right and wrong answers; return the accuracy of the whole and of each replicate.

    Args:
      random: of this simulation.
      times: int64 [n, 1 + R], ones first.
    """
    right = random.random(len(times)) < ACCURACY
    return _values(
        "accuracy", {"correct": np.stack([(~right).astype(np.int64) @ times, right.astype(np.int64) @ times])}, times.sum(axis=0)
    )


def auc_values(random: np.random.Generator, times: np.ndarray) -> Values:
    """Simulate scores of two normal classes; return the area under the ROC curve likewise."""
    positive = random.random(len(times)) < POSITIVES
    score = random.normal(size=len(times)) + SEPARATION * positive
    order = np.argsort(-score)  # no ties: the scores are continuous
    drawn, is_positive = times[order], positive[order][:, None]
    p, n = np.where(is_positive, drawn, 0), np.where(is_positive, 0, drawn)
    above = np.cumsum(p, axis=0)
    # A pair counts twice where the positive scores higher; copies of one example are of one class.
    sums = {"area": 2 * (n * above).sum(axis=0), "positive": p.sum(axis=0), "negative": n.sum(axis=0)}
    return _values("roc_auc", sums, times.sum(axis=0))


def r2_values(random: np.random.Generator, times: np.ndarray) -> Values:
    """Simulate predictions, and labels around them; return R2 likewise."""
    found = random.normal(size=len(times))
    label = found + NOISE * random.normal(size=len(times))
    columns = {"residual": np.square(label - found), "label": label, "square": np.square(label)}
    return _values("r2", {name: column @ times for name, column in columns.items()}, times.sum(axis=0))


def _values(metric: str, sums: Mapping[str, np.ndarray], positions: np.ndarray) -> Values:
    """Let the metric make its value of each column of sums."""
    ((_, made),) = make([MetricSpec(name=metric)]).items()
    found: Values = []
    for column, count in enumerate(positions.tolist()):
        exact = {name: _exact(array[..., column]) for name, array in sums.items()}
        try:
            found.append(made.value(Totals(exact, positions=count, weight=Fraction(count))))
        except Undefined:
            found.append(None)
    return found


def _exact(sums: np.ndarray) -> np.ndarray:
    """Return sums as `Totals` has them: counts as they are, numbers as fractions."""
    return sums if sums.ndim else np.array(Fraction(sums.item()), dtype=object)


def _normal_auc() -> float:
    return 0.5 * (1 + math.erf(SEPARATION / 2))


# What is simulated, and the truth: P(p > n) of two normal scores, and 1 - noise^2 / variance of the labels.
QUESTIONS: Mapping[str, tuple[Callable[[np.random.Generator, np.ndarray], Values], float]] = {
    "accuracy": (share_values, ACCURACY),
    "roc_auc": (auc_values, _normal_auc()),
    "r2": (r2_values, 1 - NOISE**2 / (1 + NOISE**2)),
}


def coverage(simulations: int, first: int = 0) -> list[Coverage]:
    """Count how often intervals cover the truth.

    Args:
      simulations: how many; each has data and multiplicities of its own.
      first: number of the first.
    """
    counts = {metric: [0, 0, 0] for metric in QUESTIONS}
    for number in range(first, first + simulations):
        drawn = multiplicities(np.arange(EXAMPLES), number, REPLICATES)
        times = np.concatenate([np.ones((EXAMPLES, 1), np.int64), drawn], axis=1)
        for place, (metric, (simulate, truth)) in enumerate(QUESTIONS.items()):
            whole, *replicates = simulate(np.random.default_rng([number, place]), times)
            assert whole is not None
            for kind, (low, high) in enumerate(_ends(whole, interval(whole, replicates, LEVEL))):
                counts[metric][kind] += low <= truth <= high
    return [Coverage(metric, QUESTIONS[metric][1], simulations, *found) for metric, found in counts.items()]


def _ends(value: float, found: Interval) -> list[tuple[float, float]]:
    assert found.low is not None and found.high is not None and found.standard_error is not None
    assert found.basic_low is not None and found.basic_high is not None
    half = 1.959963984540054 * found.standard_error
    return [(found.low, found.high), (found.basic_low, found.basic_high), (value - half, value + half)]


def table(found: list[Coverage]) -> str:
    """Write the shares as lines of a Markdown table."""
    lines = ["| metric | truth | simulations | percentile | basic | normal |", "| --- | ---: | ---: | ---: | ---: | ---: |"]
    for each in found:
        shares = " | ".join(f"{each.share(kind):.2%}" for kind in ("percentile", "basic", "normal"))
        lines.append(f"| {each.metric} | {each.truth:.4f} | {each.simulations:,} | {shares} |")
    return "\n".join(lines)
