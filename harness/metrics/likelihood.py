"""What an infinite loss means to metrics of the likelihood of what is true. Pure Python."""

from __future__ import annotations

__all__ = ["EPSILON", "impossible"]

EPSILON = "probabilities are clipped to [epsilon, 1 - epsilon]"


def impossible(*, from_logits: bool, epsilon: float) -> str | None:
    """Say why a loss is infinite, after how many predictions have one; None where none can be.

    >>> impossible(from_logits=False, epsilon=1e-7) is None
    True
    """
    if from_logits or epsilon:
        return None
    return (
        "predictions give what is true a probability of 0: the loss is infinite; "
        "epsilon clips probabilities (Keras has epsilon: 1.0e-7)"
    )
