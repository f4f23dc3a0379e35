"""A question as JSON and back: names and options, never code. Loads no TensorFlow.

A metric of the registry is written by its name there, one of a job's `python:` key by the module and the class that it was
made of, both with all their options. Reading runs nothing that a file names: metrics of one's own come from a function that
the caller hands in, and those that do not come are placeholders, which say why.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, ClassVar, Literal

from harness.errors import JobError
from harness.job.specs import BootstrapSpec, ExamplesSpec, SlicesSpec
from harness.metrics import METRICS, load
from harness.metrics.contract import Binding, Inputs, Metric, ScoreScale
from harness.metrics.question import Question

__all__ = ["Placeholder", "binding_from_json", "binding_to_json", "from_json", "placeholders", "to_json"]

NOT_LOADED = "it is no metric of the harness: the module that holds it has to be named"
NOT_WRITTEN = "its options cannot be written as JSON"
MALFORMED = (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError)  # a ValidationError is a ValueError
HOME = "harness.metrics."


class Placeholder(Metric):
    """Stands for a metric that cannot be made again: its terms and its value are not known.

    Attributes:
      target: module:Class of the metric.
      reason: why it is not there.
    """

    inputs: ClassVar[Inputs] = Inputs.RAW
    summary: ClassVar[str] = "unknown"

    target: str
    reason: str


def placeholders(question: Question) -> dict[str, str]:
    """Return which metrics of a question are placeholders, and why, by key."""
    metrics = question.metrics.items()
    return {key: f"{metric.target}: {metric.reason}" for key, metric in metrics if isinstance(metric, Placeholder)}


def to_json(question: Question) -> dict[str, Any]:
    """Return a question as a document that standard JSON holds; `from_json` reads it."""
    return {
        "metrics": [
            {"key": key, **_metric_to_json(metric), "binding": binding_to_json(question.bindings[key])}
            for key, metric in question.metrics.items()
        ],
        "slices": None if question.slices is None else _plain(question.slices.model_dump(mode="json")),
        "bootstrap": None if question.bootstrap is None else question.bootstrap.model_dump(mode="json"),
        "classes": None if question.classes is None else list(question.classes),
        "models": list(question.models),
        # Left out where nobody asks: the bytes of jobs that do not are those of earlier versions.
        **({"unknown_label": question.unknown_label} if question.unknown_label != "error" else {}),
        **({"examples": question.examples.model_dump(mode="json")} if question.examples else {}),
    }


def from_json(document: Any, own: Callable[[str], type[Metric]] | None = None) -> Question:
    """Read what `to_json` wrote.

    Args:
      document: of any content: it is checked.
      own: returns the class of a metric of the user's own, given module:Class; raises JobError where there is none. It may
        import what it is told to, so it is for a caller who knows where the document comes from. Without it, and where it
        raises, such a metric is a `Placeholder`.
    Raises: ValueError: the document is not what `to_json` writes.
    """
    try:
        metrics: dict[str, Metric] = {}
        bindings: dict[str, Binding] = {}
        for entry in document["metrics"]:
            key = _text(entry["key"])
            if key in metrics:
                raise ValueError(f"two metrics are called {key!r}")
            metrics[key] = _metric_from_json(entry, own)
            bindings[key] = binding_from_json(entry["binding"])
        slices, bootstrap, classes = document["slices"], document["bootstrap"], document["classes"]
        return Question(
            metrics,
            bindings,
            None if slices is None else SlicesSpec.model_validate(slices),
            None if bootstrap is None else BootstrapSpec.model_validate(bootstrap),
            None if classes is None else tuple(_text(name) for name in classes),
            tuple(_text(name) for name in document["models"]),
            _unknown_label(document.get("unknown_label", "error")),
            ExamplesSpec.model_validate(document["examples"]) if "examples" in document else None,
        )
    except MALFORMED as exc:
        raise ValueError(f"not a question as a run writes it: {type(exc).__name__}: {exc}") from exc


def binding_to_json(binding: Binding) -> dict[str, Any]:
    """Return a binding as a document."""
    options = {field.name: getattr(binding, field.name) for field in fields(binding)}
    if binding.baseline is None:  # the bytes of jobs that compare nothing are those of earlier versions
        del options["baseline"]
    return {**options, "inputs": binding.inputs.name, "scale": binding.scale.name}


def binding_from_json(document: Mapping[str, Any]) -> Binding:
    """Read what `binding_to_json` wrote.

    >>> binding = Binding(Inputs.NUMBERS, "amount", "target", also=(("query", "user"),))
    >>> binding_from_json(json.loads(json.dumps(binding_to_json(binding)))) == binding
    True

    Raises: KeyError, TypeError: the document is no binding.
    """
    options = {name: _tuples(value) for name, value in document.items()}
    return Binding(**{**options, "inputs": Inputs[document["inputs"]], "scale": ScoreScale[document["scale"]]})


def _tuples(value: Any) -> Any:
    """Return a list of lists as a tuple of tuples; what a binding holds can be hashed.

    Raises: TypeError: it cannot.
    """
    if isinstance(value, dict):
        raise TypeError(f"expected a text, a number or a list, found {value!r}")
    return tuple(_tuples(entry) for entry in value) if isinstance(value, list) else value


def _metric_to_json(metric: Metric) -> dict[str, Any]:
    if isinstance(metric, Placeholder):
        return {"python": metric.target, "options": None}
    kind = type(metric)
    place = f"{kind.__module__}:{kind.__qualname__}"
    name = next((name for name, known in METRICS.items() if HOME + known == place), None)
    return {"python": place, "options": _options(metric)} if name is None else {"metric": name, "options": _options(metric)}


def _options(metric: Metric) -> dict[str, Any] | None:
    """Return all options of a metric; None where they would not make the same metric again."""
    try:
        options = _plain(metric.model_dump(mode="json"))
        again = type(metric).model_validate(json.loads(json.dumps(options)))
        return options if _plain(again.model_dump(mode="json")) == options else None
    except Exception:  # noqa: BLE001 - the user's own fields and validators
        return None


def _plain(value: Any) -> Any:
    """Return a document without the numbers that standard JSON lacks: pydantic reads their names for numbers.

    >>> _plain({"buckets": [0.5, math.inf]})
    {'buckets': [0.5, 'inf']}
    """
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _metric_from_json(entry: Mapping[str, Any], own: Callable[[str], type[Metric]] | None) -> Metric:
    options = entry["options"]
    if "metric" in entry:
        name = _text(entry["metric"])
        if name not in METRICS:
            raise ValueError(f"there is no metric {name!r}")
        return load(name).model_validate(options)
    target = _text(entry["python"])
    if options is None:
        return _placeholder(target, NOT_WRITTEN)
    if own is None:
        return _placeholder(target, NOT_LOADED)
    try:
        return own(target).model_validate(options)
    except JobError as exc:
        return _placeholder(target, str(exc))
    except ValueError as exc:
        return _placeholder(target, f"it does not take the options that it was given: {exc}")


def _placeholder(target: str, reason: str) -> Placeholder:
    return Placeholder.model_validate({"target": target, "reason": reason})


def _unknown_label(value: Any) -> Literal["error", "skip", "null"]:
    if value not in ("error", "skip", "null"):
        raise ValueError(f"expected error, skip or null, found {value!r}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a text, found {value!r}")
    return value
