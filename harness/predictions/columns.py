"""Which columns predictions have: the id, outputs of the model, features of the data."""

from __future__ import annotations

from collections.abc import Mapping

from harness.errors import JobError, nearest
from harness.job.specs import PredictionsSpec
from harness.predictions.prediction_files import Column, check_format

__all__ = ["choose"]


def choose(
    spec: PredictionsSpec, outputs: Mapping[str, tuple[str, tuple[int | None, ...]]],
    features: Mapping[str, tuple[str, tuple[int | None, ...]]],
) -> tuple[Column, ...]:  # fmt: skip
    """Choose the columns: the id, outputs, features.

    Args:
      spec: of the job.
      outputs: of the model, dtype and inner shape by name.
      features: all that are written.
    Raises: JobError: there is no such output, or the format cannot keep it.

    >>> spec = PredictionsSpec(features=("label",))
    >>> [c.name for c in choose(spec, {"p": ("float32", (3,)), "label": ("int64", ())}, {"label": ("int64", ())})]
    ['id', 'label', 'p', 'feature.label']
    """
    names = sorted(outputs) if spec.outputs is None else list(spec.outputs)
    unknown = [name for name in names if name not in outputs]
    if unknown:
        raise JobError(f"predictions.outputs: the model has no output '{unknown[0]}': {nearest(unknown[0], outputs)}")
    unwritten = [name for name in spec.bytes if name not in outputs and name not in features]
    if unwritten:
        raise JobError(f"predictions.bytes: '{unwritten[0]}' is not written: {nearest(unwritten[0], [*names, *features])}")
    columns = [Column("id", "id", "id", "int64", ())]
    names_in_file = {"id"}
    for kind, chosen in (("output", {name: outputs[name] for name in names}), ("feature", dict(features))):
        for name, (dtype, shape) in chosen.items():
            column = name if name not in names_in_file else f"{kind}.{name}"
            names_in_file.add(column)
            columns.append(Column(column, kind, name, dtype, tuple(shape), name not in spec.bytes))
    check_format(spec.format, columns)
    return tuple(columns)
