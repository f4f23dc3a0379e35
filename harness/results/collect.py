"""Many runs in one table: one row a run, read from the files of their folders alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.errors import UsageError
from harness.folder.run_folder import RunFolder, read_json, write_atomically
from harness.results.terminal import print_table

__all__ = ["collect", "print_summary", "write_summary"]

ENDINGS = (".csv", ".parquet")
ABOUT = ("run", "state", "exit_code", "message", "model", "examples")


def collect(runs: Sequence[Path]) -> pd.DataFrame:
    """Return one row a run: `run`, `state`, `exit_code`, `message`, `model`, `examples`, then a column for each number.

    A metric that is a number is a column of its name, one by class has a column `NAME[CLASS]` for each, with `.low` and
    `.high` where there are intervals; what is null stays empty. A metric that is named like one of the first columns is
    `metrics.NAME`. Tables and slices are in the runs' own files.

    Raises: UsageError: a run stands there twice.
    """
    paths = [path.absolute() for path in runs]
    if twice := sorted({str(path) for path in paths if paths.count(path) > 1}):
        raise UsageError(f"{', '.join(twice)}: stands there twice")
    frame = pd.DataFrame([_row(RunFolder(path)) for path in paths])
    for column in ("exit_code", "examples"):
        frame[column] = frame[column].astype("Int64")
    for column in frame.columns[len(ABOUT) :]:
        frame[column] = frame[column].astype("float64")
    return frame


def write_summary(frame: pd.DataFrame, path: Path) -> None:
    """Write the table as CSV or Parquet, by the file's ending.

    Raises: UsageError: another ending. RunFolderError: it cannot be written.
    """
    check_ending(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, frame.to_csv(index=False) if path.suffix == ".csv" else frame.to_parquet(index=False))


def check_ending(path: Path) -> None:
    """See that a summary can be written to a file of that name.

    Raises: UsageError: its ending says nothing.
    """
    if path.suffix not in ENDINGS:
        raise UsageError(f"-o {path}: expected a file that ends with {' or '.join(ENDINGS)}")


def print_summary(frame: pd.DataFrame, console: Console) -> None:
    """Print the table; columns that no run has anything in are left out."""
    table = Table(header_style="bold")
    kept = [name for name in frame.columns if (frame[name].notna() & (frame[name].astype(str) != "")).any()]
    for name in kept:
        side: Literal["left", "right"] = "right" if pd.api.types.is_numeric_dtype(frame[name]) else "left"
        table.add_column(Text(name), justify=side, no_wrap=not console.is_terminal)
    shared = Path(*_common([Path(run).parts for run in frame["run"]]))
    for row in frame[kept].itertuples(index=False, name=None):
        cells = dict(zip(kept, row, strict=True))
        cells["run"] = str(Path(cells["run"]).relative_to(shared)) if len(frame) > 1 else cells["run"]
        table.add_row(*(_cell(value) for value in cells.values()))
    print_table(console, table)


def _row(folder: RunFolder) -> dict[str, Any]:
    document, run = read_json(folder.metrics_json), read_json(folder.run_json) or {}
    status, failure = read_json(folder.status_json) or {}, read_json(folder.failure_json) or {}
    # The batch script's own word of a job that ended before the run folder was its.
    early = read_json(folder.path / "slurm-status.json") or {}
    row: dict[str, Any] = {
        "run": str(folder.path),
        "state": "done" if document else status.get("state") or ("failed" if early.get("exit_code") else "not begun"),
        "exit_code": 0 if document else status.get("exit_code", early.get("exit_code")),
        "message": "" if document else failure.get("message", ""),
        "model": (run.get("model") or {}).get("path") or "",
        "examples": document["certificate"]["examples"] if document else None,
    }
    if document:
        for key, entry in document["metrics"].items():
            name = f"metrics.{key}" if key in ABOUT else key
            row |= _columns(name, entry["value"], document.get("intervals", {}).get(key))
    return row


def _columns(key: str, value: Any, interval: Any) -> dict[str, float | None]:
    if isinstance(value, dict):
        if "columns" in value:
            return {}
        parts = [_columns(f"{key}[{name}]", entry, (interval or {}).get(name)) for name, entry in value.items()]
        return {name: entry for part in parts for name, entry in part.items()}
    if isinstance(value, str):
        return {}
    bounds = {f"{key}.{side}": interval.get(side) for side in ("low", "high")} if interval else {}
    return {key: value, **bounds}


def _common(paths: Sequence[Sequence[str]]) -> list[str]:
    shared = []
    for parts in zip(*(path[:-1] for path in paths), strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return shared


def _cell(value: Any) -> Text:
    """Return what a cell shows: as text, because names may hold what rich takes for its markup."""
    if pd.isna(value):
        return Text("")
    return Text(f"{value:.6g}" if isinstance(value, float) else str(value))
