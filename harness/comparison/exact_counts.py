"""The difference of two models' accuracies by the counts of `mcnemar`, where their run has these. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from statistics import NormalDist

from harness.comparison.difference import FEW_DISCORDANT, FEWEST, Difference, by_counts, drawn_differences
from harness.comparison.sides import WHOLE, Number, Side, SliceName
from harness.exact.mcnemar import mcnemar
from harness.metrics.classification import Accuracy
from harness.metrics.pairs import McNemar
from harness.results.intervals import interval

__all__ = ["count_notes", "counted_difference", "is_of_both"]


def is_of_both(first: Side, second: Side, key: str) -> bool:
    """Say whether a metric is of two models of one run: then it is no number of one of them that the other could have."""
    return first.document is second.document and any(
        side.metrics[key].compares for side in (first, second) if key in side.metrics
    )


def counted_difference(first: Side, second: Side, where: SliceName, number: str, level: float) -> Difference | None:
    """Return the difference of two accuracies by how many examples one side alone has right; None where that is not known.

    With b and c such examples of n, and d = (c - b) / n, the variance of d is ((b + c) / n - d^2) / n. The interval is made of
    the counts where there are few of them, else of the replicates, as of a run without counts, else of that variance.

    Args:
      first, second: models of one run.
      where, number: the slice, and the metric's key.
      level: of the interval.
    """
    counts = _counts(first, second, where, number)
    if counts is None:
        return None
    first_only, second_only = counts
    examples, discordant = second.numbers[where][number].examples, first_only + second_only
    value = (second_only - first_only) / examples
    error = math.sqrt((discordant / examples - value * value) / examples) or None
    if discordant < FEW_DISCORDANT or error is None:
        return by_counts(value, discordant, examples, level, error)
    p = mcnemar(first_only, second_only)
    if (drawn := _by_replicates(first.numbers[where][number], second.numbers[where][number], level)) is not None:
        return replace(drawn, value=value, p=p, method="discordant counts")
    reach = NormalDist().inv_cdf((1 + level) / 2) * error
    return Difference(value, value - reach, value + reach, error, p, "discordant counts")


def _by_replicates(first: Number, second: Number, level: float) -> Difference | None:
    """Return the interval of a difference within replicates; None where there is none."""
    drawn = drawn_differences(first, second)
    if isinstance(drawn, str) or second.examples < FEWEST:
        return None
    value = second.above(first)
    percentiles = interval(value, drawn, level)
    if percentiles.low is None:
        return None
    return Difference(value, percentiles.low, percentiles.high, percentiles.standard_error)


def count_notes(first: Side, second: Side) -> Sequence[str]:
    """Say of each accuracy of the whole how many examples one side alone has right."""
    notes = []
    for number in second.metrics:
        if (counts := _counts(first, second, WHOLE, number)) is not None:
            first_only, second_only = (f"{count:,}" for count in counts)
            notes.append(
                f"{number}: {first_only} examples are right in {first.name} alone, {second_only} in {second.name} alone (McNemar)"
            )
    return notes


def _counts(first: Side, second: Side, where: SliceName, number: str) -> tuple[int, int] | None:
    """Return on how many examples the first side alone is right, and the second; None where the run does not say."""
    key = _pair_metric(first, second, number)
    if key is None:
        return None
    numbers = second.numbers[where]
    parts = [numbers.get(f"{key}/{part}") for part in ("p", "only_baseline_right", "only_right")]
    if any(part is None for part in parts):  # null, or several positions an example
        return None
    values = [part.value for part in parts[1:] if part is not None]
    return None if None in values else (int(values[0] or 0), int(values[1] or 0))


def _pair_metric(first: Side, second: Side, number: str) -> str | None:
    """Return the key of the McNemar's counts that belong to two accuracies: of the same outputs, label and options."""
    question, (mine, theirs) = second.question, (side.metrics.get(number) for side in (first, second))
    if first.document is not second.document or not isinstance(mine, Accuracy) or not isinstance(theirs, Accuracy):
        return None
    if mine.threshold != theirs.threshold or (question.bootstrap is not None and question.bootstrap.cluster is not None):
        return None
    base, own = (question.bindings[f"{side.name}/{number}"] for side in (first, second))
    for key, metric in second.metrics.items():
        pair = question.bindings[f"{second.name}/{key}"]
        if isinstance(metric, McNemar) and metric.threshold == theirs.threshold and pair == replace(own, baseline=base.output):
            return key if base == replace(own, output=base.output) else None
    return None
