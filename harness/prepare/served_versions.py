"""The slice by version of a model whose endpoint may answer with any: a feature that comes with its replies. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.errors import JobError
from harness.job.job import Job
from harness.job.specs import SliceFeature, SlicesSpec
from harness.metrics.contract import Metric
from harness.prepare.input_binding import Matched

__all__ = ["version_feature", "with_versions"]

FEATURE = "model_version"


def version_feature(model: str) -> str:
    """Return the name of the feature.

    >>> version_feature(""), version_feature("new")
    ('model_version', 'new/model_version')
    """
    return f"{model}/{FEATURE}" if model else FEATURE


def with_versions(job: Job, model: Any, metrics: Mapping[str, Metric], matched: Matched) -> Job:
    """Return a job with a slice by version of each model that any version may answer for.

    Args:
      model: see `models.model.Model`.
      metrics: of the job.
      matched: what is read of the data.
    Raises: JobError: a metric takes no slices, or the data have a feature of that name.
    """
    features = [version_feature(name) for name, served in model.served.items() if served.any_version]
    if not features:
        return job
    for feature in features:
        if feature in matched.wanted:
            raise JobError(f"version: any: the data have a feature '{feature}', which the slice by version needs for itself")
    for key, metric in metrics.items():
        if not metric.takes_slices and metric.slices:
            raise JobError(f"metric {key}: takes no slices, and version: any makes a slice by version; set slices: false on it")
    slices = job.slices or SlicesSpec.model_validate({"by": []})
    by = (*slices.by, *((SliceFeature(feature=feature),) for feature in features))
    return job.model_copy(update={"slices": slices.model_copy(update={"by": by})})
