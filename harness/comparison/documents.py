"""Comparisons as documents: JSON, CSV, Markdown, LaTeX. Pure functions of the runs' files: the same bytes whoever asks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from harness.comparison.comparison import Comparison, Line
from harness.comparison.ranking import Ranked
from harness.comparison.sides import WHOLE, Number, Side
from harness.metrics.direction import Better
from harness.names.texts import printable
from harness.results.tables import TextTable, markdown, markdown_text, number, slice_name

__all__ = ["SCHEMA_VERSION", "latex", "lines_table", "ranking_table", "rows", "to_json", "to_markdown", "worst_first"]

SCHEMA_VERSION = 1
MOST_SLICES = 20  # of a Markdown document


def to_json(comparisons: Sequence[Comparison], ranked: Sequence[Ranked] = ()) -> str:
    """Return compare.json; see docs/schemas/compare.json."""
    first = comparisons[0]
    sides = [first.first, *(comparison.second for comparison in comparisons)]
    document: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "baseline": first.first.name,
        "level": first.level,
        "paired": first.is_paired,
        "sides": [_side(side) for side in sides],
        "comparisons": [
            {
                "side": comparison.second.name,
                "family": comparison.family,
                "wanted_replicates": comparison.wanted_replicates,
                "lines": [_line(line) for line in comparison.lines],
                "left_out": [asdict(entry) for entry in comparison.left_out],
                "notes": list(comparison.notes),
            }
            for comparison in comparisons
        ],
    }
    if ranked:
        document["ranking"] = [
            {
                "metric": entry.number,
                "label": entry.label,
                "best": None if entry.best is None else sides[entry.best].name,
                "alike": [sides[at].name for at in sorted(entry.alike)],
            }
            for entry in ranked
        ]
    return json.dumps(document, indent=1, sort_keys=True, allow_nan=False) + "\n"


def rows(comparisons: Sequence[Comparison]) -> list[dict[str, Any]]:
    """Return a row a line, for CSV."""
    return [
        {
            "side": comparison.second.name,
            "slice": slice_name(dict(line.slice)),
            **{k: v for k, v in _line(line).items() if k != "slice"},
        }
        for comparison in comparisons
        for line in comparison.lines
    ]


def lines_table(lines: Sequence[Line], first: str, second: str, title: str = "") -> TextTable:
    """Return lines as a table of texts; those of slices have the slice in front."""
    sliced = any(line.slice != WHOLE for line in lines)
    head = ["slice", "metric"] if sliced else ["metric"]
    table = TextTable([*head, first, second, "difference", "interval", "p (Holm)", "verdict"], [], title, len(head))
    for line in lines:
        names = [slice_name(dict(line.slice)), line.label] if sliced else [line.label]
        errors = [side.standard_error for side in (line.first, line.second)]
        # A difference without an error has no more digits than its values, and these no more than it.
        error = line.difference.standard_error or max(filter(None, errors), default=None)
        table.rows.append(
            [
                *names,
                number(line.first.value, errors[0] or error),
                number(line.second.value, errors[1] or error),
                _signed(line.difference.value, error),
                _interval(line, error),
                "" if line.p_holm is None else f"{line.p_holm:.2g}",
                line.verdict if line.p_holm is not None else "",
            ]
        )
    return table


def ranking_table(sides: Sequence[Side], ranked: Sequence[Ranked]) -> TextTable:
    """Return a row a metric and a column a side: the best has two stars, those that cannot be told from it one."""
    table = TextTable(["metric", *(side.name for side in sides)])
    for entry in ranked:
        cells = [_cell(value) for value in entry.values]
        marks = ["**" if at == entry.best else "*" if at in entry.alike else "" for at in range(len(sides))]
        table.rows.append([entry.label, *(f"{cell}{mark}" for cell, mark in zip(cells, marks, strict=True))])
    return table


def to_markdown(comparisons: Sequence[Comparison], ranked: Sequence[Ranked] = ()) -> str:
    """Return a summary for a pull request: the whole, then slices folded away, the worst first."""
    parts = []
    for comparison in comparisons:
        names = comparison.first.name, comparison.second.name
        whole = [line for line in comparison.lines if line.slice == WHOLE]
        slices = sorted((line for line in comparison.lines if line.slice != WHOLE), key=worst_first)
        parts.append(markdown(lines_table(whole, *names, f"{names[1]} against {names[0]}")))
        if slices:
            worse, better = (sum(line.verdict == verdict for line in slices) for verdict in ("worse", "better"))
            summary = f"{len(slices):,} numbers of slices: {worse} worse, {better} better"
            parts.append(
                f"<details><summary>{summary}</summary>\n\n{markdown(lines_table(slices[:MOST_SLICES], *names))}\n\n</details>"
            )
        parts += [
            f"Not compared: {markdown_text(f'{entry.label}: {entry.reason}')}" for entry in comparison.left_out[:MOST_SLICES]
        ]
        parts += [f"Note: {markdown_text(note)}" for note in comparison.notes]
    if ranked:
        sides = [comparisons[0].first, *(comparison.second for comparison in comparisons)]
        parts.append(markdown(ranking_table(sides, ranked)))
    return "\n\n".join(parts) + "\n"


def latex(sides: Sequence[Side], ranked: Sequence[Ranked]) -> str:
    """Return a table as a paper has it: the best bold, those that cannot be told from it underlined."""
    head = " & ".join(["metric", *(_escaped(side.name) for side in sides)])
    lines = [f"\\begin{{tabular}}{{l{'r' * len(sides)}}}", "\\hline", f"{head} \\\\", "\\hline"]
    for entry in ranked:
        cells = [_escaped(entry.label)]
        for at, value in enumerate(entry.values):
            text = _escaped(_cell(value))
            cells.append(f"\\textbf{{{text}}}" if at == entry.best else f"\\underline{{{text}}}" if at in entry.alike else text)
        lines.append(f"{' & '.join(cells)} \\\\")
    return "\n".join([*lines, "\\hline", "\\end{tabular}"]) + "\n"


def worst_first(line: Line) -> tuple[float, float]:
    """Return what sorts lines of slices: what is shown first, by its p-value, and there what lost most."""
    return (line.gain / line.difference.standard_error if line.difference.standard_error else 0.0, line.gain)


def _side(side: Side) -> dict[str, Any]:
    return {"name": side.name, "id_hash": side.id_hash, "digests": dict(side.document["digests"])}


def _line(line: Line) -> dict[str, Any]:
    difference = line.difference
    entry: dict[str, Any] = {
        "slice": dict(line.slice),
        "metric": line.number,
        "baseline_value": line.first.value,
        "value": line.second.value,
        "examples": line.second.examples,
        "difference": difference.value,
        "low": difference.low,
        "high": difference.high,
        "standard_error": difference.standard_error,
        "p": difference.p,
        "p_holm": line.p_holm,
        "p_benjamini_hochberg": line.p_bh,
        "method": difference.method,
        "verdict": line.verdict if line.p_holm is not None else None,
        "better": line.better.value if line.better is not Better.NEITHER else None,
        "label": line.label,
    }
    return {**entry, "reason": difference.reason} if difference.reason else entry


def _interval(line: Line, error: float | None) -> str:
    low, high = line.difference.low, line.difference.high
    return "" if low is None or high is None else f"[{_signed(low, error)}, {_signed(high, error)}]"


def _signed(value: float, error: float | None) -> str:
    text = number(value, error)
    return f"+{text}" if value > 0 else text


def _cell(value: Number | None) -> str:
    return "" if value is None else number(value.value, value.standard_error)


def _escaped(text: str) -> str:
    """Return a text as LaTeX prints it.

    >>> print(_escaped("f1_macro 5%"), _escaped("two\\nlines"))
    f1\\_macro 5\\% two\\textbackslash{}nlines
    """
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(special.get(letter, f"\\{letter}" if letter in "&%$#_{}" else letter) for letter in printable(text))
