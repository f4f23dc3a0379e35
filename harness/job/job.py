"""The job: what to evaluate. Loads, validates the form of, resolves and digests a job; opens no data and no model.

A job is a YAML file or the same thing in Python. Whether its metrics exist is said by the registry of metrics, whether
its files exist by the data; this module knows keys and types only.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, field_validator, model_validator

from harness.errors import JobError, nearest
from harness.job.yaml_text import DEPTH, depth, parse
from harness.names.urls import secret_in

__all__ = [
    "BootstrapSpec",
    "DataSpec",
    "FeatureSpec",
    "Job",
    "MetricSpec",
    "ModelSpec",
    "PredictionsSpec",
    "RaggedSpec",
    "SliceFeature",
    "SlicesSpec",
    "SparseSpec",
]

FOUND = 300  # characters of a value that a message repeats
MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
EXTENSIONS = {
    ".npz": "npz", ".npy": "npy", ".tfrecord": "tfrecord", ".tfrecords": "tfrecord", ".parquet": "parquet", ".csv": "csv",
    ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl",
}  # fmt: skip


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class ModelSpec(_Spec):
    """Which model, and how to run it."""

    path: str | None = None  # with `python`: weights for the model that the factory makes
    python: str | None = None  # package.module:factory
    args: dict[str, Any] = Field(default_factory=dict)  # keyword arguments of the factory
    signature: str = "serving_default"
    version: int | None = Field(None, ge=0)
    precision: Literal["mixed_float16", "mixed_bfloat16"] | None = None
    jit_compile: bool = False
    node_copy: Literal["auto", "always", "never"] = "auto"
    node_copy_bytes: int = Field(64 << 20, ge=0)  # below this size "auto" does not copy

    @model_validator(mode="after")
    def _somewhere(self) -> ModelSpec:
        if self.path is None and self.python is None:
            raise ValueError("expected a path, or python: package.module:factory")
        if self.args and self.python is None:
            raise ValueError("args are those of a factory: python: package.module:factory is missing")
        return self


class SparseSpec(_Spec):
    """Where a sparse feature's positions and values lie; one list of positions for each dimension."""

    indices: tuple[str, ...]
    values: str

    @field_validator("indices", mode="before")
    @classmethod
    def _one_or_more(cls, raw: Any) -> Any:
        return [raw] if isinstance(raw, str) else raw


class RaggedSpec(_Spec):
    """Where a ragged feature's values lie, and how many of them each row has."""

    values: str
    row_lengths: str


class FeatureSpec(_Spec):
    """Dtype and shape of one feature, where they cannot be told from the first record and the model."""

    dtype: Literal["float32", "int64", "string", "uint8"]
    shape: tuple[int, ...] = ()
    pad: int | float | str | None = None  # of variable length, up to `shape`
    sequence: bool = False  # in the feature lists of a SequenceExample
    image: bool = False  # an encoded image
    sparse: SparseSpec | None = None
    ragged: RaggedSpec | None = None
    columns: tuple[str, ...] | None = None  # features of one number each, side by side

    @model_validator(mode="after")
    def _one_kind(self) -> FeatureSpec:
        kinds = ("sequence", "image", "sparse", "ragged", "columns")
        named = [name for name in kinds if getattr(self, name)]
        if len(named) > 1:
            raise ValueError(f"a feature is one of {', '.join(named)}, not several")
        if self.dtype == "uint8" and not self.image:
            raise ValueError("dtype uint8 is for images; records hold float32, int64 and string")
        if (self.sequence or self.ragged) and self.pad is None:
            raise ValueError("a feature whose length varies needs pad: the value that fills it up to shape")
        return self


class DataSpec(_Spec):
    """Which examples, and what of them is input, label and weight."""

    files: tuple[str, ...] = ()
    format: Literal["tfrecord", "parquet", "csv", "tsv", "jsonl", "npz", "npy", "images", "tfds", "python", "memory"]
    python: str | None = None  # package.module:function
    inputs: dict[str, str] | None = None
    label: str | None = None
    weight: str | None = None
    classes: tuple[str, ...] | str | None = None
    features: dict[str, FeatureSpec] = Field(default_factory=dict)
    transform: str | None = None  # package.module:function, features -> features
    filter: str | None = None  # package.module:function, features -> bool
    limit: int | None = Field(None, ge=1)  # examples
    sample: float | None = Field(None, gt=0, le=1)  # share of the examples
    on_bad_record: Literal["fail", "skip"] = "fail"

    @model_validator(mode="before")
    @classmethod
    def _infer_format(cls, raw: Any) -> Any:
        if not isinstance(raw, Mapping):
            return raw
        raw = dict(raw)
        if isinstance(raw.get("files"), str):
            raw["files"] = [raw["files"]]
        if raw.get("python") is not None and raw.get("format") is None:
            raw["format"] = "python"
        if raw.get("python") is None and not raw.get("files") and raw.get("format") != "memory":
            raise ValueError("files: expected at least one file or glob, found an empty list")
        if raw.get("format") is None and isinstance(raw.get("files"), list) and raw["files"]:
            suffix = Path(str(raw["files"][0]).removesuffix(".gz")).suffix
            if suffix not in EXTENSIONS:
                raise ValueError(f"data.format is missing and cannot be told from {raw['files'][0]!r}")
            raw["format"] = EXTENSIONS[suffix]
        return raw

    @model_validator(mode="after")
    def _some_files(self) -> DataSpec:
        if (self.format == "python") != (self.python is not None):
            raise ValueError("python: package.module:function goes with format: python, and with no other")
        if self.python is not None and self.files:
            raise ValueError("expected files or python, found both")
        if self.python is None and not self.files and self.format != "memory":
            raise ValueError("files: expected at least one file or glob, found an empty list")
        return self


class MetricSpec(_Spec):
    """One metric of the job: its name in the registry, and its options."""

    name: str
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _from_yaml(cls, raw: Any) -> Any:
        if isinstance(raw, str):
            return {"name": raw}
        if isinstance(raw, Mapping) and len(raw) == 1 and "name" not in raw:
            ((name, options),) = raw.items()
            if name == "python":
                return cls._own(options)
            if not isinstance(options, Mapping | None):
                raise ValueError(f"the options of {name} must be keys and values, found {options!r}")
            return {"name": name, "options": dict(options or {})}
        if isinstance(raw, Mapping) and set(raw) <= {"name", "options"}:
            return raw
        raise ValueError(f"a metric is a name, or one name with its options, found {raw!r}")

    @staticmethod
    def _own(raw: Any) -> dict[str, Any]:
        """Read `python: module:Class`, or `python: {metric: module:Class, option: value}`."""
        options = {"metric": raw} if isinstance(raw, str) else dict(raw) if isinstance(raw, Mapping) else {}
        name = options.pop("metric", None)
        if not isinstance(name, str) or ":" not in name:
            raise ValueError(f"python: expected package.module:Class, or metric: package.module:Class and options, found {raw!r}")
        return {"name": name, "options": options}


class SliceFeature(_Spec):
    """One feature to cut by: its values, or numeric buckets [-inf, b0), [b0, b1), ... of it."""

    feature: str
    buckets: tuple[float, ...] | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_yaml(cls, raw: Any) -> Any:
        return {"feature": raw} if isinstance(raw, str) else raw

    @field_validator("buckets")
    @classmethod
    def _ascending(cls, buckets: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if buckets is not None and (not buckets or list(buckets) != sorted(set(buckets))):
            raise ValueError(f"expected ascending bounds, found {list(buckets)}")
        return buckets


class SlicesSpec(_Spec):
    """What to slice by: lists of features, each a cross of them."""

    by: tuple[tuple[SliceFeature, ...], ...]
    minimum: int = Field(1, ge=1)  # examples below which a slice is not reported
    maximum: int = Field(1000, ge=1)  # slices in all

    @model_validator(mode="before")
    @classmethod
    def _from_list(cls, raw: Any) -> Any:
        if isinstance(raw, list):
            raw = {"by": raw}
        if isinstance(raw, Mapping) and isinstance(raw.get("by"), list):
            raw = {**raw, "by": [entry if isinstance(entry, list) else [entry] for entry in raw["by"]]}
        return raw


class BootstrapSpec(_Spec):
    """Confidence intervals from a Poisson bootstrap."""

    replicates: int = Field(200, ge=2, le=10_000)
    seed: int = 0
    cluster: str | None = None  # feature whose equal values are drawn together
    level: float = Field(0.95, gt=0, lt=1)


class PredictionsSpec(_Spec):
    """What `harness predict` writes of each example, beside its id."""

    outputs: tuple[str, ...] | None = None  # all of them
    features: tuple[str, ...] = ()  # passed through, beside those that the metrics read
    format: Literal["parquet", "tfrecord", "jsonl"] = "parquet"
    bytes: tuple[str, ...] = ()  # string outputs and features that are no UTF-8 text


class Job(_Spec):
    """What to evaluate: model, data, metrics."""

    model: ModelSpec | None = None
    models: dict[str, ModelSpec] = Field(default_factory=dict)
    data: DataSpec
    metrics: tuple[MetricSpec, ...] = ()
    slices: SlicesSpec | None = None
    bootstrap: BootstrapSpec | None = None
    batch_size: int = Field(64, ge=1, le=1 << 20)
    chunk_size: int | None = Field(None, ge=1)
    seed: int = 0
    eager: bool = False
    schedule: Literal["static", "dynamic"] | None = None  # how chunks come to ranks; the result does not depend on it
    predictions: PredictionsSpec | None = None
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

    @model_validator(mode="after")
    def _whole(self) -> Job:
        if (self.model is None) == (not self.models):
            raise ValueError("'model' is missing" if self.model is None else "expected model or models, found both")
        if not self.metrics and self.predictions is None:
            raise ValueError("'metrics' is missing")
        if not self.metrics and (self.slices or self.bootstrap):
            raise ValueError("slices and bootstrap: expected at least one metric, found none")
        self._no_secrets()
        return self

    def _no_secrets(self) -> None:
        """Refuse paths with secrets in them: they are printed, and recorded in the run folder."""
        classes = self.data.classes if isinstance(self.data.classes, str) else None
        paths = [("data.files", path) for path in self.data.files] + [("data.classes", classes), ("output", self.output)]
        paths += [(f"models.{name}.path" if name else "model.path", spec.path) for name, spec in self.named_models.items()]
        for key, path in paths:
            if path and (secret := secret_in(path)):
                raise ValueError(f"{key}: a URL carries {secret}: paths are printed and recorded; use the environment ({path})")

    @classmethod
    def load(cls, path: str | Path, overrides: Iterable[str] = (), *, predicts: bool = False) -> Job:
        """Read a job file, with `key.path=value` overrides applied before it is validated.

        Args:
          predicts: whether the job is to predict, and so may do without metrics.
        Raises: JobError: the file, a key or a value is wrong.
        """
        path = Path(path)
        try:
            text = path.read_text()
        except FileNotFoundError:
            raise JobError(f"{path}: no such job file") from None
        except OSError as exc:
            raise JobError(f"{path}: cannot be read: {exc.strerror}") from exc
        except UnicodeDecodeError as exc:
            raise JobError(f"{path}: not YAML: expected text in UTF-8: {exc}") from exc
        raw = parse(text, str(path))
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
            raise JobError(f"{where}: expected values that JSON can hold: {' '.join(str(exc).split())[:FOUND]}") from None
        for override in overrides:
            _override(merged, override)
        if depth(merged) > DEPTH:
            raise JobError(f"{where}: keys are nested more than {DEPTH} deep; a job needs no more")
        try:
            job = cls.model_validate(merged)
        except ValidationError as exc:
            raise JobError("\n".join(f"{where}: {line}" for line in _explain(exc))) from None
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
    def digest(self) -> str:
        """SHA-256 of the keys that can change a value, in hexadecimal."""
        place = {"path", "version", "node_copy", "node_copy_bytes"}  # what lies there is in the model's own digest
        elsewhere: Any = {
            "output": True,
            "schedule": True,
            "predictions": True,
            "model": place,
            "models": {"__all__": place},
            "data": {"files"},
        }
        keys = self.model_dump(mode="json", exclude_defaults=True, exclude=elsewhere)
        return hashlib.sha256(json.dumps(keys, sort_keys=True).encode()).hexdigest()


def _override(raw: dict[str, Any], override: str) -> None:
    """Apply one key.path=value to nested dictionaries and lists; the value is YAML."""
    path, sign, text = override.partition("=")
    if not sign or not path:
        raise JobError(f"--set {override}: expected key.path=value")
    *parents, last = path.split(".")
    value = parse(text, f"--set {path}")
    at: Any = raw
    try:
        for key in parents:
            if isinstance(at, list):
                at = at[int(key)]
            else:
                if isinstance(at.get(key), str) and key == "model":
                    at[key] = {"path": at[key]}
                at = at.setdefault(key, {})
                if at is None:
                    raise TypeError
        if isinstance(at, list):
            at[int(last)] = value
        else:
            at[last] = value
    except (TypeError, ValueError, IndexError, AttributeError) as exc:
        raise JobError(f"--set {override}: the job has nothing at {path} that could be set") from exc


def _explain(exc: ValidationError) -> Iterable[str]:
    """Turn pydantic's errors into one line each, in the words of the job."""
    for error in exc.errors():
        where = ".".join(str(part) for part in error["loc"])
        if error["type"] == "extra_forbidden":
            owner = _spec_at(error["loc"][:-1])
            yield f"unknown key '{where}': {nearest(str(error['loc'][-1]), owner.model_fields)}"
        elif error["type"] == "missing":
            yield f"'{where}' is missing"
        else:
            message = error["msg"].removeprefix("Value error, ")
            found = "" if error["type"] == "value_error" else f", found {repr(error['input'])[:FOUND]}"
            yield f"{where}: {message}{found}" if where else f"{message}{found}"


def _spec_at(location: tuple[int | str, ...]) -> type[BaseModel]:
    """Return the part of the job that a key belongs to."""
    specs: dict[str, type[BaseModel]] = {
        "model": ModelSpec,
        "models": ModelSpec,
        "predictions": PredictionsSpec,
        "data": DataSpec,
        "metrics": MetricSpec,
        "features": FeatureSpec,
        "sparse": SparseSpec,
        "ragged": RaggedSpec,
        "slices": SlicesSpec,
        "by": SliceFeature,
        "bootstrap": BootstrapSpec,
    }
    found: type[BaseModel] = Job
    for part in location:
        found = specs.get(str(part), found)
    return found
