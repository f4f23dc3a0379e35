"""Runs for Weights & Biases, written offline: `wandb sync` sends them when there is a network. Loads wandb.

A run is written into a folder of its own, and moved to its place when it is whole. Its name there ends with the run's id.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.export.exported_run import ExportedRun
from harness.export.numbers import utf8
from harness.export.outcome import Exported

__all__ = ["write"]

PROJECT = "harness"  # unless WANDB_PROJECT says another
FOLDER = "wandb"  # within the place, as the client has it


def write(runs: Sequence[ExportedRun], place: str) -> Exported:
    """Write a folder for each run that has none.

    Args:
      place: the folder that holds `wandb/`.
    """
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # it asks nobody
    home = Path(place).absolute() / FOLDER
    home.mkdir(parents=True, exist_ok=True)
    new = [run for run in runs if not any(home.glob(f"*-run-*-{run.id}"))]
    for run in new:
        with tempfile.TemporaryDirectory(prefix=".harness-", dir=home) as scratch:
            _log(run, scratch)
            (written,) = (Path(scratch) / FOLDER).glob(f"offline-run-*-{run.id}")
            for own in ("logs", "tmp"):  # the client's
                shutil.rmtree(written / own, ignore_errors=True)
            os.replace(written, home / written.name)
    return Exported(f"{home} (send them: wandb sync {home}/offline-run-*)", len(new), len(runs) - len(new))


def _log(run: ExportedRun, folder: str) -> None:
    """Log a run with the client."""
    import wandb

    settings = wandb.Settings(
        mode="offline", silent=True, console="off", disable_git=True, disable_code=True, disable_job_creation=True,
        save_code=False, x_disable_stats=True, x_disable_meta=True, x_disable_machine_info=True,
    )  # fmt: skip
    tracked: Any = wandb.init(
        project=os.environ.get("WANDB_PROJECT", PROJECT), dir=folder, id=run.id, name=utf8(run.name), group=run.series,
        job_type="evaluation", config=_config(run), settings=settings, reinit="create_new",
    )  # fmt: skip
    if tracked is None:
        raise HarnessError("wandb: the client began no run")
    for path in _files(run):
        shutil.copy2(path, tracked.dir)
        tracked.save(os.path.join(tracked.dir, path.name), base_path=tracked.dir, policy="now")
    tracked.log({name: value for number in run.numbers for name, value in number.quantities}, step=run.step or 0)
    nulls = {number.tracked_name: utf8(number.reason or "") for number in run.numbers if number.value is None}
    if nulls:
        tracked.summary["null"] = nulls
    tracked.finish(exit_code=0)


def _config(run: ExportedRun) -> dict[str, Any]:
    """Return what the run evaluated."""
    params = {utf8(key): utf8(value) for key, value in run.params.items()}
    digests = {f"{name}_digest": digest for name, digest in run.digests.items()}
    return {"job": params, "model": utf8(run.model), "step": run.step, "harness_version": run.version, **digests}


def _files(run: ExportedRun) -> Iterator[Path]:
    """Yield the files that go along."""
    folder = run.folder
    files = (folder.metrics_json, folder.metrics_csv, folder.run_json, folder.resolved_job_json, folder.report_html)
    yield from (path for path in files if path.is_file())
