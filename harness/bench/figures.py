"""From the facts of trials to figures: where the time went, how fast, what was the most, by trial and by size. Pure.

Nothing is chosen here: of repeats there is the median and its interval, never the best.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from harness.bench.facts import Facts
from harness.bench.spread import Spread, median_spread

__all__ = ["FIXED", "PARTS", "RankFigures", "Size", "TrialFigures", "figures", "sizes"]

PARTS = (
    "launching", "start", "counting", "loading", "compiling", "reading", "predicting", "metrics", "other", "waiting", "reducing",
    "writing",
)  # fmt: skip
# What does not get less with more ranks by itself.
FIXED = ("launching", "start", "loading", "compiling", "waiting", "reducing", "writing")
WITHOUT_COST = "the run does not say"
WITHOUT_PRICES = "the job has no prices (key cost)"
PHASES = {"start": ("import", "connect", "resume"), "counting": ("open",), "loading": ("copy", "build")}


@dataclass(frozen=True)
class RankFigures:
    """What one rank did.

    Attributes:
      rank, host: which.
      examples: after its first call, in which TensorFlow compiles.
      reading_s, predicting_s: of its later calls; predicting with metrics.
      loop_s: from the end of the first call to that of the last.
      forward_rate, reading_rate: the limits, examples a second; None where they were not measured.
      peak_bytes: most memory.
    """

    rank: int
    host: str
    examples: int
    reading_s: float
    predicting_s: float
    loop_s: float
    forward_rate: float | None
    reading_rate: float | None
    peak_bytes: int | None

    @property
    def rate(self) -> float | None:
        """Examples a second while it worked; None where all were in the first call."""
        worked_s = self.reading_s + self.predicting_s
        return self.examples / worked_s if self.examples and worked_s > 0 else None


@dataclass(frozen=True)
class TrialFigures:
    """What one trial comes to.

    Attributes:
      repeat: which.
      examples: in all.
      solution_s: from the command to its end, without the measuring of limits; in Slurm from the start of the first rank.
      parts_s: of it, by `PARTS`: the mean over ranks.
      rate: examples a second of all ranks, after the first call.
      ranks: by rank.
      sum_s: the sum alone: the median over rounds of the slowest rank; None where it was not measured.
      bytes_an_example: of the files; None where that is not known.
      joules, money: None where the run does not say.
      cost_gaps: what is not in them.
      gap_s: of `other`, what no rank accounts for: ranks do not begin and end at the same time.
    """

    repeat: int
    examples: int
    solution_s: float
    parts_s: Mapping[str, float]
    rate: float | None
    ranks: tuple[RankFigures, ...]
    sum_s: float | None
    bytes_an_example: float | None = None
    joules: float | None = None
    money: float | None = None
    cost_gaps: str = ""
    gap_s: float = 0.0

    @property
    def late_s(self) -> float:
        """Of the waiting, what ranks cost that began or compiled late: more than their loops differ, the mean over ranks."""
        loops_s = [rank.loop_s for rank in self.ranks]
        differ_s = max(loops_s) - sum(loops_s) / len(loops_s) if loops_s else 0.0
        return max(0.0, self.parts_s["waiting"] - differ_s)

    @property
    def work_s(self) -> float:
        """Of the loop and of what follows it, the mean over ranks: what the data and the model take, once all is compiled."""
        names = ("reading", "predicting", "metrics", "other", "waiting", "reducing")
        return sum(self.parts_s[name] for name in names) - self.late_s - self.gap_s

    @property
    def forward_rate(self) -> float | None:
        """Examples a second that the model alone does on all ranks."""
        return _total([rank.forward_rate for rank in self.ranks])

    @property
    def reading_rate(self) -> float | None:
        """Examples a second that reading alone does on all ranks."""
        return _total([rank.reading_rate for rank in self.ranks])

    @property
    def peak_bytes(self) -> int | None:
        """Most memory of a rank."""
        return max((rank.peak_bytes for rank in self.ranks if rank.peak_bytes is not None), default=None)


@dataclass(frozen=True)
class Size:
    """The repeats of one size.

    Attributes:
      number, setting: of the sweep.
      scaling, ranks: see `Trial`.
      trials: those that count and are done.
      failures: why others are not, each reason once.
    """

    number: int
    setting: Mapping[str, str]
    scaling: str
    ranks: int
    trials: tuple[TrialFigures, ...]
    failures: tuple[str, ...] = ()

    def values(self, name: str) -> list[float]:
        """Return a figure of every trial that has it: an attribute of `TrialFigures`, or a part of the time."""
        held = [trial.parts_s.get(name) if name in PARTS else getattr(trial, name) for trial in self.trials]
        return [float(value) for value in held if value is not None]

    def spread(self, name: str) -> Spread | None:
        """Return the median of a figure and its interval."""
        return median_spread(self.values(name))

    def median(self, name: str) -> float | None:
        """Return the median of a figure."""
        values = self.values(name)
        return median(values) if values else None


def sizes(facts: Sequence[Facts], *, queued: bool = False) -> list[Size]:
    """Put the trials of each size together, in the order of settings, scalings and ranks.

    Args:
      queued: whether commands waited for nodes, so that what they took says nothing.
    """
    groups: dict[tuple[int, str, int], list[Facts]] = {}
    numbers: dict[tuple[tuple[str, str], ...], int] = {}
    for fact in facts:
        number = numbers.setdefault(tuple(fact.setting.items()), len(numbers))
        groups.setdefault((number, fact.scaling, fact.ranks), []).append(fact)
    made = []
    for (number, scaling, ranks), group in sorted(groups.items()):
        done = tuple(figures(fact, queued=queued) for fact in group if fact.is_done and fact.repeat > 0)
        failures = tuple(dict.fromkeys(fact.reason for fact in group if not fact.is_done))
        made.append(Size(number, group[0].setting, scaling, ranks, done, failures))
    return made


def figures(facts: Facts, *, queued: bool = False) -> TrialFigures:
    """Return what a trial comes to; it is done."""
    attempt = facts.attempt
    elapsed_s = float(attempt.get("elapsed_s") or 0.0)
    command_s = elapsed_s if queued else max(elapsed_s, facts.wall_s - float(facts.limits.get("elapsed_s") or 0.0))
    limits = {int(rank["rank"]): rank for rank in facts.limits.get("ranks") or []}
    chunk = int((facts.run.get("plan") or {}).get("chunk_size") or 0)
    accounts = attempt.get("ranks") or []
    ranks = tuple(_rank(account, limits.get(int(account["rank"]), {}), chunk) for account in accounts)
    parts_s = _parts(accounts, ranks)
    gap_s = max(0.0, elapsed_s - sum(parts_s.values()))
    parts_s["other"] += gap_s
    # Rank 0 has the clock of the run. Others may have begun before it: while it was being launched.
    solution_s = max(command_s, sum(parts_s.values()))
    parts_s["launching"] = solution_s - sum(parts_s.values())
    longest_s = max((rank.loop_s for rank in ranks), default=0.0)
    examples = sum(rank.examples for rank in ranks)
    rounds = list(zip(*(rank.get("sum_s") or [] for rank in limits.values()), strict=False))
    known = facts.size_bytes is not None and facts.examples
    cost = facts.run.get("cost") or {}
    return TrialFigures(
        facts.repeat,
        facts.examples,
        solution_s,
        {name: parts_s[name] for name in PARTS},
        examples / longest_s if examples and longest_s > 0 else None,
        ranks,
        median([max(seconds) for seconds in rounds]) if rounds else None,
        facts.size_bytes / facts.examples if facts.size_bytes is not None and known else None,
        _number(cost, "joules"),
        _number(cost, "money"),
        _cost_gaps(cost),
        gap_s,
    )


def _cost_gaps(cost: Mapping[str, Any]) -> str:
    """Say what is not in the cost of a run, and why.

    Args:
      cost: of run.json; empty where it has none.

    >>> _cost_gaps({"joules": None, "energy": {"package": {"joules": None, "reason": "vm: no counter"}}, "gaps": []})
    'vm: no counter; the job has no prices (key cost)'
    """
    reasons = [str(kind["reason"]) for kind in (cost.get("energy") or {}).values() if kind.get("reason")]
    prices = [WITHOUT_PRICES] if cost and "money" not in cost else []
    return "; ".join(dict.fromkeys([*map(str, cost.get("gaps") or []), *reasons, *prices])) or WITHOUT_COST


def _number(document: Mapping[str, Any], name: str) -> float | None:
    value = document.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _rank(account: Mapping[str, Any], limits: Mapping[str, Any], chunk: int) -> RankFigures:
    split, examples = account.get("split_s") or {}, int(account.get("examples") or 0)
    loop_s = float((account.get("seconds") or {}).get("evaluate", 0.0)) - split.get("compiling", 0.0)
    return RankFigures(
        int(account["rank"]),
        str(account.get("host", "")),
        max(0, examples - chunk),
        split.get("reading", 0.0),
        split.get("predicting", 0.0),
        max(0.0, loop_s),
        _limit(limits.get("forward")),
        _limit(limits.get("reading")),
        account.get("peak_bytes"),
    )


def _limit(measured: Mapping[str, Any] | None) -> float | None:
    """Return the median of the samples of a limit, examples a second."""
    samples = (measured or {}).get("samples") or []
    rates = [sample["examples"] / sample["seconds"] for sample in samples if sample["seconds"] > 0]
    return median(rates) if rates else None


def _parts(accounts: Sequence[Mapping[str, Any]], ranks: Sequence[RankFigures]) -> dict[str, float]:
    """Return the seconds of each part, the mean over ranks."""
    total = dict.fromkeys(PARTS, 0.0)
    for account, rank in zip(accounts, ranks, strict=True):
        split, seconds = account.get("split_s") or {}, account.get("seconds") or {}
        for part, phases in PHASES.items():
            total[part] += sum(seconds.get(phase, 0.0) for phase in phases)
        for part in ("compiling", "reading", "other", "waiting", "reducing"):
            total[part] += split.get(part, 0.0)
        # The model alone takes what it takes on a batch in memory; the rest of these calls are the terms of the metrics.
        alone_s = rank.examples / rank.forward_rate if rank.forward_rate else rank.predicting_s
        total["predicting"] += min(alone_s, rank.predicting_s)
        total["metrics"] += max(0.0, rank.predicting_s - alone_s)
    means = {name: seconds / max(1, len(ranks)) for name, seconds in total.items()}
    writing = [account.get("split_s", {}).get("writing", 0.0) for account in accounts]
    return {**means, "writing": max(writing, default=0.0)}


def _total(rates: Sequence[float | None]) -> float | None:
    """Add up rates; ranks that had nothing to read have none."""
    known = [rate for rate in rates if rate is not None]
    return sum(known) if known else None
