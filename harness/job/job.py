"""The job: what to evaluate. Loads, validates the form of, resolves and digests a job; opens no data and no model.

A job is a YAML file or the same thing in Python. Whether its metrics exist is said by the registry of metrics, whether
its files exist by the data; this room knows keys and types only, and looks whether data without a format are a folder.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PrivateAttr, ValidationError, field_validator, model_validator

from harness.errors import JobError
from harness.job.file_text import read_text
from harness.job.messages import VALUE_CHARACTERS, explain, other_than_a_job
from harness.job.model_spec import ENDPOINT_KEYS
from harness.job.monitor_spec import MonitorSpec
from harness.job.overrides import apply_override
from harness.job.plain_texts import check_texts, unusable
from harness.job.prices import CostSpec
from harness.job.specs import (
    BootstrapSpec,
    DataSpec,
    ExamplesSpec,
    GateSpec,
    MetricSpec,
    ModelSpec,
    PredictionsSpec,
    SlicesSpec,
    Spec,
)
from harness.job.yaml_text import DEPTH, depth, parse
from harness.names.texts import shortened
from harness.names.urls import secret_in

__all__ = ["Job"]

MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class Job(Spec):
    """What to evaluate: model, data, metrics."""

    model: ModelSpec | None = None
    models: dict[str, ModelSpec] = Field(default_factory=dict)
    data: DataSpec
    metrics: tuple[MetricSpec, ...] = ()
    slices: SlicesSpec | None = None
    bootstrap: BootstrapSpec | None = None
    examples: ExamplesSpec | None = None
    batch_size: int = Field(64, ge=1, le=1 << 20)
    chunk_size: int | None = Field(None, ge=1)
    seed: int = 0
    eager: bool = False
    schedule: Literal["static", "dynamic"] | None = None  # how chunks come to ranks; the result does not depend on it
    predictions: PredictionsSpec | None = None
    gate: GateSpec | None = None
    report: bool = False
    cost: CostSpec | None = None  # of an hour and a kilowatt-hour
    monitor: MonitorSpec | None = None  # how a run fares, for Prometheus
    export: tuple[str, ...] = ()  # targets that the run is handed on to when it is done; which there are is known to the export
    output: str | None = None

    _folder: Path = PrivateAttr(default=Path("."))
    _name: str = PrivateAttr(default="job")

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, raw: Any) -> Any:
        if not isinstance(raw, Mapping):
            return raw
        raw = dict(raw)
        if isinstance(raw.get("model"), str):
            raw["model"] = {"path": raw["model"]}
        if isinstance(raw.get("models"), Mapping):
            raw["models"] = {str(name): {"path": spec} if isinstance(spec, str) else spec for name, spec in raw["models"].items()}
        if isinstance(raw.get("data"), str | list):
            raw["data"] = {"files": raw["data"]}
        for key in ("metrics", "export"):
            if isinstance(raw.get(key), str):
                raw[key] = [raw[key]]
        return raw

    @field_validator("metrics")
    @classmethod
    def _some_metrics(cls, metrics: tuple[MetricSpec, ...]) -> tuple[MetricSpec, ...]:
        if not metrics:
            raise ValueError("expected at least one metric, found an empty list")
        return metrics

    @field_validator("models")
    @classmethod
    def _names(cls, models: dict[str, ModelSpec]) -> dict[str, ModelSpec]:
        for name in models:
            if not MODEL_NAME.fullmatch(name):
                raise ValueError(
                    f"a model's name is made of letters, digits and -_. and begins with none of these, found {name!r}"
                )
        return models

    @field_validator("output")
    @classmethod
    def _a_folder(cls, output: str | None) -> str | None:
        if output is not None and (problem := unusable(output)):
            raise ValueError(f"expected a folder, found a path that none can have: {problem}")
        return output

    @model_validator(mode="after")
    def _whole(self) -> Job:
        if (self.model is None) == (not self.models):
            raise ValueError("'model' is missing" if self.model is None else "expected model or models, found both")
        if not self.metrics and self.predictions is None:
            raise ValueError("'metrics' is missing")
        if not self.metrics and (self.slices or self.bootstrap or self.examples):
            raise ValueError("slices, bootstrap and examples: expected at least one metric, found none")
        if self.examples and self.examples.per == "slice" and not self.slices:
            raise ValueError("examples.per: slice: the job has no slices")
        self._no_secrets()
        return self

    def _no_secrets(self) -> None:
        """Refuse paths with secrets in them: they are printed, and recorded in the run folder."""
        classes = self.data.classes if isinstance(self.data.classes, str) else None
        paths: list[tuple[str, Any]] = [("data.files", path) for path in self.data.files] + [
            ("data.classes", classes),
            ("output", self.output),
        ]
        paths += [(f"models.{name}.path" if name else "model.path", spec.path) for name, spec in self.named_models.items()]
        paths += [
            (f"models.{name}.endpoint" if name else "model.endpoint", url)
            for name, spec in self.named_models.items()
            for url in spec.endpoints
        ]
        paths += [("export", target) for target in self.export]
        if self.gate is not None:
            paths += [("gate.rules", self.gate.rules), ("gate.baseline", self.gate.baseline)]
        for key, path in paths:
            if isinstance(path, str) and (secret := secret_in(path)):
                raise ValueError(f"{key}: a URL carries {secret}: paths are printed and recorded; use the environment ({path})")

    @classmethod
    def load(cls, path: str | Path, overrides: Iterable[str] = (), *, predicts: bool = False) -> Job:
        """Read a job file, with `key.path=value` overrides applied before it is validated.

        Args:
          predicts: whether the job is to predict, and so may do without metrics.
        Raises: JobError: the file, a key or a value is wrong.
        """
        path = Path(path)
        if problem := unusable(str(path)):
            raise JobError(f"{shortened(str(path), VALUE_CHARACTERS)}: no such job file: {problem}")
        if kind := other_than_a_job(path):
            raise JobError(kind)
        try:
            raw = parse(read_text(path), str(path))
        except FileNotFoundError:
            raise JobError(f"{path}: no such job file") from None
        if predicts and isinstance(raw, Mapping):
            raw = {"predictions": {}, **raw}
        return cls.from_dict(raw, folder=path.parent, name=path.stem, where=str(path), overrides=overrides)

    @classmethod
    def from_dict(
        cls,
        raw: Any,
        *,
        folder: str | Path = ".",
        name: str = "job",
        where: str = "job",
        overrides: Iterable[str] = (),
    ) -> Job:
        """Validate a job given as nested dictionaries; relative paths are taken from `folder`."""
        if not isinstance(raw, Mapping):
            raise JobError(f"{where}: expected keys and values, found {type(raw).__name__}")
        try:
            merged = json.loads(json.dumps(raw, default=str))
        except (TypeError, ValueError, RecursionError) as exc:
            # A key that is no text, a number of thousands of digits, something that contains itself.
            problem = " ".join(str(exc).split())[:VALUE_CHARACTERS]
            raise JobError(f"{where}: expected values that JSON can hold: {problem}") from None
        for override in overrides:
            apply_override(merged, override)
        if depth(merged) > DEPTH:
            raise JobError(f"{where}: keys are nested more than {DEPTH} deep; a job needs no more")
        if problem := check_texts(merged):
            raise JobError(f"{where}: {problem}")
        try:
            job = cls.model_validate(merged, context={"folder": Path(folder)})
        except ValidationError as exc:
            raise JobError("\n".join(f"{where}: {line}" for line in explain(exc, cls))) from None
        job._folder = Path(folder)
        job._name = name
        return job

    @property
    def folder(self) -> Path:
        """Where the job file lies."""
        return self._folder

    @property
    def name(self) -> str:
        """The job file's name without its ending."""
        return self._name

    def resolve(self, path: str) -> str:
        """Return a path of the job as one that can be opened: relative ones lie beside the job file."""
        return path if "://" in path else str(self._folder / path)

    @property
    def output_folder(self) -> Path:
        """The run folder that the job names; runs/NAME beside the job file where it names none."""
        return Path(self.resolve(self.output or f"runs/{self._name}"))

    @property
    def named_models(self) -> dict[str, ModelSpec]:
        """The models by name; a job's only one has none."""
        return dict(self.models) if self.model is None else {"": self.model}

    @property
    def has_own_metrics(self) -> bool:
        """Whether a metric is code of the user's own: module:Class."""
        return any(":" in metric.name for metric in self.metrics)

    @property
    def resolved(self) -> dict[str, Any]:
        """All keys that are not at their defaults, as JSON holds them."""
        return self.model_dump(mode="json", exclude_defaults=True)

    @property
    def keys_of_values(self) -> dict[str, Any]:
        """Those of them that can change a value."""
        place = {
            "path",
            "endpoint",
            "version",
            "node_copy",
            "node_copy_bytes",
            *ENDPOINT_KEYS,
        }  # what lies there is in the model's own digest
        elsewhere: Any = {
            "output": True,
            "schedule": True,
            "report": True,
            "export": True,
            "predictions": True,
            "gate": True,
            "cost": True,
            "monitor": True,
            "model": place,
            "models": {"__all__": place},
            "data": {"files"},
            "bootstrap": {"slice_replicates"},
        }
        return self.model_dump(mode="json", exclude_defaults=True, exclude=elsewhere)

    @property
    def digest(self) -> str:
        """SHA-256 of the keys that can change a value, in hexadecimal."""
        return hashlib.sha256(json.dumps(self.keys_of_values, sort_keys=True).encode()).hexdigest()
