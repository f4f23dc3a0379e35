"""What a metric says of a single example: the term that its mean is made of, and which way that is worse."""

from __future__ import annotations

from collections.abc import Mapping

from harness.metrics import METRICS
from harness.metrics.contract import HostMetric, Metric
from harness.metrics.direction import Better, better

__all__ = ["loss_term", "lower_is_worse", "with_loss"]


def loss_term(metric: Metric) -> str | None:
    """Return the name of the term whose mean the value is: a number of each position; None where it is no such mean.

    >>> from harness.metrics.classification import Accuracy, CrossEntropy
    >>> loss_term(CrossEntropy()), loss_term(Accuracy())
    ('loss', None)
    """
    plain = None if isinstance(metric, HostMetric) else metric.plain_mean()
    return plain.total if plain is not None and plain.bucket is None else None


def lower_is_worse(metric: Metric) -> bool:
    """Say whether the example with the lowest term is the worst: of a similarity, not of a loss.

    >>> from harness.metrics.classification import CrossEntropy
    >>> lower_is_worse(CrossEntropy())
    False
    """
    place = f"{type(metric).__module__}:{type(metric).__qualname__}".removeprefix("harness.metrics.")
    name = next((name for name, known in METRICS.items() if known == place), "")
    return better(name) is Better.HIGHER


def with_loss(metrics: Mapping[str, Metric]) -> list[str]:
    """Return the keys of the metrics that have a loss of each example."""
    return [key for key, metric in metrics.items() if loss_term(metric) is not None]
