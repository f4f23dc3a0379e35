"""Parity as a job: from a job, the one that evaluates two models on its examples and says how far they are apart. Pure.

What it adds are metrics of two models, a gate on them, and the examples that are furthest apart: the pass, the slices, the
intervals and the certificate are those of every job.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import JobError, UsageError, nearest
from harness.job.job import Job
from harness.job.specs import MetricSpec
from harness.metrics import make
from harness.metrics.contract import Inputs, Metric
from harness.metrics.pairs import FlipRate

__all__ = ["MEAN", "WITHIN", "ParityLimits", "Sides", "parity_job"]

MEAN, LARGEST, WITHIN = "prediction_difference", "largest_prediction_difference", "within_tolerance"
FLIPS, PAIRS = "flip_rate", "mcnemar"
REPLACED = ("model", "models", "metrics", "gate", "examples", "predictions", "export", "output")
NULL_FAILS = {"if_null": "fail"}
KEPT = ("name", "weight", "slices", "bootstrap")  # options of a metric that do not say how a prediction is read


@dataclass(frozen=True)
class ParityLimits:
    """What two models are held to.

    Attributes:
      atol, rtol: numbers p and r agree where |p - r| <= atol + rtol |r|, r of the reference.
      within: the share of numbers that has to agree.
      flips: the share of decisions that may be others; None: any.
      largest: how far apart two numbers may be at most; None: any.
      outputs: that are compared; none: those that the job's metrics name, else the only one.
      worst: how many of the examples that are furthest apart are kept.
    """

    atol: float = 1e-6
    rtol: float = 1e-5
    within: float = 1.0
    flips: float | None = None
    largest: float | None = None
    outputs: tuple[str, ...] = ()
    worst: int = 20


@dataclass(frozen=True)
class Sides:
    """Which models are compared.

    Attributes:
      reference: a model of the job; None: its first.
      candidate: another model of the job, or the path of one; None: the second, or `endpoint`.
      endpoint: keys of a model behind an endpoint; empty where the candidate is none.
    """

    reference: str | None = None
    candidate: str | None = None
    endpoint: Mapping[str, Any] | None = None

    def models(self, job: Job) -> dict[str, Any]:
        """Return the keys of both models by name, the reference first.

        Raises: UsageError: it is not said which two, or there is no such model.
        """
        named = {name or "reference": spec.model_dump(mode="json", exclude_unset=True) for name, spec in job.named_models.items()}
        reference = self.reference or next(iter(named))
        if reference not in named:
            raise UsageError(f"--model {reference}: the job has no such model: {nearest(reference, named)}")
        if self.candidate is not None and self.endpoint is not None:
            raise UsageError("--against and --endpoint both say what is compared with the model: say one of them")
        if self.endpoint is not None:
            return {reference: named[reference], _other_than(reference, "endpoint"): dict(self.endpoint)}
        others = [name for name in named if name != reference]
        if self.candidate is None and len(others) != 1:
            remedy = f"--against {' or '.join(others)}" if others else "--against MODEL, or --endpoint URL --name NAME"
            raise UsageError(f"parity is of two models, and it is not said which is held against {reference}: {remedy}")
        candidate = self.candidate or others[0]
        if candidate == reference:
            raise UsageError(f"--against {candidate}: that is the reference itself")
        if candidate in named:
            return {reference: named[reference], candidate: named[candidate]}
        if job.models and "/" not in candidate and "." not in candidate:
            raise UsageError(f"--against {candidate}: the job has no such model: {nearest(candidate, others)}")
        return {reference: named[reference], _other_than(reference, "candidate"): {"path": candidate}}


def parity_job(job: Job, sides: Sides, limits: ParityLimits) -> Job:
    """Return the job that evaluates parity.

    Its data, slices, bootstrap and metrics are those of the job; the run goes to a folder of its own, NAME-parity.

    Raises: UsageError: see `Sides.models`. JobError: a metric of the job is wrong.
    """
    models = sides.models(job)
    reference, candidate = models
    own, named = _own_metrics(job, set(models))
    outputs: tuple[str | None, ...] = limits.outputs or tuple(dict.fromkeys(_outputs(named, models))) or (None,)
    decisions = _decisions(named, models, outputs)
    # Every example weighs the same: what is looked for is not a mean.
    common = {"baseline": reference, "weight": False}
    listed = [entry for output in outputs for entry in _differences(output, outputs, limits, common)]
    listed += [entry for options in decisions.values() for entry in _flips({**options, **common}, decisions)]
    raw = {key: value for key, value in job.resolved.items() if key not in REPLACED}
    if job.bootstrap is None and (limits.within < 1 or limits.flips):
        # A share with a bound needs an interval; of the job's own metrics none was asked for.
        raw["bootstrap"] = {}
        own = [{**entry, "options": {**entry["options"], "bootstrap": False}} for entry in own]
    raw |= {
        "models": models,
        "metrics": [*own, *listed],
        "examples": {
            "worst": limits.worst,
            "by": f"{candidate}/{key_of(MEAN, outputs[0], outputs)}",
            "per": "slice" if job.slices else "all",
        },
        "gate": {"model": candidate, "rules": {"correct": "none", "rules": _rules(limits, outputs, list(decisions))}},
    }
    if job.output is not None:
        raw["output"] = f"{job.output.rstrip('/')}-parity"
    return Job.from_dict(raw, folder=job.folder, name=f"{job.name}-parity", where=f"parity of {job.name}")


def key_of(name: str, output: str | None, outputs: Sequence[str | None]) -> str:
    """Return what a metric of an output is reported as: with the output where there are several.

    >>> key_of("flip_rate", "a", ["a", "b"]), key_of("flip_rate", None, [None])
    ('flip_rate(a)', 'flip_rate')
    """
    return name if len(outputs) == 1 else f"{name}({output})"


def _other_than(reference: str, name: str) -> str:
    return name if name != reference else f"{name}-2"


def _own_metrics(job: Job, models: set[str]) -> tuple[list[Any], list[tuple[MetricSpec, Metric]]]:
    """Return the job's metrics but those of two models, and of models that are not compared: as JSON, and as they are."""
    kept = [
        (spec, metric)
        for spec, metric in zip(job.metrics, make(job.metrics, job.folder).values(), strict=True)
        if not metric.compares and (_owner(metric, job) in models or _owner(metric, job) is None)
    ]
    return [spec.model_dump(mode="json") for spec, _ in kept], kept


def _owner(metric: Metric, job: Job) -> str | None:
    """Return the model that a metric is of alone; None: of all."""
    model, slash, _ = (metric.output or "").partition("/")
    return model if slash and model in job.models else None


def _plain(output: str | None, models: Mapping[str, Any]) -> str | None:
    """Return the name of an output without that of its model."""
    model, slash, name = (output or "").partition("/")
    return name if slash and model in models else output


def _outputs(named: Sequence[tuple[MetricSpec, Metric]], models: Mapping[str, Any]) -> list[str | None]:
    """Return the outputs that metrics of numbers name."""
    return [
        _plain(metric.output, models)
        for _, metric in named
        if metric.output is not None and metric.inputs is not Inputs.RAW
    ]  # fmt: skip


def _decisions(
    named: Sequence[tuple[MetricSpec, Metric]], models: Mapping[str, Any], outputs: Sequence[str | None]
) -> dict[str | None, dict[str, Any]]:
    """Return how a class is read of each output, as the first of the job's metrics that does reads it."""
    decisions: dict[str | None, dict[str, Any]] = {}
    for spec, metric in named:
        output = _plain(metric.output, models)
        if metric.inputs not in (Inputs.CLASSES, Inputs.BINARY) or (output not in outputs and output is not None):
            continue
        options = {key: value for key, value in spec.options.items() if key in FlipRate.model_fields and key not in KEPT}
        decisions.setdefault(output, options if output is None else {**options, "output": output})
    return decisions


def _differences(
    output: str | None, outputs: Sequence[str | None], limits: ParityLimits, common: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return the metrics of how far an output is apart."""
    options = common if output is None else {**common, "output": output}
    tolerance = {"atol": limits.atol, "rtol": limits.rtol}
    return [
        {name: {**options, **more, "name": key_of(name, output, outputs)}}
        for name, more in ((MEAN, {}), (LARGEST, {}), (WITHIN, tolerance))
    ]


def _flips(options: Mapping[str, Any], decisions: Mapping[str | None, Any]) -> list[dict[str, Any]]:
    output, outputs = options.get("output"), list(decisions)
    return [{name: {**options, "name": key_of(name, output, outputs)}} for name in (FLIPS, PAIRS)]


def _rules(limits: ParityLimits, outputs: Sequence[str | None], decided: Sequence[str | None]) -> list[dict[str, Any]]:
    """Return the rules. A bound that says all or none is on these very examples: no interval could hold it.

    A number that is NaN in a model agrees with nothing: then there is no value, and the rule fails.

    Raises: JobError: there are no decisions to be held to a bound.
    """
    rules: list[dict[str, Any]] = [
        {key_of(WITHIN, output, outputs): {"at_least": limits.within, "interval": limits.within < 1, **NULL_FAILS}}
        for output in outputs
    ]
    if limits.largest is not None:
        rules += [
            {key_of(LARGEST, output, outputs): {"at_most": limits.largest, "interval": False, **NULL_FAILS}} for output in outputs
        ]
    if limits.flips is not None:
        if not decided:
            raise JobError("--flips: no metric of the job reads a class: add accuracy, or another that does")
        rules += [
            {key_of(FLIPS, output, decided): {"at_most": limits.flips, "interval": limits.flips > 0, **NULL_FAILS}}
            for output in decided
        ]
    return rules
