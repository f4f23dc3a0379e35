"""A finished run as people read it: tables on a terminal, from the files of the run folder alone."""

from __future__ import annotations

import sys
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.errors import RunFolderError
from harness.runfolder import RunFolder, read_json

__all__ = ["console_for", "print_table", "show"]

WIDEST_TABLE = 12  # columns of a table metric that still fit a terminal
PLAIN_WIDTH = 100


def console_for(ranks: int) -> Console:
    """Return where to print: in colour on a terminal, plainly elsewhere and where several ranks run.

    A launcher gives each rank a pseudo terminal or a pipe of its own, whatever its own output is: neither the width
    nor the colours of the user's terminal can be told from there.
    """
    if ranks == 1 and sys.stdout.isatty():
        return Console(highlight=False)
    return Console(width=PLAIN_WIDTH, color_system=None, force_terminal=False, highlight=False)


def show(folder: RunFolder, console: Console | None = None) -> None:
    """Print the result of a run.

    Raises: RunFolderError: there is no finished run.
    """
    document = read_json(folder.metrics_json)
    if document is None:
        status = read_json(folder.status_json) or {}
        failure = read_json(folder.failure_json) or {}
        more = f"; its last attempt: {status['state']}" if status else ""
        more += f": {failure['message']}" if failure else ""
        raise RunFolderError(f"{folder.path}: no finished run in there (no metrics.json){more}")
    console = console or console_for(1)
    metrics: dict[str, Any] = document["metrics"]
    table = Table("metric", "value", "examples", header_style="bold")
    table.columns[1].justify = table.columns[2].justify = "right"
    for key, entry in metrics.items():
        for name, value in _lines(key, entry["value"]):
            # Text, not str: names may hold square brackets, which rich would take for its markup.
            table.add_row(Text(name), _number(value), f"{entry['examples']:,}")
    print_table(console, table)
    for key, entry in metrics.items():
        if entry.get("reason"):
            _say(console, Text.assemble((f"{key} is null:", "yellow"), f" {entry['reason']}"))
        value = entry["value"]
        if isinstance(value, dict) and "columns" in value:
            _print_value(console, key, value, folder)
    certificate = document["certificate"]
    _say(
        console,
        f"certificate: every one of {certificate['examples']:,} examples counted once, in {certificate['chunks']:,} chunks, "
        f"id hash {certificate['id_hash']}",
    )
    run = read_json(folder.run_json) or {}
    if run.get("attempts"):
        last = run["attempts"][-1]
        ranks = ", ".join(f"rank {r['rank']} on {r['host']}: {r['examples']:,}" for r in last["ranks"])
        _say(console, f"examples by rank: {ranks}")
        _say(console, f"{last['examples_per_s']:,.0f} examples/s while evaluating, {last['elapsed_s']:.1f} s in all")
    _say(console, f"results: {folder.path}")


def print_table(console: Console, table: Table) -> None:
    """Print a table; where the output is no terminal, in the width that it needs."""
    if not console.is_terminal:
        wanted = console.measure(table, options=console.options.update(max_width=10_000)).maximum
        console.print(table, width=max(wanted, console.width), crop=False, no_wrap=True)
    else:
        console.print(table)


def _say(console: Console, text: str | Text) -> None:
    """Print a line as one line, however long: people copy paths and hashes, scripts look for words."""
    console.print(Text(text) if isinstance(text, str) else text, soft_wrap=True)


def _lines(key: str, value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        if "columns" in value:
            return [(key, "table below")]
        return [(f"{key}  {name}", part) for name, part in value.items()]
    return [(key, value)]


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
