"""Runs for MLflow, through its own client: a server's URI, or an SQLite file. Loads mlflow.

A run carries its id as a tag. It is marked as finished last, so one that an export left halfway is gone on with: MLflow keeps
the same number of the same step and time once.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.export.exported_run import ExportedRun
from harness.export.numbers import short_name, utf8
from harness.export.outcome import Exported
from harness.results.metric_names import exporter_name

__all__ = ["write"]

EXPERIMENT = "harness"  # unless MLFLOW_EXPERIMENT_NAME says another
RUN_ID = "harness.run_id"
FINISHED = "FINISHED"
LONGEST_NAME = 250
LONGEST_PARAM, LONGEST_TAG = 6000, 5000  # letters of a value
BATCH = 100  # params or metrics of a request: as many as MLflow takes of both
SQLITE = "sqlite:///"
# Unless the environment says otherwise: nobody else is asked, and a server that does not answer is given up after a minute.
SETTINGS = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}


def write(runs: Sequence[ExportedRun], place: str) -> Exported:
    """Log each run that is not there yet.

    Args:
      place: tracking URI.
    """
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    for name in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(name).setLevel(logging.WARNING)
    if place.startswith(SQLITE):
        Path(place.removeprefix(SQLITE)).absolute().parent.mkdir(parents=True, exist_ok=True)
    client = MlflowClient(tracking_uri=place)
    experiment = _experiment(client, place)
    added = sum(_add(client, experiment, run) for run in runs)
    return Exported(place, added, len(runs) - added)


def _experiment(client: Any, place: str) -> str:
    """Return the id of the experiment, which is made where there is none: that of an SQLite file keeps artifacts beside it."""
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
    if (experiment := client.get_experiment_by_name(name)) is not None:
        return str(experiment.experiment_id)
    beside = Path(place.removeprefix(SQLITE)).absolute().parent / "mlartifacts" / exporter_name(name).replace(":", "_")
    return str(client.create_experiment(name, artifact_location=beside.as_uri() if place.startswith(SQLITE) else None))


def _add(client: Any, experiment: str, run: ExportedRun) -> bool:
    """Log a run; say whether it was not there."""
    from mlflow.entities import Metric, Param, RunTag

    known = client.search_runs([experiment], filter_string=f"tags.`{RUN_ID}` = '{run.id}'")
    if any(entry.info.status == FINISHED for entry in known):
        return False
    at_ms = int(run.started_s * 1000)
    name = utf8(run.name)
    entry = known[0] if known else client.create_run(experiment, start_time=at_ms, tags={RUN_ID: run.id}, run_name=name)
    number = entry.info.run_id
    params = [Param(_name(key), _cut(value, LONGEST_PARAM)) for key, value in run.params.items()]
    metrics = [Metric(name, value, at_ms, run.step or 0) for name, value in _numbers(run).items()]
    tags = [RunTag(_name(key), _cut(value, LONGEST_TAG)) for key, value in _tags(run).items()]
    for start in range(0, max(map(len, (params, metrics, tags))), BATCH):
        client.log_batch(number, *(entries[start : start + BATCH] for entries in (metrics, params, tags)))
    for path in _artifacts(run):
        client.log_artifact(number, str(path))
    client.set_terminated(number, FINISHED, end_time=at_ms)
    return True


def _numbers(run: ExportedRun) -> dict[str, float]:
    return {_name(name): value for number in run.numbers for name, value in number.quantities}


def _tags(run: ExportedRun) -> dict[str, str]:
    """Return the tags of a run: what it evaluated, and why values of the whole are null."""
    digests = {f"harness.{name}_digest": digest for name, digest in run.digests.items() if digest}
    nulls = {
        f"null/{number.tracked_name}": number.reason or "" for number in run.numbers if number.value is None and not number.slice
    }
    about = {
        "harness.version": run.version,
        "harness.model": run.model,
        "harness.step": "" if run.step is None else str(run.step),
    }
    return {**digests, **{name: value for name, value in about.items() if value}, **nulls}


def _artifacts(run: ExportedRun) -> Iterator[Path]:
    """Yield the files that go along: the result, how it ran, the job, its tables, its page and its verdict."""
    folder = run.folder
    keys = [key for key, entry in run.document["metrics"].items() if isinstance(entry["value"], dict)]
    files = (
        folder.metrics_json, folder.metrics_csv, folder.run_json, folder.resolved_job_json, folder.report_html, folder.gate_json,
        *(folder.table_csv(key) for key in keys),
    )  # fmt: skip
    yield from (path for path in files if path.is_file())


def _name(name: str) -> str:
    """Return a name that MLflow takes: one that has other letters is escaped, as those of numbers are already."""
    safe = name if all(letter.isascii() and (letter.isalnum() or letter in "_-./ :") for letter in name) else exporter_name(name)
    return short_name(safe, LONGEST_NAME)


def _cut(value: str, longest: int) -> str:
    text = utf8(value)
    return text if len(text) <= longest else f"{text[: longest - 3]}..."
