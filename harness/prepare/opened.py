"""Open what a job names without loading the model: data, where the models lie, the plan."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness import data as data_
from harness.data.counting import FileCount, count
from harness.data.derive import DerivedSource
from harness.data.identity import Identity, Inventory, identify, take
from harness.data.partial import PartialSource
from harness.errors import DataError, JobError, ModelError
from harness.job.job import Job
from harness.models import files as model_files
from harness.models.node_copy import copy_to_node, wants_copy
from harness.plan.drawn import Drawn
from harness.plan.plan import Plan, default_chunk_size
from harness.prepare.binding import class_list
from harness.prepare.input_binding import declared

__all__ = [
    "Began", "Given", "ModelDigests", "Opened", "Surveyed", "copy_models", "model_digests", "open_counted", "open_data",
    "open_predictions", "survey",
]  # fmt: skip


@dataclass(frozen=True)
class Opened:
    """What can be said of a job without loading the model: rank 0 finds out and tells the others."""

    source: data_.Source
    plan: Plan
    model_path: str  # of several models all paths; of predictions written earlier nothing
    digests: dict[str, str]
    done: tuple[int, ...] = ()  # chunks that earlier attempts have finished
    model_paths: dict[str, str | None] = field(default_factory=dict)  # by the model's name; None where it has no file
    model_digests: dict[str, str] = field(default_factory=dict)  # by name, of those that are not handed over
    copies: dict[str, str] = field(default_factory=dict)  # digest by name, of the models that each node gets a copy of
    left_out: dict[str, int] = field(default_factory=dict)  # by the run that predicted: read, kept, filtered, skipped
    classes: tuple[str, ...] | None = None  # names, of the job or found in the labels
    text_labels: dict[str, data_.Feature] = field(default_factory=dict)  # those that name classes, where the job does not
    inventory: Inventory = field(default_factory=Inventory)  # what the data lie in, as it was before they were opened


@dataclass(frozen=True)
class Began:
    """The model versions and the files that a run began with: what a resumed one goes on with."""

    models: Mapping[str, str | None]
    files: tuple[str, ...]


@dataclass(frozen=True)
class Given:
    """What Python hands over, in place of what a job names.

    Attributes:
      models: what to call those that are handed over, by name; the job names the others.
      source, digest: the examples and the digest of their contents; None where the job names files.
    """

    models: Mapping[str, str] = field(default_factory=dict)
    source: data_.Source | None = None
    digest: str = ""


@dataclass(frozen=True)
class Surveyed:
    """What a job names, once rank 0 has looked: what is counted of it is shared, what is opened is not.

    Attributes:
      models: paths by name; None where a model has no file.
      paths: of the data.
      before: what the files were when they were looked at.
      counts: files that have to be gone through; see `data.survey`.
    """

    models: dict[str, str | None]
    paths: tuple[str, ...] = ()
    before: dict[str, Identity] = field(default_factory=dict)
    counts: tuple[FileCount, ...] = ()


@dataclass(frozen=True)
class ModelDigests:
    """The digests of a job's models by name, and of those that each node gets a copy of that of the files alone."""

    models: dict[str, str] = field(default_factory=dict)
    copies: dict[str, str] = field(default_factory=dict)


def survey(job: Job, began: Began | None = None, handed: Given | None = None) -> Surveyed:
    """Find models and data, and look at the files that have to be counted.

    Args:
      job: names both.
      began: take these, whatever else there is by now.
      handed: take these instead.
    Raises: JobError, DataError, ModelError: see there.
    """
    class_list(job)
    handed = handed or Given()
    models = dict(began.models) if began else _locate(job, handed)
    if handed.source is not None:
        return Surveyed(models)
    named = [job.resolve(path) for path in job.data.files]
    kind = data_.FORMATS[job.data.format]
    if not kind.globs:
        paths = named  # a prepared folder is named with its split: nothing that lies on disk under that name
    elif began and not kind.groups:  # whose files stand for several
        paths = list(began.files)
    else:
        paths = data_.expand(job.data.files, named, folders=kind.folders)
    before = {path: identify(path) for path in paths if os.path.isfile(path)}
    counts = data_.survey(job.data.format, data_.Origin(paths, job.data.python or "", job.folder))
    return Surveyed(models, tuple(paths), before, tuple(counts))


def _locate(job: Job, handed: Given) -> dict[str, str | None]:
    return {
        name: model_files.locate(spec, job.resolve, job.folder)
        for name, spec in job.named_models.items()
        if name not in handed.models
    }


def model_digests(job: Job, models: Mapping[str, str | None], ranks: int) -> ModelDigests:
    """Return the digests of a job's models, which are read for it.

    Args:
      models: see `Surveyed`.
      ranks: how many will read them.
    Raises: ModelError: a model cannot be read.
    """
    named = job.named_models
    try:
        return ModelDigests(
            {name: model_files.digest_of(named[name], path, job.folder) for name, path in models.items()},
            {
                name: model_files.digest(path)
                for name, path in models.items()
                if path is not None and wants_copy(named[name], path, ranks)
            },
        )
    except OSError as exc:
        raise ModelError(f"{exc.filename}: cannot be read: {exc.strerror}") from exc


def open_data(job: Job, began: Began | None = None, ranks: int = 1, handed: Given | None = None) -> Opened:
    """Find model and data, count these here, and cut the plan.

    Args:
      job, began, handed: see `survey`; the digest of a model that is handed over is left to the caller, who has it.
      ranks: how many will read the model.
    Raises: JobError, DataError, ModelError: see there.
    """
    surveyed = survey(job, began, handed)
    counted = replace(surveyed, counts=tuple(count(surveyed.counts)))
    return open_counted(job, counted, lambda: model_digests(job, counted.models, ranks), handed)


def open_counted(job: Job, surveyed: Surveyed, digest: Callable[[], ModelDigests], handed: Given | None = None) -> Opened:
    """Open what was counted, and cut the plan.

    Args:
      surveyed: with all counts.
      digest: called when the data are open.
    Raises: JobError, DataError, ModelError: see there.
    """
    handed = handed or Given()
    source, inventory = (handed.source, Inventory()) if handed.source else _open_source(job, surveyed)
    files = source.files
    examples = sum(file.examples for file in source.files)
    if not examples:
        where = f"{len(files)} file{'s' * (len(files) > 1)}" if handed.source is None else files[0].path
        raise JobError(f"data.files: expected at least one example, found none in {where}")
    source, ids = _narrowed(job, source)
    examples = sum(file.examples for file in source.files)
    plan = Plan(source.files, job.batch_size, job.chunk_size or default_chunk_size(examples, job.batch_size), ids)
    of_models = digest()
    digests = {
        "job": job.digest,
        "data": handed.digest or data_.digest(files),
        "model": model_files.joined(of_models.models) if of_models.models else "",
    }
    places = {
        name: handed.models.get(name) or surveyed.models[name] or spec.python or spec.name
        for name, spec in job.named_models.items()
    }
    shown = "; ".join(f"{name}: {place}" if name else f"{place}" for name, place in places.items())
    return Opened(
        source,
        plan,
        shown,
        digests,
        model_paths=surveyed.models,
        model_digests=of_models.models,
        copies=of_models.copies,
        classes=class_list(job),
        inventory=inventory,
    )


def _open_source(job: Job, surveyed: Surveyed) -> tuple[data_.Source, Inventory]:
    """Open what the job names, and see that it did not change meanwhile.

    Raises: DataError: it did.
    """
    target = job.data.python or ""
    source = data_.open_source(job.data.format, surveyed.paths, target=target, folder=job.folder, counts=surveyed.counts)
    inventory = take(source)
    for now in inventory.identities:
        before = surveyed.before.get(now.path)
        if before and (changes := before.changes(now)):
            raise DataError(f"{now.path} changed while it was opened: {changes}; start again when nobody writes to it")
    return source, inventory


def _narrowed(job: Job, source: data_.Source) -> tuple[data_.Source, Drawn | None]:
    """Add what the job makes of the source: a part of its examples, further features; also return the ids of the part."""
    data, ids = job.data, None
    if data.sample is not None or data.limit is not None:
        source = PartialSource(source, data.sample, data.limit)
        ids = source.drawn
        if not len(ids):
            raise JobError(f"data.sample: a share of {data.sample} draws none of {len(source.files)} files' examples; raise it")
    columns = {name: spec.columns for name, spec in data.features.items() if spec.columns}
    keys = [("data.label", data.label), ("data.weight", data.weight)]
    keys += [(f"metric {m.name}: {option}", m.options.get(option)) for m in job.metrics for option in ("label", "weight")]
    names: dict[str, str] = {}
    for key, name in keys:
        if isinstance(name, str):
            names.setdefault(name, key)
    if data.transform or data.filter or columns or any(not _is_name(name) for name in names):
        declarations = {
            **declared(data),
            **{n: data_.Feature(data.features[n].dtype, (len(c),)) for n, c in columns.items()},
        }
        source = DerivedSource(
            source, declared={n: f for n, f in declarations.items() if n not in columns}, columns=columns,
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

    classes = class_list(job)
    source = PredictionSource.open(folder)
    manifest = source.manifest
    plan = replace(source.plan, batch_size=job.batch_size)
    digests = {**manifest.digests, "job": job.digest}
    return Opened(source, plan, "", digests, left_out=dict(manifest.left_out), classes=classes, inventory=take(source))


def copy_models(opened: Opened) -> None:
    """Copy models to this node; the first rank of each node calls this, and the others load afterwards.

    Raises: ModelError: see `copy_to_node`.
    """
    for name, model_digest in opened.copies.items():
        path = opened.model_paths[name]
        assert path is not None
        copy_to_node(path, model_digest)
