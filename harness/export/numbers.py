"""The numbers of a run, of the whole and of its slices, each with its interval and the name that trackers know it by. Pure.

Names are those of `metric_names.py`, with more before and after them that no such name has: a colon and a space.
`slice/city: Oslo/precision/cat` is the precision of class `cat` in the slice `city=Oslo`, `accuracy: low` the low end of an
interval. A colon of a user's name is written `:3a`, so every name can be read back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from harness.results.metric_names import exported_names, exporter_name, labels

__all__ = ["Measured", "measured", "names_of_whole", "short_name", "slice_path", "utf8"]

DIGEST_DIGITS = 16


@dataclass(frozen=True)
class Measured:
    """One number, as a run reports it.

    Attributes:
      key, label: of its metric.
      name: of the number, where the metric has several: a class.
      tracked_name: by which trackers know it.
      slice: the features and values that it is of; empty for the whole.
      value: None where it is null; a few metrics report a text.
      low, high, standard_error, method: of its interval.
      examples: that were scored.
      reason: why it is null.
    """

    key: str
    label: str
    name: str
    tracked_name: str
    slice: Mapping[str, Any]
    value: Any
    low: float | None = None
    high: float | None = None
    standard_error: float | None = None
    method: str | None = None
    examples: int = 0
    reason: str | None = None

    @property
    def number(self) -> float | int | None:
        """The value where it is a number."""
        if isinstance(self.value, bool):
            return int(self.value)
        return None if isinstance(self.value, str) else self.value

    @property
    def quantities(self) -> Iterator[tuple[str, float]]:
        """The value and the ends of its interval by the names that trackers know them by; what is null is left out."""
        ends = {": low": self.low, ": high": self.high, ": standard error": self.standard_error}
        for suffix, quantity in {"": self.number, **ends}.items():
            if quantity is not None:
                yield f"{self.tracked_name}{suffix}", float(quantity)


def measured(document: Mapping[str, Any]) -> list[Measured]:
    """Return the numbers of a document: those of the whole, then those of each slice. Tables are not among them."""
    parts = [document, *(document.get("slices") or [])]
    names, titles = _names(document, parts), labels(document)
    return [number for part in parts for number in _numbers(part, names, titles)]


def names_of_whole(document: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of the whole that are not null, by the names that trackers know them by."""
    whole = {**document, "slices": []}
    return {number.tracked_name: float(number.number) for number in measured(whole) if number.number is not None}


def slice_path(features: Mapping[str, Any]) -> str:
    """Return how a slice is called in names; see the head of this file.

    >>> slice_path({"city": "Oslo", "age": 3}), slice_path({"a: b": ""}), slice_path({})
    ('city: Oslo/age: 3', 'a:3a b: :', '')
    """
    return "/".join(f"{exporter_name(feature)}: {exporter_name(str(value))}" for feature, value in features.items())


def short_name(name: str, longest: int) -> str:
    """Return a name of at most so many letters: of a longer one the beginning, and a digest of all of it.

    >>> short_name("accuracy", 40), short_name("a" * 50, 40)
    ('accuracy', 'aaaaaaaaaaaaaaaaaaaaaa:-160b4e433e384e05')
    """
    if len(name) <= longest:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:DIGEST_DIGITS]
    return f"{name[: longest - DIGEST_DIGITS - 2].rstrip('/: .')}:-{digest}"


def utf8(text: str) -> str:
    """Return a text that UTF-8 can hold: halves of surrogate pairs are written out.

    >>> utf8("é"), utf8("\\ud800")
    ('é', '\\\\ud800')
    """
    return text.encode("utf-8", "backslashreplace").decode()


def _names(document: Mapping[str, Any], parts: list[Mapping[str, Any]]) -> dict[tuple[str, str], str]:
    """Return what each number is called that the whole or a slice has."""
    entries: dict[str, dict[str, None]] = {}
    for part in parts:
        for key, entry in part["metrics"].items():
            entries.setdefault(key, {}).update(dict.fromkeys(_values(entry["value"])))
    metrics = {key: {"value": {name: None for name in names}} for key, names in entries.items()}
    return exported_names({**document, "metrics": metrics})


def _values(value: Any) -> dict[str, Any]:
    """Return the numbers of a metric by name; one alone has none, and a table has no numbers."""
    if isinstance(value, Mapping):
        return {} if "columns" in value else dict(value)
    return {"": value}


def _numbers(part: Mapping[str, Any], names: Mapping[tuple[str, str], str], titles: Mapping[str, str]) -> Iterator[Measured]:
    """Yield the numbers of a document, or of one of its slices."""
    features = part.get("slice") or {}
    prefix = f"slice/{slice_path(features)}/" if features else ""
    for key, entry in part["metrics"].items():
        intervals = (part.get("intervals") or {}).get(key) or {}
        several = isinstance(entry["value"], Mapping)
        for name, value in _values(entry["value"]).items():
            interval = intervals.get(name) or {} if several else intervals
            error = interval.get("standard_error")
            yield Measured(
                key, titles.get(key, key), name, f"{prefix}{names[key, name]}", features, value, interval.get("low"),
                interval.get("high"), entry.get("standard_error") if error is None and not several else error,
                interval.get("method"), entry["examples"], entry.get("reason") if value is None else None,
            )  # fmt: skip
