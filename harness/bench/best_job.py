"""The job with the best setting of a sweep, as a file that can be run. Pure."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from harness.bench.rules import LAUNCHED, Scaling, Trial
from harness.job.job import Job

__all__ = ["best_job"]


def best_job(path: Path, setting: Mapping[str, str], overrides: Sequence[str], folder: Path, result: str = "") -> str:
    """Return a job file.

    Args:
      path: of the job file that was benched.
      setting: the best.
      overrides: of all trials.
      folder: where the file will lie: relative paths of data and models are made anew.
      result: what the setting changes in the result, in words.
    """
    trial = Trial(tuple(setting.items()), 0, Scaling.STRONG, 1, 1)
    best = Job.load(path, [*overrides, *trial.overrides(None, 1)])
    keys = best.resolved
    keys["data"] = {**keys["data"], "files": [_moved(path, best, folder) for path in best.data.files]}
    for spec in [keys.get("model"), *(keys.get("models") or {}).values()]:
        if spec and spec.get("path"):
            spec["path"] = _moved(spec["path"], best, folder)
    if isinstance(keys["data"].get("classes"), str):
        keys["data"]["classes"] = _moved(keys["data"]["classes"], best, folder)
    for key in ("rules", "baseline"):
        named = (keys.get("gate") or {}).get(key)
        if isinstance(named, str) and os.path.exists(best.resolve(named)):  # a baseline may be a name
            keys["gate"][key] = _moved(named, best, folder)
    for key in ("output", "export", "monitor"):
        keys.pop(key, None)
    said = ", ".join(f"{key}={value}" for key, value in setting.items())
    head = [f"# {best.name}, with what a sweep of harness bench found to be fastest: {said}"]
    if result:
        head.append(f"# Its result is not that of the first setting: {result}")
    if LAUNCHED in setting:
        head.append(f"# Start it with HARNESS_THREADS={setting[LAUNCHED]}: the threads of a rank are no key of a job.")
    if _has_code(keys):
        head.append(f"# Modules are looked for beside the job: move this file to {best.folder} for those that it names.")
    return "\n".join(head) + "\n" + yaml.safe_dump(keys, sort_keys=False, allow_unicode=True)


def _moved(path: str, job: Job, folder: Path) -> str:
    """Return a path of the job as it is seen from another folder."""
    if "://" in path or os.path.isabs(path):
        return path
    return os.path.relpath(job.resolve(path), folder)


def _has_code(keys: Any) -> bool:
    if isinstance(keys, Mapping):
        return any(key in ("python", "transform", "filter") or _has_code(value) for key, value in keys.items())
    return isinstance(keys, list) and any(_has_code(value) for value in keys)
