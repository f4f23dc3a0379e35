"""The job that evaluates a model on data, as YAML with comments: what was chosen, why, and what else there is. Pure.

What was seen of model and data comes in as a `FirstLook`; nothing is opened here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from harness.data import Feature
from harness.errors import JobError
from harness.names.texts import printable
from harness.prepare.draft_metrics import Entry, choose_metrics, completed, find_query, further_metrics, parse_metrics
from harness.prepare.draft_reading import Reading, is_scalar
from harness.prepare.draft_task import Scale, Task, TaskKind, choose_task

__all__ = ["FirstLook", "Wishes", "batch_size", "write_draft"]

LARGEST_BATCH, SMALLEST_BATCH = 256, 8
BATCH_BYTES = 32 << 20  # of what the model takes
BATCHES = 16  # that there should be, for several ranks to share
WIDTH = 110
SHOWN = 6  # names in a comment
NO_GROUPS = ("id", "index", "key")
WEIGHTS = ("weight", "weights", "sample_weight")


@dataclass(frozen=True)
class FirstLook:
    """What was seen of a model and of the first examples.

    Attributes:
      model, files: as the job will name them.
      format: of the files.
      model_inputs, model_outputs: without the batch dimension.
      features: of the data.
      parsed: whether the data is made of serialized records.
      reading: the label, and what has to be declared.
      inputs: model input to feature.
      values: of label and queries, of the first examples, [n, ...].
      predictions: by output, of the same examples, [n, ...].
      examples: how many there are in the files that were opened.
      files_opened: how many of the files these are, and of how many.
      class_names: where the data knows them.
      fixed_batch: the only batch size that the model takes; None of most.
      signature: of the model, where it is not the usual one.
    """

    model: str
    files: tuple[str, ...]
    format: str
    model_inputs: Mapping[str, Feature]
    model_outputs: Mapping[str, Feature]
    features: Mapping[str, Feature]
    parsed: bool
    reading: Reading
    inputs: Mapping[str, str]
    values: Mapping[str, np.ndarray]
    predictions: Mapping[str, np.ndarray]
    examples: int
    files_opened: tuple[int, int] = (1, 1)
    class_names: tuple[str, ...] | None = None
    fixed_batch: int | None = None
    signature: str | None = None


@dataclass(frozen=True)
class Wishes:
    """What the user said: None or empty where nothing.

    Attributes:
      label: a feature, or an expression.
      metrics: with their options; `metrics_text` is what they were read from.
      output: of the model, that the label goes with.
    """

    label: str | None = None
    metrics: tuple[Entry, ...] = ()
    output: str | None = None
    metrics_text: str = ""

    @classmethod
    def of(cls, label: str | None, metrics: str | None, output: str | None) -> Wishes:
        """Read them from the options of the command line.

        Raises: JobError: the metrics are no list of metrics.
        """
        return cls(label, () if metrics is None else tuple(parse_metrics(metrics)), output, metrics or "")


def write_draft(look: FirstLook, wishes: Wishes, folder: Path) -> str:
    """Write the job.

    Args:
      folder: where the user's own metrics are looked for.
    Raises: JobError: label and outputs go together in no way, or in several; or there is no such metric.
    """
    label = look.values[look.reading.label]
    try:
        task: Task | None = choose_task(label, look.predictions, wishes.output)
    except JobError:
        if not wishes.metrics or wishes.output:
            raise
        task = None
    query = find_query(look.features, look.values, task, label) if task else None
    output = (wishes.output or (task.output if task else None)) if len(look.model_outputs) > 1 else None
    chosen = list(wishes.metrics) or (choose_metrics(task, query) if task else [])
    entries = completed(chosen, task, output, query, folder)
    model = look.model if look.signature is None else {"path": look.model, "signature": look.signature}
    lines = [
        "# Written by harness init, from what the model and the first examples show. docs/job.md has every key.",
        *_line(f"model: {_flow(model)}", _model_comment(look)),
        *_data_lines(look, wishes, label, task),
        f"batch_size: {look.fixed_batch or batch_size(look.model_inputs, _examples_in_all(look))}",
        *_line("metrics:", _task_comment(task, query)),
        *(f"  - {_flow(entry.name)}" + (f": {_flow(dict(entry.options))}" if entry.options else "") for entry in entries),
    ]
    if task and not wishes.metrics:
        lines.append(f"  # others that fit: {further_metrics(task, query)}; harness metrics lists all")
    return "\n".join([*lines, *_further_lines(look, query), ""])


def batch_size(model_inputs: Mapping[str, Feature], examples: int) -> int:
    """Return how many examples the model sees at once: a power of two, of inputs of up to 32 MiB, that makes several batches.

    A chunk holds at least a batch, and is the work of one rank.

    >>> batch_size({"x": Feature("float32", (8,))}, 10_000), batch_size({"image": Feature("float32", (224, 224, 3))}, 10_000)
    (256, 32)
    """
    sizes = [
        np.dtype("float64" if spec.dtype in ("string", "bfloat16") else spec.dtype).itemsize for spec in model_inputs.values()
    ]
    bytes_ = sum(
        size * math.prod(dim or 1 for dim in spec.shape) for size, spec in zip(sizes, model_inputs.values(), strict=True)
    )
    batch = LARGEST_BATCH
    while batch > SMALLEST_BATCH and (batch * bytes_ > BATCH_BYTES or batch * BATCHES > examples):
        batch //= 2
    return batch


def _examples_in_all(look: FirstLook) -> int:
    """Return about how many examples all files hold."""
    opened, files = look.files_opened
    return look.examples * files // opened


def _data_lines(look: FirstLook, wishes: Wishes, label: np.ndarray, task: Task | None) -> list[str]:
    """Write the section of the data."""
    reading = look.reading
    files = look.files[0] if len(look.files) == 1 else list(look.files)
    lines = ["data:", *_line(f"  files: {_flow(files)}", _examples_comment(look)), f"  format: {look.format}"]
    if reading.declarations:
        lines.append("  features:")
        for name, spec in reading.declarations.items():
            lines += _line(f"    {_flow(name)}: {_flow(spec)}", reading.reasons[name])
    if reading.inputs:
        lines.append(f"  inputs: {_flow(dict(reading.inputs))}")
    else:
        bound = _comment(_flow(dict(look.inputs)))
        lines.append(f"  # inputs: {bound}  (found by name, or by dtype and shape; write it to say otherwise)")
    others = [
        name for name, feature in look.features.items()
        if name != reading.label and name not in _read(look) and is_scalar(feature, parsed=look.parsed)
    ]  # fmt: skip
    lines += _line(f"  label: {_flow(reading.label)}", _label_comment(look, wishes, label, others))
    weights = [name for name in others if name.lower() in WEIGHTS]
    if weights:
        lines.append(f"  # weight: {_comment(_flow(weights[0]))}  (to weigh each example by it)")
    return lines + _class_lines(look, label, task)


def _class_lines(look: FirstLook, label: np.ndarray, task: Task | None) -> list[str]:
    """Write the names of the classes, where they are as many as the output has."""
    names = look.class_names
    if names is None and label.dtype.kind == "O":
        names = tuple(sorted({_text(value) for value in label.ravel().tolist()}))
    if names is None or task is None or not task.classes:
        return []
    if len(names) != task.classes and look.class_names is not None:
        raise JobError(
            f"the data has {len(names):,} classes ({_listed(names)}), the output has {task.classes:,}: name the folder whose "
            "subfolders are the classes, or write a job that lists all of them with data.classes"
        )
    if len(names) != task.classes:
        shown = f"the data shows {len(names):,} ({_comment(_listed(names))}), the output has {task.classes:,}"
        return [f"  # classes: {shown}; list them in the order of its scores"]
    return _line(f"  classes: {_flow(list(names))}", "taken to be in the order of the output's scores: is it that of training?")


def _further_lines(look: FirstLook, query: str | None) -> list[str]:
    """Write, as comments, what else a job may have."""
    read = {look.reading.label, query, *_read(look)}
    groups = [name for name, feature in look.features.items() if name not in read and _is_group(name, feature)][:SHOWN]
    example = _comment(_flow(groups or ["FEATURE"]))
    return [
        f"# slices: {example}  (every metric by group too)",
        "# bootstrap: {replicates: 200}  (confidence intervals)",
    ]


def _is_group(name: str, feature: Feature) -> bool:
    """Whether values of a feature may stand for groups: texts and integers, but no numbers of examples."""
    of_groups = feature.dtype == "string" or feature.dtype.startswith(("int", "uint"))
    return of_groups and feature.shape in ((), (1,)) and name.lower() not in NO_GROUPS


def _read(look: FirstLook) -> set[str]:
    """Name the features that the inputs are made of."""
    columns = [column for spec in look.reading.declarations.values() for column in spec.get("columns", ())]
    return {*look.inputs.values(), *columns}


def _model_comment(look: FirstLook) -> str:
    takes = ", ".join(f"{name}: {spec}" for name, spec in list(look.model_inputs.items())[:SHOWN])
    gives = ", ".join(f"{name}: {spec}" for name, spec in list(look.model_outputs.items())[:SHOWN])
    more = f" and {len(look.model_inputs) - SHOWN:,} more" if len(look.model_inputs) > SHOWN else ""
    return f"takes {takes}{more}; gives {gives}"


def _examples_comment(look: FirstLook) -> str:
    opened, files = look.files_opened
    return f"{look.examples:,} examples" + (f" in the first of {files:,} files" if opened < files else "")


def _label_comment(look: FirstLook, wishes: Wishes, label: np.ndarray, others: Sequence[str]) -> str:
    if label.dtype.kind == "O":
        values = f"text, as {_listed(sorted({_text(value) for value in label.ravel().tolist()}))}"
    elif label.size:
        values = f"{label.dtype}, {label.min():g} to {label.max():g}"
    else:
        values = f"{label.dtype}"
    why = "" if wishes.label else "; chosen for its name" if look.reading.by_name else "; the only one that is no input"
    rest = f"; others: {_listed(others)}" if others and not wishes.label else ""
    return f"{values} in the {len(label):,} examples that were looked at{why}{rest}"


def _task_comment(task: Task | None, query: str | None) -> str:
    if task is None:
        return ""
    if query is not None:
        return f"examples of one {query} are ranked by the output"
    several = task.kind in (TaskKind.CLASSES, TaskKind.MULTILABEL)
    kind = f"{task.kind.value} ({task.classes:,})" if several else task.kind.value
    return kind if task.scale is Scale.NONE else f"{kind}: the output looks like {task.scale.value}"


def _line(code: str, comment: str) -> list[str]:
    """Return a line with its comment behind it, or above where it is long."""
    if not comment:
        return [code]
    comment = _comment(comment)
    if "\n" in code or len(code) + len(comment) > WIDTH:
        return [f"{' ' * (len(code) - len(code.lstrip()))}# {comment}", code]
    return [f"{code}  # {comment}"]


def _comment(text: str) -> str:
    return " ".join(printable(part) for part in text.split())


def _flow(value: Any) -> str:
    """Write a value as YAML that may stand behind a key: long lists over several lines, names of any letters.

    >>> _flow({"k": 3}), _flow("a: b"), _flow("true"), _flow("a\\nb")
    ('{k: 3}', "'a: b'", "'true'", '"a\\\\nb"')
    """
    if any(not text.isprintable() for text in _texts(value)):
        return json.dumps(value)
    # A key has to stand on one line, and a long one with spaces would be folded.
    width = math.inf if any(len(text) > WIDTH // 2 for text in _texts(value)) else WIDTH - 10
    text = yaml.safe_dump(value, default_flow_style=True, width=width, sort_keys=False, allow_unicode=True)
    lines = [line for line in text.splitlines() if line != "..."]
    return "\n      ".join(line.strip() for line in lines)


def _texts(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [text for pair in value.items() for part in pair for text in _texts(part)]
    if isinstance(value, list | tuple):
        return [text for part in value for text in _texts(part)]
    return [value] if isinstance(value, str) else []


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else "")


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
