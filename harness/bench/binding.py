"""What binds: the one thing that a run's speed at a size hangs on, named only where the figures carry it. Pure.

Two things have to agree: where the time of the run went, and what the machine was measured to do at most. Times that no limit
explains, repeats that do not agree, and runs whose time is spread over several things name nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median

from harness.bench.figures import RankFigures, Size, TrialFigures

__all__ = ["Binding", "Bound", "bound_of", "sentence", "starting"]

LEADING = 0.4  # of the work, from which on a part may bind
WAITED = 0.25  # of the work, that ranks wait for a slow one
LOST = 0.15  # of what the ranks could do, that is lost by a slow one where chunks are drawn
SLOW = 1.5  # times the median of the others that a slow rank takes
NEAR = 0.5  # of a limit, from which on it is what the run comes up against
SURE = 0.8  # of the repeats have to say the same
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
    NOTHING = "nothing alone"
    UNKNOWN = "unknown"


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
    """

    ranks: int
    bound: Bound
    share: float = 0.0
    achieved: float | None = None
    limit: float | None = None
    rank: int | None = None
    host: str = ""
    bytes_an_example: float | None = None


def bound_of(size: Size) -> Binding:
    """Return what binds at a size: what at least `SURE` of its repeats say."""
    found = [_of_trial(trial, size.ranks) for trial in size.trials]
    if not found or all(each.bound is Bound.UNKNOWN for each in found):
        return Binding(size.ranks, Bound.UNKNOWN)
    (bound, rank), count = Counter((each.bound, each.rank) for each in found).most_common(1)[0]
    if count < SURE * len(found):
        return Binding(size.ranks, Bound.NOTHING)
    alike = [each for each in found if (each.bound, each.rank) == (bound, rank)]

    def middle(name: str) -> float | None:
        values = [value for each in alike if (value := getattr(each, name)) is not None]
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
    )


def _of_trial(trial: TrialFigures, ranks: int) -> Binding:
    if trial.work_s <= 0 or trial.rate is None:
        return Binding(ranks, Bound.UNKNOWN)
    shares = {name: trial.parts_s[name] / trial.work_s for name in ("reading", "predicting", "metrics", "waiting", "reducing")}
    if (slow := _slow_rank(trial, shares["waiting"])) is not None:
        rank, lost = slow
        return Binding(ranks, Bound.SLOW_RANK, lost, rank=rank.rank, host=rank.host)
    if shares["reducing"] >= LEADING:
        alone_s = trial.sum_s
        return Binding(ranks, Bound.FINAL_SUM, shares["reducing"], trial.parts_s["reducing"], alone_s)
    leading = max(("reading", "predicting", "metrics"), key=lambda name: shares[name])
    if shares["predicting"] + shares["metrics"] >= LEADING and leading == "predicting":
        return _against(Bound.MODEL, trial, ranks, shares["predicting"], trial.forward_rate)
    if shares[leading] < LEADING:
        return Binding(ranks, Bound.NOTHING, shares[leading])
    if leading == "metrics":
        # What is left of the calls when the model is taken away: there is no limit that it could come up against.
        return Binding(ranks, Bound.METRICS, shares["metrics"], trial.rate, trial.forward_rate)
    return _against(Bound.READING, trial, ranks, shares["reading"], trial.reading_rate)


def _against(bound: Bound, trial: TrialFigures, ranks: int, share: float, limit: float | None) -> Binding:
    """Return what binds where a part leads: the limit of its own, where the run comes near it.

    A limit that is far away, while the part is waited for, says that reading and predicting take each other's cores.
    """
    if limit is None:
        return Binding(ranks, Bound.UNKNOWN, share)
    rate = trial.rate or 0.0
    if rate < NEAR * limit:
        bound = Bound.CORES
    return Binding(ranks, bound, share, rate, limit, bytes_an_example=trial.bytes_an_example)


def _slow_rank(trial: TrialFigures, waiting: float) -> tuple[RankFigures, float] | None:
    """Return the rank that is slower than the others, and the share that is lost by it; None where that is little."""
    rates = [(rank.rate, rank) for rank in trial.ranks if rank.rate is not None]
    if len(rates) < 2:
        return None
    slowest, rank = min(rates, key=lambda pair: pair[0])
    others = median([rate for rate, other in rates if other is not rank])
    if others < SLOW * slowest:
        return None
    possible = others * len(rates)
    lost = 1 - sum(rate for rate, _ in rates) / possible
    if waiting >= WAITED:
        return rank, waiting
    return (rank, lost) if lost >= LOST else None


def starting(size: Size) -> float | None:
    """Return the share of the time to solution that is over before or after the work; None where that is not most of it."""
    shares = [sum(trial.parts_s[name] for name in STARTING) / trial.solution_s for trial in size.trials if trial.solution_s > 0]
    if not shares:
        return None
    share = min(1.0, median(shares))
    return share if share > MOSTLY else None


def sentence(bindings: Sequence[Binding]) -> str:
    """Say what binds at which sizes.

    Args:
      bindings: of one setting and scaling, by ranks.

    >>> sentence([Binding(1, Bound.MODEL, 0.8, 90.0, 100.0)])
    'The model binds at 1 rank: 90 of the 100 examples/s that it does alone.'
    """
    return " ".join(f"{_named(run[-1])} {_where(run, bindings)}{_figures(run[-1])}." for run in _runs(bindings))


def _runs(bindings: Sequence[Binding]) -> Iterator[list[Binding]]:
    """Cut into runs of sizes at which the same binds."""
    run: list[Binding] = []
    for binding in bindings:
        if run and (run[-1].bound, run[-1].rank) != (binding.bound, binding.rank):
            yield run
            run = []
        run.append(binding)
    if run:
        yield run


NAMES = {
    Bound.READING: "Reading binds",
    Bound.MODEL: "The model binds",
    Bound.METRICS: "The metrics bind",
    Bound.CORES: "The processor cores bind",
    Bound.FINAL_SUM: "The final sum binds",
    Bound.NOTHING: "Nothing binds alone",
    Bound.UNKNOWN: "What binds cannot be told",
}


def _named(binding: Binding) -> str:
    if binding.bound is Bound.SLOW_RANK:
        return f"A slow rank binds, rank {binding.rank} on {binding.host},"
    return NAMES[binding.bound]


def _where(run: Sequence[Binding], bindings: Sequence[Binding]) -> str:
    first, last = run[0].ranks, run[-1].ranks
    ranks = "rank" if last == 1 else "ranks"
    if len(run) == len(bindings) and len(run) > 1:
        return "at every size"
    if len(run) == 1:
        return f"at {last:,} {ranks}"
    return f"from {first:,} ranks on" if run[-1] is bindings[-1] else f"from {first:,} to {last:,} ranks"


def _figures(binding: Binding) -> str:
    achieved, limit, share = binding.achieved, binding.limit, f"{binding.share:.0%}"
    if binding.bound is Bound.SLOW_RANK:
        return f": {share} of what the ranks could do is lost by it"
    if binding.bound is Bound.FINAL_SUM and achieved is not None:
        alone = f"; the sum alone takes {limit:.3g} s" if limit is not None else ""
        return f": it takes {achieved:.3g} s, {share} of the work{alone}"
    if binding.bound is Bound.METRICS:
        return f": {share} of the work"
    if achieved is None or limit is None:
        return ": no part takes most of the work" if binding.bound is Bound.NOTHING else ": there is too little work to measure"
    if binding.bound is Bound.CORES:
        return f": {achieved:,.0f} examples/s, for reading and predicting share them; one of the two alone does {limit:,.0f}"
    own = {Bound.READING: "reading alone gives", Bound.MODEL: "it does alone"}[binding.bound]
    return f": {_rates(achieved, limit, binding.bytes_an_example if binding.bound is Bound.READING else None)} that {own}"


def _rates(achieved: float, limit: float, bytes_an_example: float | None) -> str:
    """Say a rate and its limit: in bytes where those are known.

    >>> _rates(1900, 2100, 1e6), _rates(1900, 2100, None)
    ('1.9 GB/s of the 2.1 GB/s', '1,900 of the 2,100 examples/s')
    """
    if bytes_an_example is None:
        return f"{achieved:,.0f} of the {limit:,.0f} examples/s"
    scale, unit = next(
        ((size, unit) for size, unit in ((1e9, "GB/s"), (1e6, "MB/s")) if limit * bytes_an_example >= size), (1e3, "kB/s")
    )
    first, second = (rate * bytes_an_example / scale for rate in (achieved, limit))
    return f"{first:.2g} {unit} of the {second:.2g} {unit}" if second < 10 else f"{first:.0f} {unit} of the {second:.0f} {unit}"
