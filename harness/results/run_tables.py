"""Many runs as tables of texts: wide where there is room, else metrics as rows, else a line for each number."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from harness.results.collect import ABOUT, Run
from harness.results.metric_names import number_labels
from harness.results.tables import TextTable, number, number_cells, slice_name
from harness.results.terminal import fits, print_text_table

__all__ = ["print_summary", "summary_table"]

TITLES = {key: key.replace("_", " ") for key in ABOUT[1:]}  # of the columns that are no numbers of the result


@dataclass(frozen=True)
class _Line:
    """A run, or one of its slices: what it is called, and its texts by column."""

    run: str
    slice: str
    texts: dict[str, str]


def print_summary(runs: Sequence[Run], console: Console, *, slices: bool = False) -> None:
    """Print runs in the widest form that the console has room for; names are never cut."""
    print_text_table(console, summary_table(runs, lambda table: fits(console, table), slices=slices))


def summary_table(runs: Sequence[Run], fits: Callable[[TextTable], bool], *, slices: bool = False) -> TextTable:
    """Return the first form that fits, else the narrowest; columns that no run has anything in are left out.

    Args:
      runs: to be shown; each is called by what tells its path from the others'.
      fits: says whether there is room for a table.
      slices: whether each run is followed by its slices.
    """
    names = _names([str(run.about["run"]) for run in runs])
    lines = [line for run, name in zip(runs, names, strict=True) for line in _lines(run, name, slices=slices)]
    columns = list(dict.fromkeys(column for line in lines for column, text in line.texts.items() if text))
    columns.sort(key=lambda column: list(TITLES.values()).index(column) if column in TITLES.values() else len(TITLES))
    wide = _wide(lines, columns, slices=slices)
    if fits(wide):
        return wide
    turned = _turned(lines, columns)
    return turned if fits(turned) else _narrow(lines, columns, slices=slices)


def _lines(run: Run, name: str, *, slices: bool) -> list[_Line]:
    """Return the line of a run, and those of its slices."""
    about = {title: _text(run.about[key]) for key, title in TITLES.items()}
    about |= {key.replace("_", " "): _text(amount) for key, amount in run.cost.items()}
    if not run.document:
        return [_Line(name, "", about)]
    # A metric that is called like one of these columns has another title.
    labels = number_labels(run.document).items()
    titles = {place: f"metrics.{label}" if label in about else label for place, label in labels}
    lines = [_Line(name, "", about | _by_title(run.document, titles))]
    for part in run.slices if slices else ():
        lines.append(_Line(name, slice_name(part["slice"]), {"examples": _text(part["examples"]), **_by_title(part, titles)}))
    return lines


def _by_title(part: Mapping[str, Any], titles: Mapping[tuple[str, str], str]) -> dict[str, str]:
    """Return the numbers of a result, or of a slice of it; one that the whole does not have, for it is null, by its key."""
    return {titles.get(place, "/".join(filter(None, place))): text for place, text in number_cells(part).items()}


def _text(value: Any) -> str:
    return "" if value is None else number(value)


def _wide(lines: Sequence[_Line], columns: Sequence[str], *, slices: bool) -> TextTable:
    """Return a row a line and a column for each number."""
    names = ["run", "slice"] if slices else ["run"]
    rows = [[line.run, *([line.slice] if slices else []), *(line.texts.get(name, "") for name in columns)] for line in lines]
    texts = [column for column in columns if column in TITLES.values() and column != TITLES["examples"]]
    return TextTable([*names, *columns], rows, names=len(names) + len(texts))


def _turned(lines: Sequence[_Line], columns: Sequence[str]) -> TextTable:
    """Return a row for each number and a column a line."""
    heads = [f"{line.run}\n{line.slice}" if line.slice else line.run for line in lines]
    return TextTable(["value", *heads], [[name, *(line.texts.get(name, "") for line in lines)] for name in columns])


def _narrow(lines: Sequence[_Line], columns: Sequence[str], *, slices: bool) -> TextTable:
    """Return a row for each number of each line."""
    table = TextTable(["run", *(["slice"] if slices else []), "metric", "value"], names=3 if slices else 2)
    run = None
    for line in lines:
        names = [line.run if line.run != run else "", *([line.slice] if slices else [])]
        run = line.run
        for name in columns:
            if line.texts.get(name):
                table.rows.append([*names, name, line.texts[name]])
                names = [""] * len(names)
    return table


def _names(paths: Sequence[str]) -> list[str]:
    """Return what tells paths apart: each without the folders that all of them begin with."""
    if len(paths) < 2:
        return list(paths)
    parts = [Path(path).parts for path in paths]
    shared = 0
    while len({path[shared] for path in parts}) == 1 and all(len(path) > shared + 1 for path in parts):
        shared += 1
    return [str(Path(*path[shared:])) for path in parts]
