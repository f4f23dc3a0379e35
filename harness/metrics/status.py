"""Why a position counts or does not, and how that is said of a value that is null. Knows no graph and no sums."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

import numpy as np

from harness.metrics.contract import Metric

__all__ = ["NAMED_CLASSES", "Status", "reasons"]

NAMED_CLASSES = 8  # classes that have a count of their own, the last one with all that come after it


class Status(IntEnum):
    """Why a position counts or does not; each binding counts its positions by it.

    A small weight is one that the grid of sums may round: its position counts, and `state.result` says whether it matters.
    The last two are of bindings that expect probabilities alone. OUTSIDE is the first of up to NAMED_CLASSES buckets:
    a position is in that of the first class whose score is no probability.
    """

    VALID = 0
    OUTPUT = 1
    LABEL = 2
    WEIGHT = 3
    NEGATIVE = 4
    ROUNDED = 5
    SMALL_WEIGHT = 6
    SUM = 7
    OUTSIDE = 8


REASONS = {
    Status.OUTPUT: "{n} predictions are NaN, infinite or out of range",
    Status.LABEL: "{n} labels are NaN or out of range",
    Status.WEIGHT: "{n} weights are NaN or infinite",
    Status.NEGATIVE: "{n} weights are negative",
    Status.ROUNDED: "{n} labels, predictions or weights are integers above 2^53 that a float64 does not hold",
}


def reasons(counts: np.ndarray, metric: Metric, classes: Sequence[str] | None = None) -> list[str]:
    """Return why a metric has no value, as far as its positions say.

    Args:
      counts: int64 [statuses], how many positions have each status.
      metric: names the options that may help.
      classes: names of the classes, where the job gives them.

    >>> from harness.metrics.classification import CrossEntropy
    >>> reasons(np.array([7, 0, 0, 0, 0, 0]), CrossEntropy())
    []
    >>> reasons(np.array([7, 0, 0, 0, 0, 0, 0, 0, 2, 1]), CrossEntropy(), ["cat", "dog"])[0].partition("): ")[0]
    '3 predictions are no probabilities (outside [0, 1]: 2 in class 0 (cat), 1 in class 1 (dog)'
    """
    texts = [text.format(n=int(counts[status])) for status, text in REASONS.items() if counts[status]]
    outside, uneven = counts[Status.OUTSIDE :], int(counts[Status.SUM : Status.OUTSIDE].sum())
    faults = []
    if outside.any():
        places = [f"{int(n):,} in {_class(c, len(outside), classes)}" for c, n in enumerate(outside) if n]
        faults.append(f"outside [0, 1]: {', '.join(places)}")
    if uneven:
        faults.append(f"sum not 1: {uneven:,}")
    if faults:
        total = int(outside.sum()) + uneven
        texts.append(f"{total:,} predictions are no probabilities ({'; '.join(faults)}): {_remedy(metric)}")
    return texts


def _class(number: int, buckets: int, classes: Sequence[str] | None) -> str:
    """Name the class of a bucket; the last of NAMED_CLASSES holds the later ones too.

    >>> _class(1, 3, ["cat", "dog", "eel"]), _class(7, 8, None)
    ('class 1 (dog)', 'class 7 or later')
    """
    if number == NAMED_CLASSES - 1 and buckets == NAMED_CLASSES:
        return f"class {number} or later"
    return f"class {number}" + (f" ({classes[number]})" if classes and number < len(classes) else "")


def _remedy(metric: Metric) -> str:
    """Say what to do, by the options that the metric has."""
    options = type(metric).model_fields
    remedies = []
    if "from_logits" in options:
        remedies.append("set from_logits: true if the output holds logits")
    if "raw_scores" in options:
        remedies.append("or raw_scores: true, and a threshold of their scale, if scores of another range are meant")
    return ", ".join(remedies) or "bind an output of probabilities; from_logits is no option of this metric"
