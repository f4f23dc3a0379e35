"""A finished run as people read it: tables on a terminal, from the files of the run folder alone."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.errors import RunFolderError
from harness.folder.run_folder import RunFolder
from harness.job.prices import CostSpec
from harness.names.texts import printable
from harness.results.advice import advice
from harness.results.cost_tables import cost_lines
from harness.results.intervals import too_few
from harness.results.latency import latency_lines
from harness.results.metric_names import find_key, labels, number_labels, with_metrics
from harness.results.run_document import asked, finished, object_of
from harness.results.tables import (
    NULL,
    TextTable,
    differences_table,
    markdown,
    metrics_table,
    number,
    sliced_metrics,
    slices_by_metric,
    slices_table,
    sort_slices,
)  # fmt: skip

__all__ = [
    "console_for", "finished", "fits", "in_markdown", "print_table", "print_text_table", "say", "show", "show_examples",
]  # fmt: skip

WIDEST_TABLE = 12  # columns of a table metric that still fit a terminal
MOST_SLICES = 40  # shown; all are in metrics.csv
MOST_EXAMPLES = 60  # lines; all are in examples.parquet
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


def show(
    folder: RunFolder,
    console: Console | None = None,
    *,
    sort: str | None = None,
    metrics: Sequence[str] = (),
    brief: bool = False,
    prices: CostSpec | None = None,
) -> None:
    """Print the result of a run.

    Args:
      folder: of the run.
      console: where to print.
      sort: metric by which slices come, worst first; None is the order of the job.
      metrics: that are shown, by key or label; none stands for all.
      brief: leave out what was measured of the run itself, and where it lies.
      prices: of what it used, instead of those of its job.
    Raises: RunFolderError: there is no finished run. UsageError: no slice, or nothing at all, has the metric.
    """
    document = finished(folder)
    slices = _chosen_slices(folder, document, sort)
    document = _chosen_metrics(document, metrics)
    console = console or console_for(1)
    names = labels(document)
    print_text_table(console, metrics_table(document))
    given: set[str] = set()
    for key, entry in document["metrics"].items():
        if entry.get("reason"):
            further = "" if (helpful := advice(entry["reason"])) in given else helpful
            given.add(further)  # advice is given once, whoever else needs it
            text = printable(f" {entry['reason']}{further}")
            say(console, Text.assemble((f"{names[key]} is null:", "yellow"), text))
        value = entry["value"]
        if isinstance(value, dict) and "columns" in value:
            _print_value(console, names[key], value, folder.table_csv(key).name)
    _print_missing(console, document)
    for pair in document.get("differences", {}) if not metrics else ():
        print_text_table(console, differences_table(document, pair))
    if bootstrap := document.get("bootstrap"):
        say(console, _drawing(bootstrap))
    if slices:
        _print_slices(console, document, slices, folder)
    say(console, _certificate(document))
    if "examples" in document:
        say(console, f"examples: {', '.join(document['examples']['lists'])}; harness show RUN --examples")
    if left_out := document.get("predictions"):
        others = ", ".join(f"{left_out[name]:,} {name}" for name in ("filtered", "skipped") if name in left_out)
        say(console, f"predicted {left_out['kept']:,} of {left_out['read']:,} examples: {others}, by the run that wrote them")
    if brief:
        return
    for line in _running(folder, prices):
        say(console, line)
    say(console, f"results: {folder.path}")


def show_examples(folder: RunFolder, console: Console | None = None) -> None:
    """Print the examples that a run keeps.

    Raises: RunFolderError: there is no finished run, or it keeps none.
    """
    from harness.results.examples import examples_table, read_examples

    document = finished(folder)
    asked = document.get("examples")
    frame = None if asked is None else read_examples(folder)
    if asked is None or frame is None:
        raise RunFolderError(f"{folder.path}: keeps no examples; the job's key says which to keep, as in examples: {{worst: 50}}")
    console = console or console_for(1)
    of_model = f"examples of {asked['by'].partition('/')[0]}, by {asked['by']}" if "differences" in document else ""
    print_text_table(console, examples_table(frame, MOST_EXAMPLES, of_model))
    say(console, f"{len(frame):,} lines in {folder.examples_parquet}: by {asked['by']}, {', '.join(asked['lists'])}")


def in_markdown(folder: RunFolder, *, sort: str | None = None, metrics: Sequence[str] = ()) -> str:
    """Return the result of a run as Markdown; all slices are in it.

    Args:
      folder, sort, metrics: see `show`.
    Raises: RunFolderError: there is no finished run. UsageError: no slice, or nothing at all, has the metric.
    """
    document = finished(folder)
    slices = _chosen_slices(folder, document, sort)
    document = _chosen_metrics(document, metrics)
    values = {labels(document)[key]: entry["value"] for key, entry in document["metrics"].items()}
    whole = {label: value for label, value in values.items() if isinstance(value, dict) and "columns" in value}
    tables = [metrics_table(document), *(_value_table(*pair) for pair in whole.items())]
    tables += [differences_table(document, pair) for pair in document.get("differences", {}) if not metrics]
    if slices:
        tables.append(slices_table(document, slices, len(document["metrics"])))
    return "\n\n".join([*map(markdown, tables), _certificate(document)])


def _chosen_slices(folder: RunFolder, document: dict[str, Any], sort: str | None) -> list[Any]:
    if sort is None:
        return list(document.get("slices") or [])
    metrics = asked(folder).get("metrics", [])
    return sort_slices(document, sort, {entry["key"]: entry["metric"] for entry in metrics if "metric" in entry})


def _chosen_metrics(document: dict[str, Any], wanted: Sequence[str]) -> dict[str, Any]:
    names = labels(document)
    keys = [find_key(name, names, f"--metric {name}: the run has none of that name") for name in wanted]
    return with_metrics(document, keys) if wanted else document


def _drawing(bootstrap: dict[str, Any]) -> str:
    """Say how intervals were drawn."""
    cluster = f", by {bootstrap['cluster']}" if bootstrap.get("cluster") else ""
    return (
        f"intervals: {100 * bootstrap['level']:g} %, from {bootstrap['replicates']:,} bootstrap replicates{cluster}, "
        f"seed {bootstrap['seed']}{too_few(bootstrap['replicates'], bootstrap['level'])}"
    )


def _certificate(document: dict[str, Any]) -> str:
    certificate = document["certificate"]
    return (
        f"certificate: every one of {certificate['examples']:,} examples counted once, in {certificate['chunks']:,} chunks, "
        f"id hash {certificate['id_hash']}"
    )


def fits(console: Console, table: TextTable) -> bool:
    """Say whether a table can be printed without folding what it holds: always where the output is no terminal."""
    return not console.is_terminal or _width(console, _styled(table)) <= console.width


def print_text_table(console: Console, table: TextTable) -> None:
    """Print a table of texts; see `print_table`."""
    print_table(console, _styled(table))


def print_table(console: Console, table: Table) -> None:
    """Print a table; where the output is no terminal, in the width that it needs."""
    if console.is_terminal:
        console.print(table)
        return
    before = console.width
    console.width = max(_width(console, table), before)  # print's own width is at most the console's
    console.print(table, crop=False, no_wrap=True)
    console.width = before


def _width(console: Console, table: Table) -> int:
    return console.measure(table, options=console.options.update(max_width=10_000)).maximum


def say(console: Console, text: str | Text) -> None:
    """Print a line as one line, however long: people copy paths and hashes, scripts look for words."""
    console.print(Text(printable(text)) if isinstance(text, str) else text, soft_wrap=True)


def _running(folder: RunFolder, prices: CostSpec | None) -> list[str]:
    """Return how a run ran, and what it cost.

    Raises: RunFolderError: run.json is not what a run writes.
    """
    run = object_of(folder.run_json)
    if not run.get("attempts"):
        return []
    try:
        last = run["attempts"][-1]
        ranks = ", ".join(f"rank {r['rank']} on {r['host']}: {r['examples']:,}" for r in last["ranks"])
        lines = [
            f"examples by rank: {ranks}",
            f"{last['examples_per_s']:,.0f} examples/s while evaluating, {last['elapsed_s']:.1f} s in all",
            *_split(last["ranks"]),
            *latency_lines(last),
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise RunFolderError(f"{folder.run_json}: not what a run writes: attempts: {type(exc).__name__}: {exc}") from exc
    return [*lines, *cost_lines(run, prices, str(folder.run_json))]


def _split(ranks: Sequence[dict[str, Any]]) -> list[str]:
    """Return what the time went into: of each part the rank that spent most on it."""
    names = list(dict.fromkeys(name for rank in ranks for name in rank.get("split_s", {})))
    most = ", ".join(f"{name} {max(rank.get('split_s', {}).get(name, 0.0) for rank in ranks):.2f}" for name in names)
    return [f"seconds{', the most of any rank' if len(ranks) > 1 else ''}: {most}"] if names else []


def _styled(table: TextTable) -> Table:
    """Return a table for a console. Names are folded where there is no room, never cut."""
    styled = Table(header_style="bold", title=Text(printable(table.title)) if table.title else None, title_justify="left")
    for position, column in enumerate(table.columns):
        name = position < table.names
        # Text, not str: names may hold square brackets, which rich would take for its markup.
        styled.add_column(Text(printable(column)), justify="left" if name else "right", overflow="fold")
    for row in table.rows:
        styled.add_row(*(Text(printable(text), style="yellow" if text.startswith(NULL) else "") for text in row))
    return styled


def _print_missing(console: Console, document: dict[str, Any]) -> None:
    """Print why numbers have no interval: of each metric there is one, or one by class."""
    names = number_labels(document)
    for key, intervals in document.get("intervals", {}).items():
        by_class = all(isinstance(interval, dict) for interval in intervals.values())
        for name, interval in (intervals if by_class else {"": intervals}).items():
            if interval.get("reason"):
                say(console, f"{names.get((key, name)) or f'{key} {name}'} has no interval: {interval['reason']}")


def _print_slices(console: Console, document: dict[str, Any], slices: list[Any], folder: RunFolder) -> None:
    """Print a line per slice; where that is too wide for the terminal, a line per slice and metric."""
    shown = slices[:MOST_SLICES]
    table, metrics = slices_table(document, shown, WIDEST_TABLE), len(sliced_metrics(document))
    turned = not fits(console, table)
    print_text_table(console, slices_by_metric(document, shown) if turned else table)
    if len(slices) > MOST_SLICES or (metrics > WIDEST_TABLE and not turned):
        say(console, f"all {len(slices):,} slices and {metrics:,} metrics: {folder.metrics_csv.name}")


def _print_value(console: Console, label: str, value: dict[str, Any], file: str) -> None:
    """Print a metric that is a table, or say where it is."""
    columns, rows = value["columns"], value["rows"]
    if len(columns) > WIDEST_TABLE or len(rows) > 2 * WIDEST_TABLE:
        say(console, f"{label}: {len(rows)} lines of {len(columns)} columns in {file}")
        return
    print_text_table(console, _value_table(label, value))


def _value_table(label: str, value: dict[str, Any]) -> TextTable:
    return TextTable(list(value["columns"]), [[number(cell) for cell in row] for row in value["rows"]], title=label)
