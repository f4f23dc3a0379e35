"""What is wrong with a job, in the words of the job: pydantic's errors as one line each."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ValidationError

from harness.errors import nearest
from harness.job.data_format import format_of
from harness.job.monitor_spec import MonitorSpec
from harness.job.prices import CostSpec
from harness.job.specs import (
    BootstrapSpec,
    DataSpec,
    ExamplesSpec,
    FeatureSpec,
    GateSpec,
    MetricSpec,
    ModelSpec,
    PredictionsSpec,
    RaggedSpec,
    SliceFeature,
    SlicesSpec,
    SparseSpec,
)

__all__ = ["VALUE_CHARACTERS", "explain", "other_than_a_job"]

VALUE_CHARACTERS = 300  # of a value that a message repeats
MODELS = (".keras", ".h5", ".hdf5", ".tflite")
SAVED_MODEL = ("saved_model.pb", "1/saved_model.pb")
SPECS: dict[str, type[BaseModel]] = {
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
    "examples": ExamplesSpec,
    "gate": GateSpec,
    "cost": CostSpec,
    "monitor": MonitorSpec,
}  # by the key that they stand under


def explain(exc: ValidationError, job: type[BaseModel]) -> Iterable[str]:
    """Turn pydantic's errors into one line each.

    Args:
      exc: the errors.
      job: the class of the whole job.
    """
    for error in exc.errors():
        where = ".".join(str(part) for part in error["loc"])
        if error["type"] == "extra_forbidden":
            spec = _spec_at(error["loc"][:-1], job)
            yield f"unknown key '{where}': {nearest(str(error['loc'][-1]), spec.model_fields)}"
        elif error["type"] == "missing":
            yield f"'{where}' is missing"
        else:
            message = error["msg"].removeprefix("Value error, ")
            if error["type"] in ("model_type", "model_attributes_type"):
                message = f"expected keys with values, as in {{{next(iter(_spec_at(error['loc'], job).model_fields))}: ...}}"
            value = "" if error["type"] == "value_error" else f", found {repr(error['input'])[:VALUE_CHARACTERS]}"
            yield f"{where}: {message}{value}" if where else f"{message}{value}"


def other_than_a_job(path: Path) -> str:
    """Say what to do where a model, or data, stand in the place of a job file; nothing where it may be one.

    >>> other_than_a_job(Path("job.yaml"))
    ''
    """
    name = shlex.quote(str(path))
    is_folder = any((path / file).is_file() for file in SAVED_MODEL)
    if is_folder or path.suffix in MODELS:
        return (
            f"{path}: expected a job file, found a model: name the data behind it, harness evaluate {name} DATA --label NAME, or "
            f"write the job with harness init {name} DATA"
        )
    if format_of(str(path)):
        return (
            f"{path}: expected a job file, found data: name the model before it, harness evaluate MODEL {name} --label NAME, or "
            f"write the job with harness init MODEL {name}"
        )
    return ""


def _spec_at(location: tuple[int | str, ...], job: type[BaseModel]) -> type[BaseModel]:
    """Return the part of the job that a key belongs to."""
    spec = job
    for part in location:
        spec = SPECS.get(str(part), spec)
    return spec
