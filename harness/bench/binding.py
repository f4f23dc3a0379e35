"""What binds: the one thing that a run's speed at a size hangs on, named only where the figures carry it. Pure.

Two things have to agree: where the time of the run went, and what the machine was measured to do at most. Where repeats do not
agree on the limit, the part that takes the largest share of the work in all of them is named still, without a limit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from statistics import median

from harness.bench.figures import RankFigures, Size, TrialFigures

__all__ = ["LEADING", "Binding", "Bound", "bound_of", "starting"]

LEADING = 0.4  # of the work, from which on a part may bind
WAITED = 0.25  # of the work, that ranks wait for a slow one
LOST = 0.15  # of what the ranks could do, that is lost by a slow one where chunks are drawn
SLOW = 1.5  # times the median of the others that a slow rank takes
NEAR = 0.5  # of a limit, from which on it is what the run comes up against
BEYOND = 1.5  # times a limit, from which on it cannot be one
SURE = 0.8  # of the repeats have to say the same
WORK = ("reading", "predicting", "metrics", "other", "waiting", "reducing")
STARTING = ("launching", "start", "counting", "loading", "compiling", "writing")
MOSTLY = 0.5  # of the time to solution


class Bound(StrEnum):
    """What binds."""

    READING = "reading"
    MODEL = "model"
    METRICS = "metrics"
    CORES = "cores"
    SLOW_RANK = "slow rank"
    FINAL_SUM = "final sum"
    COMMITS = "commits"
    WAITING = "waiting"
    NOTHING = "nothing alone"
    UNKNOWN = "unknown"


# Parts that no measured limit explains: that they lead is all that is needed to name them.
WITHOUT_LIMIT = {
    "metrics": Bound.METRICS,
    "other": Bound.COMMITS,
    "waiting": Bound.WAITING,
    "reducing": Bound.FINAL_SUM,
}


@dataclass(frozen=True)
class Binding:
    """What binds at one size.

    Attributes:
      ranks: of the size.
      bound: what.
      share: of the work, the median over repeats; of a slow rank what is lost by it.
      achieved, limit: in examples a second, or seconds of the final sum; None where there is no such limit.
      rank, host: the slow one.
      bytes_an_example: of the files; None where that is not known.
      part: that takes the largest share of the work in every repeat, by its name in `PARTS`; empty where none does.
      part_share: of the work, the median over repeats; without such a part the largest share of one that was seen.
    """

    ranks: int
    bound: Bound
    share: float = 0.0
    achieved: float | None = None
    limit: float | None = None
    rank: int | None = None
    host: str = ""
    bytes_an_example: float | None = None
    part: str = ""
    part_share: float = 0.0


def bound_of(size: Size) -> Binding:
    """Return what binds at a size: what at least `SURE` of its repeats say."""
    bindings = [_of_trial(trial, size.ranks) for trial in size.trials]
    if not bindings:
        return Binding(size.ranks, Bound.UNKNOWN)
    shares = [binding.part_share for binding in bindings]
    leading = {binding.part for binding in bindings}
    part = next(iter(leading)) if len(leading) == 1 else ""
    largest = median(shares) if part else max(shares)
    if all(binding.bound is Bound.UNKNOWN for binding in bindings):
        return Binding(size.ranks, Bound.UNKNOWN, part=part, part_share=largest)
    (bound, rank), count = Counter((binding.bound, binding.rank) for binding in bindings).most_common(1)[0]
    is_sure = count >= SURE * len(bindings) or (bound in WITHOUT_LIMIT.values() and bool(part) and largest >= LEADING)
    if not is_sure:
        return Binding(size.ranks, Bound.NOTHING, part=part, part_share=largest)
    alike = [binding for binding in bindings if (binding.bound, binding.rank) == (bound, rank)]

    def middle(name: str) -> float | None:
        values = [value for binding in alike if (value := getattr(binding, name)) is not None]
        return median(values) if values else None

    return Binding(
        size.ranks,
        bound,
        middle("share") or 0.0,
        middle("achieved"),
        middle("limit"),
        rank,
        alike[0].host,
        middle("bytes_an_example"),
        part,
        largest,
    )


def _of_trial(trial: TrialFigures, ranks: int) -> Binding:
    if trial.work_s <= 0 or trial.rate is None:
        return Binding(ranks, Bound.UNKNOWN)
    shares = {name: trial.parts_s[name] / trial.work_s for name in WORK}
    shares["waiting"] -= trial.late_s / trial.work_s
    shares["other"] -= trial.gap_s / trial.work_s
    leading = max(WORK, key=lambda name: shares[name])
    return replace(_led(trial, ranks, shares, leading), part=leading, part_share=shares[leading])


def _led(trial: TrialFigures, ranks: int, shares: Mapping[str, float], leading: str) -> Binding:
    """Return what binds in a trial: a slow rank, or the part that leads."""
    if (slow := _slow_rank(trial, shares)) is not None:
        rank, lost = slow
        return Binding(ranks, Bound.SLOW_RANK, lost, rank=rank.rank, host=rank.host)
    share = shares[leading]
    if leading == "predicting" and share + shares["metrics"] >= LEADING:
        return _against(Bound.MODEL, trial, ranks, share, trial.forward_rate)
    if share < LEADING:
        return Binding(ranks, Bound.NOTHING, share)
    if leading == "reducing":
        return Binding(ranks, Bound.FINAL_SUM, share, trial.parts_s["reducing"], trial.sum_s)
    if leading == "metrics":
        # What is left of the calls when the model is taken away: there is no limit that it could come up against.
        return Binding(ranks, Bound.METRICS, share, trial.rate, trial.forward_rate)
    if leading == "reading":
        return _against(Bound.READING, trial, ranks, share, trial.reading_rate)
    return Binding(ranks, WITHOUT_LIMIT[leading], share)


def _against(bound: Bound, trial: TrialFigures, ranks: int, share: float, limit: float | None) -> Binding:
    """Return what binds where a part leads: the limit of its own, where the run comes near it.

    A limit that is far away, while the part is waited for, says that reading and predicting take each other's cores.
    """
    if limit is None:
        return Binding(ranks, Bound.UNKNOWN, share)
    rate = trial.rate or 0.0
    if rate > BEYOND * limit:
        return Binding(ranks, Bound.UNKNOWN, share)  # something else kept the machine busy when the limit was measured
    if rate < NEAR * limit:
        bound = Bound.CORES
    return Binding(ranks, bound, share, rate, limit, bytes_an_example=trial.bytes_an_example)


def _slow_rank(trial: TrialFigures, shares: Mapping[str, float]) -> tuple[RankFigures, float] | None:
    """Return the rank that is slower than the others, and the share that is lost by it; None where that is little.

    Args:
      shares: of the work, by part.
    """
    rates = [(rank.rate, rank) for rank in trial.ranks if rank.rate is not None]
    if len(rates) < 2:
        return None
    slowest, rank = min(rates, key=lambda pair: pair[0])
    others = median([rate for rate, other in rates if other is not rank])
    if others < SLOW * slowest:
        return None
    possible = others * len(rates)
    evaluating = sum(shares[name] for name in ("reading", "predicting", "metrics", "waiting"))
    lost = evaluating * (1 - sum(rate for rate, _ in rates) / possible)
    if shares["waiting"] >= WAITED:
        return rank, shares["waiting"]
    return (rank, lost) if lost >= LOST else None


def starting(size: Size) -> float | None:
    """Return the share of the time to solution that is over before or after the work; None where that is not most of it."""
    begun = [
        (trial, sum(trial.parts_s[name] for name in STARTING) + trial.late_s) for trial in size.trials if trial.solution_s > 0
    ]
    shares = [seconds / trial.solution_s for trial, seconds in begun]
    if not shares:
        return None
    share = min(1.0, median(shares))
    return share if share > MOSTLY else None
