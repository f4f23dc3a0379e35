"""A baseline and another side, number by number: differences, and p-values that hold for all of them together. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from harness.comparison.difference import Difference, paired, unpaired
from harness.comparison.exact_counts import counted_difference, is_of_both
from harness.comparison.families import benjamini_hochberg, holm
from harness.comparison.pairing import hindrances, notes
from harness.comparison.sides import WHOLE, Number, Side, SliceName
from harness.errors import UsageError, nearest
from harness.metrics.direction import Better
from harness.results.metric_names import key_of
from harness.results.tables import slice_name

__all__ = ["NO_BOOTSTRAP", "Comparison", "LeftOut", "Line", "chosen", "compare", "level_of", "other_definition"]

NO_BOOTSTRAP = "the jobs have no bootstrap: say bootstrap: {replicates: 200} in both"
Verdict = Literal["better", "worse", "differs", "no difference shown"]


@dataclass(frozen=True)
class Line:
    """One number on both sides.

    Attributes:
      slice, number: which; `label` is what the number is called.
      first, second: of the baseline and of the other side.
      difference: second less first.
      p_holm, p_bh: adjusted for all lines of the comparison; None where there is no p-value.
      verdict: what the adjusted p-value of Holm says at the comparison's level.
    """

    slice: SliceName
    number: str
    label: str
    first: Number
    second: Number
    difference: Difference
    better: Better
    p_holm: float | None = None
    p_bh: float | None = None
    verdict: Verdict = "no difference shown"

    @property
    def gain(self) -> float:
        """How much better the second side is; of a number that has no better way, minus how far apart both are."""
        if self.better is Better.NEITHER:
            return -abs(self.difference.value)
        return self.difference.value if self.better is Better.HIGHER else -self.difference.value


@dataclass(frozen=True)
class LeftOut:
    """What could not be compared: a metric, a slice, or a number of a slice.

    Attributes:
      what: by its key.
      label: what it is called.
      reason: why.
    """

    what: str
    label: str
    reason: str


@dataclass(frozen=True)
class Comparison:
    """What one side has more than the baseline.

    Attributes:
      first, second: the baseline and the other side.
      level: of intervals and verdicts.
      is_paired: whether differences are within replicates.
      lines: the whole first, then slice by slice.
      left_out: what could not be compared.
      notes: what should be known.
    """

    first: Side
    second: Side
    level: float
    is_paired: bool
    lines: Sequence[Line] = field(repr=False)
    left_out: Sequence[LeftOut] = field(repr=False)
    notes: Sequence[str]

    @property
    def family(self) -> int:
        """How many p-values are held together."""
        return sum(line.p_holm is not None for line in self.lines)

    @property
    def wanted_replicates(self) -> int | None:
        """How many replicates the smallest p-value that they could give needs; None where there are enough.

        R replicates give no p-value below 2 / (R + 1), and Holm's first step asks for one of (1 - level) / family.
        """
        counted = [line for line in self.lines if line.difference.method == "replicates"]
        spec = self.first.question.bootstrap
        if not counted or spec is None:
            return None
        wanted = int(2 * self.family / (1 - self.level))
        return wanted if spec.replicates < wanted else None


def compare(
    first: Side, second: Side, *, metrics: Collection[str] = (), level: float | None = None, pair: bool = True
) -> Comparison:
    """Compare a side with a baseline.

    Args:
      first, second: the baseline, and what is compared with it.
      metrics: keys or labels of those that are compared, or short for them; all where none is named.
      level: of the intervals and verdicts; default: the job's bootstrap's, or 0.95.
      pair: whether differences are taken within replicates.
    Raises: UsageError: the sides cannot be paired, or a metric is not there.
    """
    if pair and (reasons := hindrances(first, second)):
        raise UsageError(
            f"{first.name} and {second.name} cannot be compared example by example: {'; '.join(reasons)}. Evaluate both alike, "
            "or compare them as if their examples had nothing to do with each other, with wider intervals: --unpaired"
        )
    level = level_of(first, level)
    wanted = [key for key in chosen(first, second, metrics) if not is_of_both(first, second, key)]
    labels = {**second.labels, **first.labels}
    left_out = [LeftOut(key, labels.get(key, key), why) for key in wanted if (why := other_definition(first, second, key))]
    refused = {entry.what for entry in left_out}
    lines: list[Line] = []
    for where in dict.fromkeys([*first.numbers, *second.numbers]):
        if where not in first.numbers or where not in second.numbers:
            missing = (second if where in first.numbers else first).name
            left_out.append(LeftOut(slice_name(dict(where)), slice_name(dict(where)), f"{missing} has no such slice"))
            continue
        here, there = first.numbers[where], second.numbers[where]
        for name in dict.fromkeys([*here, *there]):
            key = first.metric_of(name)
            if key not in wanted or key in refused:
                continue
            line = _line(first, second, where, name, level, pair)
            if isinstance(line, Line):
                lines.append(line)
            else:
                within = f" of {slice_name(dict(where))}" if where else ""
                left_out.append(LeftOut(f"{name}{within}", f"{_label(first, second, name)}{within}", line))
    return Comparison(first, second, level, pair, _judged(lines, level), left_out, notes(first, second))


def level_of(side: Side, wanted: float | None) -> float:
    """Return the level of intervals and verdicts: what is wanted, else the bootstrap's, else 0.95.

    Raises: UsageError: it is none.
    """
    spec = side.question.bootstrap
    level = wanted if wanted is not None else spec.level if spec else 0.95
    if not 0.5 <= level < 1:
        raise UsageError(f"level: expected at least 0.5 and below 1, found {level:g}")
    return level


def chosen(first: Side, second: Side, metrics: Collection[str]) -> list[str]:
    """Return the keys of the metrics that are compared; see `compare`."""
    if not metrics:
        return list(dict.fromkeys([*first.metrics, *second.metrics]))
    return [_chosen(first, second, name) for name in metrics]


def _chosen(first: Side, second: Side, name: str) -> str:
    for side in (first, second):
        if (key := key_of(name, side.labels)) is not None:
            return key
    known = dict.fromkeys(text for side in (first, second) for pair in side.labels.items() for text in pair)
    raise UsageError(f"--metrics {name}: neither side has it: {nearest(name, known)}")


def _label(first: Side, second: Side, number: str) -> str:
    """Return what a number is called; its key where one class of several has no name of its own."""
    return first.number_labels.get(number) or second.number_labels.get(number, number)


def other_definition(first: Side, second: Side, key: str) -> str | None:
    """Say why a metric of one side is not that of the other."""
    for side in (first, second):
        if key not in side.definitions:
            return f"{side.name} does not have it"
    mine, theirs = first.definitions[key], second.definitions[key]
    other = [name for name in dict.fromkeys([*mine, *theirs]) if mine.get(name) != theirs.get(name)]
    if other:
        return "; ".join(f"{name} is {mine.get(name)} and {theirs.get(name)}" for name in other)
    return None


def _line(first: Side, second: Side, where: SliceName, name: str, level: float, pair: bool) -> Line | str:
    """Return the line of a number, or why there is none."""
    sides = []
    for side in (first, second):
        number = side.numbers[where].get(name)
        if number is None or number.value is None:
            why = "is not there" if number is None else f"is null: {number.reason}"
            return f"of {side.name} it {why}"
        sides.append(number)
    mine, theirs = sides
    if pair and where != WHOLE and mine.examples != theirs.examples:
        return (
            f"it has {mine.examples:,} examples in {first.name} and {theirs.examples:,} in {second.name}: they are not the same"
        )
    by_example = counted_difference(first, second, where, name, level) if pair else None
    if by_example is not None:
        difference = by_example
    elif pair and first.question.bootstrap is not None:
        counted = first.counts(name) and second.counts(name)
        difference = paired(mine, theirs, level, counted=counted)
    elif pair:
        difference = Difference(theirs.above(mine), reason=NO_BOOTSTRAP)
    else:
        difference = unpaired(mine, theirs, level)
    return Line(where, name, _label(first, second, name), mine, theirs, difference, first.better(name))


def _judged(lines: Sequence[Line], level: float) -> list[Line]:
    """Adjust the p-values of all lines together, and say what they show."""
    tested = [line for line in lines if line.difference.p is not None]
    p_values = [line.difference.p for line in tested if line.difference.p is not None]
    adjusted = iter(zip(holm(p_values), benjamini_hochberg(p_values), strict=True))
    judged = []
    for line in lines:
        if line.difference.p is None:
            judged.append(line)
            continue
        by_holm, by_bh = next(adjusted)
        verdict: Verdict = "no difference shown"
        if by_holm <= 1 - level + 1e-12:
            verdict = "differs" if line.better is Better.NEITHER else "better" if line.gain > 0 else "worse"
        judged.append(replace(line, p_holm=by_holm, p_bh=by_bh, verdict=verdict))
    return judged
