"""What the values of metrics.json are: versions, of each metric its definition and what it read, how intervals were drawn.

Written from the question alone, so it is the same at any number of ranks.
"""

from __future__ import annotations

from typing import Any

from harness.metrics.direction import better
from harness.metrics.labels import label_words, unique_labels
from harness.metrics.question import Question
from harness.metrics.question_json import to_json
from harness.version import __version__

__all__ = ["KEEPING", "SCHEMA_VERSION", "explanation"]

KEEPING = {"slice_replicates"}  # keys of the bootstrap that change no value
SCHEMA_VERSION = 1  # of metrics.json and run.json; docs/results.md says what may change within one


def explanation(question: Question) -> dict[str, Any]:
    """Return what metrics.json says of its own values."""
    document: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "harness_version": __version__,
        "definitions": _definitions(question),
    }
    if question.bootstrap is not None:
        document["bootstrap"] = question.bootstrap.model_dump(mode="json", exclude=KEEPING)
    return document


def _definitions(question: Question) -> dict[str, Any]:
    asked = {entry.pop("key"): entry for entry in to_json(question)["metrics"]}
    models = {key: _model(key, question.models) for key in asked}
    labels = unique_labels({key: _label(entry, models[key]) for key, entry in asked.items()})
    return {
        key: {
            "label": labels[key],
            "definition": getattr(question.metrics[key], "summary", ""),
            "better": better(entry.get("metric", "")).value,
            **({"model": models[key]} if models[key] else {}),
            **entry,
        }
        for key, entry in asked.items()
    }


def _model(key: str, models: tuple[str, ...]) -> str:
    """Return which of several models a metric is of; nothing where there is one."""
    return max((model for model in models if key.startswith(f"{model}/")), key=len, default="")


def _label(entry: dict[str, Any], model: str) -> str:
    words = " ".join(label_words(entry.get("metric") or entry["python"], entry["options"] or {}))
    return f"{model}/{words}" if model else words
