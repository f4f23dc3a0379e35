"""Which interval holds for a value: that of the bootstrap, another one, or none, and why. Pure.

The percentiles of the replicates are the rule. They promise too much where a proportion lies near 0 or 1, where the value is
a norm of gaps, and where replicates show no spread.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from harness.metrics.contract import Binding, Metric, Proportion, RowMetric
from harness.results.binomial import clopper_pearson_by_terms
from harness.results.gap_interval import GapReplicates, gap_interval
from harness.results.intervals import Interval, interval

__all__ = ["FEW", "Evidence", "independent", "interval_of"]

# Of n p (1 - p), from which on percentiles cover a proportion: at 95 % and any n, 94 % and more of the time.
FEW = 10


@dataclass(frozen=True)
class Evidence:
    """What is known of a number beside its replicates.

    Attributes:
      proportion: k and n where it is k of n.
      independent: whether each of the n counts once and is drawn on its own.
      gaps: what it is a norm of, with replicates.
      no_interval: why there can be none.
    """

    proportion: Proportion | None = None
    independent: bool = False
    gaps: GapReplicates | None = None
    no_interval: str | None = None


def independent(metric: Metric, binding: Binding, cluster: str | None, *, examples: int, positions: int) -> bool:
    """Return whether what a metric counts are independent draws: unweighted, unclustered, one position an example.

    A metric that is drawn by groups counts groups; a cluster that is the group is none.
    """
    if binding.weight is not None:
        return False
    if isinstance(metric, RowMetric) and metric.drawn_by is not None:
        return cluster in (None, metric.drawn_by)
    return cluster is None and examples == positions


def interval_of(value: float, replicates: Sequence[float | None], level: float, evidence: Evidence) -> Interval:
    """Return the interval of a number.

    Args:
      value: the number; replicates: its values in the replicates.
      level: of the interval.
      evidence: see there.
    """
    if evidence.no_interval is not None:
        return Interval.none(evidence.no_interval)
    percentiles = interval(value, replicates, level)
    if evidence.proportion is not None and evidence.proportion.trials:
        return _of_proportion(evidence.proportion, percentiles, level, evidence.independent)
    if evidence.gaps is not None and percentiles.reason is None:
        low, high = gap_interval(evidence.gaps, level)
        return replace(percentiles, low=low, high=high, basic_low=None, basic_high=None, method="gap inversion")
    return percentiles


def _of_proportion(share: Proportion, percentiles: Interval, level: float, independent: bool) -> Interval:
    """Return the exact interval near 0 and 1 where what is counted is independent; else none there."""
    p = share.successes / share.trials
    if not independent:
        size = _effective(p, percentiles.standard_error)
        if percentiles.reason is not None or size >= FEW:
            return percentiles
        return Interval.none(
            f"n p (1 - p) is about {size:.2g}, n being the number of independent examples that this spread is of; expected at "
            f"least {FEW} for the bootstrap; the exact interval is of unweighted examples of one position, without clusters",
            percentiles.undefined,
        )
    if percentiles.reason is None and share.trials * p * (1 - p) >= FEW:
        return percentiles
    low, high = clopper_pearson_by_terms(int(share.successes), int(share.trials), level)
    return Interval(low, high, None, None, percentiles.standard_error, percentiles.undefined, method="clopper-pearson")


def _effective(p: Fraction, standard_error: float | None) -> float:
    """Return n p (1 - p) of the n independent examples that would have this standard error, sqrt(p (1 - p) / n).

    >>> round(_effective(Fraction(1, 2), 0.05), 9)
    25.0
    """
    return math.inf if not standard_error else (float(p * (1 - p)) / standard_error) ** 2
