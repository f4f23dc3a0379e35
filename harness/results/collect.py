"""Many runs in one table: one row a run, or one a slice of each, read from the files of their folders alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from harness.errors import UsageError, nearest
from harness.folder.output_file import write_output
from harness.folder.run_folder import RunFolder
from harness.job.prices import CostSpec
from harness.results.cost_tables import COLUMNS, cost_columns
from harness.results.metric_names import key_of, labels, with_metrics
from harness.results.run_document import document_of, object_of
from harness.results.tables import slice_value

__all__ = ["ABOUT", "Run", "check_ending", "collect", "frame", "read", "to_json", "with_some_metrics", "write_summary"]

ENDINGS = (".csv", ".parquet")
ABOUT = ("run", "state", "exit_code", "message", "model", "examples")


@dataclass(frozen=True)
class Run:
    """One run.

    Attributes:
      about: what is known of it whether or not it has ended, by the names in `ABOUT`.
      document: its result; empty where there is none.
      cost: what it cost, by the names in `cost_tables.COLUMNS`; empty where nobody asks.
    """

    about: Mapping[str, Any]
    document: Mapping[str, Any]
    cost: Mapping[str, Any] = field(default_factory=dict)

    @property
    def slices(self) -> Sequence[Mapping[str, Any]]:
        """The slices of the result."""
        return self.document.get("slices") or []


def read(runs: Sequence[Path], *, cost: bool = False, prices: CostSpec | None = None) -> list[Run]:
    """Read the folders of some runs.

    Args:
      cost: whether to say what they cost.
      prices: of what was used, instead of those of each run's job.

    Raises: UsageError: a run stands there twice, is a file, or none is there. RunFolderError: a file is not what a run writes.
    """
    paths = [path.absolute() for path in runs]
    if twice := sorted({str(path) for path in paths if paths.count(path) > 1}):
        raise UsageError(f"{', '.join(twice)}: stands there twice")
    if no_folder := next((path for path in paths if path.exists() and not path.is_dir()), None):
        raise UsageError(f"{no_folder}: expected the folder of a run, found a file")
    if paths and not any(path.exists() for path in paths):
        others = ", nor where the others should be" if len(paths) > 1 else ""
        raise UsageError(f"{paths[0]}: expected the folder of a run, found nothing there{others}")
    return [_read(RunFolder(path), cost=cost, prices=prices) for path in paths]


def with_some_metrics(runs: Sequence[Run], wanted: Sequence[str]) -> list[Run]:
    """Return the runs with some of their metrics.

    Args:
      runs: see `read`.
      wanted: keys or labels; a run may lack some of them.
    Raises: UsageError: no run has a metric of that name.
    """
    known = [labels(run.document) if run.document else {} for run in runs]
    keys = [{name: key_of(name, names) for name in wanted} for names in known]
    for name in wanted:
        if all(run_keys[name] is None for run_keys in keys):
            every = dict.fromkeys(text for names in known for pair in names.items() for text in pair)
            raise UsageError(f"--metric {name}: no run has one of that name: {nearest(name, list(every))}")
    return [
        replace(run, document=with_metrics(run.document, [key for key in run_keys.values() if key])) if run.document else run
        for run, run_keys in zip(runs, keys, strict=True)
    ]


def collect(runs: Sequence[Path]) -> pd.DataFrame:
    """Return one row a run; see `frame`.

    Raises: UsageError: a run stands there twice.
    """
    return frame(read(runs))


def frame(runs: Sequence[Run], *, slices: bool = False) -> pd.DataFrame:
    """Return one row a run: `run`, `state`, `exit_code`, `message`, `model`, `examples`, then a column for each number.

    Where runs were read with their cost, columns `cost.NAME` for each of `cost_tables.COLUMNS` come before the numbers.

    A metric that is a number is a column of its key, one by class has a column `KEY[CLASS]` for each, with `.low` and
    `.high` where there are intervals; what is null stays empty. A metric that is named like one of the first columns is
    `metrics.KEY`. Tables are in the runs' own files.

    Args:
      runs: see `read`.
      slices: whether each run is followed by a row for each of its slices; columns `slice:FEATURE` say which, and
        `examples` are the slice's.
    """
    features = dict.fromkeys(f"slice:{name}" for run in runs for part in run.slices for name in part["slice"]) if slices else {}
    rows = [row for run in runs for row in _rows(run, slices=slices)]
    costs = [f"cost.{name}" for name in COLUMNS] if any(run.cost for run in runs) else []
    first = [*ABOUT, *costs, *features]
    numbers = dict.fromkeys(name for row in rows for name in row if name not in first)
    table = pd.DataFrame(rows, columns=[*first, *numbers])
    for column in ("exit_code", "examples"):
        table[column] = table[column].astype("Int64")
    for column in [*numbers, *(name for name in costs if name != "cost.currency")]:
        table[column] = table[column].astype("float64")
    return table


def to_json(runs: Sequence[Run], *, slices: bool = False) -> list[dict[str, Any]]:
    """Return an object a run: what `ABOUT` names; of its metrics.json definitions, values, intervals, and slices if asked.

    Where runs were read with their cost, `cost` has that.
    """
    sections = ("definitions", "metrics", "bootstrap", "intervals", *(("slices", "slices_left_out") if slices else ()))
    return [
        {
            **run.about,
            **({"cost": dict(run.cost)} if run.cost else {}),
            **{name: run.document[name] for name in sections if name in run.document},
        }
        for run in runs
    ]


def write_summary(table: pd.DataFrame, path: Path) -> None:
    """Write the table as CSV or Parquet, by the file's ending.

    Raises: UsageError: another ending. RunFolderError: it cannot be written.
    """
    check_ending(path)
    write_output(path, table.to_csv(index=False) if path.suffix == ".csv" else table.to_parquet(index=False))


def check_ending(path: Path) -> None:
    """See that a summary can be written to a file of that name.

    Raises: UsageError: its ending says nothing.
    """
    if path.suffix not in ENDINGS:
        raise UsageError(f"-o {path}: expected a file that ends with {' or '.join(ENDINGS)}")


def _read(folder: RunFolder, *, cost: bool, prices: CostSpec | None) -> Run:
    document, run = document_of(folder), object_of(folder.run_json)
    status, failure = object_of(folder.status_json), object_of(folder.failure_json)
    # The batch script's own word of a job that ended before the run folder was its.
    early = object_of(folder.path / "slurm-status.json")
    code = _part(status, "gate").get("exit_code", 0) if document else status.get("exit_code", early.get("exit_code"))
    state = "done" if document else status.get("state") or ("failed" if early.get("exit_code") else "not begun")
    about = {
        "run": str(folder.path),
        "state": str(state),
        "exit_code": code if isinstance(code, int) else None,
        "message": "" if document else str(failure.get("message", "")),
        "model": str(_part(run, "model").get("path") or ""),
        "examples": document["certificate"]["examples"] if document else None,
    }
    return Run(about, document or {}, cost_columns(run, prices, str(folder.run_json)) if cost else {})


def _part(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = document.get(name)
    return part if isinstance(part, Mapping) else {}


def _rows(run: Run, *, slices: bool) -> list[dict[str, Any]]:
    """Return the row of a run, and those of its slices."""
    rows = [{**run.about, **{f"cost.{name}": amount for name, amount in run.cost.items()}, **_numbers(run.document)}]
    for part in run.slices if slices else ():
        values = {f"slice:{feature}": str(slice_value(value)) for feature, value in part["slice"].items()}
        rows.append({**run.about, "examples": part["examples"], **values, **_numbers(part)})
    return rows


def _numbers(part: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the numbers of a result, or of one of its slices, by column."""
    numbers: dict[str, float | None] = {}
    for key, entry in part.get("metrics", {}).items():
        numbers |= _columns(f"metrics.{key}" if key in ABOUT else key, entry["value"], part.get("intervals", {}).get(key))
    return numbers


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
