"""What a metric of two models is compared with: which model, and which of its outputs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from harness.errors import JobError, nearest
from harness.job.job import Job
from harness.metrics.contract import Binding, Metric

__all__ = ["SECOND", "baseline_model", "baselines_of", "with_baseline", "with_baselines"]

SECOND = ": baseline"  # ends the key under which the second output of a metric is bound; messages show it


def with_baselines(job: Job, metrics: Mapping[str, Metric]) -> dict[str, Metric]:
    """Give each metric that compares its baseline: MODEL or MODEL/OUTPUT of several models, an output of one.

    Raises: JobError: there is none, it is no model of the job, or it is what is compared with it.
    """
    return {key: _with_baseline(job, key, metric) if metric.compares else metric for key, metric in metrics.items()}


def _with_baseline(job: Job, key: str, metric: Metric) -> Metric:
    named: str | None = _baseline(metric)
    if not job.models:
        if named is None:
            raise JobError(
                f"metric {key}: compares two models, and the job has one: name several under models, or another output of the "
                "model with baseline"
            )
        return metric
    baseline = named or next(iter(job.models))
    model = baseline.partition("/")[0]
    if model not in job.models:
        raise JobError(f"metric {key}: baseline: there is no model '{model}': {nearest(model, job.models)}")
    owner = (metric.output or "").partition("/")[0]
    is_own = owner in job.models and "/" in (metric.output or "")
    if len(job.models) < 2 or (is_own and owner == model):
        raise JobError(f"metric {key}: compares {model} with itself; name another model with baseline")
    if metric.output is not None and not is_own and "/" not in baseline:
        baseline = f"{model}/{metric.output}"  # that is the name of the output, whatever the model
    return metric.model_copy(update={"baseline": baseline})


def baseline_model(metric: Metric) -> str:
    """Return the model that a metric is compared with, in a job of several."""
    return str(_baseline(metric)).partition("/")[0]


def baselines_of(model: str, metrics: Mapping[str, Metric]) -> dict[str, Metric]:
    """Return what reads the baselines that are outputs of a model, to be bound like any of its metrics.

    Args:
      model: its name; empty where it is the only one.
      metrics: of all models, as `make_metrics` returns them.
    """
    seconds = {}
    for key, metric in metrics.items():
        if metric.compares and (not model or baseline_model(metric) == model):
            named = str(_baseline(metric))
            seconds[key + SECOND] = metric.model_copy(update={"output": named if not model or "/" in named else None})
    return seconds


def with_baseline(key: str, bindings: Mapping[str, Binding]) -> Binding:
    """Return the binding of a metric, with the output of its baseline where it has one."""
    second = bindings.get(key + SECOND)
    return bindings[key] if second is None else replace(bindings[key], baseline=second.output)


def _baseline(metric: Metric) -> Any:
    """Return the option, which metrics that compare have; see `pairs.PairMetric`."""
    return getattr(metric, "baseline", None)
