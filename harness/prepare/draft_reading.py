"""Which feature is the label, and of which the model's inputs are made, where nobody has said. Pure.

What binding finds by itself is left to it; what it cannot know (that eight columns are one feature, that a text is an image)
is declared here, as a job would declare it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.data import SERIALIZED, Feature, Kind
from harness.errors import JobError, nearest
from harness.prepare.input_binding import fits, read_by

__all__ = ["Reading", "choose_reading", "is_scalar"]

LABELS = ("label", "labels", "target", "targets", "y", "class", "category", "answer", "truth", "ground_truth")
NO_INPUTS = ("id", "index", "key", "name", "example_id", "weight", "weights", "sample_weight")
INDEX = ("", "Unnamed: 0", "__index_level_0__")  # as pandas writes the numbers of lines beside what they number
IMAGE_SIZE = 224  # of models that take any
SHOWN = 20


@dataclass(frozen=True)
class Reading:
    """The label, and what a job declares for the inputs.

    Attributes:
      label: a feature, or an expression.
      declarations: of features, as under `data.features`.
      inputs: model input to feature, where binding would not find it; else empty.
      reasons: why a feature is declared so, by its name.
      by_name: whether the label was chosen for its name.
    """

    label: str
    declarations: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    by_name: bool = False


def choose_reading(
    model_inputs: Mapping[str, Feature],
    features: Mapping[str, Feature],
    *,
    parsed: bool,
    pictures: Collection[str] = (),
    label: str | None = None,
) -> Reading:
    """Choose the label, and declare what the inputs need.

    Args:
      model_inputs: without the batch dimension.
      features: of the data, in their order.
      parsed: whether the data is made of serialized records, whose values are a flat list.
      pictures: features whose values are encoded images.
      label: what the user said.
    Raises: JobError: there is no such label; or no feature is surely the label: names those that may be.
    """
    if label is not None and label.isidentifier() and label not in features:
        raise JobError(f"--label: the data has no feature '{label}': {nearest(label, features)}")
    by_name = _by_name([name for name in features if name not in model_inputs]) if label is None else None
    read = read_by(label, features) if label else {by_name}
    free = {name: feature for name, feature in features.items() if name not in read}
    declared: dict[str, _Declared] = {}
    fitting: dict[str, set[str]] = {}
    for name, wants in model_inputs.items():
        own = {name: free[name]} if name in free else free
        fitting[name] = {feature for feature, has in own.items() if fits(wants, has, parsed=parsed)}
        made = "x" if len(model_inputs) == 1 and "x" not in features else f"{name}_columns"
        feature = _declare(wants, own, fitting[name], pictures, made, parsed=parsed)
        if feature:
            declared[name] = feature
    used = {feature for features in fitting.values() for feature in features}
    used |= {column for feature in declared.values() for column in feature.reads}
    chosen = label or by_name or _left_over(free, used, model_inputs, parsed=parsed)
    return Reading(
        chosen,
        {feature.name: feature.spec for feature in declared.values()},
        _inputs(model_inputs, declared, fitting),
        {feature.name: feature.reason for feature in declared.values()},
        by_name=by_name is not None,
    )


def _by_name(features: Collection[str]) -> str | None:
    """Return the feature that has the first of the usual names of labels, or alone ends with it as image/class/label does.

    >>> _by_name(["x", "target", "Label"]), _by_name(["image/class/label"]), _by_name(["a/label", "b/label"])
    ('Label', 'image/class/label', None)
    """
    for word in LABELS:
        names = [name for name in features if name.lower() == word]
        names = names or [name for name in features if name.lower().rpartition("/")[2] == word]
        if len(names) == 1:
            return names[0]
    return None


@dataclass(frozen=True)
class _Declared:
    """A feature that is declared for an input, why, and the features it is made of."""

    name: str
    spec: dict[str, Any]
    reason: str
    reads: frozenset[str]


def _inputs(
    model_inputs: Mapping[str, Feature], declared: Mapping[str, _Declared], fitting: Mapping[str, Collection[str]]
) -> dict[str, str]:
    """Bind the inputs of a model with several, where features are made for some: those may fit one another's."""
    if len(model_inputs) == 1 or not declared:
        return {}
    inputs = {name: feature.name for name, feature in declared.items()}
    inputs |= {name: next(iter(fitting[name])) for name in model_inputs if name not in declared and len(fitting[name]) == 1}
    return inputs if set(inputs) == set(model_inputs) else {}


def _declare(
    wants: Feature, own: Mapping[str, Feature], fitting: Collection[str], pictures: Collection[str], made: str, *, parsed: bool
) -> _Declared | None:
    """Declare the feature that an input needs; None where one fits as it is, or none could be made to.

    Args:
      own: features that it may read, and those of them that fit.
      made: name of a feature that is made of columns.
    """
    if wants.dtype == "string":
        return None
    images = [feature for feature, has in own.items() if has.kind is Kind.IMAGE or feature in pictures]
    if len(wants.shape) == 3 and len(images) == 1:
        return _image(images[0], wants, own[images[0]])
    if fitting or len(wants.shape) != 1 or wants.shape[0] is None:
        return None
    size = wants.shape[0]
    lists = [feature for feature, has in own.items() if has.shape == (None,) and has.dtype != "string" and _casts(has, wants)]
    if len(lists) == 1:
        spec = {"dtype": _declared_dtype(own[lists[0]].dtype), "shape": [size], "pad": 0}
        return _Declared(lists[0], spec, "lists of unlike lengths, filled up with 0", frozenset(lists))
    columns = [feature for feature, has in own.items() if is_scalar(has, parsed=parsed) and _casts(has, wants)]
    if len(columns) != size:
        columns = [feature for feature in columns if feature not in INDEX]
    if len(columns) != size:
        columns = [feature for feature in columns if feature.lower() not in NO_INPUTS]
    if len(columns) != size:
        return None
    spec = {"dtype": "int64" if _is_integer(wants) else "float32", "columns": columns}
    reason = "a column of numbers" if size == 1 else f"{size} columns of numbers, in their order: is it that of training?"
    return _Declared(made, spec, reason, frozenset(columns))


def _image(feature: str, wants: Feature, has: Feature) -> _Declared | None:
    """Declare an encoded image; None where the model's input says all, and the data that it is one."""
    if has.kind is Kind.IMAGE and None not in wants.shape[:2]:
        return None
    shape = [size or default for size, default in zip(wants.shape, (IMAGE_SIZE, IMAGE_SIZE, 3), strict=True)]
    reason = "the model takes any size: say that of training" if None in wants.shape[:2] else "encoded images"
    spec = {"dtype": "uint8" if _is_integer(wants) else "float32", "shape": shape, "image": True}
    return _Declared(feature, spec, reason, frozenset([feature]))


def _left_over(free: Mapping[str, Feature], used: Collection[str], model_inputs: Mapping[str, Feature], *, parsed: bool) -> str:
    """Return the only feature that no input can read.

    Raises: JobError: there are several, or none.
    """
    left = [name for name in free if name not in used and name not in model_inputs and name not in INDEX]
    serialized = parsed and list(model_inputs.values()) == [Feature("string", ())]
    if len(left) == 1 and (used or serialized or set(model_inputs) <= set(free)):
        return left[0]
    takes = ", ".join(f"{name}: {wants}" for name, wants in model_inputs.items())
    asked = left or list(free)  # all of them fit an input: which is the label nobody can see
    shown = ", ".join([*asked[:SHOWN], *([f"{len(asked) - SHOWN:,} more"] if len(asked) > SHOWN else [])])
    raise JobError(
        f"which feature is the label is not to be seen: say --label NAME, one of {shown or 'the data, which have no feature'}; "
        f"the model takes {takes}; without a label there are predictions: harness predict"
    )


def is_scalar(feature: Feature, *, parsed: bool) -> bool:
    """Whether a feature is one number an example."""
    numeric = feature.dtype not in ("string", SERIALIZED) and feature.kind is Kind.FIXED
    return numeric and (feature.shape == () or (parsed and feature.shape == (1,)))


def _casts(has: Feature, wants: Feature) -> bool:
    return not _is_integer(wants) or _is_integer(has)


def _is_integer(feature: Feature) -> bool:
    return feature.dtype != "bfloat16" and np.issubdtype(np.dtype(feature.dtype), np.integer)


def _declared_dtype(dtype: str) -> str:
    return "float32" if np.issubdtype(np.dtype(dtype), np.floating) else "int64"
