"""The long table of many runs: its columns, its rows, and how runs are added to a file that has some. Knows no format.

A file is read, added to and renamed as a whole while its folder is locked: of several jobs that end at once none loses a row.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.export.exported_run import ExportedRun
from harness.export.numbers import utf8
from harness.export.outcome import Exported
from harness.folder.output_file import write_output
from harness.folder.regular_files import read_regular

__all__ = ["COLUMNS", "add_runs", "not_a_table", "rows"]

# The id first: by it a run is known again. Those of NUMBERS are float64, and those of COUNTS int64.
COLUMNS = (
    "run_id", "run", "started_s", "step", "model", "metric", "label", "name", "slice", "value", "text", "low", "high",
    "standard_error", "method", "examples", "reason", "data_digest", "model_digest", "job_digest", "harness_version",
)  # fmt: skip


def rows(run: ExportedRun) -> Iterator[dict[str, Any]]:
    """Yield a row for each number of a run, by `COLUMNS`; `slice` is a mapping, and what is null or empty is None."""
    about = {
        "run_id": run.id, "run": utf8(run.name), "started_s": run.started_s or None, "step": run.step,
        "model": utf8(run.model) or None, "harness_version": run.version or None,
        **{f"{name}_digest": digest or None for name, digest in run.digests.items()},
    }  # fmt: skip
    for number in run.numbers:
        row = {
            **about, "metric": utf8(number.key), "label": utf8(number.label), "name": utf8(number.name) or None,
            "slice": {utf8(feature): utf8(value) if isinstance(value, str) else value for feature, value in number.slice.items()},
            "value": number.number, "text": utf8(number.value) if isinstance(number.value, str) else None, "low": number.low,
            "high": number.high, "standard_error": number.standard_error, "method": number.method, "examples": number.examples,
            "reason": None if number.reason is None else utf8(number.reason),
        }  # fmt: skip
        yield {column: row[column] for column in COLUMNS}


def add_runs(
    runs: Sequence[ExportedRun], place: str, ids: Callable[[bytes], set[str]], joined: Callable[[bytes, Sequence[Any]], bytes]
) -> Exported:
    """Add runs to a file, those alone that are not in it.

    Args:
      place: of the file.
      ids: says which runs a file holds. Raises UsageError where it is no such table.
      joined: returns the file with more rows.
    """
    path = Path(os.path.realpath(place))
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path.parent):
        before = _content(path)
        there = ids(before) if before else set()
        new = [run for run in runs if run.id not in there]
        if new or not before:
            write_output(path, joined(before, [row for run in new for row in rows(run)]))
    return Exported(place, len(new), len(runs) - len(new))


def not_a_table(place: str, expected: str) -> UsageError:
    """Return the error of a file that `harness export` did not write."""
    return UsageError(f"{place}: expected {expected} that harness export wrote, found something else; choose another file")


def _content(path: Path) -> bytes:
    try:
        return read_regular(path)
    except FileNotFoundError:
        return b""
    except OSError as exc:
        raise UsageError(f"{path}: cannot be read: {exc.strerror}; choose another file") from exc


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep others who write tables out of a folder. A file system that has no locks is used without."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
