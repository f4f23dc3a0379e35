"""Several models on the same examples: what one has more than the first, with paired intervals. Pure.

Both models saw the same examples in the same replicates, so the interval is that of the difference within replicates: what
makes both good or bad together cancels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.results.intervals import Interval, interval
from harness.results.outcome import Outcome

__all__ = ["Difference", "differences"]


@dataclass(frozen=True)
class Difference:
    """How much larger a model's value is than the first model's, and its interval where the job draws replicates."""

    model: str
    metric: str
    value: float
    interval: Interval | None


def differences(outcome: Outcome, models: Sequence[str], level: float | None) -> list[Difference]:
    """Subtract the first model's numbers from those of each other one; what is null or a table on either side is left out.

    Args:
      outcome: results by MODEL/METRIC.
      models: in the order of the job.
      level: of the intervals; None without a bootstrap.
    """
    differing = []
    numbers = {key: number for name, result in outcome.results.items() for key, number in _numbers(name, result.value).items()}
    first = models[0]
    for model in models[1:]:
        for key, number in numbers.items():
            if not key.startswith(f"{model}/"):
                continue
            metric = key.removeprefix(f"{model}/")
            base = numbers.get(f"{first}/{metric}")
            if base is None:
                continue
            refusal = next((why for refused, why in outcome.no_difference.items() if f"{key}/".startswith(f"{refused}/")), None)
            mine, theirs = (outcome.replicates.get(f"{owner}/{metric}") for owner in (model, first))
            drawn = None
            if level is not None and refusal is not None:
                drawn = Interval.none(refusal)
            elif level is not None and mine is not None and theirs is not None:
                drawn_differences = [None if np.isnan(value) else float(value) for value in mine - theirs]
                drawn = interval(number - base, drawn_differences, level)
            differing.append(Difference(model, metric, number - base, drawn))
    return differing


def _numbers(name: str, value: object) -> dict[str, float]:
    """Return the numbers of a result by name; of a mapping each under NAME/ENTRY, as replicates are."""
    if isinstance(value, Mapping):
        return {f"{name}/{key}": float(part) for key, part in value.items() if isinstance(part, int | float)}
    return {name: float(value)} if isinstance(value, int | float) and not isinstance(value, bool) else {}
