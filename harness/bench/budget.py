"""How many examples and repeats fit into some minutes, by what a pilot run took. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.errors import UsageError

__all__ = ["Chosen", "Pilot", "choose"]

WORTH_S = 3.0  # of evaluating at the smallest size, below which fewer repeats are better
EFFICIENCY = 0.7  # that ranks are taken to have
MARGIN = 0.9  # of the minutes that are planned


@dataclass(frozen=True)
class Pilot:
    """What a short run at the smallest size took.

    Attributes:
      fixed_s: from its command to its end, without evaluating.
      limits_s: for measuring the limits.
      rate: examples a second.
    """

    fixed_s: float
    limits_s: float
    rate: float


@dataclass(frozen=True)
class Chosen:
    """What is run.

    Attributes:
      examples: at most; None is all that the job has.
      repeat: trials of each size that count.
    """

    examples: int | None
    repeat: int


def choose(
    pilot: Pilot,
    minutes: float,
    ranks: Sequence[int],
    *,
    repeat: int,
    warm_ups: int,
    settings: int = 1,
    places: int | None = None,
) -> Chosen:
    """Choose examples and repeats.

    Args:
      pilot: at the smallest size.
      minutes: that all trials may take.
      ranks: sizes.
      repeat, warm_ups: that are wanted.
      settings: of a sweep; with weak scaling twice as many.
      places: ranks that do not take cores from each other; None where all have their own.
    Raises: UsageError: not even one repeat fits.

    >>> choose(Pilot(8.0, 4.0, 1000.0), 30, (1, 2, 4), repeat=5, warm_ups=1, places=2)
    Chosen(examples=96000, repeat=5)
    """
    seconds = MARGIN * minutes * 60
    speeds = [pilot.rate * max(1.0, EFFICIENCY * min(count, places or count) / ranks[0]) for count in ranks]
    chosen = None
    for times in range(repeat, 0, -1):
        rounds = settings * (times + warm_ups)
        left_s = seconds - rounds * len(ranks) * (pilot.fixed_s + pilot.limits_s)
        examples = left_s / (rounds * sum(1 / speed for speed in speeds))
        if examples < 1:
            continue
        chosen = Chosen(_rounded(examples), times)
        if examples / speeds[0] >= WORTH_S or times <= min(3, repeat):
            return chosen
    if chosen is not None:
        return chosen
    needed = settings * (1 + warm_ups) * len(ranks) * (pilot.fixed_s + pilot.limits_s) / 60 / MARGIN
    raise UsageError(
        f"--minutes {minutes:g}: starting the trials alone takes about {needed:.1f} minutes; allow more, or name fewer sizes"
    )


def _rounded(examples: float) -> int:
    """Round down to two digits.

    >>> _rounded(12_999.0), _rounded(7.9)
    (12000, 7)
    """
    scale = 10 ** max(0, math.floor(math.log10(examples)) - 1)
    return max(1, int(examples // scale * scale))
