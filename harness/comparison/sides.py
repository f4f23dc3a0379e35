"""What is compared: a finished run, or one model of a run, as numbers by metric and slice with their replicates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from harness.comparison.runs import Run, evidence_of, folder_of, name_of
from harness.errors import UsageError, nearest
from harness.metrics.contract import Metric
from harness.metrics.direction import Better, better
from harness.metrics.question import Question
from harness.metrics.question_json import to_json
from harness.results.metric_names import key_of, labels, number_labels

__all__ = ["WHOLE", "Number", "Side", "SliceName", "read_side", "read_sides"]

SliceName = tuple[tuple[str, Any], ...]  # features and their values
WHOLE: SliceName = ()
OWN_OPTIONS = frozenset({"name", "output", "from_logits", "slices", "bootstrap"})  # that a model may have its own way


@dataclass(frozen=True)
class Number:
    """One number of a side.

    Attributes:
      value: None where it is null.
      reason: why it is null.
      examples: that it is of.
      standard_error: by the replicates, else by a formula; None where neither is there.
      replicates: float64 [replicates], NaN for null; None where none were kept.
      no_difference: why replicates say nothing of a difference; None where they do.
      no_interval: why the number itself has none; None where it has one, or could have.
      low, high: its interval in metrics.json, at the level of the run's bootstrap; None where it has none.
    """

    value: float | None
    reason: str | None
    examples: int
    standard_error: float | None = None
    replicates: np.ndarray | None = field(default=None, repr=False)
    no_difference: str | None = None
    no_interval: str | None = None
    low: float | None = None
    high: float | None = None

    def above(self, other: Number) -> float:
        """Return how far it lies above another; both have values."""
        assert self.value is not None and other.value is not None
        return self.value - other.value


@dataclass(frozen=True)
class Side:
    """One of the things that are compared.

    Attributes:
      name: by which it is shown.
      document: metrics.json of its run.
      question: what the run asked.
      metrics: by key, without the model's name.
      definitions: what each metric reports, apart from what a model may have its own way.
      data_keys: the job's keys that say which examples are evaluated.
      numbers: by slice, `WHOLE` first, and by metric, or METRIC/NAME where a metric has several.
      inputs: the job's own word on what the model reads; None where it has none.
      model: whose numbers they are, of a run with several models.
      examples_per_s: of the run's last attempt; None where it is not known.
    """

    name: str
    document: Mapping[str, Any] = field(repr=False)
    question: Question = field(repr=False)
    metrics: Mapping[str, Metric] = field(repr=False)
    definitions: Mapping[str, Any] = field(repr=False)
    data_keys: Mapping[str, Any] = field(repr=False)
    numbers: Mapping[SliceName, Mapping[str, Number]] = field(repr=False)
    inputs: Any = field(default=None, repr=False)
    model: str | None = None
    examples_per_s: float | None = None

    @cached_property
    def labels(self) -> dict[str, str]:
        """What metrics are called, by key."""
        return self._own(labels(self.document))

    @cached_property
    def number_labels(self) -> dict[str, str]:
        """What the numbers of the whole are called."""
        return self._own({"/".join(filter(None, number)): label for number, label in number_labels(self.document).items()})

    def _own(self, named: Mapping[str, str]) -> dict[str, str]:
        """Return keys and labels without the name of the model; those of other models are left out."""
        own = {_own(key, self.model): _own(label, self.model) or label for key, label in named.items()}
        return {key: label for key, label in own.items() if key is not None}

    def number_of(self, name: str) -> str:
        """Return the number that is asked for by its key, its label or what is short for it; what is unknown stays as it is.

        A number of several is METRIC/NAME, and the metric may be named in any of these ways.
        """
        if (number := key_of(name, self.number_labels)) is not None:
            return number
        metric, slash, part = name.partition("/")
        return f"{key_of(metric, self.labels) or metric}{slash}{part}"

    @property
    def id_hash(self) -> str:
        """The hash of the ids of the examples that were scored."""
        certificate = self.document["certificate"]
        return str(certificate.get("kept_hash", certificate["id_hash"]))

    def better(self, number: str) -> Better:
        """Return which way a number is better."""
        definition = self.definitions.get(self.metric_of(number), {})
        return better(definition.get("metric", ""))

    def metric_of(self, number: str) -> str:
        """Return the key of the metric that a number is of."""
        return next((key for key in self.metrics if number == key or number.startswith(f"{key}/")), number)

    def counts(self, number: str) -> bool:
        """Say whether every example adds 0 or 1 to a number, weighs the same and is drawn on its own."""
        metric = self.metrics.get(number)
        plain = metric.plain_mean() if metric is not None else None
        key = next((key for key in self.question.metrics if key == number or key.endswith(f"/{number}")), None)
        if plain is None or plain.bucket is None or key is None or self.question.bindings[key].weight is not None:
            return False
        entry = self.document["metrics"].get(key, {})
        clustered = self.question.bootstrap is not None and self.question.bootstrap.cluster is not None
        return not clustered and "positions" not in entry


@dataclass
class _Reader:
    """Takes the numbers of one model out of a run's files."""

    question: Question
    metrics: Mapping[str, Metric]
    model: str | None
    names: dict[str, str] = field(default_factory=dict)

    def numbers(self, part: Mapping[str, Any], replicates: Mapping[str, np.ndarray]) -> dict[str, Number]:
        """Return the numbers of metrics.json, or of one of its slices."""
        intervals = part.get("intervals", {})
        found = {}
        for key, entry in part["metrics"].items():
            if (name := _own(key, self.model)) is None:
                continue
            for suffix, value, interval in _lines(entry["value"], intervals.get(key, {})):
                error = interval.get("standard_error")
                if error is None and not suffix:
                    error = entry.get("standard_error")
                found[f"{name}{suffix}"] = Number(
                    value,
                    entry.get("reason"),
                    entry["examples"],
                    error,
                    replicates.get(f"{key}{suffix}"),
                    self._refusal(name, interval),
                    interval.get("reason") if interval.get("low") is None else None,
                    interval.get("low"),
                    interval.get("high"),
                )
        return found

    def _refusal(self, name: str, interval: Mapping[str, Any]) -> str | None:
        metric = self.metrics.get(name)
        if metric is None or metric.plain_mean() is not None:
            return None
        if type(metric).gaps is not Metric.gaps:
            return "calibration errors are biased upwards, of two models not alike: their difference has no interval"
        if metric.no_interval is not None:
            return metric.no_interval
        return interval.get("reason") if interval.get("low") is None else None


def read_sides(runs: Sequence[Run], model: str | None = None, baselines: Path | None = None) -> list[Side]:
    """Read runs, or the models of one run.

    Args:
      runs: of one alone its models are the sides.
      model: of runs with several models the one that is compared.
      baselines: folder of the baselines that have names; see `runs.evidence_of`.
    Raises: RunFolderError: there is no finished run. UsageError: there are not two sides, or a run has several models.
    """
    if len(runs) == 1:
        sides = _sides(runs[0], model, baselines)
        if len(sides) < 2:
            raise UsageError(f"{name_of(runs[0])}: one run of one model; expected two runs, or a run of several models")
        return sides
    return _named([_one_side(run, model, baselines, ", or compare them with each other alone") for run in runs], runs)


def read_side(run: Run, model: str | None = None, baselines: Path | None = None) -> Side:
    """Read a run of one model, or one model of a run; see `read_sides`."""
    return _one_side(run, model, baselines)


def _one_side(run: Run, model: str | None, baselines: Path | None, otherwise: str = "") -> Side:
    """Read a run of one model; of one with several models `otherwise` is what else can be done."""
    sides = _sides(run, model, baselines)
    if len(sides) > 1:
        names = ", ".join(side.name for side in sides)
        raise UsageError(f"{name_of(run)} has several models: {names}; say which with --model{otherwise}")
    return sides[0]


def _named(sides: Sequence[Side], runs: Sequence[Run]) -> list[Side]:
    """Name folders by the last parts of their paths that tell them apart, results without one by their place."""
    paths = {at: path for at, run in enumerate(runs) if (path := folder_of(run)) is not None}
    parts = {at: path.absolute().parts for at, path in paths.items()}
    for size in range(1, max(map(len, parts.values()), default=0) + 2):
        names = ["/".join(parts[at][-size:]) if at in parts else f"results {at + 1}" for at in range(len(runs))]
        if len(set(names)) == len(names):
            return [replace(side, name=name) for side, name in zip(sides, names, strict=True)]
    raise UsageError(f"{paths[min(paths)]}: stands there twice")


def _sides(run: Run, model: str | None, baselines: Path | None) -> list[Side]:
    """Return the sides of a run: one a model; the model that is asked for where there are several."""
    evidence = evidence_of(run, baselines)
    document, question = evidence.document, evidence.question
    models: Sequence[str | None] = question.models if len(question.models) > 1 else [None]
    if model is not None and len(question.models) > 1:
        if model not in question.models:
            raise UsageError(f"--model {model}: {name_of(run)} has no such model: {nearest(model, question.models)}")
        models = [model]
    data = dict(evidence.data)
    inputs = data.pop("inputs", None)
    definitions = {entry.pop("key"): entry for entry in to_json(question)["metrics"]}
    sides = []
    for name in models:
        prefix = "" if name is None else f"{name}/"
        metrics = {key.removeprefix(prefix): metric for key, metric in question.metrics.items() if key.startswith(prefix)}
        reader = _Reader(question, metrics, name)
        numbers = {WHOLE: reader.numbers(document, evidence.replicates)}
        for at, entry in enumerate(document.get("slices") or []):
            rows = {key: array[at] for key, array in evidence.slice_replicates.items() if len(array) > at}
            numbers[tuple(entry["slice"].items())] = reader.numbers(entry, rows)
        defined = {key: _definition(definitions[prefix + key]) for key in metrics}
        speed = evidence.examples_per_s
        sides.append(Side(name or name_of(run), document, question, metrics, defined, data, numbers, inputs, name, speed))
    return sides


def _own(key: str, model: str | None) -> str | None:
    """Return a key or a label without the name of its model; None where it is of another model."""
    if model is None:
        return key
    return key.removeprefix(f"{model}/") if key.startswith(f"{model}/") else None


def _definition(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a metric reports: its name, its options, what it reads of the data."""
    options = {key: value for key, value in (entry["options"] or {}).items() if key not in OWN_OPTIONS}
    read = {key: entry["binding"][key] for key in ("label", "weight", "ignore_label", "positive", "also")}
    return {**{key: entry[key] for key in ("metric", "python") if key in entry}, **options, **read}


def _lines(value: Any, interval: Mapping[str, Any]) -> Iterator[tuple[str, float | None, Mapping[str, Any]]]:
    """Return suffix, value and interval of each number of a metric; tables have none."""
    if isinstance(value, dict):
        if "columns" not in value:
            yield from ((f"/{name}", part, interval.get(name, {})) for name, part in value.items() if not isinstance(part, str))
    elif not isinstance(value, str):
        yield "", value, interval
