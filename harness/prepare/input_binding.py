"""Match what the model and the metrics need with what the data has. Pure; knows dtypes and shapes, no tensors."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.data import SERIALIZED, Feature, Kind, expressions
from harness.errors import JobError, ModelError, nearest
from harness.job.specs import DataSpec, FeatureSpec

__all__ = ["Matched", "declared", "feature_of_extra", "fits", "match", "read_by"]

SHOWN_FEATURES = 40  # in a message
SLICED = "; slices are by features: buckets cut numbers, and a transform makes further features"


@dataclass(frozen=True)
class Matched:
    """What to read.

    Attributes:
      inputs: model input to feature.
      wanted: features to parse, with the dtype and shape they have in the data.
      hashed: those of them whose contents are certified: not what is only passed through to predictions. None is all.
    """

    inputs: Mapping[str, str]
    wanted: Mapping[str, Feature]
    hashed: Mapping[str, Feature] | None = None


def match(
    data: DataSpec,
    found: Mapping[str, Feature],
    model_inputs: Mapping[str, Feature],
    extra: Mapping[str, str],
    *,
    parsed: bool,
    models: Sequence[Collection[str]] = (),
    no_inputs: Collection[str] | None = None,
) -> Matched:
    """Choose a feature for every model input, and a dtype and shape for every feature.

    Args:
      data: the job's word on it.
      found: features that the data has, as its first record shows them.
      model_inputs: what the model takes, without the batch dimension.
      extra: labels, weights and other features that are no inputs, each with the key of the job that asks for it.
      parsed: whether the data is made of serialized records, whose values are a flat list.
      models: the inputs of each model, where several are evaluated as one; two models may read one feature.
      no_inputs: those of `extra` that no input is bound to without a word from the job. Others, as what results are grouped by,
        say nothing of the inputs: to ask for more results never changes what the model reads. None is all.
    Raises: ModelError: an input has no feature, or one that does not fit. JobError: another feature is not there.
    """
    known = {**found, **declared(data)}
    inputs = dict(data.inputs or {})
    if not inputs:
        read = {name for text in (extra if no_inputs is None else no_inputs) for name in read_by(text, known)}
        free = {name: feature for name, feature in known.items() if name not in read}
        for names in models or (model_inputs,):
            own = {name: model_inputs[name] for name in names if name not in inputs}
            bound = {inputs[name] for name in names if name in inputs}
            inputs |= _bind(own, known, {n: feature for n, feature in free.items() if n not in bound}, parsed=parsed)
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
    for feature, key in extra.items():
        have = feature_of_extra(feature, known, key, parsed=parsed)
        wanted.setdefault(feature, have)
    return Matched(inputs, wanted)


def read_by(text: str, known: Mapping[str, Feature]) -> set[str]:
    """Return the features that a label or weight reads: itself, and those of an expression."""
    if text.isidentifier():
        return {text}
    try:
        names = expressions.names(expressions.parse(text, "label or weight"))
    except JobError:
        return {text}  # a name as image/class/label
    return {text, *names} if names <= set(known) else {text}


def feature_of_extra(name: str, known: Mapping[str, Feature], key: str, *, parsed: bool) -> Feature:
    """Return dtype and shape of a label, a weight or another feature that is no input; `parsed` as for `match`.

    Args:
      key: of the job, that asks for it.
    Raises: JobError: it is not there, or its length differs between examples.
    """
    have = _have(name, known, key)
    if parsed and have.shape == (1,) and have.kind is Kind.FIXED:
        have = Feature(have.dtype, ())
    if None in have.shape:
        raise JobError(f"{key}: {_varies(name, have)}")
    return have


def declared(data: DataSpec) -> dict[str, Feature]:
    """Return what the job says of features, but for those it makes of columns."""
    return {name: _declared(spec) for name, spec in data.features.items() if spec.columns is None}


def _declared(spec: FeatureSpec) -> Feature:
    shape: tuple[int | None, ...] = tuple(spec.shape)
    if spec.image:
        return Feature(spec.dtype, shape or (None, None, None), Kind.IMAGE)
    if spec.sparse:
        return Feature(spec.dtype, shape, Kind.SPARSE, spec.pad, (*spec.sparse.indices, spec.sparse.values))
    if spec.ragged:
        return Feature(spec.dtype, shape, Kind.RAGGED, spec.pad, (spec.ragged.values, spec.ragged.row_lengths))
    if spec.sequence:
        return Feature(spec.dtype, shape, Kind.SEQUENCE, spec.pad)
    return Feature(spec.dtype, shape, Kind.VARIABLE if spec.pad is not None and len(shape) == 1 else Kind.FIXED, spec.pad)


def _have(name: str, known: Mapping[str, Feature], what: str) -> Feature:
    if name not in known:
        hint = "" if what != "slices" or name.isidentifier() else SLICED
        raise JobError(f"{what}: the data has no feature '{name}': {nearest(name, known)}{hint}")
    return known[name]


def _bind(
    model_inputs: Mapping[str, Feature], known: Mapping[str, Feature], free: Mapping[str, Feature], *, parsed: bool
) -> dict[str, str]:
    """Bind the inputs of one model without a word from the job, by the first rule that leaves no choice.

    Serialized records go to the only input of strings; equal names go together; the only feature left goes to the only
    input; a feature goes to the input that it alone fits.

    Args:
      model_inputs: of one model.
      known: all features.
      free: those that may be bound.
    Raises: ModelError: an input has several features that fit, or none.
    """
    only = next(iter(model_inputs), "")
    if parsed and len(model_inputs) == 1 and model_inputs[only] == Feature("string", ()):
        return {only: SERIALIZED}
    inputs = {name: name for name in model_inputs if name in known}
    rest = {name: wants for name, wants in model_inputs.items() if name not in inputs}
    left = {name: feature for name, feature in free.items() if name not in inputs}
    if len(model_inputs) == len(rest) == len(left) == 1:
        return {only: next(iter(left))}  # where it does not fit, whoever brings it there says why
    fitting = {
        name: [feature for feature, has in left.items() if fits(wants, has, parsed=parsed)] for name, wants in rest.items()
    }
    chosen = [feature for features in fitting.values() for feature in features]
    if all(len(features) == 1 for features in fitting.values()) and len(set(chosen)) == len(chosen):
        return inputs | {name: features[0] for name, features in fitting.items()}
    raise ModelError(_choice(rest, fitting, known))


def fits(wants: Feature, has: Feature, *, parsed: bool) -> bool:
    """Say whether a feature can feed an input, were it bound to it."""
    if has.kind is Kind.IMAGE and len(wants.shape) == 3 and wants.dtype != "string":
        return True  # of any size: where the job has to say which, it is told so
    try:
        _fit("", wants, "", has, parsed=parsed)
    except ModelError:
        return False
    return True


def _choice(rest: Mapping[str, Feature], fitting: Mapping[str, Sequence[str]], known: Mapping[str, Feature]) -> str:
    """Say between which features the job has to choose, or that none fits."""
    texts = [f"'{name}' takes {wants}, and {_listed(fitting[name])}" for name, wants in rest.items()]
    name = next((name for name in rest if len(fitting[name]) != 1), next(iter(rest)))
    example = fitting[name][0] if fitting[name] else "FEATURE"
    features = ", ".join(f"{feature}: {has}" for feature, has in sorted(known.items())[:SHOWN_FEATURES])
    more = f" and {len(known) - SHOWN_FEATURES:,} more" if len(known) > SHOWN_FEATURES else ""
    return (
        f"data.inputs: say which feature each model input reads, as in inputs: {{{name}: {example}}}; {'; '.join(texts)}; "
        f"the data has {features or 'none'}{more}"
    )


def _listed(features: Sequence[str]) -> str:
    """Name the features that fit.

    >>> _listed([]), _listed(["a"]), _listed(["a", "b", "c"])
    ('no feature fits', "'a' fits", "'a', 'b' and 'c' fit")
    """
    if not features:
        return "no feature fits"
    *first, last = [f"'{feature}'" for feature in features]
    return f"{', '.join(first)} and {last} fit" if first else f"{last} fits"


def _fit(name: str, wants: Feature, feature: str, has: Feature, *, parsed: bool) -> Feature:
    """Return the feature in the shape the input wants.

    Raises: ModelError: neither dtype nor shape can be brought there without loss of meaning.
    """
    if has.kind is Kind.IMAGE and wants.dtype != "string":
        return _fit_image(name, wants, feature, has)
    both = f"model input '{name}' takes {wants}, feature '{feature}' is {has}"
    if (wants.dtype == "string") != (has.dtype == "string"):
        raise ModelError(f"data.inputs: {both}: one is a string and the other is not")
    # same_kind: a wider integer or float may become a narrower one, a float never an integer
    if wants.dtype != "string" and not np.can_cast(_dtype(has.dtype), _dtype(wants.dtype), casting="same_kind"):
        raise ModelError(f"data.inputs: {both}: a {has.dtype} is not turned into {wants.dtype}; convert the data")
    if None in has.shape:
        raise ModelError(f"data.inputs: {both}: {_varies(feature, has)}")
    if not parsed or has.kind is not Kind.FIXED:
        if len(wants.shape) != len(has.shape) or any(w not in (None, h) for w, h in zip(wants.shape, has.shape, strict=True)):
            raise ModelError(f"data.inputs: {both}: the shapes differ")
        return has
    count = int(np.prod([d or 1 for d in has.shape], dtype=np.int64))
    free = [d for d in wants.shape if d is None]
    fixed = int(np.prod([d for d in wants.shape if d is not None], dtype=np.int64))
    if len(free) > 1 or (not free and fixed != count) or (free and (not fixed or count % fixed)):
        raise ModelError(f"data.inputs: {both}, {count} values in its first record: they do not fill the shape")
    return Feature(has.dtype, tuple(count // fixed if d is None else d for d in wants.shape))


def _fit_image(name: str, wants: Feature, feature: str, has: Feature) -> Feature:
    """Decode to the shape that the model takes; what it leaves open, the job or the data must say."""
    both = f"model input '{name}' takes {wants}, feature '{feature}' is {has}"
    if len(wants.shape) != 3:
        raise ModelError(f"data.inputs: {both}: expected an input of height, width and channels")
    height, width, channels = (w or h for w, h in zip(wants.shape, has.shape, strict=True))
    if height is None or width is None:
        raise ModelError(
            f"data.inputs: {both}: say to which size images are brought, under data.features: "
            f"{feature}: {{dtype: float32, shape: [HEIGHT, WIDTH, 3], image: true}}"
        )
    dtype = "float32" if np.issubdtype(_dtype(wants.dtype), np.floating) else "uint8"
    return Feature(dtype, (height, width, channels or 3), Kind.IMAGE)


def _varies(feature: str, has: Feature) -> str:
    more = ", sequence: true" if has.kind is Kind.SEQUENCE else ""
    return (
        f"feature '{feature}' has a length that differs between examples; say how long it is at most, and what fills it up, "
        f"under data.features: {feature}: {{dtype: {has.dtype}, shape: [LENGTH], pad: 0{more}}}"
    )


def _dtype(name: str) -> np.dtype:
    # bfloat16 is not NumPy's; for the question whether a cast is of the same kind float16 serves as well
    return np.dtype("float16" if name == "bfloat16" else name)
