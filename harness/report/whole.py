"""The metrics of the whole: values with intervals as a forest plot, against the baseline where there are several runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.comparison.comparison import Comparison
from harness.comparison.documents import lines_table, ranking_table
from harness.comparison.sides import WHOLE, Side
from harness.comparison.terminal import rests_on
from harness.metrics.direction import Better
from harness.report.estimates import Estimate, by_class, estimates
from harness.report.forest import Dot, Panel, Row, forest
from harness.report.sections import Figure, Section
from harness.report.sources import Source
from harness.report.subjects import Reported
from harness.results.intervals import too_few
from harness.results.tables import TextTable

__all__ = ["Against", "Whole", "panels_of", "whole_section"]

MOST_PANELS = 12  # numbers that share no axis with others
MOST_LEFT_OUT = 20
MOST_SERIES = 8  # runs in one forest plot: as many as there are colours; more have curves along the runs
WAYS = {Better.HIGHER: "higher", Better.LOWER: "lower", Better.NEITHER: ""}


@dataclass(frozen=True)
class Against:
    """One side against the baseline.

    Attributes:
      figure: the differences; None where none has an interval.
      left_out: what could not be compared, and why; `more` of it are not named.
      basis: how differences were made.
    """

    title: str
    figure: Figure | None
    table: TextTable
    left_out: Sequence[tuple[str, str]]
    more: int
    notes: Sequence[str]
    basis: str


@dataclass(frozen=True)
class Whole:
    """What the section shows.

    Attributes:
      figure: the values; None where there are none.
      table: the same with all that is known of each.
      reasons: numbers without an interval, and why.
      intervals: how they were drawn; empty where there are none.
      ranking: of three and more sides.
      against: each side but the first.
      not_compared: why runs are not compared.
      not_plotted: runs whose sums could not be read, and why.
    """

    figure: Figure | None
    table: TextTable
    reasons: Sequence[tuple[str, str]]
    intervals: str
    ranking: TextTable | None
    against: Sequence[Against]
    not_compared: str
    not_plotted: Sequence[tuple[str, str]]


def whole_section(reported: Reported, sources: Sequence[Source]) -> Section | None:
    """Return the section; None where no run has a result."""
    if not reported.finished:
        return None
    if reported.compared is None:
        columns = [(subject.name, estimates(document)) for subject, document in reported.finished]
    else:
        columns = [(side.name, _of_side(side)) for side in reported.compared.sides]
    columns = [(name, [own for own in numbers if own not in by_class(numbers)]) for name, numbers in columns]
    table, rows = _table(columns), _rows(columns)
    names = [name for name, _ in columns]
    figure = None
    if len(columns) <= MOST_SERIES and (panels := panels_of(rows)):
        title = "Values of the metrics" + (" of each run" if len(columns) > 1 else "")
        figure = Figure(forest(panels, "metrics", names), title, table, _note(panels, rows))
    compared = reported.compared
    sides = compared.sides if compared else ()
    content = Whole(
        figure,
        table,
        [(estimate.label, estimate.reason) for estimate in columns[0][1] if estimate.value is not None and estimate.reason],
        _drawing(reported.finished[0][1]),
        ranking_table(sides, compared.ranked) if compared and len(sides) > 2 else None,
        [_against(comparison) for comparison in compared.comparisons] if compared else (),
        reported.not_compared,
        [(source.name, source.missing) for source in sources if source.missing],
    )
    return Section("metrics", "Metrics", "metrics.html", content)


def _of_side(side: Side) -> list[Estimate]:
    """Return the numbers of a side; those of a model lose its name."""
    prefix = f"{side.name}/" if side.name in side.question.models else ""
    known = estimates(side.document)
    if not prefix:
        return known
    return [
        Estimate(**{**vars(own), "key": own.key.removeprefix(prefix), "label": own.label.removeprefix(prefix)})
        for own in known
        if own.key.startswith(prefix)
    ]


def _table(columns: Sequence[tuple[str, Sequence[Estimate]]]) -> TextTable:
    """Return a row a number: of one side with all that is known of it, of several the values side by side."""
    if len(columns) > 1:
        table = TextTable(["metric", "better", *(name for name, _ in columns)], names=2)
        held = [{own.label: own for own in numbers} for _, numbers in columns]
        for label in dict.fromkeys(own.label for _, numbers in columns for own in numbers):
            sides = [numbers.get(label) for numbers in held]
            way = next(WAYS[own.better] for own in sides if own is not None)
            table.rows.append([label, way, *("" if own is None else _with_interval(own) for own in sides)])
        return table
    numbers = columns[0][1]
    bounded = any(own.low is not None for own in numbers)
    table = TextTable(["metric", "better", "value", *(["low", "high"] if bounded else []), "examples"], names=2)
    for own in numbers:
        ends = own.ends if bounded else ()
        table.rows.append([own.label, WAYS[own.better], own.shown, *ends, f"{own.examples:,}"])
    return table


def _with_interval(own: Estimate) -> str:
    low, high = own.ends
    return f"{own.shown} [{low}, {high}]" if low else own.shown


def _rows(columns: Sequence[tuple[str, Sequence[Estimate]]]) -> list[Row]:
    """Return a row for each number that is one of its metric; those of classes have a section of their own."""
    dots: dict[str, list[Dot]] = {}
    for series, (_, numbers) in enumerate(columns):
        for own in numbers:
            if not own.name and own.value is not None:
                dots.setdefault(own.label, []).append(Dot(own.value, own.low, own.high, series))
    return [Row(label, held) for label, held in dots.items()]


def panels_of(rows: Sequence[Row], least: float = 0.0, line: float | None = None) -> list[Panel]:
    """Share out rows to panels: those between `least` and 1 on one axis, every other on its own.

    Those beyond `MOST_PANELS` are left out: the table has them.
    """
    shares = [row for row in rows if all(least <= end <= 1 for end in _ends(row))]
    others = [row for row in rows if row not in shares][:MOST_PANELS]
    return [*([Panel(shares, line)] if shares else []), *(Panel([row], line) for row in others)]


def _ends(row: Row) -> list[float]:
    return [end for dot in row.dots for end in (dot.value, dot.low, dot.high) if end is not None]


def _note(panels: Sequence[Panel], rows: Sequence[Row]) -> str:
    drawn = sum(len(panel.rows) for panel in panels)
    notes = ["Numbers between 0 and 1 share an axis; each other number has its own."] if len(panels) > 1 else []
    if drawn < len(rows):
        notes.append(f"{len(rows) - drawn} more are in the table.")
    return " ".join(notes)


def _drawing(document: Mapping[str, Any]) -> str:
    """Say how intervals were drawn."""
    bootstrap = document.get("bootstrap")
    if not bootstrap:
        return ""
    cluster = f", drawn by {bootstrap['cluster']}" if bootstrap.get("cluster") else ""
    few = too_few(bootstrap["replicates"], bootstrap["level"])
    return f"Intervals of {100 * bootstrap['level']:g} % from {bootstrap['replicates']:,} bootstrap replicates{cluster}{few}."


def _against(comparison: Comparison) -> Against:
    """Return one side against the baseline, the whole only."""
    first, second = comparison.first.name, comparison.second.name
    lines = [line for line in comparison.lines if line.slice == WHOLE]
    title = f"{second} against {first}"
    table = lines_table(lines, first, second)
    rows = [
        Row(line.label, [Dot(line.difference.value, line.difference.low, line.difference.high)])
        for line in lines
        if line.difference.low is not None
    ]
    figure = None
    if rows:
        drawing = forest(panels_of(rows, -1.0, 0.0), f"against {second}")
        figure = Figure(drawing, f"Differences: {second} minus {first}", table, "A difference of 0 is the dashed line.")
    return Against(
        title, figure, table, [(entry.label, entry.reason) for entry in comparison.left_out[:MOST_LEFT_OUT]],
        max(len(comparison.left_out) - MOST_LEFT_OUT, 0),
        comparison.notes, rests_on(comparison),
    )  # fmt: skip
