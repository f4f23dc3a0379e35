"""Look at a model and at files of which nothing is said, and write the job that evaluates one on the other.

What is looked at: the model, the first of the files, and what the model says of a few examples from different places of it.
What follows from that is said in `prepare/draft*.py`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness import data as data_
from harness.data import BAD, Feature, Source, storage
from harness.data.magic import HEAD, format_of_content, is_picture
from harness.data.range_file import open_range
from harness.errors import HarnessError, JobError, ModelError
from harness.job.data_format import EXTENSIONS, format_of
from harness.job.job import Job
from harness.job.specs import ModelSpec
from harness.models import files as model_files
from harness.names.status_line import Status, StatusLine
from harness.prepare.draft import FirstLook, Wishes, batch_size, write_draft
from harness.prepare.draft_metrics import QUERIES
from harness.prepare.draft_reading import Reading, choose_reading
from harness.prepare.input_binding import Matched, match, read_by
from harness.prepare.opened import Given, open_data
from harness.prepare.prepare import predictor
from harness.prepare.spoilt_numbers import spoilt_numbers
from harness.ranks.comm import World

__all__ = ["draft_job"]

LOOKED_AT = 64  # examples
PLACES = 4  # of the file that they come from: files are often sorted by label


def draft_job(model: str, data: Sequence[str], wishes: Wishes, folder: Path, world: World, line: StatusLine) -> str:
    """Return the job that evaluates a model on data, as YAML with comments.

    Args:
      model: its path.
      data: files, globs or a folder.
      wishes: what the user said.
      folder: the job file's, which relative paths will lie beside.
      world: of this process; each rank looks for itself, and finds the same.
      line: where it is shown what is done.
    Raises: UsageError: the two do not go together, or in several ways. DataError: a file is not what its format says.
    """
    from harness.step import tensorflow as tf_setup

    line.show(Status("importing TensorFlow"))
    tf_setup.import_tensorflow()
    line.show(Status("looking at the first examples"))
    tf_setup.set_up(world.local_rank, tf_setup.threads_per_rank(world), 0)
    path = model_files.resolve(model)
    kind, patterns = _locate(data)
    source, opened_files = _open(kind, patterns)
    loaded, signature = _load(path)
    inputs, outputs = _described(loaded.inputs), _described(loaded.outputs)
    features = source.features()
    pictures = _pictures(source, features, inputs)
    reading = choose_reading(inputs, features, parsed=source.flat, pictures=pictures, label=wishes.label)
    _check_columns(source, features, reading)
    section = {
        "files": list(patterns),
        "format": kind,
        "label": reading.label,
        "inputs": dict(reading.inputs) or None,
        "features": {name: dict(spec) for name, spec in reading.declarations.items()},
    }
    job = Job.from_dict({"model": model, "data": section, "predictions": {}}, where="harness init")
    # As in a run: labels that are expressions, columns that are one feature.
    narrowed = open_data(job, handed=Given({"": model}, source, "-")).source
    queries = [
        name for name, feature in features.items()
        if name.lower() in QUERIES and name != reading.label and feature.shape in ((), (1,))
    ]  # fmt: skip
    extra = {reading.label: "the label", **dict.fromkeys(queries, "the query")}
    matched = match(job.data, narrowed.features(), inputs, extra, parsed=narrowed.flat)
    examples = sum(file.examples for file in narrowed.files)
    fixed = next((spec.shape[0] for spec in loaded.inputs.values() if spec.shape[0] is not None), None)
    values, predictions = _predict(loaded, matched, narrowed, fixed or min(batch_size(inputs, examples), LOOKED_AT))
    look = FirstLook(
        _beside(model, folder), tuple(_beside(pattern, folder) for pattern in patterns), kind, inputs, outputs,
        features, source.flat, reading, matched.inputs,
        {name: values[name] for name in (reading.label, *queries)}, predictions,
        examples, opened_files, source.class_names, fixed, signature,
    )  # fmt: skip
    return write_draft(look, wishes, folder)


def _load(path: str) -> tuple[Any, str | None]:
    """Load the model; also return its signature, where it is not the usual one but the only one.

    Raises: ModelError: it cannot be loaded, or has several signatures, and none is the usual one.
    """
    import tensorflow as tf

    from harness.models import loading

    try:
        return loading.load(path, ModelSpec.model_validate({"path": path})), None
    except ModelError:
        if not os.path.exists(os.path.join(path, "saved_model.pb")):
            raise
        try:
            signatures = list(tf.saved_model.load(path).signatures)
        except Exception:  # noqa: BLE001 - whatever it is, the first error says it better
            signatures = []
        if len(signatures) != 1:
            raise
    return loading.load(path, ModelSpec.model_validate({"path": path, "signature": signatures[0]})), signatures[0]


def _locate(data: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """Return the format of what was named, and the files, globs or folders as a job has them.

    Raises: JobError: there is nothing there, or its format cannot be told.
    """
    first, patterns = data[0], tuple(data)
    kind = format_of(first)
    if kind is None and len(data) == 1 and os.path.isdir(first):
        endings = {ending for name in os.listdir(first) if (ending := _ending(name))}
        if len(endings) != 1:
            shown = ", ".join(sorted(endings)) or "none that is known"
            raise JobError(
                f"{first}: expected files of one format in the folder, found {shown}; name the files, as in '{first}/*.csv'"
            )
        (ending,) = endings
        patterns = (os.path.join(first, f"*{ending}"),)
        kind = format_of(patterns[0])
    if kind is None:
        path = data_.expand(patterns[:1], patterns[:1])[0]
        with open_range(path) as file:
            kind = format_of_content(file.read(0, min(HEAD, file.size)))
    if kind is None:
        raise JobError(
            f"{first}: its format cannot be told from its name or its first bytes; write the job yourself (docs/job.md)"
        )
    return kind, patterns


def _ending(name: str) -> str | None:
    """Return the ending of a file that says its format.

    >>> _ending("a.csv.gz"), _ending("b.npz"), _ending("README.md")
    ('.csv.gz', '.npz', None)
    """
    packed = ".gz" if name.endswith(".gz") else ""
    ending = os.path.splitext(name.removesuffix(".gz"))[1]
    return ending + packed if ending in EXTENSIONS and not name.startswith(".") else None


def _open(kind: str, patterns: Sequence[str]) -> tuple[Source, tuple[int, int]]:
    """Open the first file that holds examples, or all where files go together; also return how many of how many.

    Raises: JobError: there are no examples.
    """
    form = data_.FORMATS[kind]
    paths = data_.expand(patterns, patterns, folders=form.folders) if form.globs else list(patterns)
    parts = [paths] if form.groups or not form.globs else [[path] for path in paths]
    for part in parts:
        source = data_.open_source(kind, part)
        if sum(file.examples for file in source.files):
            return source, (len(part), len(paths))
    raise JobError(f"{patterns[0]}: expected at least one example, found none in {len(paths):,} file{'s' * (len(paths) > 1)}")


def _described(specs: Mapping[str, Any]) -> dict[str, Feature]:
    """Return inputs or outputs of a model without the batch dimension.

    Raises: ModelError: one has none.
    """
    for name, spec in specs.items():
        if not spec.shape.rank:
            raise ModelError(f"'{name}' is {spec.dtype.name} {spec.shape}: expected examples along the first dimension")
    return {name: Feature(spec.dtype.name, tuple(spec.shape[1:])) for name, spec in specs.items()}


def _pictures(source: Source, features: Mapping[str, Feature], inputs: Mapping[str, Feature]) -> set[str]:
    """Return the features whose first value is an encoded image; none where no input could take one."""
    if not any(len(wants.shape) == 3 and wants.dtype != "string" for wants in inputs.values()):
        return set()
    texts = {
        name: Feature("string", ()) for name, has in features.items()
        if has.dtype == "string" and (has.shape == () or (source.flat and has.shape == (1,)))
    }  # fmt: skip
    first = _read(source, texts, [(0, 1)]) if texts else {}
    return {name for name, values in first.items() if is_picture(values[0])}


def _read(source: Source, wanted: Mapping[str, Feature], runs: Iterable[tuple[int, int]]) -> dict[str, np.ndarray]:
    """Read and parse some runs of examples, each [start, stop).

    Raises: JobError: one of them cannot be parsed.
    """
    import tensorflow as tf

    chosen, blocks = source.select(wanted), []
    for start, stop in runs:
        for records in chosen.read(start, stop, stop - start):
            raw = {name: tf.constant(array) for name, array in records.raw.items() if name != BAD}
            try:
                blocks.append({name: tensor.numpy() for name, tensor in chosen.parse(raw, wanted).items()})
            except tf.errors.OpError as exc:
                reason = chosen.explain(start, stop, wanted) or " ".join(exc.message.split())[:400]
                raise JobError(f"{reason}; take it out of the data, or say on_bad_record: skip in a job of your own") from exc
    return {name: np.concatenate([block[name] for block in blocks]) for name in wanted}


def _runs(source: Source) -> list[tuple[int, int]]:
    """Return the runs of examples that are looked at, [start, stop) each, from several places."""
    examples = sum(file.examples for file in source.files)
    places = np.unique(np.linspace(0, max(examples - LOOKED_AT // PLACES, 0), PLACES).astype(int)).tolist()
    stops = [*places[1:], examples]
    return [(start, min(start + LOOKED_AT // PLACES, stop)) for start, stop in zip(places, stops, strict=True)]


def _check_columns(source: Source, features: Mapping[str, Feature], reading: Reading) -> None:
    """See that none of the columns that stand side by side has the place of one of numbers that a stray cell made text.

    Raises: JobError: one has.
    """
    columns = [column for spec in reading.declarations.values() for column in spec.get("columns", ())]
    read = read_by(reading.label, features)
    texts = {name: has for name, has in features.items() if has == Feature("string", ()) and name not in read}
    if not columns or not texts:
        return
    for name, values in _read(source, texts, _runs(source)).items():
        if spoilt := spoilt_numbers(values.tolist(), is_text_file=source.text):
            raise JobError(
                f"column '{name}' is text, {spoilt}: is it one of the numbers that the model takes? Without it they would be "
                f"{', '.join(columns)}; mend it, or write a job that lists them (columns, docs/job.md)"
            )


def _predict(model: Any, matched: Matched, source: Source, batch: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Read examples from several places, and predict them; return the features and the outputs.

    Raises: ModelError: the model cannot predict them.
    """
    import tensorflow as tf

    values = _read(source, matched.wanted, _runs(source))
    specs = {name: tf.TensorSpec([batch, *array.shape[1:]], tf.constant(array[:1]).dtype) for name, array in values.items()}
    count, parts = len(next(iter(values.values()))), []
    try:
        # Concrete: TensorFlow warns of functions that are traced again and again.
        predict = tf.function(predictor(model, matched), autograph=False).get_concrete_function(specs)
        for first in range(0, count, batch):
            # The last batch is filled up from the start: a model may take no other size.
            rows = np.arange(first, first + batch) % count
            outputs = predict({name: tf.constant(array[rows]) for name, array in values.items()})
            parts.append({name: tensor.numpy()[: count - first] for name, tensor in outputs.items()})
    except HarnessError:
        raise
    except Exception as exc:
        reason = " ".join(str(exc).split())[:400]
        raise ModelError(f"the model cannot predict the first examples: {type(exc).__name__}: {reason}") from exc
    return values, {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _beside(path: str, folder: Path) -> str:
    """Return a path as a job file in a folder has it: what is not absolute lies beside it."""
    if storage.is_url(path) or os.path.isabs(path):
        return path
    return os.path.relpath(path, folder)
