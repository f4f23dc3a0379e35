"""A finished run as people read it: tables on a terminal, from the files of the run folder alone."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from harness.errors import RunFolderError
from harness.runfolder import RunFolder, read_json

__all__ = ["show"]

WIDEST_TABLE = 12  # columns of a table metric that still fit a terminal


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
    console = console or Console()
    metrics: dict[str, Any] = document["metrics"]
    table = Table("metric", "value", "examples", header_style="bold")
    table.columns[1].justify = table.columns[2].justify = "right"
    for key, entry in metrics.items():
        for name, value in _lines(key, entry["value"]):
            table.add_row(name, _number(value), f"{entry['examples']:,}")
    console.print(table)
    for key, entry in metrics.items():
        if entry.get("reason"):
            console.print(f"[yellow]{key} is null:[/] {entry['reason']}")
        value = entry["value"]
        if isinstance(value, dict) and "columns" in value:
            _print_table(console, key, value, folder)
    certificate = document["certificate"]
    console.print(
        f"certificate: every one of {certificate['examples']:,} examples counted once, in {certificate['chunks']} chunks, "
        f"id hash {certificate['id_hash']}"
    )
    run = read_json(folder.run_json) or {}
    if run.get("attempts"):
        last = run["attempts"][-1]
        ranks = ", ".join(f"rank {r['rank']} on {r['host']}: {r['examples']:,}" for r in last["ranks"])
        console.print(f"examples by rank: {ranks}", highlight=False)
        console.print(
            f"{last['examples_per_s']:,.0f} examples/s while evaluating, {last['elapsed_s']:.1f} s in all",
            highlight=False,
        )
    console.print(f"results: {folder.path}", highlight=False, soft_wrap=True)


def _lines(key: str, value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        if "columns" in value:
            return [(key, "table below")]
        return [(f"{key}  {name}", part) for name, part in value.items()]
    return [(key, value)]


def _number(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"


def _print_table(console: Console, key: str, value: dict[str, Any], folder: RunFolder) -> None:
    columns, rows = value["columns"], value["rows"]
    if len(columns) > WIDEST_TABLE or len(rows) > 2 * WIDEST_TABLE:
        console.print(f"{key}: {len(rows)} lines of {len(columns)} columns in {folder.table_csv(key).name}")
        return
    table = Table(*columns, title=key, header_style="bold", title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        table.add_row(*(_number(cell) for cell in row))
    console.print(table)
