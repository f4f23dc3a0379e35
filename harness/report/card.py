"""A model card of a run: Markdown with what the run knows, and the hub's model index in its front matter. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import yaml

from harness.errors import RunFolderError
from harness.names.urls import shown
from harness.report.drawing import clipped
from harness.report.estimates import Estimate, by_class, estimates
from harness.report.subjects import Subject
from harness.results.metric_names import labels, with_metrics
from harness.results.tables import TextTable, differences_table, markdown, metrics_table, slices_table

__all__ = ["card"]

MOST_SLICES = 40
LONGEST = 200  # letters of a name
GIVEN = "given:"  # what stands for the path of a model that a script handed over
FILL_IN = "*To be filled in.*"
# What kind of task a run is of, by the metrics that it has; the first that fits holds.
TASKS = (
    ("ranking", ("ndcg", "mean_reciprocal_rank", "mean_average_precision", "grouped_auc", "hit_rate", "precision_at_k")),
    ("object-detection", ("coco",)),
    ("image-segmentation", ("iou", "mean_iou", "dice", "pixel_accuracy", "panoptic_quality")),
    ("regression", ("mean_absolute_error", "mean_squared_error", "root_mean_squared_error", "r2", "median_absolute_error")),
    ("classification", ("accuracy", "roc_auc", "log_loss", "cross_entropy", "f_beta", "precision", "recall", "top_k")),
)  # fmt: skip


def card(subject: Subject) -> str:
    """Return the card of a finished run.

    Raises: RunFolderError: the run has no result.
    """
    document = subject.document
    if document is None:
        raise RunFolderError(f"{subject.name}: no finished run; a card says what a model has shown")
    front = yaml.safe_dump({"model-index": _index(subject, document)}, sort_keys=False, allow_unicode=True, width=10**6)
    return f"---\n{front}---\n\n" + "\n\n".join(_sections(subject, document)) + "\n"


def _index(subject: Subject, document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the model index: an entry a model, with the numbers that have a value and are of no class."""
    numbers = estimates(document)
    of_classes = by_class(numbers)
    shown_numbers = [own for own in numbers if own.value is not None and own not in of_classes]
    definitions = document.get("definitions") or {}
    models = dict.fromkeys(str(definitions.get(own.key, {}).get("model", "")) for own in shown_numbers)
    names = {str(definitions.get(key, {}).get("metric", "")) for key in document["metrics"]}
    kind = next((kind for kind, members in TASKS if names & set(members)), "other")
    data = _data_name(subject)
    entries = []
    for model in models:
        held = [own for own in shown_numbers if str(definitions.get(own.key, {}).get("model", "")) == model]
        result = {
            "task": {"type": kind},
            "dataset": {"name": data, "type": data, "revision": document.get("digests", {}).get("data", "")},
            "metrics": [_metric(own, str(definitions.get(own.key, {}).get("metric") or own.key), model) for own in held],
        }
        entries.append({"name": clipped(model or _model_name(subject), LONGEST), "results": [result]})
    return entries


def _metric(own: Estimate, kind: str, model: str) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": clipped(kind, LONGEST), "value": own.value}
    entry["name"] = clipped(own.label.removeprefix(f"{model}/") if model else own.label, LONGEST)
    return entry


def _sections(subject: Subject, document: Mapping[str, Any]) -> list[str]:
    """Return the sections that M. Mitchell et al., Model cards for model reporting, 2019, have, as far as a run knows them."""
    certificate, digests = document["certificate"], document.get("digests", {})
    bootstrap = document.get("bootstrap")
    drawn = (
        f"Intervals of {100 * bootstrap['level']:g} %, from {bootstrap['replicates']:,} bootstrap replicates."
        if bootstrap
        else ""
    )
    proof = f"Every one of {certificate['examples']:,} examples was counted once (id hash `{certificate['id_hash']}`)."
    files = [clipped(shown(str(name)), LONGEST) for name in _files(subject)]
    parts = [
        f"# Model card: {_text(_model_name(subject))}",
        f"## Model details\n\n- Digest of the model's files: `{digests.get('model', 'unknown')}`",
        f"- Developed by, license, contact: {FILL_IN}",
        f"## Intended use\n\n- Primary uses: {FILL_IN}\n- Out of scope: {FILL_IN}",
        f"## Factors\n\n{_factors(document)}",
        f"## Metrics\n\n{_definitions(document)}",
        "## Evaluation data\n\n"
        + "\n".join([f"- {_text(name)}" for name in files] + [f"- Digest: `{digests.get('data', 'unknown')}`", f"- {proof}"]),
        f"## Training data\n\n{FILL_IN}",
        "## Quantitative analyses",
        "\n\n".join(filter(None, [_table(_numbers(document)), drawn])),
        *(_table(differences_table(document, pair)) for pair in document.get("differences", {})),
        *_nulls(document),
        *_slices(document),
        f"## Ethical considerations\n\n{FILL_IN}",
        f"## Caveats and recommendations\n\n{FILL_IN}",
    ]
    return parts


def _text(text: str) -> str:
    """Return a text of a job as one line of Markdown that is nothing but text."""
    line = clipped(text, LONGEST).replace("\\", "\\\\").replace("<", "&lt;")
    return "".join(f"\\{letter}" if letter in "`*_[]#|!" else letter for letter in line)


def _table(table: TextTable) -> str:
    """Write a table as Markdown, its cells cut and on one line."""
    columns, *rows = ([clipped(cell, LONGEST) for cell in row] for row in [table.columns, *table.rows])
    return markdown(TextTable(columns, rows, table.title, table.names))


def _numbers(document: Mapping[str, Any]) -> TextTable:
    """Return the metrics that are numbers; tables are in files of their own."""
    tables = {
        key for key, entry in document["metrics"].items() if isinstance(entry["value"], Mapping) and "columns" in entry["value"]
    }
    return metrics_table(with_metrics(document, [key for key in document["metrics"] if key not in tables]))


def _factors(document: Mapping[str, Any]) -> str:
    features = dict.fromkeys(name for part in document.get("slices") or [] for name in part["slice"])
    named = f"Evaluated by {', '.join(_text(name) for name in features)}.\n\n" if features else ""
    return f"{named}Relevant groups and conditions: {FILL_IN}"


def _definitions(document: Mapping[str, Any]) -> str:
    names = labels(document)
    rows = [[names[key], str(entry.get("definition", ""))] for key, entry in (document.get("definitions") or {}).items()]
    return _table(TextTable(["metric", "definition"], rows, "", 2))


def _nulls(document: Mapping[str, Any]) -> list[str]:
    names = labels(document)
    return [
        f"{_text(names[key])} has no value: {_text(str(entry.get('reason', '')))}"
        for key, entry in document["metrics"].items()
        if entry["value"] is None
    ]


def _slices(document: Mapping[str, Any]) -> list[str]:
    slices: Sequence[Mapping[str, Any]] = document.get("slices") or []
    if not slices:
        return []
    largest = sorted(slices, key=lambda part: -part["examples"])[:MOST_SLICES]
    kept = [part for part in slices if part in largest]
    tables = [_table(slices_table(document, kept, len(document["metrics"])))]
    return [*tables, f"The {len(kept)} largest of {len(slices):,} slices."] if len(kept) < len(slices) else tables


def _model_name(subject: Subject) -> str:
    model = subject.job.get("model")
    path = model.get("path") if isinstance(model, Mapping) else model
    return PurePosixPath(path).stem if isinstance(path, str) and path and not path.startswith(GIVEN) else subject.name


def _files(subject: Subject) -> list[str]:
    data = subject.job.get("data")
    files = data.get("files") if isinstance(data, Mapping) else None
    return [str(name) for name in files] if isinstance(files, list) else [files] if isinstance(files, str) else []


def _data_name(subject: Subject) -> str:
    """Return what the data are called: the base names of their files."""
    names = [PurePosixPath(shown(name)).name for name in _files(subject)]
    return clipped(", ".join(names), LONGEST) if names else "data of the run"
