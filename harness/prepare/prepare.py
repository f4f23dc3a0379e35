"""Open what a job names: data, plan, model, bindings. Loads TensorFlow when the model is looked into."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from harness import data as data_
from harness.data.derive import DerivedSource
from harness.data.identity import Inventory, identify, take
from harness.data.partial import PartialSource
from harness.errors import DataError, JobError, ModelError, nearest
from harness.job.job import Job
from harness.job.specs import PredictionsSpec
from harness.metrics import make
from harness.metrics.contract import Binding, Inputs, Metric
from harness.metrics.question import Question
from harness.models import files as model_files
from harness.models.node_copy import copy_to_node, node_path, wants_copy
from harness.plan.plan import Plan, default_chunk_size
from harness.predictions.columns import choose
from harness.predictions.prediction_files import Column
from harness.prepare.input_binding import Matched, declared, match

__all__ = [
    "Began",
    "Given",
    "Opened",
    "Prepared",
    "ask",
    "bind",
    "class_list",
    "columns_of",
    "copy_models",
    "load_model",
    "make_metrics",
    "match_model",
    "open_data",
    "open_predictions",
    "predictor",
    "prepare_model",
    "taker",
    "wanted_predictions",
    "without_labels",
]


@dataclass(frozen=True)
class Opened:
    """What can be said of a job without loading the model: rank 0 finds out and tells the others."""

    source: data_.Source
    plan: Plan
    model_path: str  # of several models all paths; of predictions written earlier nothing
    digests: dict[str, str]
    done: tuple[int, ...] = ()  # chunks that earlier attempts have finished
    model_paths: dict[str, str | None] = field(default_factory=dict)  # by the model's name; None where it has no file
    copies: dict[str, str] = field(default_factory=dict)  # digest by name, of the models that each node gets a copy of
    left_out: dict[str, int] = field(default_factory=dict)  # by the run that predicted: read, kept, filtered, skipped
    inventory: Inventory = field(default_factory=Inventory)  # what the data lie in, as it was before they were opened

    def __getstate__(self) -> dict[str, Any]:
        """Leave out which examples were drawn: the source draws them again where it arrives."""
        return {**self.__dict__, "plan": replace(self.plan, chosen=None)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, plan=replace(state["plan"], chosen=state["source"].drawn))


def make_metrics(job: Job) -> dict[str, Metric]:
    """Build the metrics of a job by key; of several models each gets its own, as MODEL/KEY.

    A metric whose `output` names its model, as in `output: a/probabilities`, is of that one alone.

    Raises: JobError: see `metrics.make`.
    """
    made = make(job.metrics, job.folder)
    if not job.models:
        return made
    every: dict[str, Metric] = {}
    for model in job.models:
        for key, metric in made.items():
            own = (metric.output or "").partition("/")[0]
            if own in job.models and "/" in (metric.output or ""):
                if own == model:
                    every[f"{model}/{key}"] = metric
                continue
            named = {o: f"{model}/{name}" for o in ("output", *metric.extra_outputs) if (name := getattr(metric, o)) is not None}
            every[f"{model}/{key}"] = metric.model_copy(update=named)
    return every


def without_labels(job: Job, metrics: Mapping[str, Metric]) -> dict[str, Metric]:
    """Leave out the metrics that need a label where the job names none: predictions are wanted all the same."""
    return {
        key: metric for key, metric in metrics.items()
        if metric.inputs in (Inputs.OUTPUT, Inputs.RAW) or (metric.label or job.data.label) is not None
    }  # fmt: skip


@dataclass(frozen=True)
class Began:
    """The model versions and the files that a run began with: what a resumed one goes on with."""

    models: Mapping[str, str | None]
    files: tuple[str, ...]


@dataclass(frozen=True)
class Given:
    """What Python hands over, in place of what a job names.

    Attributes:
      model: what to call it in messages; None where the job names one.
      source, digest: the examples and the digest of their contents; None where the job names files.
    """

    model: str | None = None
    source: data_.Source | None = None
    digest: str = ""


def open_data(job: Job, began: Began | None = None, ranks: int = 1, given: Given | None = None) -> Opened:
    """Find model and data, and cut the plan.

    Args:
      job: names both.
      began: take these, whatever else there is by now.
      ranks: how many will read the model.
      given: take these instead; the digest of a model is left to the caller, who has it.
    Raises: JobError, DataError, ModelError: see there.
    """
    class_list(job)
    given = given or Given()
    if given.model is not None:
        resolved: dict[str, str | None] = {}
    elif began:
        resolved = dict(began.models)
    else:
        resolved = {name: model_files.locate(spec, job.resolve, job.folder) for name, spec in job.named_models.items()}
    source, inventory = (given.source, Inventory()) if given.source else _open_source(job, began)
    files = source.files
    examples = sum(file.examples for file in source.files)
    if not examples:
        where = f"{len(files)} file{'s' * (len(files) > 1)}" if given.source is None else files[0].path
        raise JobError(f"data.files: expected at least one example, found none in {where}")
    source, ids = _narrowed(job, source)
    examples = sum(file.examples for file in source.files)
    plan = Plan(source.files, job.batch_size, job.chunk_size or default_chunk_size(examples, job.batch_size), ids)
    marks = {name: model_files.digest_of(job.named_models[name], path, job.folder) for name, path in resolved.items()}
    digests = {
        "job": job.digest, "data": given.digest or data_.digest(files), "model": model_files.joined(marks) if marks else "",
    }  # fmt: skip
    shown = given.model or "; ".join(f"{name}: {path}" if name else f"{path}" for name, path in resolved.items())
    copied = {
        name: model_files.digest(path)
        for name, path in resolved.items()
        if path is not None and wants_copy(job.named_models[name], path, ranks)
    }
    return Opened(source, plan, shown, digests, model_paths=resolved, copies=copied, inventory=inventory)


def _open_source(job: Job, began: Began | None) -> tuple[data_.Source, Inventory]:
    """Open what the job names, and see that it did not change meanwhile.

    Raises: DataError: it did.
    """
    named = [job.resolve(path) for path in job.data.files]
    kind = data_.FORMATS[job.data.format]
    if not kind.globs:
        paths = named  # a prepared folder is named with its split: nothing that lies on disk under that name
    elif began and not kind.groups:  # whose files stand for several
        paths = list(began.files)
    else:
        paths = data_.expand(job.data.files, named, folders=kind.folders)
    before = {path: identify(path) for path in paths if os.path.isfile(path)}
    source = data_.open_source(job.data.format, paths, target=job.data.python or "", folder=job.folder)
    inventory = take(source)
    for now in inventory.identities:
        if now.path in before and (changes := before[now.path].changes(now)):
            raise DataError(f"{now.path} changed while it was opened: {changes}; start again when nobody writes to it")
    return source, inventory


def _narrowed(job: Job, source: data_.Source) -> tuple[data_.Source, np.ndarray | None]:
    """Add what the job makes of the source: a part of its examples, further features; also return the ids of the part."""
    data, ids = job.data, None
    if data.sample is not None or data.limit is not None:
        source = PartialSource(source, data.sample, data.limit)
        ids = source.drawn
        if not len(ids):
            raise JobError(f"data.sample: a share of {data.sample} draws none of {len(source.files)} files' examples; raise it")
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


def open_predictions(job: Job, folder: Path) -> Opened:
    """Take predictions that were written earlier for data and model; the plan is theirs.

    Raises: JobError, DataError: there are none, or they are broken.
    """
    from harness.predictions.source import PredictionSource

    class_list(job)
    source = PredictionSource.open(folder)
    held = source.manifest
    plan = replace(source.plan, batch_size=job.batch_size)
    digests = {**held.digests, "job": job.digest}
    return Opened(source, plan, "", digests, left_out=dict(held.left_out), inventory=take(source))


def copy_models(opened: Opened) -> None:
    """Copy models to this node; the first rank of each node calls this, and the others load afterwards.

    Raises: ModelError: see `copy_to_node`.
    """
    for name, mark in opened.copies.items():
        path = opened.model_paths[name]
        assert path is not None
        copy_to_node(path, mark)


def load_model(job: Job, opened: Opened) -> Any:
    """Load what predicts: a model, several as one, or what was predicted earlier."""
    from harness.models import loading as tf_model
    from harness.predictions.source import PredictionSource

    if isinstance(opened.source, PredictionSource):
        return tf_model.stored(opened.source.outputs)
    loaded = {}
    for name, spec in job.named_models.items():
        path = opened.model_paths[name]
        if path is not None and name in opened.copies:
            path = str(node_path(path, opened.copies[name]))
        loaded[name] = tf_model.load(path, spec, job.folder)
    return tf_model.several(loaded) if job.models else loaded[""]


def match_model(
    job: Job, metrics: Mapping[str, Metric], opened: Opened, model: Any, passed: Sequence[str] = ()
) -> tuple[Mapping[str, Binding], Matched]:
    """Bind the metrics to the model's outputs, and match the data with its inputs.

    Args:
      passed: features that are read beside those of the metrics.
    """
    from harness.predictions.source import OUTPUT, PredictionSource

    bindings = bind(job, metrics, list(model.outputs))
    read = _features(job, bindings)
    extra = [*read, *passed]
    for name, spec in model.inputs.items():
        if not spec.shape.rank:
            raise ModelError(
                f"{model.path}: input '{name}' is {spec.dtype.name} {spec.shape}: expected examples along the first dimension"
            )
    needs = {name: data_.Feature(spec.dtype.name, tuple(spec.shape[1:])) for name, spec in model.inputs.items()}
    found = opened.source.features()
    if isinstance(opened.source, PredictionSource):
        data = job.data.model_copy(update={"inputs": {name: OUTPUT + name for name in needs}, "features": {}})
        known = [feature for feature in extra if feature not in found]
        if known:
            names = [name for name in found if not name.startswith(OUTPUT)]
            raise JobError(
                f"the predictions hold no feature '{known[0]}': {nearest(known[0], names)}; "
                f"harness predict writes it where the job says predictions: {{features: [{known[0]}]}}"
            )
        return bindings, match(data, found, needs, list(dict.fromkeys(extra)), parsed=False)
    matched = match(job.data, found, needs, list(dict.fromkeys(extra)), parsed=opened.source.flat)
    # Predicting certifies what evaluating does, whatever else it passes through.
    read += matched.inputs.values()
    return bindings, replace(matched, hashed={name: f for name, f in matched.wanted.items() if name in read})


@dataclass(frozen=True)
class Prepared:
    """A model that is loaded, what is asked of its outputs, and what it reads of the data.

    Attributes:
      model: see `models.model.Model`.
      question: metrics with what they read.
      matched: the model's inputs and the features they read.
      columns: what is handed to the host of each example, to be written; none where no predictions are.
    """

    model: Any
    question: Question
    matched: Matched
    columns: tuple[Column, ...] = ()


def prepare_model(job: Job, metrics: Mapping[str, Metric], opened: Opened, *, predict: bool = False) -> Prepared:
    """Load the model, bind the metrics, match the data; see `match_model`.

    Args:
      predict: whether the predictions are written.
    """
    model = load_model(job, opened)
    bindings, matched = match_model(job, metrics, opened, model, wanted_predictions(job).features if predict else ())
    columns = columns_of(job, bindings, model, matched) if predict else ()
    return Prepared(model, ask(job, metrics, bindings), matched, columns)


def ask(job: Job, metrics: Mapping[str, Metric], bindings: Mapping[str, Binding]) -> Question:
    """Return what a job asks of the examples."""
    return Question(metrics, bindings, job.slices, job.bootstrap, class_list(job), tuple(job.models))


def _features(job: Job, bindings: Mapping[str, Binding]) -> list[str]:
    """Name the features that metrics, slices and bootstrap read."""
    extra = [n for b in bindings.values() for n in (b.label, b.weight, *(f for _, f in b.also)) if n is not None]
    if job.slices:
        extra += [feature.feature for cross in job.slices.by for feature in cross]
    if job.bootstrap and job.bootstrap.cluster:
        extra.append(job.bootstrap.cluster)
    return list(dict.fromkeys(extra))


def columns_of(job: Job, bindings: Mapping[str, Binding], model: Any, matched: Matched) -> tuple[Column, ...]:
    """Choose what `harness predict` writes: outputs, the features that metrics read, and those that the job passes through."""
    spec = wanted_predictions(job)
    outputs = {name: (found.dtype.name, tuple(found.shape[1:])) for name, found in model.outputs.items()}
    features = dict.fromkeys([*_features(job, bindings), *spec.features])
    return choose(spec, outputs, {name: (matched.wanted[name].dtype, matched.wanted[name].shape) for name in features})


def wanted_predictions(job: Job) -> PredictionsSpec:
    """Return what the job says of predictions, or the defaults."""
    return job.predictions or PredictionsSpec()


def taker(columns: Sequence[Column]) -> Callable[[Mapping[str, Any], Mapping[str, Any]], Mapping[str, Any]]:
    """Return the function from features and outputs to the columns that are written; the id is there anyway."""

    def take(features: Mapping[str, Any], outputs: Mapping[str, Any]) -> Mapping[str, Any]:
        return {
            column.name: (outputs if column.kind == "output" else features)[column.source]
            for column in columns
            if column.kind != "id"
        }

    return take


def predictor(model: Any, matched: Matched) -> Callable[[Mapping[str, Any]], Mapping[str, Any]]:
    """Return the function from features to outputs that the compiled step calls."""
    import tensorflow as tf

    from harness.exact.tf_subnormals import converted

    def predict(features: Mapping[str, Any]) -> Mapping[str, Any]:
        found: Mapping[str, Any] = model.predict(
            {name: converted(features[feature], model.inputs[name].dtype)
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
    every = outputs
    for key, metric in metrics.items():
        _refuse(job, key, metric)
        own = key.partition("/")[0] + "/" if job.models else ""
        outputs = [name for name in every if name.startswith(own)]
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


def class_list(job: Job) -> tuple[str, ...] | None:
    """Return the names of the classes: a list in the job, or the lines of a file."""
    classes = job.data.classes
    if not isinstance(classes, str):
        return classes
    try:
        return tuple(Path(job.resolve(classes)).read_text().splitlines())
    except OSError as exc:
        raise JobError(f"data.classes: {classes} cannot be read: {exc.strerror}") from exc
