"""Numbers by class: a table with the support of each, and a forest plot of each metric, the worst classes first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.comparison.difference import FEWEST
from harness.metrics.direction import Better
from harness.report.estimates import Estimate, by_class, cell_of, estimates
from harness.report.forest import Dot, Panel, Row, forest
from harness.report.sections import Figure, Section, SortedRow, SortedTable
from harness.report.subjects import Reported
from harness.results.tables import TextTable, number

__all__ = ["Classed", "classed_section"]

MOST_ROWS, MOST_FORESTS, MOST_CELLS = 30, 4, 8000


@dataclass(frozen=True)
class Classed:
    """What is shown of one run."""

    figures: Sequence[Figure]
    table: SortedTable


def classed_section(reported: Reported) -> Section | None:
    """Return the section; None where no run has numbers by class."""
    several = len(reported.finished) > 1
    held = [(subject.name if several else "", by_class(estimates(document))) for subject, document in reported.finished]
    content = [_classed(name, numbers) for name, numbers in held if numbers]
    return Section("classes", "Classes", "classes.html", content) if content else None


def _classed(run: str, numbers: Sequence[Estimate]) -> Classed:
    metrics = list(dict.fromkeys(own.key for own in numbers))
    labels = {own.key: own.label.removesuffix(own.name).strip() or own.key for own in numbers}
    of: dict[str, dict[str, Estimate]] = {}
    for own in numbers:
        of.setdefault(own.name, {})[own.key] = own
    first = metrics[0]
    ordered = sorted(of.items(), key=lambda item: _badness(item[1].get(first)))
    rows = []
    for name, row in ordered[: max(MOST_CELLS // len(metrics), 1)]:
        support = next((own.support for own in row.values() if own.support is not None), 0)
        rows.append(SortedRow(name, support, support < FEWEST, [cell_of(row.get(key)) for key in metrics]))
    left_out = [f"{len(of) - len(rows):,} more classes are in metrics.csv."] if len(of) > len(rows) else []
    note = f"Worst {labels[first]} first. Faint: fewer than {FEWEST} with the label."
    table = SortedTable(
        f"All classes{', ' + run if run else ''}", ("class", "support"), [labels[key] for key in metrics], rows, note, left_out
    )
    figures = [_figure(labels[key], [own for own in numbers if own.key == key], run) for key in metrics[:MOST_FORESTS]]
    return Classed([figure for figure in figures if figure is not None], table)


def _badness(own: Estimate | None) -> tuple[bool, float]:
    bound = None if own is None else own.pessimistic
    return bound is None, 0.0 if bound is None else bound


def _is_small(own: Estimate) -> bool:
    return own.support is not None and own.support < FEWEST


def _figure(label: str, numbers: Sequence[Estimate], run: str) -> Figure | None:
    """Draw the classes with the worst values; None where no class has one, or no way is better."""
    known = [own for own in numbers if own.value is not None and own.better is not Better.NEITHER]
    if not known:
        return None
    worst = sorted(known, key=lambda own: (_is_small(own), *_badness(own)))[:MOST_ROWS]
    data, rows = TextTable(["class", "support", label, "low", "high"]), []
    for own in sorted(worst, key=_badness):
        assert own.value is not None  # only such were kept
        rows.append(Row(own.name, [Dot(own.value, own.low, own.high)], faint=_is_small(own)))
        data.rows.append([own.name, "" if own.support is None else number(own.support), own.shown, *own.ends])
    title = f"{label} by class" + (f", {run}" if run else "")
    note = "All classes, the worst first"
    if len(numbers) > len(rows):
        note = f"{len(rows)} of {len(numbers):,} classes, the worst first; of fewer than {FEWEST} labels only where there is room"
    note += "; worst by the end of the interval on the bad side."
    return Figure(forest([Panel(rows)], f"classes {title}"), title, data, note)
