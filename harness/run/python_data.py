"""What a script hands over as data: arrays, a DataFrame, a tf.data.Dataset, paths; as the data section of a job and a source."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import Any

from harness import data as data_
from harness.data import memory
from harness.job.job import Job
from harness.job.specs import DataSpec

__all__ = ["features_of", "section_of"]


def section_of(data: Any, batched: bool | None) -> tuple[dict[str, Any], data_.Source | None, str, memory.Named | None]:
    """Return the data section of the job, and where examples were handed over their source, digest and names."""
    if isinstance(data, str | os.PathLike) or (isinstance(data, list) and data and all(isinstance(path, str) for path in data)):
        return {"files": [str(data)] if not isinstance(data, list) else data}, None, "", None
    if isinstance(data, Mapping) and set(data) <= set(DataSpec.model_fields) and ({"files", "python"} & set(data)):
        return dict(data), None, "", None
    source: data_.Source
    if hasattr(data, "element_spec") and hasattr(data, "cardinality"):
        source, parts = memory.DatasetSource.open(data, batched)
        description = f"{source.files[0].examples} {source.head()} " + " ".join(f"{n}: {f}" for n, f in source.features().items())
        digest = hashlib.sha256(description.encode()).hexdigest()
    else:
        if hasattr(data, "columns") and hasattr(data, "to_numpy"):
            data = {str(name): data[name].to_numpy() for name in data.columns}
        parts = memory.named(data)
        source, digest = memory.from_arrays(parts.values)
    return {"format": "memory", "label": parts.label, "weight": parts.weight}, source, digest, parts


def features_of(job: Job, source: data_.Source, parts: memory.Named | None) -> dict[str, data_.Feature]:
    """Return the features that a function takes: those that were named, or all that nothing else reads."""
    features = source.features()
    if job.data.inputs:
        names = list(job.data.inputs.values())
    elif parts and parts.inputs:
        names = list(parts.inputs)
    else:
        read = {job.data.label, job.data.weight, job.bootstrap.cluster if job.bootstrap else None}
        read |= {option for spec in job.metrics for option in spec.options.values() if isinstance(option, str)}
        read |= {part.feature for cross in job.slices.by for part in cross} if job.slices else set()
        names = [name for name in features if name not in read]
    return {name: features[name] for name in names if name in features}
