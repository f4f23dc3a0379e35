"""What a threshold is compared with: a probability, a logit, or a score of a scale of its own. Pure Python."""

from __future__ import annotations

import math
from collections.abc import Iterable

from harness.metrics.contract import ScoreScale

__all__ = ["RAW_SCORES", "check_probability", "log_odds", "scale_of"]

RAW_SCORES = "scores may have any range, and are compared with the threshold as they are"


def scale_of(thresholds: Iterable[float], *, raw_scores: bool = False) -> ScoreScale:
    """Return what scores have to be that are compared with thresholds.

    A threshold between 0 and 1 is a probability, unless the job says that scores are raw; any other says so itself.

    >>> scale_of([0.5]).name, scale_of([0.5], raw_scores=True).name, scale_of([0.0, 2.5]).name
    ('PROBABILITY', 'ANY', 'ANY')
    """
    return ScoreScale.PROBABILITY if not raw_scores and any(0 < t < 1 for t in thresholds) else ScoreScale.ANY


def check_probability(threshold: float) -> None:
    """Check the threshold of a metric that reads logits.

    Raises: ValueError: it is no probability between 0 and 1.
    """
    if not 0 < threshold < 1:
        raise ValueError("threshold: with from_logits a probability between 0 and 1; without, scores are compared as they are")


def log_odds(probability: float) -> float:
    """Return the logit of a probability between 0 and 1.

    >>> log_odds(0.5)
    0.0
    """
    return math.log(probability) - math.log1p(-probability)
