"""The parts of a job: their keys, defaults and short forms, and what of them goes together. Opens no data and no model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from harness.job.data_format import format_of
from harness.job.model_spec import ModelSpec
from harness.job.spec import Spec
from harness.names.metric_aliases import METRIC_ALIASES

__all__ = [
    "BootstrapSpec",
    "DataSpec",
    "ExamplesSpec",
    "FeatureSpec",
    "GateSpec",
    "MetricSpec",
    "ModelSpec",
    "PredictionsSpec",
    "RaggedSpec",
    "SliceFeature",
    "SlicesSpec",
    "SparseSpec",
    "Spec",
]


class SparseSpec(Spec):
    """Where a sparse feature's positions and values lie; one list of positions for each dimension."""

    indices: tuple[str, ...]
    values: str

    @field_validator("indices", mode="before")
    @classmethod
    def _one_or_more(cls, raw: Any) -> Any:
        return [raw] if isinstance(raw, str) else raw


class RaggedSpec(Spec):
    """Where a ragged feature's values lie, and how many of them each row has."""

    values: str
    row_lengths: str


class FeatureSpec(Spec):
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


class DataSpec(Spec):
    """Which examples, and what of them is input, label and weight."""

    files: tuple[str, ...] = ()
    format: Literal["tfrecord", "parquet", "csv", "tsv", "jsonl", "npz", "npy", "images", "tfds", "python", "memory"]
    python: str | None = None  # package.module:function
    inputs: dict[str, str] | None = None
    label: str | None = None
    weight: str | None = None
    classes: tuple[str, ...] | str | None = None
    unknown_label: Literal["error", "skip", "null"] = "error"  # a label that is text, and no class
    features: dict[str, FeatureSpec] = Field(default_factory=dict)
    transform: str | None = None  # package.module:function, features -> features
    filter: str | None = None  # package.module:function, features -> bool
    limit: int | None = Field(None, ge=1)  # examples
    sample: float | None = Field(None, gt=0, le=1)  # share of the examples
    on_bad_record: Literal["fail", "skip"] = "fail"

    @model_validator(mode="before")
    @classmethod
    def _infer_format(cls, raw: Any, info: ValidationInfo) -> Any:
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
            first = str(raw["files"][0])
            raw["format"] = format_of(first, (info.context or {}).get("folder", Path(".")))
            if raw["format"] is None:
                raise ValueError(f"data.format is missing and cannot be told from {first!r}")
        return raw

    @field_validator("classes", mode="before")
    @classmethod
    def _texts(cls, raw: Any) -> Any:
        if isinstance(raw, list | tuple) and (others := [name for name in raw if not isinstance(name, str)]):
            yaml = " (YAML takes no, yes, on and off for logical values)" if isinstance(others[0], bool) else ""
            raise ValueError(f"expected class names in quotes, as in ['no', 'yes'], found {others[0]!r}{yaml}")
        return raw

    @field_validator("unknown_label", mode="before")
    @classmethod
    def _null_by_name(cls, raw: Any) -> Any:
        return "null" if raw is None else raw

    @model_validator(mode="after")
    def _some_files(self) -> DataSpec:
        if (self.format == "python") != (self.python is not None):
            raise ValueError("python: package.module:function goes with format: python, and with no other")
        if self.python is not None and self.files:
            raise ValueError("expected files or python, found both")
        if self.python is None and not self.files and self.format != "memory":
            raise ValueError("files: expected at least one file or glob, found an empty list")
        return self


class MetricSpec(Spec):
    """One metric of the job: its name in the registry, and its options."""

    name: str
    options: dict[str, Any] = Field(default_factory=dict)

    @field_validator("name")
    @classmethod
    def _in_full(cls, name: str) -> str:
        return METRIC_ALIASES.get(name, name)

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


class SliceFeature(Spec):
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


class SlicesSpec(Spec):
    """What to slice by: lists of features, each a cross of them."""

    by: tuple[tuple[SliceFeature, ...], ...]
    minimum: int = Field(1, ge=1)  # examples below which a slice is not reported
    maximum: int = Field(1000, ge=1)  # slices in all

    @field_validator("by")
    @classmethod
    def _of_features(cls, crosses: tuple[tuple[SliceFeature, ...], ...]) -> tuple[tuple[SliceFeature, ...], ...]:
        if not all(crosses):
            raise ValueError("expected features to slice by, found an empty list: name one, as in slices: [country]")
        return crosses

    @model_validator(mode="before")
    @classmethod
    def _from_list(cls, raw: Any) -> Any:
        if isinstance(raw, str):
            raw = [raw]
        if isinstance(raw, list):
            raw = {"by": raw}
        if isinstance(raw, Mapping) and isinstance(raw.get("by"), list):
            raw = {**raw, "by": [entry if isinstance(entry, list) else [entry] for entry in raw["by"]]}
        return raw


class BootstrapSpec(Spec):
    """Confidence intervals from a Poisson bootstrap."""

    replicates: int = Field(200, ge=2, le=10_000)
    seed: int = 0
    cluster: str | None = None  # feature whose equal values are drawn together
    level: float = Field(0.95, gt=0, lt=1)
    slice_replicates: bool = True  # keep the replicates of slices, so that runs can be compared by slice

    @model_validator(mode="before")
    @classmethod
    def _from_count(cls, raw: Any) -> Any:
        return {"replicates": raw} if isinstance(raw, int) and not isinstance(raw, bool) else raw


class ExamplesSpec(Spec):
    """Which examples are kept to be looked at: of each list so many in each group."""

    worst: int = Field(50, ge=1, le=10_000)
    by: str | None = None  # key of the metric whose term is the loss; the first that has one
    per: Literal["all", "slice", "confusion"] = "all"
    also: tuple[Literal["confident", "random"], ...] = ()
    features: tuple[str, ...] = ()  # shown beside them
    seed: int = 0  # of the random ones

    @model_validator(mode="before")
    @classmethod
    def _from_count(cls, raw: Any) -> Any:
        return {"worst": raw} if isinstance(raw, int) and not isinstance(raw, bool) else raw

    @field_validator("also", "features", mode="before")
    @classmethod
    def _one_or_more(cls, raw: Any) -> Any:
        return [raw] if isinstance(raw, str) else raw

    @field_validator("also", "features")
    @classmethod
    def _each_once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(names))

    @property
    def lists(self) -> tuple[str, ...]:
        """Names of the lists."""
        return ("worst", *self.also)


class PredictionsSpec(Spec):
    """What `harness predict` writes of each example, beside its id."""

    outputs: tuple[str, ...] | None = None  # all of them
    features: tuple[str, ...] = ()  # passed through, beside those that the metrics read
    format: Literal["parquet", "tfrecord", "jsonl"] = "parquet"
    bytes: tuple[str, ...] = ()  # string outputs and features that are no UTF-8 text


class GateSpec(Spec):
    """What the run is judged by when it is done; what rules may say is known to the comparison."""

    rules: str | list[Any] | dict[str, Any]  # a file, or what it holds
    baseline: str | None = None  # a run folder
    model: str | None = None  # of several, the one that is judged
    inconclusive: Literal["pass", "fail"] | None = None  # what the exit code takes it for; 5 if not said

    @model_validator(mode="before")
    @classmethod
    def _from_rules(cls, raw: Any) -> Any:
        return {"rules": raw} if isinstance(raw, str | list) else raw
