"""What a bench comes to: whether it is valid, its figures by size, what binds, what a sweep is best at. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from harness.bench.binding import Binding, Bound, bound_of, starting
from harness.bench.binding_sentence import sentence
from harness.bench.facts import Facts
from harness.bench.figures import Size, sizes
from harness.bench.rules import Rules, Scaling, trials
from harness.bench.scaling import Scaled, Serial, scaled, serial

__all__ = ["Answer", "State", "Swept", "answer"]

NOT_RUN = "not run"  # how the reason of a trial begins that was left out
SHOWN = 5  # names of a list


class State(StrEnum):
    """Whether a bench can be believed."""

    VALID = "VALID"
    INVALID = "INVALID"  # trials gave other bytes
    INCOMPLETE = "INCOMPLETE"  # a size failed, or was not run


@dataclass(frozen=True)
class Swept:
    """One setting of a sweep.

    Attributes:
      number, setting: see `Trial`.
      rates: examples a second at the sizes, by ranks.
      same_bits: whether values, slices and intervals are those of the first setting; None where one of them has no result.
      differences: of the values that are not, from the first setting's, by metric.
      is_best: whether it has the most examples a second at the largest size.
    """

    number: int
    setting: Mapping[str, str]
    rates: Mapping[int, float | None]
    same_bits: bool | None
    differences: Mapping[str, float]
    is_best: bool = False


@dataclass(frozen=True)
class Answer:
    """What a bench comes to.

    Attributes:
      name: of the job.
      rules: how it was done.
      examples: that the job was limited to; None where it was not.
      facts: of all trials, in the order in which they were run.
      machine: where it was done.
      command: that does it again.
      state, problems: whether it can be believed, and why not.
      sizes: of all settings.
      swept: the settings, where some were swept.
    """

    name: str
    rules: Rules
    examples: int | None
    facts: Sequence[Facts]
    machine: Mapping[str, Any]
    command: Sequence[str]
    state: State
    problems: Sequence[str]
    sizes: Sequence[Size]
    swept: Sequence[Swept]

    def of(self, number: int = 0) -> list[Size]:
        """Return the sizes of a setting."""
        return [size for size in self.sizes if size.number == number]

    def strong(self, number: int = 0) -> list[Size]:
        """Return its sizes that have all examples and a result, by ranks."""
        return [size for size in self.of(number) if size.scaling == Scaling.STRONG and size.trials]

    @property
    def shown(self) -> int:
        """The setting whose sizes are shown: the best of a sweep."""
        return next((swept.number for swept in self.swept if swept.is_best), 0)

    def bindings(self, number: int) -> list[Binding]:
        """Return what binds at the sizes of a setting."""
        return [bound_of(size) for size in self.strong(number)]

    def scaled(self, number: int, scaling: Scaling) -> list[Scaled]:
        """Compare the sizes of a setting with the smallest."""
        return scaled(self.of(number), scaling)

    def serial(self, number: int) -> Serial | None:
        """Return the share that more ranks do not shorten."""
        return serial(self.of(number))

    def sentences(self) -> Iterator[str]:
        """Say what binds, and where starting takes most of the time."""
        number = self.shown
        if bindings := self.bindings(number):
            yield sentence(bindings)
            if any(binding.bound is Bound.CORES for binding in bindings):
                yield "More cores for each rank, or fewer ranks on a machine, would be the next thing to try."
        begun = [(size.ranks, share) for size in self.strong(number) if (share := starting(size)) is not None]
        if begun:
            ranks, share = begun[-1]
            words = f"{ranks:,} rank{'s' if ranks > 1 else ''}"
            yield f"Starting and ending take {share:.0%} of the time to solution at {words}: more examples say more of the work."


def answer(
    name: str, rules: Rules, examples: int | None, facts: Sequence[Facts], machine: Mapping[str, Any], command: Sequence[str]
) -> Answer:
    """Put together what a bench comes to."""
    held = sizes(facts, queued=rules.slurm is not None)
    invalid, missing = list(_other_bytes(facts)), [*_failed(facts), *_missing(rules, facts)]
    state = State.INVALID if invalid else State.INCOMPLETE if missing else State.VALID
    return Answer(name, rules, examples, facts, machine, command, state, [*invalid, *missing], held, _swept(rules, held, facts))


def _other_bytes(facts: Sequence[Facts]) -> Iterator[str]:
    """Name the trials that gave other bytes than most of the same setting and the same examples."""
    groups: dict[tuple[Any, ...], list[Facts]] = {}
    for fact in facts:
        if fact.is_done:
            groups.setdefault((tuple(fact.setting.items()), fact.examples), []).append(fact)
    for group in groups.values():
        by_digest: dict[str, list[str]] = {}
        for fact in group:
            by_digest.setdefault(fact.digest, []).append(fact.name)
        if len(by_digest) > 1:
            most, *others = sorted(by_digest.values(), key=lambda names: -len(names))
            named = ", ".join(name for names in others for name in names)
            changed = [kind for kind in ("job", "data", "model") if len({fact.digests.get(kind) for fact in group}) > 1]
            why = "a result must not depend on ranks or repeats"
            if changed:
                why = f"the {' and the '.join(changed)} changed meanwhile"
            yield f"metrics.json of {named} is not the bytes of {most[0]}: {why}"


def _failed(facts: Sequence[Facts]) -> Iterator[str]:
    """Name the trials that failed; those that were left out because another of their size failed are not named."""
    failed = [fact for fact in facts if not fact.is_done and not fact.reason.startswith(NOT_RUN)]
    for fact in failed:
        yield f"{fact.name} failed: {fact.reason}"
    named = {_size(fact) for fact in failed}
    if left_out := [fact.name for fact in facts if not fact.is_done and _size(fact) not in named]:
        yield f"{_listed(left_out)} not run: go on with --resume"


def _size(fact: Facts) -> tuple[Any, ...]:
    return tuple(fact.setting.items()), str(fact.scaling), fact.ranks


def _missing(rules: Rules, facts: Sequence[Facts]) -> Iterator[str]:
    """Name the trials that the rules ask for and that are not there, and those that they do not ask for, or twice."""
    asked = {(trial.setting, str(trial.scaling), trial.ranks, trial.repeat): trial.name for trial in trials(rules)}
    kept = [(*_size(fact), fact.repeat) for fact in facts]
    if lacking := [name for trial, name in asked.items() if trial not in kept]:
        yield f"{len(kept)} trials, the rules ask for {len(asked)}: {_listed(lacking)} missing; go on with --resume"
    strange = [fact.name for place, fact in enumerate(facts) if kept[place] not in asked or kept[place] in kept[:place]]
    if strange:
        yield f"{_listed(strange)} not of the rules: they ask for {len(asked)} trials, each once"


def _listed(names: Sequence[str]) -> str:
    """List a few names, with the verb.

    >>> _listed(["a"]), _listed(list("abcdefg"))
    ('a is', 'a, b, c, d, e and 2 more are')
    """
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more} {'is' if len(names) == 1 else 'are'}"


def _swept(rules: Rules, held: Sequence[Size], facts: Sequence[Facts]) -> list[Swept]:
    if not rules.sweeps:
        return []
    rates = {
        number: {size.ranks: size.median("rate") for size in held if size.number == number and size.scaling == Scaling.STRONG}
        for number in {size.number for size in held}
    }
    result: dict[tuple[tuple[str, str], ...], Facts] = {}
    for fact in facts:
        if fact.is_done and fact.scaling == Scaling.STRONG:
            result.setdefault(tuple(fact.setting.items()), fact)
    named = {size.number: size.setting for size in held}
    first = result.get(tuple(named[0].items())) if 0 in named else None
    largest = max(rules.ranks)
    known = {number: rate for number, by_ranks in rates.items() if (rate := by_ranks.get(largest)) is not None}
    best = max(known, key=lambda number: known[number], default=None)
    swept = []
    for number, setting in sorted(named.items()):
        own = result.get(tuple(setting.items()))
        same = None if own is None or first is None else own.bits == first.bits
        differences = _differences(first, own) if same is False and own is not None and first is not None else {}
        swept.append(Swept(number, setting, rates[number], same, differences, number == best))
    return swept


def _differences(first: Facts, own: Facts) -> dict[str, float]:
    return {key: own.values[key] - value for key, value in first.values.items() if key in own.values and own.values[key] != value}
