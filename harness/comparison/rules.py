"""The rules of a gate, as their file says them. Knows no run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field, ValidationError, model_validator

from harness.errors import UsageError, nearest
from harness.folder.regular_files import read_regular
from harness.job.specs import Spec
from harness.job.yaml_text import parse

__all__ = [
    "CertificateRule", "GapRule", "MetricRule", "NullsRule", "Rule", "Rules", "SliceRule", "SpeedRule", "distinctions",
    "read_rules", "rules_of",
]  # fmt: skip

BOUNDS = ("at_least", "at_most", "may_drop", "must_gain")


class Rule(Spec):
    """What all rules have."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Judged(Rule):
    """A rule on a number with an interval: one of the four bounds.

    `may_drop` and `must_gain` are against the baseline, and mean worse and better, whichever way the metric's better one is.
    """

    at_least: float | None = None
    at_most: float | None = None
    may_drop: float | None = Field(None, ge=0)
    must_gain: float | None = Field(None, ge=0)
    level: float | None = Field(None, gt=0.5, lt=1)
    interval: bool = True  # false: the value alone is judged
    if_null: Literal["error", "fail"] = "error"  # what a number without a value comes to

    @model_validator(mode="after")
    def _one_bound(self) -> Judged:
        given = [name for name in BOUNDS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"expected one of {', '.join(BOUNDS)}, found {' and '.join(given) or 'none'}")
        return self

    @property
    def bound(self) -> str:
        """Which of the bounds it has."""
        return next(name for name in BOUNDS if getattr(self, name) is not None)

    @property
    def against_baseline(self) -> bool:
        """Whether it asks for a baseline."""
        return self.bound in ("may_drop", "must_gain")

    def text(self, number: str) -> str:
        """Return the rule in words."""
        return f"{number} {self.bound.replace('_', ' ')} {getattr(self, self.bound):g}"


class MetricRule(Judged):
    """A rule on a number of the whole."""

    metric: str


class SliceRule(Judged):
    """A rule on a number of every slice by a feature, or by a cross of features."""

    metric: str
    by: str | tuple[str, ...]
    minimum: int = Field(30, ge=1)  # examples of a slice that is judged

    @property
    def features(self) -> tuple[str, ...]:
        """The features that slices are cut by."""
        return (self.by,) if isinstance(self.by, str) else self.by

    def text(self, number: str) -> str:
        """Return the rule in words."""
        return f"{super().text(number)} in slices by {' x '.join(self.features)}"


class GapRule(Rule):
    """A rule on how far the values of a metric in slices lie apart."""

    metric: str
    by: str | tuple[str, ...]
    at_most: float = Field(ge=0)
    minimum: int = Field(30, ge=1)
    level: float | None = Field(None, gt=0.5, lt=1)

    @property
    def features(self) -> tuple[str, ...]:
        """The features that slices are cut by."""
        return (self.by,) if isinstance(self.by, str) else self.by

    def text(self, number: str) -> str:
        """Return the rule in words."""
        return f"gap of {number} between slices by {' x '.join(self.features)} at most {self.at_most:g}"


class NullsRule(Rule):
    """How many metrics of the whole may be null."""

    at_most: int = Field(ge=0)


class CertificateRule(Rule):
    """What the certificate has to say."""

    examples: int | None = Field(None, ge=0)
    id_hash: str | None = None
    skipped_at_most: int | None = Field(None, ge=0)

    @model_validator(mode="after")
    def _says_something(self) -> CertificateRule:
        if self.examples is None and self.id_hash is None and self.skipped_at_most is None:
            raise ValueError("expected examples, id_hash or skipped_at_most, found none")
        return self


class SpeedRule(Rule):
    """How fast the last attempt evaluated, by run.json: apart from everything that is the same on every machine."""

    at_least: float = Field(gt=0)


class Rules(Spec):
    """A file of rules.

    Attributes:
      level: confidence with which each rule is judged, of all rules together.
      correct: "bonferroni" holds the level for all rules together, "none" for each alone.
      rules: at least one.
    """

    level: float = Field(0.95, gt=0.5, lt=1)
    correct: Literal["bonferroni", "none"] = "bonferroni"
    rules: tuple[MetricRule | SliceRule | GapRule | NullsRule | CertificateRule | SpeedRule, ...] = Field(min_length=1)

    @property
    def needs_baseline(self) -> bool:
        """Whether a rule is against a baseline."""
        return any(isinstance(rule, Judged) and rule.against_baseline for rule in self.rules)


APART: Mapping[str, type[Rule]] = {
    "gap": GapRule, "nulls": NullsRule, "certificate": CertificateRule, "examples_per_s": SpeedRule,
}  # fmt: skip


def read_rules(path: Path) -> Rules:
    """Read a file of rules.

    Raises: UsageError: it cannot be read, or holds no rules; names the rule and the key.
    """
    try:
        document = parse(read_regular(path).decode(), str(path))
    except (OSError, UnicodeDecodeError) as exc:
        raise UsageError(f"{path}: cannot be read: {exc}") from exc
    return rules_of(document, str(path))


def rules_of(document: Any, where: str) -> Rules:
    """Return the rules of a document: a mapping with `rules`, or a list of them.

    >>> rules_of([{"accuracy": {"at_least": 0.9}}], "here").rules[0].text("accuracy")
    'accuracy at least 0.9'

    Raises: UsageError: see `read_rules`.
    """
    whole = {"rules": document} if isinstance(document, list) else document
    if not isinstance(whole, Mapping) or not isinstance(whole.get("rules"), list):
        raise UsageError(f"{where}: expected `rules:` with a list of rules, as in `- accuracy: {{at_least: 0.9}}`")
    if unknown := [key for key in whole if key not in Rules.model_fields]:
        raise UsageError(f"{where}: unknown key {unknown[0]}: {nearest(str(unknown[0]), Rules.model_fields)}")
    if not whole["rules"]:
        raise UsageError(f"{where}: no rules: a gate without rules would pass everything")
    rules = [_rule(entry, f"{where}: rule {number}") for number, entry in enumerate(whole["rules"], start=1)]
    try:
        return Rules.model_validate({**whole, "rules": rules})
    except ValidationError as exc:
        raise UsageError(f"{where}: {_first(exc)}") from exc


def distinctions(rules: Sequence[Rule], texts: Sequence[str]) -> list[str]:
    """Return what tells each rule from those of the same text: the options that differ, else its place; nothing of others.

    >>> rules = rules_of([{"accuracy": {"at_least": 0.9}}, {"accuracy": {"at_least": 0.9, "level": 0.99}}], "here").rules
    >>> distinctions(rules, ["accuracy at least 0.9"] * 2)
    ['', 'level 0.99']
    """
    places: dict[str, list[int]] = {}
    for place, text in enumerate(texts):
        places.setdefault(text, []).append(place)
    words = [""] * len(rules)
    for alike in places.values():
        options = {place: rules[place].model_dump(mode="json", exclude_none=True) for place in alike}
        keys = type(rules[alike[0]]).model_fields
        differing = [key for key in keys if len({str(own.get(key)) for own in options.values()}) > 1]
        for place, own in options.items():
            words[place] = ", ".join(f"{key} {str(own[key]).lower()}" for key in differing if key in own)
    count = Counter(zip(texts, words, strict=True))
    return [
        ", ".join(filter(None, [own, f"rule {place}"])) if count[text, own] > 1 else own
        for place, (text, own) in enumerate(zip(texts, words, strict=True), start=1)
    ]


def _rule(entry: Any, where: str) -> Rule:
    """Return one rule: {METRIC: {...}}, or one of those that have names of their own."""
    if not isinstance(entry, Mapping) or len(entry) != 1:
        raise UsageError(f"{where}: expected one metric with its bound, as in `accuracy: {{at_least: 0.9}}`, found {entry!r}")
    (name, options), *_ = entry.items()
    if not isinstance(options, Mapping):
        raise UsageError(f"{where} ({name}): expected a bound, as in {{at_least: 0.9}}, found {options!r}")
    kind = APART.get(str(name), SliceRule if "by" in options else MetricRule)
    keys = {**options} if str(name) in APART else {"metric": str(name), **options}
    if unknown := [key for key in keys if key not in kind.model_fields]:
        raise UsageError(f"{where} ({name}): unknown key {unknown[0]}: {nearest(str(unknown[0]), kind.model_fields)}")
    if truth := next((key for key, value in options.items() if isinstance(value, bool) and key != "interval"), None):
        raise UsageError(f"{where} ({name}): {truth}: expected a number, found {str(options[truth]).lower()}")
    try:
        return kind.model_validate(keys)
    except ValidationError as exc:
        raise UsageError(f"{where} ({name}): {_first(exc)}") from exc


def _first(exc: ValidationError) -> str:
    error = exc.errors()[0]
    place = ".".join(str(part) for part in error["loc"])
    return f"{place + ': ' if place else ''}{error['msg'].removeprefix('Value error, ')}"
