"""Open what a job names: data, plan, model, bindings. Loads TensorFlow when the model is looked into."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness import data as data_
from harness import model_files
from harness.data.derive import DerivedSource
from harness.data.partial import PartialSource, draw
from harness.errors import JobError
from harness.job import Job
from harness.match import Matched, declared, match
from harness.metrics.contract import Binding, Inputs, Metric
from harness.plan import Plan, default_chunk_size

__all__ = ["Began", "Opened", "bind", "class_list", "left_out", "open_data", "predictor", "prepare_model"]


@dataclass(frozen=True)
class Opened:
    """What can be said of a job without loading the model: rank 0 finds out and tells the others."""

    source: data_.Source
    plan: Plan
    model_path: str
    digests: dict[str, str]
    done: tuple[int, ...] = ()  # chunks that earlier attempts have finished


@dataclass(frozen=True)
class Began:
    """The model version and the files that a run began with: what a resumed one goes on with."""

    model_path: str
    files: tuple[str, ...]


def open_data(job: Job, began: Began | None = None) -> Opened:
    """Find model and data, and cut the plan.

    Args:
      job: names both.
      began: take these, whatever else there is by now.
    Raises: JobError, DataError, ModelError: see there.
    """
    class_list(job)
    model_path = began.model_path if began else model_files.resolve(job.resolve(job.model.path))
    resolved = [job.resolve(path) for path in job.data.files]
    if job.data.format in ("tfds", "python"):
        paths = resolved  # a prepared folder is named with its split: nothing that lies on disk under that name
    elif began and job.data.format not in ("images", "npy"):  # whose files stand for several
        paths = list(began.files)
    else:
        paths = data_.expand(job.data.files, resolved, folders=job.data.format in data_.FOLDERS)
    source = data_.open_source(job.data.format, paths, target=job.data.python or "", folder=job.folder)
    files = source.files
    examples = sum(file.examples for file in source.files)
    if not examples:
        raise JobError(f"data.files: expected at least one example, found none in {len(paths)} file{'s' * (len(paths) > 1)}")
    source, ids = _narrowed(job, source)
    examples = sum(file.examples for file in source.files)
    plan = Plan(source.files, job.batch_size, job.chunk_size or default_chunk_size(examples, job.batch_size), ids)
    digests = {"job": job.digest, "data": data_.digest(files), "model": model_files.digest(model_path)}
    return Opened(source, plan, model_path, digests)


def _narrowed(job: Job, source: data_.Source) -> tuple[data_.Source, np.ndarray | None]:
    """Add what the job makes of the source: a part of its examples, further features; also return the ids of the part."""
    data, ids = job.data, None
    if data.sample is not None or data.limit is not None:
        ids = draw(sum(file.examples for file in source.files), data.sample, data.limit)
        if not len(ids):
            raise JobError(f"data.sample: a share of {data.sample} draws none of {len(source.files)} files' examples; raise it")
        source = PartialSource(source, ids)
    columns = {name: spec.columns for name, spec in data.features.items() if spec.columns}
    asked = [data.label, data.weight, *(m.options.get(key) for m in job.metrics for key in ("label", "weight"))]
    names = [name for name in asked if isinstance(name, str)]
    if data.transform or data.filter or columns or any(not _is_name(name) for name in names):
        made = {**declared(data), **{n: data_.Feature(data.features[n].dtype, (len(c),)) for n, c in columns.items()}}
        source = DerivedSource(
            source, declared={n: f for n, f in made.items() if n not in columns}, columns=columns,
            transform=data.transform, filter=data.filter, asked=names, folder=job.folder,
        )  # fmt: skip
    return source, ids


def _is_name(text: str) -> bool:
    """Say whether a label is surely a feature: one word, or words joined by slashes and dots, as TensorFlow names them."""
    return all(part.isidentifier() for part in text.replace("/", ".").split("."))


def prepare_model(job: Job, metrics: Mapping[str, Metric], opened: Opened) -> tuple[Any, Mapping[str, Binding], Matched]:
    """Load the model, bind the metrics, match the data."""
    from harness import tf_model

    model = tf_model.load(opened.model_path, job.model)
    bindings = bind(job, metrics, list(model.outputs))
    extra = [n for b in bindings.values() for n in (b.label, b.weight, *(f for _, f in b.also)) if n is not None]
    if job.slices:
        extra += [feature.feature for cross in job.slices.by for feature in cross]
    if job.bootstrap and job.bootstrap.cluster:
        extra.append(job.bootstrap.cluster)
    needs = {name: data_.Feature(spec.dtype.name, tuple(spec.shape[1:])) for name, spec in model.inputs.items()}
    matched = match(job.data, opened.source.features(), needs, list(dict.fromkeys(extra)), parsed=opened.source.flat)
    return model, bindings, matched


def predictor(model: Any, matched: Matched) -> Callable[[Mapping[str, Any]], Mapping[str, Any]]:
    """Return the function from features to outputs that the compiled step calls."""
    import tensorflow as tf

    def predict(features: Mapping[str, Any]) -> Mapping[str, Any]:
        found: Mapping[str, Any] = model.predict(
            {name: tf.cast(features[feature], model.inputs[name].dtype)
             if model.inputs[name].dtype != tf.string else features[feature]
             for name, feature in matched.inputs.items()}
        )  # fmt: skip
        return found

    return predict


def bind(job: Job, metrics: Mapping[str, Metric], outputs: list[str]) -> dict[str, Binding]:
    """Say which output, label and weight each metric reads.

    Raises: JobError: a name is missing or unknown, or the job asks a metric for what it does not take.
    """
    bindings = {}
    for key, metric in metrics.items():
        _refuse(job, key, metric)
        if metric.output is None and len(outputs) > 1:
            raise JobError(f"metric {key}: the model has several outputs, say which: output: one of {', '.join(sorted(outputs))}")
        found = metric.binding(outputs[0], job.data.label, job.data.weight)
        if found.output not in outputs:
            raise JobError(f"metric {key}: the model has no output '{found.output}': it has {', '.join(sorted(outputs))}")
        for option, output in found.outputs:
            if output not in outputs:
                raise JobError(f"metric {key}: {option}: the model has no output '{output}': it has {', '.join(sorted(outputs))}")
        if found.label is None and found.inputs not in (Inputs.OUTPUT, Inputs.RAW):
            raise JobError(f"metric {key}: needs a label; set data.label, or label: of the metric")
        bindings[key] = found
    return bindings


def _refuse(job: Job, key: str, metric: Metric) -> None:
    """Refuse weights, slices and replicates by name where a metric is not defined for them.

    Raises: JobError: see above.
    """
    weight = metric.weighing(job.data.weight)
    asked = (
        (not metric.takes_weights and weight is not None, "weights", f"weight '{weight}'", "weight"),
        (not metric.takes_slices and metric.slices and job.slices is not None, "slices", "slices", "slices"),
        (not metric.takes_replicates and metric.bootstrap and job.bootstrap is not None, "replicates", "bootstrap", "bootstrap"),
    )
    for wrong, what, found, option in asked:
        if wrong:
            raise JobError(
                f"metric {key}: takes no {what}, and the job has {found}; set {option}: false on this metric to report it "
                f"without, or take it out of the job"
            )


def left_out(job: Job, metrics: Mapping[str, Metric]) -> frozenset[str]:
    """Return the keys of the metrics that neither the job's slices nor its bootstrap report."""
    return frozenset(
        key
        for key, metric in metrics.items()
        if not (job.slices and metric.in_slices) and not (job.bootstrap and metric.in_replicates)
    )


def class_list(job: Job) -> tuple[str, ...] | None:
    """Return the names of the classes: a list in the job, or the lines of a file."""
    classes = job.data.classes
    if not isinstance(classes, str):
        return classes
    try:
        return tuple(Path(job.resolve(classes)).read_text().splitlines())
    except OSError as exc:
        raise JobError(f"data.classes: {classes} cannot be read: {exc.strerror}") from exc
