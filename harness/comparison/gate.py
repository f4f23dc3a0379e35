"""Whether a run passes its rules: with confidence, or not known. Pure.

A rule passes where the whole interval of its number lies on the good side of the bound, fails where all of it lies on the
other, and is inconclusive where the interval holds the bound. Both ends are one-sided, each at the rule's level.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from harness.comparison.bounds import ALIKE, Bounds, bounds_of, bounds_of_difference, bounds_of_gap
from harness.comparison.comparison import other_definition
from harness.comparison.difference import FEW_DIFFER
from harness.comparison.judgements import Gated, Judgement, Verdict, worst
from harness.comparison.pairing import hindrances, notes
from harness.comparison.rules import (
    CertificateRule,
    GapRule,
    MetricRule,
    NullsRule,
    Rule,
    Rules,
    SliceRule,
    SpeedRule,
    distinctions,
)
from harness.comparison.sides import WHOLE, Number, Side, SliceName
from harness.errors import UsageError, nearest
from harness.metrics.direction import Better
from harness.results.tables import slice_name

__all__ = ["gate"]

SHOWN = 5  # slices that a note names


def gate(run: Side, rules: Rules, baseline: Side | None = None) -> Gated:
    """Judge a run.

    Args:
      run, baseline: see `sides.read_sides`; without a baseline no rule may ask for one.
      rules: at least one.
    Raises: UsageError: a rule is on what is not there, or is null, or cannot be judged; names it.
    """
    if rules.needs_baseline:
        if baseline is None:
            wanting = (rule.metric for rule in rules.rules if isinstance(rule, MetricRule | SliceRule) and rule.against_baseline)
            raise UsageError(
                f"the rule on {next(wanting)} is against a baseline: name it with --baseline, in Python with baseline="
            )
        if reasons := hindrances(baseline, run):
            raise UsageError(f"{run.name} cannot be held against {baseline.name}: {'; '.join(reasons)}. Evaluate both alike")
    court = _Court(run, baseline, rules)
    judged = [court.judge(rule) for rule in rules.rules]
    words = distinctions(rules.rules, [found[0].rule for found in judged])
    judged = [[each.with_distinction(own) for each in found] for found, own in zip(judged, words, strict=True)]
    slices = {place: judged[place] for place, rule in enumerate(rules.rules) if isinstance(rule, SliceRule)}
    known = [*(notes(baseline, run) if baseline is not None else ()), *court.small_slices()]
    return Gated([worst(found) for found in judged], slices, known)


class _NullNumber(UsageError):
    """A rule is on a number without a value."""


class _Court:
    """Judges the rules of one file."""

    def __init__(self, run: Side, baseline: Side | None, rules: Rules) -> None:
        self._run, self._baseline, self._rules = run, baseline, rules
        self._small: dict[int, dict[SliceName, None]] = {}  # slices that are not judged, by the minimum of a rule
        self._family = sum(self._members(rule) for rule in rules.rules) if rules.correct == "bonferroni" else 1

    def judge(self, rule: Rule) -> list[Judgement]:
        """Return what a rule comes to: of a rule on slices for each of them."""
        if isinstance(rule, SliceRule):
            return [self._judged(rule, where) for where in self._slices(rule, rule.metric)]
        if isinstance(rule, MetricRule):
            return [self._judged(rule, WHOLE)]
        if isinstance(rule, GapRule):
            return [self._gap(rule)]
        if isinstance(rule, NullsRule):
            numbers = self._run.numbers[WHOLE].items()
            null = [self._run.number_labels.get(name, name) for name, number in sorted(numbers) if number.value is None]
            verdict = Verdict.PASS if len(null) <= rule.at_most else Verdict.FAIL
            return [Judgement(f"nulls at most {rule.at_most}", verdict, len(null), rule.at_most, reason=", ".join(null))]
        if isinstance(rule, CertificateRule):
            return [self._certificate(rule)]
        assert isinstance(rule, SpeedRule)
        if (speed := self._run.examples_per_s) is None:
            raise UsageError("the rule on examples_per_s: run.json says nothing of the speed")
        verdict = Verdict.PASS if speed >= rule.at_least else Verdict.FAIL
        return [Judgement(f"examples_per_s at least {rule.at_least:g}", verdict, speed, rule.at_least)]

    def small_slices(self) -> list[str]:
        """Say which slices have too few examples for the rules that were judged."""
        return [_not_judged([slice_name(dict(where)) for where in small], least) for least, small in self._small.items() if small]

    def _members(self, rule: Rule) -> int:
        """Return how many intervals a rule asks for."""
        if isinstance(rule, SliceRule):
            return len(self._slices(rule, rule.metric))
        return int(isinstance(rule, MetricRule | GapRule))

    def _tail(self, level: float | None) -> float:
        return (1 - (level if level is not None else self._rules.level)) / self._family

    def _judged(self, rule: MetricRule | SliceRule, where: SliceName) -> Judgement:
        """Return what a rule on a number comes to; one on a number without a value where it says what that comes to.

        Raises: UsageError: see `gate`.
        """
        try:
            return self._held(rule, where)
        except _NullNumber as exc:
            if rule.if_null == "error":
                raise UsageError(f"{exc}; if_null: fail makes the rule fail instead") from exc
            reason = str(exc).removeprefix(self._on(rule.metric, where))
            text, place = rule.text(rule.metric), slice_name(dict(where))
            bound, examples = getattr(rule, rule.bound), self._run.numbers[where][self._run.number_of(rule.metric)].examples
            return self._named(rule, Judgement(text, Verdict.FAIL, None, bound, where=place, reason=reason, examples=examples))

    def _held(self, rule: MetricRule | SliceRule, where: SliceName) -> Judgement:
        name, run, baseline = self._run.number_of(rule.metric), self._run, self._baseline
        number = self._number(run, where, rule.metric)
        tail, counted = self._tail(rule.level), run.counts(name)
        bound, is_floor = getattr(rule, rule.bound), True
        if rule.against_baseline:
            assert baseline is not None
            way = run.better(name)
            if way is Better.NEITHER:
                raise UsageError(f"the rule on {name}: no way of it is known to be better; use at_least or at_most")
            if why := other_definition(baseline, run, run.metric_of(name)):
                raise UsageError(f"the rule on {rule.metric}: {run.name} and {baseline.name} do not ask the same: {why}")
            before = self._number(baseline, where, rule.metric)
            if where != WHOLE and before.examples != number.examples:
                raise UsageError(
                    f"the rule on {rule.metric}: {slice_name(dict(where))} has {before.examples:,} examples in "
                    f"{baseline.name} and {number.examples:,} in {run.name}: they are not the same"
                )
            found = bounds_of_difference(before, number, tail, counted=counted and baseline.counts(name))
            sign = 1 if way is Better.HIGHER else -1
            bound = sign * (bound if rule.bound == "must_gain" else -bound)
            is_floor = way is Better.HIGHER
        else:
            found = bounds_of(number, tail, counted=counted)
            is_floor = rule.bound == "at_least"
        text, examples = rule.text(rule.metric), number.examples
        return self._named(rule, _held(text, found, bound, is_floor, examples, slice_name(dict(where)), point=not rule.interval))

    def _gap(self, rule: GapRule) -> Judgement:
        wheres = self._slices(rule, rule.metric)
        if len(wheres) < 2:
            raise UsageError(f"the rule on the gap of {rule.metric}: there is one slice by {' x '.join(rule.features)}")
        numbers = [self._number(self._run, where, rule.metric) for where in wheres]
        found = bounds_of_gap(numbers, self._tail(rule.level), counted=self._run.counts(self._run.number_of(rule.metric)))
        ends = sorted(zip(wheres, numbers, strict=True), key=lambda pair: pair[1].value or 0.0)
        between = f"{slice_name(dict(ends[0][0]))} and {slice_name(dict(ends[-1][0]))}"
        text, examples = rule.text(rule.metric), sum(number.examples for number in numbers)
        return self._named(rule, _held(text, found, rule.at_most, False, examples, between))

    def _named(self, rule: MetricRule | SliceRule | GapRule, judgement: Judgement) -> Judgement:
        """Return a judgement with key and label of its number."""
        metric = self._run.number_of(rule.metric)
        label = self._run.number_labels.get(metric, metric)
        return replace(judgement, metric=metric, label=label, title=rule.text(label))

    def _certificate(self, rule: CertificateRule) -> Judgement:
        certificate = self._run.document["certificate"]
        wanted: list[tuple[str, Any, Any, Callable[[Any, Any], bool]]] = [
            ("examples", certificate["examples"], rule.examples, lambda have, want: have == want),
            ("id_hash", certificate["id_hash"], rule.id_hash, lambda have, want: have == want),
            ("skipped", certificate.get("skipped", 0), rule.skipped_at_most, lambda have, want: have <= want),
        ]
        wrong = [
            f"{name} is {have}, expected {want}"
            for name, have, want, holds in wanted
            if want is not None and not holds(have, want)
        ]
        verdict = Verdict.FAIL if wrong else Verdict.PASS
        return Judgement("certificate", verdict, certificate["examples"], rule.examples, reason="; ".join(wrong))

    def _slices(self, rule: SliceRule | GapRule, name: str) -> list[SliceName]:
        """Return the slices by some features that have enough examples and the metric.

        Raises: UsageError: there are none.
        """
        wanted = set(rule.features)
        by = [where for where in self._run.numbers if where != WHOLE and {feature for feature, _ in where} == wanted]
        if not by:
            if self._run.numbers.keys() <= {WHOLE}:
                raise UsageError(
                    f"the rule on {name}: {self._run.name} has no slices: add `slices:` to its job, and evaluate it again"
                )
            known = sorted({" x ".join(feature for feature, _ in where) for where in self._run.numbers if where != WHOLE})
            raise UsageError(f"the rule on {name}: no slices by {' x '.join(rule.features)}: {nearest('', known)}")
        found = {where: self._run.numbers[where].get(self._run.number_of(name)) for where in by}
        small = dict.fromkeys(where for where, number in found.items() if number is not None and number.examples < rule.minimum)
        if len(small) == len(found):
            raise UsageError(f"the rule on {name}: no slice by {' x '.join(rule.features)} has {rule.minimum:,} examples")
        self._small.setdefault(rule.minimum, {}).update(small)
        return [where for where in found if where not in small]

    def _number(self, side: Side, where: SliceName, name: str) -> Number:
        """Return a number that has a value.

        Raises: UsageError: it is not there. _NullNumber: it is null.
        """
        within = f" of {slice_name(dict(where))}" if where != WHOLE else ""
        if where not in side.numbers:
            raise UsageError(f"the rule on {name}: {side.name} has no slice {slice_name(dict(where))}")
        number = side.numbers[where].get(side.number_of(name))
        if number is None:
            known = {text for key in side.numbers[where] for text in (key, side.number_labels.get(key, key))}
            raise UsageError(f"the rule on {name}: {side.name} has no such number{within}: {nearest(name, known)}")
        if number.value is None:
            raise _NullNumber(f"{self._on(name, where)}it is null in {side.name}: {number.reason}")
        return number

    @staticmethod
    def _on(name: str, where: SliceName) -> str:
        """Begin a sentence about a rule.

        >>> _Court._on("accuracy", WHOLE)
        'the rule on accuracy: '
        """
        return f"the rule on {name}{f' of {slice_name(dict(where))}' if where != WHOLE else ''}: "


def _held(text: str, found: Bounds, bound: float, is_floor: bool, examples: int, where: str, *, point: bool = False) -> Judgement:
    """Hold a number and its bounds against a bound.

    Raises: UsageError: there are no bounds of it.
    """
    if point:
        good = found.value >= bound if is_floor else found.value <= bound
        verdict = Verdict.PASS if good else Verdict.FAIL
        return Judgement(text, verdict, found.value, bound, None, None, where, "by the value alone", examples, None, is_floor)
    if found.reason in (ALIKE, FEW_DIFFER):
        return Judgement(
            text, Verdict.INCONCLUSIVE, found.value, bound, None, None, where, found.reason, examples, None, is_floor
        )
    if found.low is None or found.high is None:
        of = f" ({where})" if where else ""
        raise UsageError(f"the rule {text}{of}: it has no interval: {found.reason}; interval: false judges the value alone")
    above, below = found.low >= bound, found.high <= bound
    holds, breaks = (above, found.high < bound) if is_floor else (below, found.low > bound)
    verdict = Verdict.PASS if holds else Verdict.FAIL if breaks else Verdict.INCONCLUSIVE
    wanted = _wanted(found, bound, examples) if verdict is Verdict.INCONCLUSIVE else None
    return Judgement(text, verdict, found.value, bound, found.low, found.high, where, "", examples, wanted, is_floor)


def _not_judged(names: Sequence[str], minimum: int) -> str:
    """Say which slices have fewer examples than a minimum.

    >>> _not_judged(["g=a"], 30)
    '1 slice of fewer than 30 examples is not judged: g=a'
    """
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    count, verb = ("1 slice", "is") if len(names) == 1 else (f"{len(names):,} slices", "are")
    return f"{count} of fewer than {minimum:,} examples {verb} not judged: {', '.join(names[:SHOWN])}{more}"


def _wanted(found: Bounds, bound: float, examples: int) -> int | None:
    """Return about how many examples would bring the bound out of the interval, the value staying as it is; None for no number.

    An interval is as wide as one over the root of the examples.
    """
    assert found.low is not None and found.high is not None
    reach = found.high - found.value if bound > found.value else found.value - found.low
    distance = abs(bound - found.value)
    if distance == 0 or not math.isfinite(reach / distance):
        return None
    return math.ceil(examples * (reach / distance) ** 2)
