"""A result's document as tables of texts, for terminals and Markdown. Numbers have the digits that their error supports."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.metrics.direction import Better, better
from harness.names.texts import printable
from harness.results.metric_names import find_key, labels, number_labels

__all__ = [
    "NULL", "TextTable", "differences_table", "markdown", "markdown_text", "metrics_table", "number", "number_cells",
    "slice_name", "slice_value", "sliced_metrics", "slices_by_metric", "slices_table", "sort_slices",
]  # fmt: skip

DIGITS = 6  # of a number whose error is not known
ERROR_DIGITS = 2  # of the error; the number ends where they do
FLOAT_DIGITS = 16  # that a float64 has
WIDTH_ERRORS = 4  # that an interval is wide, near enough: it says how many digits are shown, no more
NULL = "null"
NUMBERS = re.compile(r"[-+0-9.,e ]*(\[[-+0-9.,e ]+\])?\*{0,2}")  # a cell of a number, of an interval, or of both


@dataclass(frozen=True)
class TextTable:
    """Rows of texts under their columns; the first columns are names, the others numbers."""

    columns: list[str]
    rows: list[list[str]] = field(default_factory=list)
    title: str = ""
    names: int = 1


def number(value: Any, error: float | None = None) -> str:
    """Write a number, to the second digit of its error where that is known.

    >>> number(0.917189460476788, 0.00976822829400898), number(0.917189460476788), number(1234567), number(None)
    ('0.9172', '0.917189', '1,234,567', 'null')
    >>> number(1234.5678, 31.4), number(0.5, 0.0), number(1e-12, 3e-14)
    ('1,235', '0.5', '1.000e-12')
    >>> number(0.3, 1e-17), number(1.0, 5e-324), number(1e20, 1000.0), number(999999000000000.0, 0.5)
    ('0.3000000000000000', '1.000000000000000', '1.000000000000000e+20', '999,999,000,000,000.0')
    """
    if value is None:
        return NULL
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    if not error or not math.isfinite(error) or not math.isfinite(value):
        return f"{value:.{DIGITS}g}"
    first, last = (math.floor(math.log10(number)) for number in (max(abs(value), error), error))
    digits = min(max(first - last + ERROR_DIGITS, 1), FLOAT_DIGITS)
    if -4 <= first < FLOAT_DIGITS - 1:
        return f"{value:,.{max(digits - 1 - first, 0)}f}"
    return f"{value:.{digits - 1}e}"


def metrics_table(document: Mapping[str, Any]) -> TextTable:
    """Return the values of a document, with their intervals and the support of their classes where there are any."""
    intervals, names = document.get("intervals", {}), number_labels(document)
    supported = any("support" in entry for entry in document["metrics"].values())
    ends = ["low", "high"] if intervals else []
    table = TextTable(["metric", "value", *ends, *(["support"] if supported else []), "examples"])
    for key, entry in document["metrics"].items():
        for name, value, interval in _lines(entry["value"], intervals.get(key, {})):
            error = _error({} if name else entry, interval)
            cells = [number(interval[end], error) if interval else "" for end in ends]
            if supported:
                cells.append(number(entry["support"][name]) if name in entry.get("support", {}) else "")
            table.rows.append([names[key, name], number(value, error), *cells, f"{entry['examples']:,}"])
    return table


def differences_table(document: Mapping[str, Any], pair: str) -> TextTable:
    """Return how much one model differs from the first; `pair` is MODEL - FIRST."""
    table = TextTable([pair, "difference", "low", "high"])
    model = pair.partition(" - ")[0]
    names = {
        "/".join(filter(None, number)).removeprefix(f"{model}/"): label.removeprefix(f"{model}/")
        for number, label in number_labels(document).items()
    }
    for key, entry in document["differences"][pair].items():
        interval = entry.get("interval", {})
        error = _error({}, interval)
        ends = (number(interval[end], error) if interval else "" for end in ("low", "high"))
        table.rows.append([names.get(key, key), number(entry["value"], error), *ends])
    return table


def slices_table(document: Mapping[str, Any], slices: Sequence[Mapping[str, Any]], most_metrics: int) -> TextTable:
    """Return a line per slice and a column per metric that is one number, with its interval."""
    keys, names = sliced_metrics(document)[:most_metrics], labels(document)
    table = TextTable(["slice", "examples", *(names[key] for key in keys)])
    for entry in slices:
        cells = [_cell(entry, key) for key in keys]
        table.rows.append([slice_name(entry["slice"]), f"{entry['examples']:,}", *cells])
    return table


def slices_by_metric(document: Mapping[str, Any], slices: Sequence[Mapping[str, Any]]) -> TextTable:
    """Return a line per slice and metric: the same for a narrow terminal."""
    table, names = TextTable(["slice", "metric", "value", "examples"], names=2), labels(document)
    for entry in slices:
        name = slice_name(entry["slice"])
        for key in sliced_metrics(document):
            table.rows.append([name, names[key], _cell(entry, key), f"{entry['metrics'][key]['examples']:,}"])
            name = ""
    return table


def sliced_metrics(document: Mapping[str, Any]) -> list[str]:
    """Return the keys of the metrics that slices have, and that are one number."""
    slices = document.get("slices") or []
    kept = slices[0]["metrics"] if slices else {}
    return [key for key, entry in document["metrics"].items() if key in kept and not isinstance(entry["value"], dict)]


def sort_slices(document: Mapping[str, Any], wanted: str, definitions: Mapping[str, str]) -> list[Mapping[str, Any]]:
    """Return the slices with the worst value first; of a metric that has no better way the lowest. Nulls come last.

    Args:
      document: of a run.
      wanted: key or label of a metric, or short for it.
      definitions: names of the metrics in the registry, by key: for a document that does not say which way is better.
    Raises: UsageError: no slice has such a metric.
    """
    keys = sliced_metrics(document)
    names = labels(document)
    key = find_key(wanted, {key: names[key] for key in keys}, f"--sort {wanted}: no slice has one number for it")
    way = document.get("definitions", {}).get(key, {}).get("better") or better(definitions.get(key, key)).value
    sign = -1 if way == Better.LOWER.value else 1

    def badness(entry: Mapping[str, Any]) -> tuple[bool, float]:
        value = entry["metrics"][key]["value"]
        return value is None, 0.0 if value is None else sign * value

    return sorted(document["slices"], key=badness)


def number_cells(part: Mapping[str, Any]) -> dict[tuple[str, str], str]:
    """Return the numbers of a document, or of one of its slices, with their intervals, by metric and name."""
    cells = {}
    for key, entry in part["metrics"].items():
        for name, value, interval in _lines(entry["value"], part.get("intervals", {}).get(key, {})):
            if not isinstance(value, str):
                # The standard error of a metric is not that of each of its numbers.
                cells[key, name] = _with_interval(value, {} if name else entry, interval)
    return cells


def slice_name(features: Mapping[str, Any]) -> str:
    """Return what a slice is called: its features and their values; nothing for the whole.

    >>> slice_name({"site": "north", "age": 3}), slice_name({"site": ""}), slice_name({})
    ('site=north, age=3', 'site=""', '')
    """
    return ", ".join(f"{feature}={slice_value(value)}" for feature, value in features.items())


def slice_value(value: Any) -> Any:
    """Return what stands for the value of a slice in tables: `""` for the empty text, since an empty cell is the whole.

    A text of quotes alone has two more, so that no two values look alike.

    >>> slice_value(3), slice_value("north"), slice_value(""), len(slice_value('""'))
    (3, 'north', '""', 4)
    """
    return value if str(value).strip('"') else f'{value}""'


def markdown(table: TextTable) -> str:
    """Return a table as GitHub's Markdown.

    >>> print(markdown(TextTable(["metric", "value"], [["a|b", "0.5"]])))
    | metric | value |
    | :--- | ---: |
    | a\\|b | 0.5 |
    """
    rule = [":---" if number < table.names else "---:" for number in range(len(table.columns))]
    lines = [[markdown_text(text) for text in table.columns], rule, *([_cell_text(text) for text in row] for row in table.rows)]
    title = [f"**{markdown_text(table.title)}**", ""] if table.title else []
    return "\n".join([*title, *(f"| {' | '.join(line)} |" for line in lines)])


def markdown_text(text: str) -> str:
    """Return a text as Markdown that shows it: nothing of it is markup, or what a terminal would obey.

    >>> print(markdown_text("a|b *c* [d](e) `f` <g>"), markdown_text("two\\nlines"))
    a\\|b \\*c\\* \\[d\\](e) \\`f\\` &lt;g> two\\\\nlines
    """
    escaped = "".join(f"\\{letter}" if letter in "\\|*`[]" else letter for letter in printable(text))
    return " ".join(escaped.replace("<", "&lt;").split())


def _cell_text(text: str) -> str:
    """Return a cell: the brackets of intervals, and the stars behind numbers, are ours."""
    return text if NUMBERS.fullmatch(text) else markdown_text(text)


def _cell(entry: Mapping[str, Any], key: str) -> str:
    """Return a metric's value in a slice, with its interval; of a null why it is one."""
    metric = entry["metrics"][key]
    return _with_interval(metric["value"], metric, entry.get("intervals", {}).get(key, {}))


def _with_interval(value: Any, metric: Mapping[str, Any], interval: Mapping[str, Any]) -> str:
    """Return a number with its interval, to the digits that its error supports; of a null why it is one."""
    if value is None:
        return f"{NULL}: {metric['reason']}" if metric.get("reason") else NULL
    error = _error(metric, interval)
    if interval.get("low") is None or interval.get("high") is None:
        return number(value, error)
    return f"{number(value, error)} [{number(interval['low'], error)}, {number(interval['high'], error)}]"


def _error(entry: Mapping[str, Any], interval: Mapping[str, Any]) -> float | None:
    """Return the standard error of a value: of its replicates, else of its formula, else what its interval comes to."""
    for holder in (interval, entry):
        if (error := holder.get("standard_error")) is not None:
            return float(error)
    low, high = interval.get("low"), interval.get("high")
    return None if low is None or high is None else float(high - low) / WIDTH_ERRORS


def _lines(value: Any, intervals: Mapping[str, Any]) -> list[tuple[str, Any, Mapping[str, Any]]]:
    """Return name, number and interval of each line of a metric; a metric that is one number has no name."""
    if isinstance(value, dict):
        if "columns" in value:
            return [("", "table below", {})]
        return [(name, part, intervals.get(name, {})) for name, part in value.items()]
    return [("", value, intervals)]
