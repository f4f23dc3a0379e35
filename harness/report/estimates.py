"""The numbers of a run's document with what is known of each: interval, reason, support, which way is better. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.metrics.direction import Better
from harness.report.sections import SortedCell
from harness.results.metric_names import number_labels
from harness.results.tables import NULL, number

__all__ = ["Estimate", "by_class", "cell_of", "estimates"]

MOST_NAMES = 12  # of the numbers of a metric that stand among the metrics
WIDTH_ERRORS = 4  # standard errors that an interval is wide, near enough: it says how many digits are shown


@dataclass(frozen=True)
class Estimate:
    """One number of the whole, or of a slice.

    Attributes:
      key, name: the metric's key, and which of its numbers; "" where it is one number.
      label: what it is called.
      value: None where it is null.
      low, high: interval; None where there is none.
      reason: why it is null, or why it has no interval.
      examples: that were scored.
      support: of the class that it is of; None where it is of none.
      better: which way is better.
      error: standard error.
    """

    key: str
    name: str
    label: str
    value: float | None
    low: float | None
    high: float | None
    reason: str
    examples: int
    support: float | None
    better: Better
    error: float | None

    @property
    def shown(self) -> str:
        """The value, to the digits that its error supports."""
        return NULL if self.value is None else number(self.value, self._digits_error)

    @property
    def ends(self) -> tuple[str, str]:
        """Both ends of the interval, empty where there is none."""
        if self.low is None or self.high is None:
            return "", ""
        return number(self.low, self._digits_error), number(self.high, self._digits_error)

    @property
    def pessimistic(self) -> float | None:
        """The end of the interval on the bad side, the value where there is none; the larger, the better."""
        if self.better is Better.LOWER:
            bound = self.value if self.high is None else self.high
            return None if bound is None else -bound
        return self.value if self.low is None else self.low

    @property
    def _digits_error(self) -> float | None:
        if self.error is not None or self.low is None or self.high is None:
            return self.error
        return (self.high - self.low) / WIDTH_ERRORS


def cell_of(own: Estimate | None) -> SortedCell:
    """Return a number as a cell; an empty one where there is none."""
    if own is None:
        return SortedCell("")
    low, high = own.ends
    return SortedCell(own.shown, f"{low} to {high}" if low else "", own.value)


def by_class(numbers: Sequence[Estimate]) -> list[Estimate]:
    """Return the numbers that are of a class, or one of very many of their metric: they have a table of their own."""
    counts = Counter(own.key for own in numbers)
    return [own for own in numbers if own.name and (own.support is not None or counts[own.key] > MOST_NAMES)]


def estimates(document: Mapping[str, Any], part: Mapping[str, Any] | None = None) -> list[Estimate]:
    """Return the numbers of a document, or of one of its slices; tables and texts are left out."""
    labels, definitions = number_labels(document), document.get("definitions") or {}
    part = document if part is None else part
    result = []
    for key, entry in part["metrics"].items():
        way = Better(definitions.get(key, {}).get("better", Better.NEITHER.value))
        intervals = part.get("intervals", {}).get(key, {})
        for name, value, interval in _numbers(entry["value"], intervals):
            error = interval.get("standard_error")
            if error is None and not name:
                error = entry.get("standard_error")
            reason = entry.get("reason") if value is None else interval.get("reason")
            if value is None and not reason:
                reason = "it is 0/0"
            label = labels.get((key, name)) or " ".join(filter(None, (key, name)))
            low, high, support = interval.get("low"), interval.get("high"), entry.get("support", {}).get(name)
            result.append(Estimate(key, name, label, value, low, high, reason or "", entry["examples"], support, way, error))
    return result


def _numbers(value: Any, intervals: Mapping[str, Any]) -> Sequence[tuple[str, float | None, Mapping[str, Any]]]:
    if isinstance(value, Mapping):
        if "columns" in value:
            return []
        return [(name, part, intervals.get(name) or {}) for name, part in value.items() if not isinstance(part, str)]
    return [] if isinstance(value, str) else [("", value, intervals)]
