"""A finished run as people read it: tables on a terminal, from the files of the run folder alone."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from harness.errors import RunFolderError
from harness.folder.run_folder import RunFolder, read_json

__all__ = ["console_for", "print_table", "show"]

WIDEST_TABLE = 12  # columns of a table metric that still fit a terminal
MOST_SLICES = 40  # shown; all are in metrics.csv
PLAIN_WIDTH = 100


class _Console(Console):
    """Prints as long as somebody reads: `| head` ends no command, and makes none fail."""

    def on_broken_pipe(self) -> None:
        """Print nothing from now on."""
        self.quiet = True
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def console_for(ranks: int) -> Console:
    """Return where to print: in colour on a terminal, plainly elsewhere and where several ranks run.

    A launcher gives each rank a pseudo terminal or a pipe of its own, whatever its own output is: neither the width
    nor the colours of the user's terminal can be told from there.
    """
    if ranks == 1 and sys.stdout.isatty():
        return _Console(highlight=False)
    return _Console(width=PLAIN_WIDTH, color_system=None, force_terminal=False, highlight=False)


def show(folder: RunFolder, console: Console | None = None) -> None:
    """Print the result of a run.

    Raises: RunFolderError: there is no finished run.
    """
    document = read_json(folder.metrics_json)
    if document is None:
        status = read_json(folder.status_json) or {}
        failure = read_json(folder.failure_json) or {}
        ending = f"; its last attempt: {status['state']}" if status else ""
        ending += f": {failure['message']}" if failure else ""
        raise RunFolderError(f"{folder.path}: no finished run in there (no metrics.json){ending}")
    console = console or console_for(1)
    metrics: dict[str, Any] = document["metrics"]
    _print_metrics(console, metrics, document.get("intervals", {}))
    for key, entry in metrics.items():
        if entry.get("reason"):
            _say(console, Text.assemble((f"{key} is null:", "yellow"), f" {entry['reason']}"))
        value = entry["value"]
        if isinstance(value, dict) and "columns" in value:
            _print_value(console, key, value, folder)
    for key, intervals in document.get("intervals", {}).items():
        _print_missing(console, key, intervals)
    for pair, entries in document.get("differences", {}).items():
        _print_differences(console, pair, entries)
    if document.get("slices"):
        _print_slices(console, document, folder)
    certificate = document["certificate"]
    _say(
        console,
        f"certificate: every one of {certificate['examples']:,} examples counted once, in {certificate['chunks']:,} chunks, "
        f"id hash {certificate['id_hash']}",
    )
    if left_out := document.get("predictions"):
        others = ", ".join(f"{left_out[name]:,} {name}" for name in ("filtered", "skipped") if name in left_out)
        _say(console, f"predicted {left_out['kept']:,} of {left_out['read']:,} examples: {others}, by the run that wrote them")
    run = read_json(folder.run_json) or {}
    if run.get("attempts"):
        last = run["attempts"][-1]
        ranks = ", ".join(f"rank {r['rank']} on {r['host']}: {r['examples']:,}" for r in last["ranks"])
        _say(console, f"examples by rank: {ranks}")
        _say(console, f"{last['examples_per_s']:,.0f} examples/s while evaluating, {last['elapsed_s']:.1f} s in all")
        _print_split(console, last["ranks"])
    _say(console, f"results: {folder.path}")


def print_table(console: Console, table: Table) -> None:
    """Print a table; where the output is no terminal, in the width that it needs."""
    if not console.is_terminal:
        wanted = console.measure(table, options=console.options.update(max_width=10_000)).maximum
        before = console.width
        console.width = max(wanted, before)  # print's own width is at most the console's
        console.print(table, crop=False, no_wrap=True)
        console.width = before
    else:
        console.print(table)


def _say(console: Console, text: str | Text) -> None:
    """Print a line as one line, however long: people copy paths and hashes, scripts look for words."""
    console.print(Text(text) if isinstance(text, str) else text, soft_wrap=True)


def _print_split(console: Console, ranks: Sequence[dict[str, Any]]) -> None:
    """Print what the time went into: of each part the rank that spent most on it."""
    names = list(dict.fromkeys(name for rank in ranks for name in rank.get("split_s", {})))
    most = {name: max(rank.get("split_s", {}).get(name, 0.0) for rank in ranks) for name in names}
    if most:
        _say(
            console,
            f"seconds{', the most of any rank' if len(ranks) > 1 else ''}: {', '.join(f'{n} {s:.2f}' for n, s in most.items())}",
        )


def _print_metrics(console: Console, metrics: dict[str, Any], intervals: dict[str, Any]) -> None:
    """Print the values, with their intervals where there are any."""
    table = Table(*(["metric", "value", "low", "high", "examples"] if intervals else ["metric", "value", "examples"]))
    table.header_style = "bold"
    for column in table.columns[1:]:
        column.justify = "right"
    for key, entry in metrics.items():
        for name, value, interval in _lines(key, entry["value"], intervals.get(key, {})):
            ends = [_number(interval[end]) if interval else Text("") for end in ("low", "high")] if intervals else []
            # Text, not str: names may hold square brackets, which rich would take for its markup.
            table.add_row(Text(name), _number(value), *ends, f"{entry['examples']:,}")
    print_table(console, table)


def _print_missing(console: Console, key: str, intervals: dict[str, Any]) -> None:
    """Print why numbers of a metric have no interval: one interval, or one by class."""
    by_class = all(isinstance(interval, dict) for interval in intervals.values())
    for name, interval in (intervals if by_class else {"": intervals}).items():
        if interval.get("reason"):
            _say(console, f"{f'{key}  {name}' if name else key} has no interval: {interval['reason']}")


def _print_differences(console: Console, pair: str, entries: dict[str, Any]) -> None:
    """Print how much one model differs from the first."""
    table = Table(escape(pair), "difference", "low", "high", header_style="bold")
    for column in table.columns[1:]:
        column.justify = "right"
    for key, entry in entries.items():
        interval = entry.get("interval", {})
        ends = [_number(interval[end]) if interval else Text("") for end in ("low", "high")]
        table.add_row(Text(key), _number(entry["value"]), *ends)
    print_table(console, table)


def _print_slices(console: Console, document: dict[str, Any], folder: RunFolder) -> None:
    """Print a line per slice and a column per metric that is one number."""
    slices = document["slices"]
    sliced = slices[0]["metrics"] if slices else {}  # a metric may be left out of slices
    keys = [key for key, entry in document["metrics"].items() if key in sliced and not isinstance(entry["value"], dict)]
    table = Table("slice", "examples", *(escape(key) for key in keys[:WIDEST_TABLE]), header_style="bold")
    for column in table.columns[1:]:
        column.justify = "right"
    for slice_ in slices[:MOST_SLICES]:
        name = ", ".join(f"{feature}={value}" for feature, value in slice_["slice"].items())
        cells = [_number(slice_["metrics"][key]["value"]) for key in keys[:WIDEST_TABLE]]
        table.add_row(Text(name), f"{slice_['examples']:,}", *cells)
    print_table(console, table)
    if len(slices) > MOST_SLICES or len(keys) > WIDEST_TABLE:
        _say(console, f"all {len(slices):,} slices and {len(keys):,} metrics: {folder.metrics_csv.name}")


def _lines(key: str, value: Any, intervals: dict[str, Any]) -> list[tuple[str, Any, dict[str, Any]]]:
    """Return name, number and interval of each line of a metric."""
    if isinstance(value, dict):
        if "columns" in value:
            return [(key, "table below", {})]
        return [(f"{key}  {name}", part, intervals.get(name, {})) for name, part in value.items()]
    return [(key, value, intervals)]


def _number(value: Any) -> Text:
    if value is None:
        return Text("null", style="yellow")
    if isinstance(value, str):
        return Text(value)
    return Text(f"{value:,}" if isinstance(value, int) else f"{value:.6g}")


def _print_value(console: Console, key: str, value: dict[str, Any], folder: RunFolder) -> None:
    """Print a metric that is a table, or say where it is."""
    columns, rows = value["columns"], value["rows"]
    if len(columns) > WIDEST_TABLE or len(rows) > 2 * WIDEST_TABLE:
        _say(console, f"{key}: {len(rows)} lines of {len(columns)} columns in {folder.table_csv(key).name}")
        return
    table = Table(title=Text(key), header_style="bold", title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(Text(column), justify="right" if number else "left")
    for row in rows:
        table.add_row(*(_number(cell) for cell in row))
    print_table(console, table)
