"""Values -> tables -> files. Writes what people and scripts read; computes nothing."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.folder.run_folder import RunFolder, write_atomically
from harness.job.specs import BootstrapSpec
from harness.metrics.contract import Table
from harness.results.differences import differences
from harness.results.intervals import Interval
from harness.results.outcome import Intervals, Outcome
from harness.results.tables import slice_value
from harness.results.values import Result

__all__ = ["derived", "differences_json", "interval_json", "long_form", "to_json", "write"]


def to_json(outcome: Outcome) -> dict[str, Any]:
    """Return what metrics.json holds of an outcome: metrics, slices, intervals."""
    document: dict[str, Any] = {"metrics": _metrics(outcome.results)}
    if outcome.intervals:
        document["intervals"] = _intervals(outcome.intervals)
    if outcome.slices or outcome.left_out:
        document["slices"] = []
        for slice_ in outcome.slices:
            entry: dict[str, Any] = {
                "slice": dict(zip(slice_.key.features, slice_.key.values, strict=True)),
                "examples": slice_.examples,
                "metrics": _metrics(slice_.results),
            }
            if slice_.intervals:
                entry["intervals"] = _intervals(slice_.intervals)
            document["slices"].append(entry)
        document["slices_left_out"] = outcome.left_out
    return document


def _metrics(results: Mapping[str, Result]) -> dict[str, Any]:
    return {key: _entry(result) for key, result in results.items()}


def _entry(result: Result) -> dict[str, Any]:
    value = result.value
    if isinstance(value, Table):
        value = {"columns": list(value.columns), "rows": [list(row) for row in value.rows]}
    entry: dict[str, Any] = {"value": value, "examples": result.examples}
    if result.positions != result.examples:
        entry["positions"] = result.positions
    if result.standard_error is not None:
        entry["standard_error"] = result.standard_error
    elif result.no_error is not None:
        entry |= {"standard_error": None, "standard_error_reason": result.no_error}
    if result.support is not None:
        entry["support"] = dict(result.support)
    if result.bounds is not None:
        entry["bounds"] = dict(zip(("at_least", "at_most"), result.bounds, strict=True))
    if result.reason:
        entry["reason"] = result.reason
    return entry


def _intervals(intervals: Intervals) -> dict[str, Any]:
    return {
        key: interval_json(interval)
        if isinstance(interval, Interval)
        else {name: interval_json(class_interval) for name, class_interval in interval.items()}
        for key, interval in intervals.items()
    }


def interval_json(interval: Interval) -> dict[str, Any]:
    """Return what metrics.json holds of an interval."""
    entry = {key: value for key, value in asdict(interval).items() if key not in ("reason", "undefined")}
    if interval.undefined:
        entry["undefined"] = interval.undefined
    if interval.reason:
        entry["reason"] = interval.reason
    return entry


def differences_json(outcome: Outcome, models: Sequence[str], bootstrap: BootstrapSpec | None) -> dict[str, Any]:
    """Return what metrics.json holds of several models: the differences from the first; nothing of one model."""
    if len(models) < 2:
        return {}
    document: dict[str, Any] = {}
    for difference in differences(outcome, models, bootstrap.level if bootstrap else None):
        interval = {"interval": interval_json(difference.interval)} if difference.interval else {}
        entries = document.setdefault(f"{difference.model} - {models[0]}", {})
        entries[difference.metric] = {"value": difference.value, **interval}
    return {"differences": document}


def long_form(outcome: Outcome) -> pd.DataFrame:
    """Return one line per number: metric, slice features, class, value, low, high, standard error, examples, reason.

    With a bootstrap, the method of the interval comes last.
    """
    features = list(dict.fromkeys(name for slice_ in outcome.slices for name in slice_.key.features))
    lines = list(_lines(outcome.results, outcome.intervals, {}))
    for slice_ in outcome.slices:
        lines += _lines(slice_.results, slice_.intervals, dict(zip(slice_.key.features, slice_.key.values, strict=True)))
    columns = [
        "metric",
        *(f"slice:{f}" for f in features),
        "class",
        "value",
        "low",
        "high",
        "standard_error",
        "examples",
        "reason",
        *(["method"] if outcome.intervals else []),
    ]
    return pd.DataFrame(lines, columns=columns)


def _lines(results: Mapping[str, Result], intervals: Intervals, where: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for key, result in results.items():
        if isinstance(result.value, Table):
            continue  # has a file of its own
        values = result.value if isinstance(result.value, Mapping) else {"": result.value}
        for name, value in values.items():
            entry: Any = intervals.get(key)
            interval = entry if isinstance(entry, Interval) else (entry or {}).get(name)
            yield {
                "metric": key,
                **{f"slice:{feature}": slice_value(at) for feature, at in where.items()},
                "class": name,
                "value": value,
                "low": interval.low if interval else None,
                "high": interval.high if interval else None,
                "standard_error": interval.standard_error if interval else result.standard_error,
                "examples": result.examples,
                "reason": result.reason,
                "method": interval.method if interval else None,
            }


def derived(folder: RunFolder, outcome: Outcome) -> dict[Path, bytes]:
    """Return what stands beside metrics.json: a file for each table, the replicates, metrics.csv."""
    contents: dict[Path, bytes] = {}
    for key, result in outcome.results.items():
        if isinstance(result.value, Table):
            table = pd.DataFrame(list(result.value.rows), columns=list(result.value.columns))
            contents[folder.table_csv(key)] = table.to_csv(index=False).encode()
    kept = {folder.replicates_npz: outcome.replicates, folder.slice_replicates_npz: outcome.slice_replicates}
    for path, replicates in kept.items():
        if replicates:
            buffer = io.BytesIO()
            np.savez(buffer, **replicates)  # type: ignore[arg-type]
            contents[path] = buffer.getvalue()
    contents[folder.metrics_csv] = long_form(outcome).to_csv(index=False).encode()
    return contents


def write(folder: RunFolder, outcome: Outcome, summary: Mapping[str, Any]) -> None:
    """Write tables, replicates and metrics.csv, and metrics.json last: it is what says that the run is done.

    Args:
      folder: run folder.
      outcome: what is reported.
      summary: what else metrics.json holds.
    """
    for path, content in derived(folder, outcome).items():
        write_atomically(path, content)
    # allow_nan: a NaN or an infinity in a result would be a bug; better no file than such a file
    text = json.dumps({**summary, **to_json(outcome)}, sort_keys=True, indent=1, allow_nan=False)
    write_atomically(folder.metrics_json, text + "\n")
