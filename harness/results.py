"""Values -> tables -> files. Writes what people and scripts read; computes nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd

from harness.metrics.contract import Table
from harness.runfolder import RunFolder, write_atomically
from harness.state import Result

__all__ = ["long_form", "to_json", "write"]


def to_json(results: Mapping[str, Result]) -> dict[str, Any]:
    """Return what metrics.json holds of the metrics: value, examples, and the reason where the value is null."""
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
    if result.reason:
        entry["reason"] = result.reason
    return entry


def long_form(results: Mapping[str, Result]) -> pd.DataFrame:
    """Return one line per number: metric, class, value, low, high, examples, reason."""
    lines = []
    for key, result in results.items():
        if isinstance(result.value, Table):
            continue  # has a file of its own
        values = result.value if isinstance(result.value, Mapping) else {"": result.value}
        for name, value in values.items():
            lines.append(
                {"metric": key, "class": name, "value": value, "low": None, "high": None, "examples": result.examples,
                 "reason": result.reason}
            )  # fmt: skip
    columns = ["metric", "class", "value", "low", "high", "examples", "reason"]
    return pd.DataFrame(lines, columns=columns)


def write(folder: RunFolder, results: Mapping[str, Result], document: Mapping[str, Any]) -> None:
    """Write tables and metrics.csv, and metrics.json last: it is what says that the run is done.

    Args:
      folder: run folder.
      results: by metric key.
      document: all of metrics.json.
    """
    for key, result in results.items():
        if isinstance(result.value, Table):
            table = pd.DataFrame(list(result.value.rows), columns=list(result.value.columns))
            write_atomically(folder.table_csv(key), table.to_csv(index=False))
    write_atomically(folder.metrics_csv, long_form(results).to_csv(index=False))
    # allow_nan: a NaN or an infinity in a result would be a bug; better no file than such a file
    text = json.dumps(document, sort_keys=True, indent=1, allow_nan=False)
    write_atomically(folder.metrics_json, text + "\n")
