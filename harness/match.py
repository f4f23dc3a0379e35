"""Match what the model and the metrics need with what the data has. Pure; knows dtypes and shapes, no tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.data import SERIALIZED, Feature
from harness.errors import JobError, ModelError, nearest
from harness.job import DataSpec, FeatureSpec

__all__ = ["Matched", "match"]


@dataclass(frozen=True)
class Matched:
    """What to read.

    Attributes:
      inputs: model input to feature.
      wanted: features to parse, with the dtype and shape they have in the data.
    """

    inputs: Mapping[str, str]
    wanted: Mapping[str, Feature]


def match(
    data: DataSpec,
    found: Mapping[str, Feature],
    model_inputs: Mapping[str, Feature],
    extra: Sequence[str],
    *,
    parsed: bool,
) -> Matched:
    """Choose a feature for every model input, and a dtype and shape for every feature.

    Args:
      data: the job's word on it.
      found: features that the data has, as its first record shows them.
      model_inputs: what the model takes, without the batch dimension.
      extra: labels and weights that the metrics read.
      parsed: whether the data is made of serialized records, whose values are a flat list.
    Raises: ModelError: an input has no feature, or one that does not fit. JobError: a label or weight is not there.
    """
    known = {**found, **{name: _declared(spec) for name, spec in data.features.items()}}
    inputs = dict(data.inputs) if data.inputs else _guess(model_inputs, known, set(extra), parsed=parsed)
    unknown = set(inputs) - set(model_inputs)
    if unknown:
        name = min(unknown)
        raise ModelError(f"data.inputs: the model has no input '{name}': {nearest(name, model_inputs)}")
    missing = set(model_inputs) - set(inputs)
    if missing:
        raise ModelError(
            f"data.inputs: nothing is bound to the model's input{'s' * (len(missing) > 1)} {', '.join(sorted(missing))}"
        )
    wanted: dict[str, Feature] = {}
    for name, feature in inputs.items():
        if feature == SERIALIZED and parsed:
            wanted[feature] = Feature("string", ())
        else:
            wanted[feature] = _fit(name, model_inputs[name], feature, _have(feature, known, "data.inputs"), parsed=parsed)
    for feature in extra:
        have = _have(feature, known, "label or weight")
        if parsed and have.shape == (1,):
            have = Feature(have.dtype, ())
        wanted.setdefault(feature, have)
    return Matched(inputs, wanted)


def _declared(spec: FeatureSpec) -> Feature:
    return Feature(spec.dtype, tuple(spec.shape))


def _have(name: str, known: Mapping[str, Feature], what: str) -> Feature:
    if name not in known:
        raise JobError(f"{what}: the data has no feature '{name}': {nearest(name, known)}")
    return known[name]


def _guess(model_inputs: Mapping[str, Feature], known: Mapping[str, Feature], taken: set[str], *, parsed: bool) -> dict[str, str]:
    """Bind inputs without a word from the job: serialized records, equal names, or the only one left."""
    only = next(iter(model_inputs))
    if parsed and len(model_inputs) == 1 and model_inputs[only] == Feature("string", ()):
        return {only: SERIALIZED}
    if set(model_inputs) <= set(known):
        return {name: name for name in model_inputs}
    free = sorted(set(known) - taken)
    if len(model_inputs) == 1 and len(free) == 1:
        return {only: free[0]}
    raise ModelError(
        f"data.inputs: say which feature each model input reads, as in inputs: {{{only}: FEATURE}}; "
        f"the model takes {', '.join(sorted(model_inputs))}, the data has {', '.join(sorted(known)) or 'none'}"
    )


def _fit(name: str, wants: Feature, feature: str, has: Feature, *, parsed: bool) -> Feature:
    """Return the feature in the shape the input wants.

    Raises: ModelError: neither dtype nor shape can be brought there without loss of meaning.
    """
    both = f"model input '{name}' takes {wants}, feature '{feature}' is {has}"
    if (wants.dtype == "string") != (has.dtype == "string"):
        raise ModelError(f"data.inputs: {both}: one is a string and the other is not")
    # same_kind: a wider integer or float may become a narrower one, a float never an integer
    if wants.dtype != "string" and not np.can_cast(_dtype(has.dtype), _dtype(wants.dtype), casting="same_kind"):
        raise ModelError(f"data.inputs: {both}: a {has.dtype} is not turned into {wants.dtype}; convert the data")
    if not parsed:
        if len(wants.shape) != len(has.shape) or any(w not in (None, h) for w, h in zip(wants.shape, has.shape, strict=True)):
            raise ModelError(f"data.inputs: {both}: the shapes differ")
        return has
    count = int(np.prod([d or 1 for d in has.shape], dtype=np.int64))
    free = [d for d in wants.shape if d is None]
    fixed = int(np.prod([d for d in wants.shape if d is not None], dtype=np.int64))
    if len(free) > 1 or (not free and fixed != count) or (free and (not fixed or count % fixed)):
        raise ModelError(f"data.inputs: {both}, {count} values in its first record: they do not fill the shape")
    return Feature(has.dtype, tuple(count // fixed if d is None else d for d in wants.shape))


def _dtype(name: str) -> np.dtype:
    # bfloat16 is not NumPy's; for the question whether a cast is of the same kind float16 serves as well
    return np.dtype("float16" if name == "bfloat16" else name)
