"""The rules of a bench: which trials there are, and in which order. Pure: nothing is run here.

A trial is one run of the job. Trials of different sizes take turns, forth and back, so that a machine that grows warm or
busy favours none of them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from typing import Any

from harness.errors import RunFolderError, UsageError

__all__ = ["LAUNCHED", "RULES_VERSION", "Rules", "Scaling", "Setting", "Sweep", "Trial", "differing", "settings", "trials"]

RULES_VERSION = 1  # of how trials are run and measured: benches of other rules are not compared
Setting = tuple[tuple[str, str], ...]  # what a sweep sets: key and value, in the order of the sweeps
MOST_TRIALS = 100_000  # of a bench: at a second each more than a day
LAUNCHED = "threads"  # swept, and no key of a job
PRECISIONS = {"float32": "null", "float16": "mixed_float16", "bfloat16": "mixed_bfloat16"}
DEFAULT_VALUES = {"schedule": ("static", "dynamic"), "precision": ("float32", "bfloat16")}


class Scaling(StrEnum):
    """What more ranks are for: the same examples sooner, or more examples in the same time."""

    STRONG = "strong"
    WEAK = "weak"


@dataclass(frozen=True)
class Sweep:
    """A key whose values are tried.

    Attributes:
      key: of the job, as `--set` has it; `threads` of a rank, or `precision` of the model.
      values: as YAML.
    """

    key: str
    values: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Sweep:
        """Read KEY=VALUE,VALUE; of some keys the values are known.

        Raises: UsageError: it is neither.

        >>> Sweep.parse("batch_size=64,128"), Sweep.parse("schedule").values
        (Sweep(key='batch_size', values=('64', '128')), ('static', 'dynamic'))
        """
        key, sign, listed = text.partition("=")
        values = tuple(value.strip() for value in listed.split(",")) if sign else DEFAULT_VALUES.get(key, ())
        if not key or not values or not all(values) or len(set(values)) < len(values):
            known = ", ".join(sorted(DEFAULT_VALUES))
            raise UsageError(f"--sweep {text}: expected KEY=VALUE,VALUE,... with each value once; {known} do without values")
        if key == LAUNCHED and not all(value.isdigit() and int(value) for value in values):
            raise UsageError(f"--sweep {text}: expected numbers of threads of a rank, above 0")
        if key == "precision" and (unknown := [value for value in values if value not in PRECISIONS]):
            raise UsageError(f"--sweep {text}: found {unknown[0]}; valid: {', '.join(PRECISIONS)}")
        return cls(key, values)


@dataclass(frozen=True)
class Rules:
    """How a bench is done.

    Attributes:
      ranks: sizes, ascending.
      repeat: trials of each size that count.
      warm_ups: trials of each size before, which do not.
      weak: whether weak scaling is measured beside strong scaling.
      comm: "mpi" or "gloo"; None is the launcher's choice.
      gpus_per_rank: None is what the machine shows.
      hosts: as `harness launch -H` takes them.
      slurm: partition that trials are submitted to.
      minutes: what all may take; chooses examples and repeats.
      overrides: of the job, as `--set` takes them.
      sweeps: what is tried.
      version: of these rules.
    """

    ranks: tuple[int, ...]
    repeat: int = 5
    warm_ups: int = 1
    weak: bool = False
    comm: str | None = None
    gpus_per_rank: int | None = None
    hosts: str | None = None
    slurm: str | None = None
    minutes: float | None = None
    overrides: tuple[str, ...] = ()
    sweeps: tuple[Sweep, ...] = ()
    version: int = RULES_VERSION

    def __post_init__(self) -> None:
        if not self.ranks or list(self.ranks) != sorted(set(self.ranks)) or self.ranks[0] < 1:
            raise UsageError(f"--ranks: expected sizes from 1 on, each once, ascending, found {list(self.ranks)}")
        if self.repeat < 1:
            raise UsageError(f"--repeat {self.repeat}: expected at least 1")
        if self.minutes is not None and not 0 < self.minutes < math.inf:
            raise UsageError(f"--minutes {self.minutes:g}: expected a number above 0")
        if self.hosts and self.slurm:
            raise UsageError("-H starts ranks on hosts, --slurm submits them: say one of them")
        if twice := sorted({sweep.key for sweep in self.sweeps if [s.key for s in self.sweeps].count(sweep.key) > 1}):
            raise UsageError(f"--sweep {twice[0]}: said twice; name all its values in one")
        rounds = math.prod(len(sweep.values) for sweep in self.sweeps) * (self.repeat + self.warm_ups)
        if (count := rounds * len(self.ranks)) > MOST_TRIALS:
            raise UsageError(
                f"these rules ask for {count:,} trials; expected at most {MOST_TRIALS:,}: fewer repeats, sizes or settings"
            )

    def to_json(self) -> dict[str, Any]:
        """Return the rules as JSON holds them."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Rules:
        """Return the rules of a document that `to_json` made.

        Raises: RunFolderError: it is none.

        >>> Rules.from_json(Rules((1, 2), sweeps=(Sweep("schedule", ("static",)),)).to_json()).ranks
        (1, 2)
        """
        try:
            values = {field.name: document[field.name] for field in fields(cls)}
            values |= {name: tuple(values[name]) for name in ("ranks", "overrides")}
            values["sweeps"] = tuple(Sweep(sweep["key"], tuple(sweep["values"])) for sweep in values["sweeps"])
            return cls(**values)
        except (KeyError, TypeError, UsageError) as exc:
            raise RunFolderError(f"the rules of a bench are not as this version writes them: {exc!r}") from exc


@dataclass(frozen=True)
class Trial:
    """One run of the job.

    Attributes:
      setting: what is set for it.
      number: of the setting among all.
      scaling: of which kind of scaling; the largest size is of both, and counted as strong.
      ranks: how many.
      repeat: 1 for the first that counts; 0 and below are warm-ups.
    """

    setting: Setting
    number: int
    scaling: Scaling
    ranks: int
    repeat: int

    @property
    def is_warm_up(self) -> bool:
        """Whether it does not count."""
        return self.repeat < 1

    @property
    def name(self) -> str:
        """Of its folder.

        >>> Trial((), 0, Scaling.STRONG, 4, 2).name, Trial((), 3, Scaling.WEAK, 4, 0).name
        ('s000-strong-0004-02', 's003-weak-0004-warm-0')
        """
        end = f"warm{self.repeat:+d}".replace("+", "-") if self.is_warm_up else f"{self.repeat:02d}"
        return f"s{self.number:03d}-{self.scaling}-{self.ranks:04d}-{end}"

    @property
    def size(self) -> tuple[int, Scaling, int]:
        """What trials have in common that are repeats of each other: number of the setting, scaling, ranks."""
        return self.number, self.scaling, self.ranks

    def overrides(self, examples: int | None, largest: int) -> list[str]:
        """Return what the trial sets in the job.

        Args:
          examples: of the whole bench; None where nothing limits the job.
          largest: number of ranks; in weak scaling each has as many examples as a rank of that.

        >>> Trial((("precision", "bfloat16"), ("threads", "2")), 1, Scaling.WEAK, 2, 1).overrides(1000, 4)
        ['model.precision=mixed_bfloat16', 'data.limit=500']
        """
        words = [
            f"model.precision={PRECISIONS[value]}" if key == "precision" else f"{key}={value}"
            for key, value in self.setting
            if key != LAUNCHED
        ]
        if examples is None:
            return words
        limit = examples if self.scaling is Scaling.STRONG else max(1, examples * self.ranks // largest)
        return [*words, f"data.limit={limit}"]

    @property
    def threads(self) -> int | None:
        """Of a rank, where that is swept."""
        return next((int(value) for key, value in self.setting if key == LAUNCHED), None)


def settings(sweeps: Sequence[Sweep]) -> list[Setting]:
    """Return every combination of what is swept; of nothing one that sets nothing.

    >>> settings([Sweep("a", ("1", "2")), Sweep("b", ("3",))])
    [(('a', '1'), ('b', '3')), (('a', '2'), ('b', '3'))]
    """
    return [
        tuple(zip((sweep.key for sweep in sweeps), values, strict=True))
        for values in itertools.product(*(sweep.values for sweep in sweeps))
    ]


def trials(rules: Rules) -> list[Trial]:
    """Return all trials, in the order in which they are run: warm-ups first, then sizes forth and back.

    >>> [(trial.ranks, trial.repeat) for trial in trials(Rules((1, 2, 4), repeat=2))]
    [(1, 0), (2, 0), (4, 0), (1, 1), (2, 1), (4, 1), (4, 2), (2, 2), (1, 2)]
    """
    sizes = list(_sizes(rules))
    turns = [replace(size, repeat=repeat) for repeat in range(1 - rules.warm_ups, 1) for size in sizes]
    for repeat in range(1, rules.repeat + 1):
        turns += [replace(size, repeat=repeat) for size in (sizes if repeat % 2 else reversed(sizes))]
    return turns


def _sizes(rules: Rules) -> Iterator[Trial]:
    for number, setting in enumerate(settings(rules.sweeps)):
        for ranks in rules.ranks:
            if rules.weak and ranks != rules.ranks[-1]:
                yield Trial(setting, number, Scaling.WEAK, ranks, 1)
            yield Trial(setting, number, Scaling.STRONG, ranks, 1)


def differing(first: Rules, second: Rules) -> list[str]:
    """Say what in the rules of two benches is not the same.

    >>> differing(Rules((1, 2)), Rules((1, 2), repeat=3))
    ['repeat: 5 and 3']
    >>> differing(Rules((1,), weak=True), Rules((1, 2), sweeps=(Sweep("schedule", ("static", "dynamic")),)))
    ['ranks: 1 and 1,2', 'weak: yes and no', 'sweeps: none and schedule=static,dynamic']
    """
    one, other = first.to_json(), second.to_json()
    return [f"{name}: {_words(one[name])} and {_words(other[name])}" for name in one if one[name] != other[name]]


def _words(value: Any) -> str:
    """Write the value of a rule as the command line has it."""
    if value is None or value == ():
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        sweeps = [f"{part['key']}={','.join(part['values'])}" for part in value if isinstance(part, dict)]
        return " ".join(sweeps) if sweeps else ",".join(map(str, value))
    return str(value)
