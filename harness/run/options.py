"""The options of an evaluation from Python, and the job that they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict

from harness.job.job import Job

__all__ = ["Options", "job_of"]


class Options(TypedDict, total=False):
    """What `harness.evaluate`, `harness.Evaluator` and `harness.ExactValidation` take; see `Evaluator` for what each means."""

    label: str | None
    weight: str | None
    inputs: Mapping[str, str] | Sequence[str] | None
    slices: Sequence[str | Mapping[str, Any] | Sequence[Any]] | Mapping[str, Any] | None
    bootstrap: Mapping[str, Any] | None
    examples: Mapping[str, Any] | int | None
    classes: Sequence[str] | str | None
    unknown_label: Literal["error", "skip", "null"] | None
    gate: str | Sequence[Any] | Mapping[str, Any] | None
    batch_size: int
    chunk_size: int | None
    batched: bool | None
    alone: bool
    folder: str | Path
    progress: bool


def job_of(model: Mapping[str, Any], data: Mapping[str, Any], metrics: str | Sequence[Any], options: Options) -> Job:
    """Return the job.

    Args:
      model: the key `model` or `models`, with what it holds.
      data: the data section, which `label`, `weight`, `inputs`, `classes` and `unknown_label` add to.
      metrics: as the job has them.
      options: those that are not given are as in a job.
    Raises: JobError: a key or a value is wrong.
    """
    section = {**data, **{name: options[name] for name in ("label", "weight") if options.get(name) is not None}}
    inputs, classes = options.get("inputs"), options.get("classes")
    if inputs is not None:
        section["inputs"] = inputs if isinstance(inputs, Mapping) else {feature: feature for feature in inputs}
    if classes is not None:
        section["classes"] = classes if isinstance(classes, str) else list(classes)
    if options.get("unknown_label", "error") != "error":
        section["unknown_label"] = options["unknown_label"]
    raw = {
        **model,
        "data": section,
        "metrics": metrics if isinstance(metrics, str) else list(metrics),
        "slices": options.get("slices"),
        "bootstrap": options.get("bootstrap"),
        "examples": options.get("examples"),
        "batch_size": options.get("batch_size"),
        "chunk_size": options.get("chunk_size"),
        "gate": options.get("gate"),
    }
    given = {key: value for key, value in raw.items() if value is not None}
    return Job.from_dict(given, folder=options.get("folder", "."), where="harness.evaluate")
