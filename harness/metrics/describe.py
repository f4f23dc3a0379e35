"""What metrics there are, as text for people. Loads the metrics' families, which load no TensorFlow until they build a graph."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Sequence
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from harness.metrics import METRICS, load
from harness.metrics.contract import HostMetric, Inputs, Metric, RowMetric, ScoreScale

__all__ = ["describe", "overview", "page"]

WIDTH = 100
KINDS = {bool: "true|false", int: "integer", float: "number", str: "text", NoneType: "null"}
READS = {
    Inputs.CLASSES: "class labels and a score per class, or one score for two classes; a one-hot label with one_hot: true",
    Inputs.BINARY: "class labels and the score of the positive class; a one-hot label with one_hot: true",
    Inputs.MULTILABEL: "labels of 0 and 1 and a score, of each of several classes that do not exclude each other",
    Inputs.NUMBERS: "labels and an output that are numbers, of one shape; of [B, T] each of the T is a position, all pooled",
    Inputs.MULTIOUTPUT: "labels and an output of several numbers, [B, ..., K]",
    Inputs.OUTPUT: "an output; no labels",
    Inputs.RAW: "labels and an output as they are",
}
PREFACE = """What a job may ask for under `metrics:`. This page is written by `make docs` from the registry of metrics;
`harness metrics NAME` says the same of one. Every metric gives the same bits at any number of ranks; a value that the
mathematics does not define is null, with the reason. [slices.md](slices.md) tells of slices and intervals,
[own-metrics.md](own-metrics.md) of metrics of your own."""
SCALES = {
    ScoreScale.DECISION: "of any range; one score a position is the probability of class 1 of two",
    ScoreScale.PROBABILITY: "probabilities, unless from_logits; those of classes that exclude each other sum to 1",
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
    if metric.score_scale in SCALES:
        parts.append(f"  scores      {SCALES[metric.score_scale]}")
    lacks = [what for flag, what in LACKS.items() if not getattr(metric, flag)]
    if lacks:
        parts.append(f"  without     {', '.join(lacks)}")
    further = _further(metric)
    if further:
        parts += ["", textwrap.fill(further, WIDTH, initial_indent="  ", subsequent_indent="  ")]
    own = _own(metric)
    if own:
        parts += ["", "options", *_options(metric, own)]
    parts += ["", "where it reads from", *_options(metric, list(Metric.model_fields))]
    return "\n".join(parts)


def page() -> str:
    """Return docs/metrics.md: every metric of the registry, by family, in the order of the registry.

    >>> page().splitlines()[0]
    '# Metrics'
    """
    families: dict[str, list[str]] = {}
    for name, place in METRICS.items():
        families.setdefault(place.partition(":")[0], []).append(name)
    parts = ["# Metrics", PREFACE, "| family | metrics |\n|---|---|"]
    for family, names in families.items():
        links = ", ".join(f"[`{name}`](#{name})" for name in names)
        parts[-1] += f"\n| [{_title(family)}](#{_title(family).lower().replace(' ', '-')}) | {links} |"
    parts += ["## Options of every metric", _table(Metric, list(Metric.model_fields))]
    for family, names in families.items():
        parts += [f"## {_title(family)}", *(_section(name) for name in names)]
    return "\n\n".join(parts) + "\n"


def _title(family: str) -> str:
    return family.replace("_", " ").capitalize()


def _section(name: str) -> str:
    """Write one metric in Markdown."""
    metric = load(name)
    facts = [f"- definition: `{metric.summary}`"]
    if metric.source:
        facts.append(f"- as in: {metric.source}")
    scores = [f"- scores: {SCALES[metric.score_scale]}"] if metric.score_scale in SCALES else []
    facts += [f"- reads: {READS[metric.inputs]}", *scores, f"- adds: {_adds(metric)}"]
    lacks = [what for flag, what in LACKS.items() if not getattr(metric, flag)]
    if lacks:
        facts.append(f"- does not take: {', '.join(lacks)}")
    if metric.no_interval:
        facts.append(f"- has no interval: {metric.no_interval}")
    own = _own(metric)
    further = [_further(metric), _table(metric, own) if own else ""]
    return "\n\n".join([f"### {name}", _first_line(metric), "\n".join(facts), *filter(None, further)])


def _adds(metric: type[Metric]) -> str:
    """Say what an example adds, by the kind of metric."""
    if issubclass(metric, RowMetric):
        return "rows that are kept, and sorted over all ranks at the end"
    if issubclass(metric, HostMetric):
        return "numbers made on the host, by a library or in NumPy"
    return "numbers and counts, summed exactly"


def _table(metric: type[Metric], names: Sequence[str]) -> str:
    """Write options as a table in Markdown."""
    lines = ["| option | type | default | meaning |", "|---|---|---|---|"]
    for cells in _cells(metric, names):
        name, kind, default, meaning = (cell.replace("|", "\\|") for cell in cells)
        lines.append(f"| `{name}` | {kind} | {default} | {meaning} |")
    return "\n".join(lines)


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


def _own(metric: type[Metric]) -> list[str]:
    """Return the options that not every metric has, the most special first: the class's own, then its family's."""
    written = [name for kind in metric.__mro__ for name in inspect.get_annotations(kind)]
    return [name for name in dict.fromkeys(written) if name in metric.model_fields and name not in Metric.model_fields]


def _cells(metric: type[Metric], names: Sequence[str]) -> list[tuple[str, str, str, str]]:
    """Return name, type, default and meaning of options."""
    rows = []
    for name in names:
        field = metric.model_fields[name]
        default = "required" if field.is_required() else _shown(field.default)
        rows.append((name, _type(field), default, field.description or ""))
    return rows


def _options(metric: type[Metric], names: Sequence[str]) -> list[str]:
    """Write options as a table: name, type, default, meaning."""
    rows = _cells(metric, names)
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
