"""How many examples and repeats fit into some minutes: chosen by what a pilot took, held by what the trials take. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.errors import UsageError

__all__ = ["Chosen", "Pilot", "Timed", "choose", "has_time", "spent_s", "spent_sentence"]

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
      spent_s: of the minutes, with the shorter pilots before it.
    """

    fixed_s: float
    limits_s: float
    rate: float
    spent_s: float = 0.0


@dataclass(frozen=True)
class Chosen:
    """What is run.

    Attributes:
      examples: at most; None is all that the job has.
      repeat: trials of each size that count.
      pilot_s: that choosing took.
    """

    examples: int | None
    repeat: int
    pilot_s: float = 0.0


@dataclass(frozen=True)
class Timed:
    """A trial that is over: which repeat it is, 0 and below of warm-ups, and the seconds of its command."""

    repeat: int
    wall_s: float


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
    Chosen(examples=96000, repeat=5, pilot_s=0.0)
    """
    seconds = MARGIN * minutes * 60 - pilot.spent_s
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
            break
    if chosen is None:
        needed = (settings * (1 + warm_ups) * len(ranks) * (pilot.fixed_s + pilot.limits_s) + pilot.spent_s) / 60 / MARGIN
        raise UsageError(
            f"--minutes {minutes:g}: pilots and starting the trials alone take about {needed:.1f} minutes; "
            "allow more, or name fewer sizes"
        )
    return replace(chosen, pilot_s=pilot.spent_s)


def has_time(minutes: float, pilot_s: float, trials: Sequence[Timed], repeat: int) -> bool:
    """Tell whether a trial is to be begun. Rounds of all sizes are done whole: the first always, a later one if it fits.

    Args:
      minutes: that all may take.
      pilot_s: of them, that choosing took.
      trials: that are over, in their order.
      repeat: of the trial.

    >>> warm_up, first = Timed(0, 50.0), Timed(1, 40.0)
    >>> has_time(2.5, 10, [warm_up, first], 2), has_time(2.5, 40, [warm_up, first], 2), has_time(1, 40, [warm_up], 1)
    (True, False, True)
    """
    if repeat < 2 or trials[-1].repeat == repeat:
        return True
    rounds = [sum(trial.wall_s for trial in trials if trial.repeat == each) for each in range(1, repeat)]
    return spent_s(pilot_s, trials) + max(rounds) <= minutes * 60


def spent_s(pilot_s: float, trials: Sequence[Timed]) -> float:
    """Return the seconds that a bench took."""
    return pilot_s + sum(trial.wall_s for trial in trials)


def spent_sentence(minutes: float, pilot_s: float, trials: Sequence[Timed]) -> str:
    """Say what a bench took of its minutes, and where it took more, why.

    >>> spent_sentence(4, 10, [Timed(0, 50.0), Timed(1, 60.0)])
    'the bench took 2.0 of 4 minutes'
    >>> spent_sentence(1, 10, [Timed(0, 50.0), Timed(1, 60.0)])
    'the bench took 2.0 minutes, 1 allowed: a pilot of 0.2, warm-ups of 0.8, and one repeat of all sizes of 1.0'
    """
    minutes_s = spent_s(pilot_s, trials) / 60
    if minutes_s <= minutes:
        return f"the bench took {minutes_s:.1f} of {minutes:g} minutes"
    most = max((trial.repeat for trial in trials), default=0)
    warm_ups_s = sum(trial.wall_s for trial in trials if trial.repeat < 1)
    repeats_s = sum(trial.wall_s for trial in trials if trial.repeat > 0)
    repeats = "one repeat" if most == 1 else f"{most} repeats"
    return (
        f"the bench took {minutes_s:.1f} minutes, {minutes:g} allowed: a pilot of {pilot_s / 60:.1f}, "
        f"warm-ups of {warm_ups_s / 60:.1f}, and {repeats} of all sizes of {repeats_s / 60:.1f}"
    )


def _rounded(examples: float) -> int:
    """Round down to two digits.

    >>> _rounded(12_999.0), _rounded(7.9)
    (12000, 7)
    """
    scale = 10 ** max(0, math.floor(math.log10(examples)) - 1)
    return max(1, int(examples // scale * scale))
