"""Which rank is slow, and why: told from the vitals of all ranks. Pure; measures nothing.

A rank is a straggler where it evaluates clearly fewer examples a second than half of the others do. The cause is what its
additional time per example goes into. What is not sure is not said: a rank in the middle of a chunk may be about to finish it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import median

from harness.watch.beat import Beat
from harness.watch.time_split import Part
from harness.watch.vitals import Vitals

__all__ = ["Cause", "Rank", "Straggler", "cpus_of", "others_cores", "ranks_of", "stragglers"]

SLOW = 0.7  # of the rate of half of the others
WINDOW_S = 3.0  # over less nothing is said
FEW = 0.75  # of the threads of half of the others
BUSY = 0.85  # of its processors' time: nothing is left to speak of
FOREIGN = 0.2  # of its processors' time goes to others
DELAYED = 0.4  # of the additional time per example its threads were ready to run
LOOP = (Part.READING, Part.PREDICTING, Part.OTHER)  # of the loop's parts, what every example takes


class Cause(StrEnum):
    """Why a rank is slow."""

    STORAGE = "slow storage"
    DEVICE = "slow device"
    OTHER_WORK = "other work on the node"
    FEW_THREADS = "few threads"
    BETWEEN = "work between the calls of the step"


@dataclass(frozen=True)
class Rank:
    """A rank as it was seen last."""

    beat: Beat
    vitals: Vitals = field(default_factory=Vitals)

    @property
    def evaluates(self) -> bool:
        """Whether it is in the loop."""
        return self.beat.phase == "evaluating"

    @property
    def loop_s(self) -> float:
        """Seconds of late that the loop took; compiling apart, which is done once."""
        return sum(self.vitals.recent.seconds.get(part, 0.0) for part in LOOP)

    @property
    def rate(self) -> float:
        """Examples a second, of late; where its chunks take longer than that, on average."""
        recent = self.vitals.recent
        if not self.evaluates:
            return 0.0
        if recent.examples and self.loop_s:
            return recent.examples / self.loop_s
        loop_s = sum(self.vitals.seconds.get(part, 0.0) for part in LOOP)
        return self.vitals.examples / loop_s if loop_s else 0.0

    @property
    def most_rate(self) -> float:
        """The rate if it were just about to finish the chunk that is under way."""
        chunk = self.vitals.examples / self.beat.chunks if self.beat.chunks else 0.0
        return (self.vitals.recent.examples + chunk) / self.loop_s if self.loop_s else self.rate

    @property
    def doing(self) -> str:
        """What most of its time went into of late; nothing where it is not in the loop."""
        shares = {part: self.vitals.recent.seconds.get(part, 0.0) for part in (Part.COMPILING, *LOOP)}
        return str(max(shares, key=lambda part: shares[part])) if self.evaluates and any(shares.values()) else ""

    @property
    def cores(self) -> float:
        """Processors that it kept busy of late."""
        recent = self.vitals.recent
        return recent.cpu_s / recent.over_s if recent.over_s else 0.0

    def per_example(self, seconds: float) -> float:
        """Divide seconds of late by the examples of late, or by those that came in so much time on average."""
        examples = self.vitals.recent.examples or self.rate * self.loop_s
        return seconds / max(examples, 1e-9)


@dataclass(frozen=True)
class Straggler:
    """A rank that is slow.

    Attributes:
      rank, host: of it.
      cause: why.
      rate, others_rate: its examples a second, and those of half of the others.
      detail: what shows the cause.
    """

    rank: int
    host: str
    cause: Cause
    rate: float
    others_rate: float
    detail: str

    def __str__(self) -> str:
        slow = f"{self.rate:,.0f} examples/s, others {self.others_rate:,.0f}"
        return f"rank {self.rank} on {self.host} is slow ({slow}): {self.cause}: {self.detail}"


def ranks_of(beats: Sequence[Beat]) -> list[Rank]:
    """Read the vitals of beats."""
    return [Rank(beat, Vitals.from_json(beat.vitals)) for beat in beats]


def cpus_of(text: str) -> frozenset[int]:
    """Read numbers of processors.

    >>> sorted(cpus_of("0-2,8"))
    [0, 1, 2, 8]
    """
    cpus: set[int] = set()
    for run in filter(None, text.split(",")):
        first, _, last = run.partition("-")
        if first.isdigit() and (not last or last.isdigit()):
            cpus |= set(range(int(first), int(last or first) + 1))
    return frozenset(cpus)


def others_cores(ranks: Sequence[Rank]) -> dict[int, float]:
    """Return by rank how many of the processors that it may use work for others than this run; what is not known is left out."""
    hosts: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for rank in ranks:
        hosts[rank.beat.host][rank.vitals.cpus] += rank.cores
    cpus = {text: cpus_of(text) for used in hosts.values() for text in used}
    others = {}
    for rank in ranks:
        recent, mine = rank.vitals.recent, cpus[rank.vitals.cpus]
        if recent.busy_s is None or not recent.over_s or not mine:
            continue
        ours = sum(
            cores * len(mine & cpus[text]) / len(cpus[text]) for text, cores in hosts[rank.beat.host].items() if cpus[text]
        )
        others[rank.beat.rank] = max(recent.busy_s / recent.over_s - ours, 0.0)
    return others


def stragglers(ranks: Sequence[Rank]) -> list[Straggler]:
    """Return the ranks that are clearly slower than half of the others, the slowest first."""
    compared = [rank for rank in ranks if rank.evaluates and rank.loop_s >= WINDOW_S and rank.doing != Part.COMPILING]
    slow: list[tuple[Rank, float]] = []
    middle = sorted(rank.rate for rank in compared)
    for rank in compared:
        if len(middle) > 1 and rank.most_rate < SLOW * (reference := _median_without(middle, rank.rate)):
            slow.append((rank, reference))
    well = [rank for rank in compared if all(rank is not other for other, _ in slow)]
    if not well:
        return []
    foreign = others_cores(ranks)
    found = [_explained(rank, reference, well, foreign) for rank, reference in slow]
    return sorted(found, key=lambda straggler: straggler.rate)


def _median_without(ordered: Sequence[float], value: float) -> float:
    """Return the median of numbers in ascending order but for one of them.

    >>> _median_without([1.0, 2.0, 8.0, 9.0], 2.0), _median_without([1.0, 2.0, 8.0], 8.0)
    (8.0, 1.5)
    """
    left_out, count = bisect_left(ordered, value), len(ordered) - 1
    middle = ((count - 1) // 2, count // 2)
    return sum(ordered[at + (at >= left_out)] for at in middle) / 2


def _explained(rank: Rank, reference: float, well: Sequence[Rank], foreign: Mapping[int, float]) -> Straggler:
    recent, vitals = rank.vitals.recent, rank.vitals
    more = {
        part: rank.per_example(recent.seconds.get(part, 0.0)) - median(_seconds(other, part) for other in well) for part in LOOP
    }
    most = max(more, key=lambda part: more[part])
    mine, theirs = _seconds(rank, most), median(_seconds(other, most) for other in well)
    detail = f"{_word(most)} takes it {_time(mine)} an example, the others {_time(theirs)}"
    cause = {Part.READING: Cause.STORAGE, Part.OTHER: Cause.BETWEEN}.get(most, Cause.DEVICE)
    threads = median(other.vitals.threads for other in well)
    computes = most == Part.PREDICTING or rank.cores >= FEW * max(vitals.threads, 1)
    if _is_crowded(rank, well, foreign.get(rank.beat.rank, 0.0)):
        cores = foreign[rank.beat.rank]
        cause, detail = Cause.OTHER_WORK, f"others keep {cores:.1f} of its {len(cpus_of(vitals.cpus))} processors busy"
        if recent.delayed_s is not None:
            detail += f", its threads waited {recent.delayed_s:.1f} s for one in {recent.over_s:.0f} s"
    elif computes and 0 < vitals.threads < FEW * threads:
        cause, detail = Cause.FEW_THREADS, f"it has {vitals.threads}, the others {threads:.0f}"
    return Straggler(rank.beat.rank, rank.beat.host, cause, rank.rate, reference, detail)


def _seconds(rank: Rank, part: str) -> float:
    return rank.per_example(rank.vitals.recent.seconds.get(part, 0.0))


def _word(part: str) -> str:
    return "what is neither reading nor predicting" if part == Part.OTHER else str(part)


def _time(seconds: float) -> str:
    """Write a short time with two digits.

    >>> _time(0.0031), _time(24e-6), _time(2.5), _time(0.0)
    ('3.1 ms', '24 µs', '2.5 s', '0 µs')
    """
    factor, unit = next(
        ((factor, unit) for least, factor, unit in ((0.9995, 1, "s"), (0.0009995, 1e3, "ms")) if seconds >= least), (1e6, "µs")
    )
    return f"{seconds * factor:.2g} {unit}" if seconds * factor < 100 else f"{seconds * factor:,.0f} {unit}"


def _is_crowded(rank: Rank, well: Sequence[Rank], cores: float) -> bool:
    """Say whether others' work on its processors is what makes a rank slow."""
    recent, cpus = rank.vitals.recent, len(cpus_of(rank.vitals.cpus))
    if recent.busy_s is None or not cpus or recent.busy_s < BUSY * cpus * recent.over_s or cores < FOREIGN * cpus:
        return False
    if recent.delayed_s is None:
        return rank.doing == Part.PREDICTING and rank.cores < SLOW * min(max(rank.vitals.threads, 1), cpus)
    more_s = rank.per_example(rank.loop_s) - median(other.per_example(other.loop_s) for other in well)
    more_delayed_s = rank.per_example(recent.delayed_s) - median(
        other.per_example(other.vitals.recent.delayed_s or 0.0) for other in well
    )
    return more_delayed_s >= DELAYED * more_s
