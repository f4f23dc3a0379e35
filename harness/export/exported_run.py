"""A finished run as others get it: which run it is, what it evaluated, and at which step. Read from its folder alone.

The id is made of what the folder holds, so that nothing has to be written into it for a second export to know the run again.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.export.numbers import Measured, measured
from harness.folder.run_folder import RunFolder, read_json
from harness.results.run_document import finished

__all__ = ["ExportedRun", "in_order", "read_run", "read_runs", "step_in"]

ID_DIGITS = 16  # hexadecimal: 64 bits
# What people, Keras and trainers call checkpoints.
STEP = re.compile(r"(?<![a-z])(?:(step)|ckpt|checkpoint|epoch|iter|iteration)s?[-_.= ]?(\d+)", re.IGNORECASE)
NUMBER_ALONE = re.compile(r"()(\d+)(?:\.\w+)?")  # the version of a SavedModel


@dataclass(frozen=True)
class ExportedRun:
    """One finished run.

    Attributes:
      folder: where it lies.
      document: what metrics.json holds.
      job: the keys of the job that are not at their defaults.
      id: 16 hexadecimal digits, of `metrics.json` and of the attempts in `run.json`: another for each execution of a job.
      model: path of the model; empty where it came from Python.
      step: of the checkpoint; None where no name tells one.
      series: 16 hexadecimal digits of what checkpoints of one model on one job and data have in common.
      series_name: the last part of the path that tells the step, without its number.
      started_s: when its first attempt began, in seconds since 1970; 0 where that is not known.
    """

    folder: RunFolder
    document: Mapping[str, Any]
    job: Mapping[str, Any]
    id: str
    model: str
    step: int | None
    series: str
    series_name: str
    started_s: float

    @property
    def name(self) -> str:
        """The name of its folder."""
        return self.folder.path.absolute().name

    @property
    def numbers(self) -> list[Measured]:
        """The numbers of the whole, then those of each slice."""
        return measured(self.document)

    @property
    def examples(self) -> int:
        """How many examples were counted."""
        return int(self.document["certificate"]["examples"])

    @property
    def digests(self) -> dict[str, str]:
        """SHA-256 of data, model and job, by these names; empty texts in a document of an early version."""
        digests = self.document.get("digests") or {}
        return {name: str(digests.get(name, "")) for name in ("data", "model", "job")}

    @property
    def version(self) -> str:
        """Version of the harness that evaluated."""
        return str(self.document.get("harness_version", ""))

    @property
    def params(self) -> dict[str, str]:
        """The keys of the job as texts, nested ones joined by dots: {"data.label": "label"}."""
        return dict(_flat(self.job, ""))


def read_run(path: Path) -> ExportedRun:
    """Read the folder of a finished run.

    Raises: RunFolderError: it holds none, or a file is torn.
    """
    folder = RunFolder(path)
    document = finished(folder)
    run, job = (_mapping(read_json(file)) for file in (folder.run_json, folder.resolved_job_json))
    attempts = run.get("attempts")
    attempts = attempts if isinstance(attempts, list) else []
    identity = json.dumps([document, attempts], sort_keys=True).encode()
    model = _mapping(run.get("model"))
    several = len(_mapping(job.get("models"))) > 1
    model_path = "" if several else str(model.get("path") or "")
    version = _mapping(job.get("model")).get("version")
    if isinstance(version, int) and Path(model_path).name != str(version):
        model_path = f"{model_path}/{version}"
    step, series = step_in([model_path, folder.path.absolute().name])
    digests = _mapping(document.get("digests"))
    return ExportedRun(
        folder, document, job, hashlib.sha256(identity).hexdigest()[:ID_DIGITS], model_path, step,
        hashlib.sha256(json.dumps([digests.get("job"), digests.get("data"), series]).encode()).hexdigest()[:ID_DIGITS],
        Path(series).stem, _started_s(attempts),
    )  # fmt: skip


def read_runs(paths: Sequence[Path]) -> list[ExportedRun]:
    """Read the folders of some finished runs, in order; see `in_order`. Of copies of a run there is one.

    Raises: UsageError: a folder stands there twice. RunFolderError: one holds no finished run.
    """
    whole = [path.absolute() for path in paths]
    if twice := sorted({str(path) for path in whole if whole.count(path) > 1}):
        raise UsageError(f"{', '.join(twice)}: stands there twice")
    return in_order({run.id: run for run in map(read_run, paths)}.values())


def in_order(runs: Any) -> list[ExportedRun]:
    """Return runs as trackers are to get them: checkpoints by their steps, others after them as they began."""
    return sorted(runs, key=lambda run: (run.step is None, run.step or 0, run.started_s, run.name, run.id))


def step_in(paths: Sequence[str]) -> tuple[int | None, str]:
    """Return the step that the first path tells, and that path without the number; of none the first path.

    A step is the number behind `step`, else `ckpt`, `checkpoint`, `epoch` or `iter`, in the last part of a path, or that
    part where it is a number alone, as the versions of a SavedModel are.

    >>> step_in(["models/ckpt-100.keras", "runs/a"]), step_in(["m/resnet50", "runs/step-20"]), step_in(["models/7", "a"])
    ((100, 'models/ckpt-.keras'), (20, 'runs/step-'), (7, 'models/'))
    >>> step_in(["resnet50.keras", "runs/vgg16"])
    (None, 'resnet50.keras')
    """
    for path in paths:
        place = path.rstrip("/").rpartition("/")[2]
        matches = list(STEP.finditer(place))
        match = next((match for match in matches if match[1]), matches[-1]) if matches else NUMBER_ALONE.fullmatch(place)
        if match is not None and int(match[2]) < 1 << 63:
            folder = path.rstrip("/").removesuffix(place)
            return int(match[2]), f"{folder}{place[: match.start(2)]}{place[match.end(2) :]}"
    return None, paths[0]


def _flat(part: Mapping[str, Any], prefix: str) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for key, value in part.items():
        if isinstance(value, Mapping):
            pairs += _flat(value, f"{prefix}{key}.")
        else:
            pairs.append((f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value)))
    return pairs


def _started_s(attempts: Sequence[Any]) -> float:
    try:
        return datetime.fromisoformat(attempts[0]["started"]).timestamp()
    except (IndexError, KeyError, TypeError, ValueError):
        return 0.0


def _mapping(document: Any) -> dict[str, Any]:
    return document if isinstance(document, dict) else {}
