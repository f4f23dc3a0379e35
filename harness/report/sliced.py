"""Slices: a table that can be sorted and filtered, and forest plots by the pessimistic end of the interval, the worst first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.comparison.difference import FEWEST
from harness.comparison.documents import lines_table, worst_first
from harness.comparison.sides import WHOLE
from harness.metrics.direction import Better
from harness.report.estimates import Estimate, cell_of, estimates
from harness.report.forest import Dot, Panel, Row, forest
from harness.report.sections import Figure, Section, SortedRow, SortedTable
from harness.report.subjects import Reported
from harness.results.tables import TextTable, slice_name

__all__ = ["Sliced", "sliced_section", "worst_slices"]

MOST_CELLS = 8000  # of all tables of slices: with more the page would be too large
MOST_FORESTS, MOST_ROWS = 6, 30
MOST_LINES = 20  # of slices that differ from the baseline


@dataclass(frozen=True)
class Sliced:
    """What the section shows."""

    figures: Sequence[Figure]
    tables: Sequence[SortedTable]
    differing: Sequence[tuple[str, TextTable, int]]


def sliced_section(reported: Reported) -> Section | None:
    """Return the section; None where no run has slices."""
    sliced = [(subject.name, document) for subject, document in reported.finished if document.get("slices")]
    if not sliced:
        return None
    content = Sliced(
        _figures(sliced[-1][1], sliced[-1][0] if len(sliced) > 1 else ""),
        [_table(name if len(sliced) > 1 else "", document, MOST_CELLS // len(sliced)) for name, document in sliced],
        _differing(reported),
    )
    return Section("slices", "Slices", "slices.html", content)


@dataclass(frozen=True)
class _Slice:
    """A slice with its numbers by label."""

    name: str
    examples: int
    numbers: Mapping[str, Estimate]

    @property
    def small(self) -> bool:
        return self.examples < FEWEST

    def badness(self, label: str) -> tuple[bool, float]:
        """Return what sorts the worst first: by the end of the interval on the bad side; without a value last."""
        own = self.numbers.get(label)
        bound = None if own is None else own.pessimistic
        return bound is None, 0.0 if bound is None else bound


def _slices(document: Mapping[str, Any]) -> list[_Slice]:
    return [
        _Slice(slice_name(part["slice"]), part["examples"], {own.label: own for own in estimates(document, part) if not own.name})
        for part in document["slices"]
    ]


def _labels(slices: Sequence[_Slice]) -> list[str]:
    """Return the labels of the metrics, those that have a better way first."""
    known = {label: own.better for part in slices for label, own in part.numbers.items()}
    return sorted(known, key=lambda label: known[label] is Better.NEITHER)


def _table(run: str, document: Mapping[str, Any], most_cells: int) -> SortedTable:
    slices = _slices(document)
    labels = _labels(slices)
    shown = labels[: max(most_cells // len(slices), 3)]
    first = shown[0] if shown else ""
    ordered = sorted(slices, key=lambda part: part.badness(first))
    rows = [
        SortedRow(part.name, part.examples, part.small, [cell_of(part.numbers.get(label)) for label in shown])
        for part in ordered[: max(most_cells // max(len(shown), 1), FEWEST)]
    ]
    left_out = {
        f"{len(ordered) - len(rows):,} more slices are in metrics.csv.": len(ordered) > len(rows),
        f"{len(labels) - len(shown):,} more metrics are in metrics.csv.": len(labels) > len(shown),
        f"{document.get('slices_left_out', 0):,} slices had fewer examples than the job's minimum, and are not reported.": bool(
            document.get("slices_left_out")
        ),
    }
    return SortedTable(
        f"All slices{', ' + run if run else ''}", ("slice", "examples"), shown, rows,
        f"Worst {first} first. Faint: fewer than {FEWEST} examples.", [text for text, holds in left_out.items() if holds],
    )  # fmt: skip


def _figures(document: Mapping[str, Any], run: str) -> list[Figure]:
    """Return a forest plot of each of the first metrics that have a better way; all rows but the worst are left out."""
    slices, whole, figures = _slices(document), {own.label: own for own in estimates(document)}, []
    for label in _labels(slices)[:MOST_FORESTS]:
        held = [part for part in slices if label in part.numbers and part.numbers[label].value is not None]
        if not held or held[0].numbers[label].better is Better.NEITHER:
            continue
        title = f"{label} by slice" + (f", {run}" if run else "")
        middle = whole[label].value if label in whole else None
        figures.append(_figure(title, label, held, middle))
    return figures


def _figure(title: str, label: str, held: Sequence[_Slice], middle: float | None) -> Figure:
    """Draw the worst slices."""
    drawn = _worst(label, held)
    data, rows = TextTable(["slice", "examples", label, "low", "high"]), []
    for part in drawn:
        own = part.numbers[label]
        assert own.value is not None  # only such were kept
        rows.append(Row(part.name, [Dot(own.value, own.low, own.high)], faint=part.small))
        data.rows.append([part.name, f"{part.examples:,}", own.shown, *own.ends])
    note = "All slices, the worst first"
    if len(held) > len(drawn):
        note = f"{len(drawn)} of {len(held):,} slices, the worst first; of fewer than {FEWEST} examples only where there is room"
    note += "; worst by the end of the interval on the bad side. The dashed line is the value of all examples."
    return Figure(forest([Panel(rows, middle)], f"slices {label}"), title, data, note)


def _worst(label: str, held: Sequence[_Slice]) -> list[_Slice]:
    """Return the worst slices, the worst first; where there are too many, small ones only as far as there is room."""
    kept = sorted(held, key=lambda part: (part.small, *part.badness(label)))[:MOST_ROWS]
    return sorted(kept, key=lambda part: part.badness(label))


def worst_slices(document: Mapping[str, Any], label: str | None) -> tuple[str, list[tuple[str, Estimate, bool]], float | None]:
    """Return the worst slices by a metric: its label, each slice's name, number and whether it is small, the value of all.

    Args:
      label: of the metric; None for the first that has a better way.
    """
    slices = _slices(document) if document.get("slices") else []
    label = label or next(iter(_labels(slices)), "")
    held = [part for part in slices if label in part.numbers and part.numbers[label].value is not None]
    whole = {own.label: own.value for own in estimates(document)}
    return label, [(part.name, part.numbers[label], part.small) for part in _worst(label, held)], whole.get(label)


def _differing(reported: Reported) -> list[tuple[str, TextTable, int]]:
    """Return, of each side but the first, the slices that differ from the baseline: title, table, and how many were compared."""
    differing = []
    for comparison in reported.compared.comparisons if reported.compared else ():
        lines = [line for line in comparison.lines if line.slice != WHOLE]
        shown = sorted((line for line in lines if line.verdict != "no difference shown"), key=worst_first)[:MOST_LINES]
        first, second = comparison.first.name, comparison.second.name
        if lines:
            differing.append((f"{second} against {first}", lines_table(shown, first, second), len(lines)))
    return differing
