"""What metrics there are, as text for people. Loads the metrics' families, which load no TensorFlow until they build a graph."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Sequence
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from harness.metrics import METRICS, load
from harness.metrics.contract import Inputs, Metric

__all__ = ["describe", "overview"]

WIDTH = 100
KINDS = {bool: "true|false", int: "integer", float: "number", str: "text", NoneType: "null"}
READS = {
    Inputs.CLASSES: "class labels and a score per class; a one-hot label, or one score for two classes, will do",
    Inputs.BINARY: "class labels and the score of the positive class",
    Inputs.MULTILABEL: "labels of 0 and 1 and a score, of each of several classes that do not exclude each other",
    Inputs.NUMBERS: "labels and an output that are numbers, of one shape",
    Inputs.OUTPUT: "an output; no labels",
    Inputs.RAW: "labels and an output as they are",
}
LACKS = {"takes_weights": "weights", "takes_slices": "slices", "takes_replicates": "bootstrap"}


def overview() -> str:
    """Return one line per metric: its name and what it is."""
    width = max(len(name) for name in METRICS)
    lines = [f"{name:{width}}  {_first_line(load(name))}" for name in METRICS]
    return "\n".join([*lines, "", "harness metrics NAME says how one is defined, and its options"])


def describe(name: str) -> str:
    """Return all that a user of a metric has to know.

    Raises: JobError: there is no metric of that name; names the nearest.
    """
    metric = load(name)
    parts = [f"{name}: {_first_line(metric)}", "", f"  definition  {metric.summary}"]
    if metric.source:
        parts.append(f"  as in       {metric.source}")
    parts.append(f"  reads       {READS[metric.inputs]}")
    lacks = [what for flag, what in LACKS.items() if not getattr(metric, flag)]
    if lacks:
        parts.append(f"  without     {', '.join(lacks)}")
    more = _further(metric)
    if more:
        parts += ["", textwrap.fill(more, WIDTH, initial_indent="  ", subsequent_indent="  ")]
    shared = set(Metric.model_fields)
    # The most special first: what the class itself adds, then what it shares with its family.
    written = [name for kind in metric.__mro__ for name in inspect.get_annotations(kind)]
    own = [name for name in dict.fromkeys(written) if name in metric.model_fields and name not in shared]
    if own:
        parts += ["", "options", *_options(metric, own)]
    parts += ["", "where it reads from", *_options(metric, list(Metric.model_fields))]
    return "\n".join(parts)


def _first_line(metric: type[Metric]) -> str:
    return (inspect.getdoc(metric) or "").split("\n")[0]


def _further(metric: type[Metric]) -> str:
    """Return what the docstrings of the metric and its bases say beyond their first line."""
    texts = []
    for kind in metric.__mro__:
        if kind.__module__ == Metric.__module__:
            break  # from here on it is written for authors of metrics
        texts.append(" ".join((kind.__doc__ or "").split("\n\n", 1)[1:]))
    return " ".join(" ".join(dict.fromkeys(texts)).split())


def _options(metric: type[Metric], names: Sequence[str]) -> list[str]:
    """Write options as a table: name, type, default, meaning."""
    rows = []
    for name in names:
        field = metric.model_fields[name]
        default = "required" if field.is_required() else _shown(field.default)
        rows.append((name, _type(field), default, field.description or ""))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = []
    for row in rows:
        start = "  " + "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=False)) + "  "
        meaning = textwrap.wrap(row[3], max(WIDTH - len(start), 40)) or [""]
        lines += [(start + meaning[0]).rstrip(), *(" " * len(start) + line for line in meaning[1:])]
    return lines


def _shown(default: Any) -> str:
    """Write a default as a job has it."""
    if default is None or isinstance(default, bool):
        return {None: "null", True: "true", False: "false"}[default]
    if isinstance(default, tuple):
        return f"[{', '.join(_shown(part) for part in default)}]"
    return str(default)


def _type(field: FieldInfo) -> str:
    """Write a type as people call it, with its limits."""
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    limits = [f"{sign} {getattr(part, name)}" for part in field.metadata for name, sign in signs.items() if hasattr(part, name)]
    return f"{_kind(field.annotation)} {' and '.join(limits)}".strip()


def _kind(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return "|".join(_shown(choice) for choice in get_args(annotation))
    if get_args(annotation) and get_origin(annotation) in (Union, UnionType):
        return " or ".join(_kind(part) for part in get_args(annotation))
    if get_origin(annotation) is tuple:
        return f"list of {_kind(get_args(annotation)[0])}"
    return KINDS.get(annotation, getattr(annotation, "__name__", str(annotation)))
