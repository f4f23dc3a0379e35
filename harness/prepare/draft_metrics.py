"""The metrics that a task is usually judged by, with the options that its label and output ask for. Opens nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness.data import Feature
from harness.errors import JobError
from harness.job.yaml_text import parse
from harness.metrics import load
from harness.metrics.contract import ScoreScale
from harness.prepare.draft_task import Scale, Task, TaskKind

__all__ = ["QUERIES", "Entry", "choose_metrics", "completed", "find_query", "further_metrics", "parse_metrics"]

QUERIES = ("query", "query_id", "qid", "group", "group_id", "session", "session_id")
MANY_CLASSES = 10  # more than these are judged by the first five too


@dataclass(frozen=True)
class Entry:
    """A metric of a job: its name, or an alias, and its options."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)


CHOICES = {
    TaskKind.CLASSES: (Entry("accuracy"), Entry("f1"), Entry("cross_entropy")),
    TaskKind.BINARY: (Entry("accuracy"), Entry("f1", {"average": "binary"}), Entry("auc"), Entry("ap"), Entry("log_loss")),
    TaskKind.MULTILABEL: (Entry("multilabel_f_beta"), Entry("exact_match"), Entry("hamming_loss")),
    TaskKind.NUMBERS: (Entry("mae"), Entry("rmse"), Entry("r2")),
}
FURTHER = {
    TaskKind.CLASSES: "balanced_accuracy, precision, recall, mcc, confusion_matrix, one_vs_rest_roc_auc, ece",
    TaskKind.BINARY: "precision, recall, mcc, confusion_matrix, roc_curve, brier, ece",
    TaskKind.MULTILABEL: "multilabel_precision, multilabel_recall, label_ranking_average_precision, coverage_error",
    TaskKind.NUMBERS: "median_absolute_error, mean_bias, mean_absolute_percentage_error, pearson, spearman",
}
RANKING = (Entry("ndcg", {"k": 10}), Entry("mean_reciprocal_rank"))
NEED_PROBABILITIES = ("cross_entropy", "log_loss")  # of those above


def choose_metrics(task: Task, query: str | None = None) -> list[Entry]:
    """Return the metrics that a task is usually judged by.

    Args:
      query: the feature that says which examples are ranked together; None where none are.

    >>> [entry.name for entry in choose_metrics(Task(TaskKind.CLASSES, Scale.SCORES, "p", 1000))]
    ['accuracy', 'f1', 'top_k']
    """
    if query is not None:
        own = [entry for entry in CHOICES[task.kind] if task.kind is TaskKind.BINARY and entry.name == "auc"]
        return [*RANKING, *own]
    if task.position_dims > 1:
        return [Entry("pixel_accuracy"), Entry("mean_iou")]
    entries = [entry for entry in CHOICES[task.kind] if task.scale is not Scale.SCORES or entry.name not in NEED_PROBABILITIES]
    if task.kind is TaskKind.CLASSES and task.classes > MANY_CLASSES:
        entries.append(Entry("top_k", {"k": 5}))
    if task.kind is TaskKind.CLASSES and task.classes == 2:
        entries.append(Entry("auc"))
    return entries


def further_metrics(task: Task, query: str | None = None) -> str:
    """Name what else fits a task."""
    if query is not None:
        return "mean_average_precision, precision_at_k, recall_at_k, hit_rate, grouped_auc"
    return "iou, dice, f1, accuracy" if task.position_dims > 1 else FURTHER[task.kind]


def completed(entries: Sequence[Entry], task: Task | None, output: str | None, query: str | None, folder: Path) -> list[Entry]:
    """Add the options that a metric needs to read this label and output, where it has them and the user did not say.

    Args:
      output: to be named; None where the model has no other.
    Raises: JobError: there is no such metric.
    """
    results = []
    for entry in entries:
        own_label = "label" in entry.options  # which may go with another output: binding finds it
        options: dict[str, Any] = {} if output is None or own_label else {"output": output}
        if entry.name != "python":
            kind = load(entry.name, folder)
            # Of several scores the highest is that of the logits too.
            compares = task is not None and task.kind is TaskKind.CLASSES and kind.score_scale is ScoreScale.DECISION
            wanted = (
                {}
                if own_label
                else {
                    "from_logits": task is not None and task.scale is Scale.LOGITS and not compares,
                    "one_hot": task is not None and task.one_hot,
                    "query": query,
                }
            )
            options |= {option: value for option, value in wanted.items() if value and option in kind.model_fields}
        results.append(Entry(entry.name, {**options, **entry.options}))
    return results


def parse_metrics(text: str) -> list[Entry]:
    """Read what --metrics says: names, and names with options, with commas between.

    Raises: JobError: it is neither.

    >>> parse_metrics("accuracy,{top_k: {k: 3}}")
    [Entry(name='accuracy', options={}), Entry(name='top_k', options={'k': 3})]
    """
    entries = []
    for raw in parse(f"[{text}]", "--metrics"):
        name, options = next(iter(raw.items())) if isinstance(raw, Mapping) and len(raw) == 1 else (raw, {})
        if name == "python" and isinstance(options, str):
            options = {"metric": options}
        if not isinstance(name, str) or not isinstance(options, Mapping | None):
            raise JobError(
                f"--metrics: expected names with commas between, as in accuracy,f1 or '{{top_k: {{k: 3}}}}', found {raw!r}"
            )
        entries.append(Entry(name, dict(options or {})))
    if not entries:
        raise JobError("--metrics: expected at least one metric, found none")
    return entries


def find_query(features: Mapping[str, Feature], values: Mapping[str, np.ndarray], task: Task, label: np.ndarray) -> str | None:
    """Return the feature that says which examples are ranked together; None where the task is no ranking.

    It has a name of that, and its values come again; the label is a grade, 0 or more.
    """
    if task.kind not in (TaskKind.BINARY, TaskKind.NUMBERS) or label.dtype.kind == "O":
        return None
    if (label.ndim > 1 and label.size != len(label)) or not ((label >= 0) & (label == np.floor(label))).all():
        return None
    for name in features:
        if name.lower() in QUERIES and name in values and len(set(values[name].ravel().tolist())) < len(values[name]):
            return name
    return None
