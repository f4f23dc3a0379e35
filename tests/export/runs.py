"""Finished runs written by hand: hostile names, values that formats like to lose, and many slices."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

__all__ = ["FLOATS", "HOSTILE", "checkpoint", "hostile", "write"]

HOSTILE = (
    "a/b", "two words", "größe", "</script><script>alert(1)</script>", "", ".", "..", "cat: low", "x\ny\r\tz", 'q"\\', "=1+1", "\ud800",
    "n" * 400, "日本", "a,b", "NaN",
)  # fmt: skip
# What decimal forms, float32 and spreadsheets do not hold.
FLOATS = (0.1 + 0.2, 1 / 3, 5e-324, 1.7976931348623157e308, -0.0, 1e-310, 123456789.12345678, math.nextafter(1.0, 0.0))


def write(folder: Path, metrics: dict[str, Any], started: str = "2026-01-02T03:04:05+00:00", **files: Any) -> Path:
    """Write a finished run.

    Args:
      metrics: entries of `metrics`.
      started: when its attempt began.
      files: `model`, the path of the model; `job`, the resolved job; all else are sections of metrics.json.
    """
    folder.mkdir(parents=True)
    run = {"attempts": [{"attempt": 1, "started": started}], "model": {"path": files.pop("model", "models/m")}}
    job = files.pop("job", {"model": {"path": "models/m"}, "metrics": [{"name": "accuracy"}], "batch_size": 16})
    document = {
        "certificate": {"examples": 1000, "chunks": 4, "id_hash": "0123456789abcdef"},
        "digests": {"data": "d" * 64, "job": "e" * 64, "model": "f" * 64},
        "harness_version": "0.1.0", "schema_version": 1, "metrics": metrics, **files,
    }  # fmt: skip
    for name, content in {"metrics": document, "run": run, "resolved_job": job}.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    (folder / "metrics.csv").write_text("metric\n")
    return folder


def hostile(folder: Path, slices: int = 1000) -> Path:
    """Write a run whose classes, features and values are called as badly as texts can be."""
    values = {name: FLOATS[place % len(FLOATS)] for place, name in enumerate(HOSTILE)}
    metrics = {
        "accuracy": {"value": FLOATS[0], "examples": 7},
        "recall": {"value": {**values, "low": 0.25, "undefined": None}, "examples": 7, "reason": "never\na label"},
        "r2": {"value": None, "reason": "0/0", "examples": 7},
        "hits": {"value": 5, "examples": 7},
        "best": {"value": "a text", "examples": 7},
        "matrix": {"value": {"columns": ["label", "cat"], "rows": [["cat", 3]]}, "examples": 7},
        **{f"loss of {name}": {"value": FLOATS[place % len(FLOATS)], "examples": 7} for place, name in enumerate(HOSTILE)},
    }
    parts = [
        {
            "slice": {HOSTILE[i % len(HOSTILE)] or "empty": f"{HOSTILE[i // 7 % len(HOSTILE)]}{i}", "age": i},
            "examples": i,
            "metrics": {"accuracy": {"value": 1 / (i + 3), "examples": i}, "r2": {"value": {"only here": i / 7}, "examples": i}},
            "intervals": {"accuracy": {"low": 0.0, "high": 1.0, "standard_error": 0.1, "method": "percentile"}},
        }
        for i in range(slices)
    ]
    intervals = {"accuracy": {"low": 0.25, "high": 1 / 3, "standard_error": None, "method": "percentile"}}
    job = {
        "model": {"path": "m"},
        "data": {"label": "</script>", "files": ["a b.csv"] * 2000},
        "größe": {"a/b": [1, {"c": None}]},
    }
    return write(folder, metrics, slices=parts, slices_left_out=0, intervals=intervals, job=job)


def checkpoint(folder: Path, step: int, value: float, started: str = "2026-01-02T03:04:05+00:00") -> Path:
    """Write the run of a checkpoint."""
    digests = {"data": "d" * 64, "job": "e" * 64, "model": f"{step:064x}"}
    metrics = {"accuracy": {"value": value, "examples": 1000}}
    return write(folder / f"run-{step}", metrics, started, model=f"models/ckpt-{step}.keras", digests=digests)
