"""What weights may not be: negative, all zero, of a shape that is not the positions'. Every family, slices and replicates too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import harness
from harness.errors import ShapeError
from harness.metrics import METRICS, load
from tests import laws
from tests.metrics.scored import result

WEIGHTED = [name for name in METRICS if load(name).takes_weights]
# Tables of weights. Without any weight they are zeros, which is so.
TABLES = {"confusion_matrix", "counts_at_thresholds", "histogram"}
PER_CLASS = {"iou"}  # a value for each class, all of them null
BAD = 7  # an example


SLICED = [name for name in WEIGHTED if load(name).takes_slices]


def evaluated(names: list[str], weights: np.ndarray, columns: dict[str, np.ndarray], **options: Any) -> dict[str, Any]:
    """Return the document of some metrics that take weights."""
    listed = []
    for name in names:
        own = {**laws.case(name), **laws.WEIGHTED.get(name, {}), "weight": "weight", "name": name}
        kind = load(name)
        listed.append({name: {**own, "slices": kind.takes_slices, "bootstrap": kind.takes_replicates}})
    features = {**laws.columns(), **columns, "weight": weights}
    inputs = {name: name for name in laws.OUTPUTS}
    found = harness.evaluate(lambda tensors: tensors, features, listed, inputs=inputs, **options)
    return dict(found.document)


@pytest.fixture(scope="module")
def negative() -> dict[str, Any]:
    """One example weighs less than nothing, a query nothing; a slice of each, one of its query, and one of all others."""
    query = laws.columns()["query"]
    part = (query == query[BAD]).astype(np.int64)
    part[BAD] = 2
    weights = np.ones(laws.EXAMPLES, np.float32)
    weights[BAD] = -1e-3
    light = query == (query[BAD] + 1) % 12
    part[light], weights[light] = 3, 0.0
    return evaluated(WEIGHTED, weights, {"part": part}, slices={"by": [["part"]], "maximum": 4}, bootstrap={"replicates": 3})


@pytest.mark.slow
@pytest.mark.parametrize("name", WEIGHTED)
def test_a_negative_weight_makes_the_value_null(negative, name):
    entry = negative["metrics"][name]
    assert (entry["value"], entry["reason"]) == (None, "1 weights are negative")
    assert name not in negative.get("intervals", {})


@pytest.mark.slow
@pytest.mark.parametrize("name", SLICED)
def test_a_negative_weight_spoils_the_slice_that_it_is_in_alone(negative, name):
    slices = {entry["slice"]["part"]: entry for entry in negative["slices"]}
    assert slices[2]["metrics"][name]["reason"] == "1 weights are negative"
    assert name not in slices[2].get("intervals", {})
    assert slices[0]["metrics"][name]["value"] is not None


def test_a_negative_weight_of_what_is_ignored_does_not_matter():
    found = result("accuracy", [0, 1, 9], [[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]], weights=[1.0, 1.0, -1.0], ignore_label=9)
    assert (found.value, found.reason) == (1.0, None)


def test_a_weight_that_is_nan_is_told_apart_from_one_that_is_negative():
    found = result("mean_absolute_error", np.zeros(4), np.ones(4), weights=[1.0, -1.0, np.nan, np.inf])
    assert found.reason == "2 weights are NaN or infinite; 1 weights are negative"


@pytest.fixture(scope="module")
def nothing(negative) -> dict[str, Any]:
    """Entries where no example weighs: of a slice of that run, and of a run for what takes no slices."""
    (light,) = [entry["metrics"] for entry in negative["slices"] if entry["slice"]["part"] == 3]
    whole = [name for name in WEIGHTED if name not in SLICED] + ["accuracy"]
    return light | evaluated(whole, np.zeros(laws.EXAMPLES, np.float32), {})["metrics"]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in WEIGHTED if name not in TABLES | PER_CLASS])
def test_without_any_weight_the_reason_says_so(nothing, name):
    assert (nothing[name]["value"], nothing[name]["reason"]) == (None, "the total weight is zero")


def test_a_slice_without_any_weight():
    data = {"x": np.arange(8) % 2, "y": np.ones(8, np.int64), "weight": np.arange(8) // 4, "part": np.arange(8) // 4}
    metrics = [{"cohen_kappa": {"classes": 2}}, {"accuracy": {"classes": 2}}, {"mean_bias": {}}]
    found = harness.evaluate(lambda x: x, data, metrics, inputs={"x": "x"}, label="y", weight="weight", slices=[["part"]])
    empty, full = found.document["slices"]
    assert {entry["reason"] for entry in empty["metrics"].values()} == {"the total weight is zero"}
    assert full["metrics"]["accuracy"]["value"] == 0.5


@pytest.mark.parametrize("name", ["cohen_kappa", "balanced_accuracy", "matthews_correlation"])
def test_chance_is_not_perfect_where_nothing_weighs(name):
    scores = [[0.9, 0.1], [0.2, 0.8]]
    adjusted = {"adjusted": True} if name == "balanced_accuracy" else {}
    assert result(name, [0, 1], scores, weights=[0.0, 0.0], **adjusted).reason == "the total weight is zero"
    assert "total weight" not in str(result(name, [0, 0], scores[:1] * 2, weights=[1.0, 0.0], **adjusted).reason)


def test_weights_of_labels_are_refused_with_what_to_do():
    with pytest.raises(ShapeError) as refusal:
        result("multilabel_precision", [[0, 1, 1]] * 2, [[0.1, 0.9, 0.4]] * 2, weights=np.ones([2, 3]))
    message = str(refusal.value)
    for word in ("expected one weight per example [B]", "'weight' float64 [B, 3]", "one per label", "average: per_class"):
        assert word in message, message


def test_weights_per_position_of_several_labels_are_one_for_all_labels():
    labels, scores = np.array([[[0, 1], [1, 1]]] * 2), np.array([[[0.1, 0.9], [0.9, 0.1]]] * 2)
    assert result("exact_match", labels, scores, weights=np.array([[1.0, 3.0]] * 2)).value == 0.25
    with pytest.raises(ShapeError, match=r"expected one weight per example \[B\] or per position \[B, 2\]"):
        result("exact_match", labels, scores, weights=np.ones([2, 2, 2]))


def test_weights_of_another_shape_are_not_laid_over_positions():
    labels, outputs = np.zeros([2, 3, 2]), np.ones([2, 3, 2])
    assert result("mean_absolute_error", labels, outputs, weights=np.ones([2, 6])).value == 1.0  # in the order of positions
    assert result("mean_absolute_error", labels, outputs, weights=np.ones([2, 3, 2, 1])).value == 1.0
    with pytest.raises(ShapeError, match=r"per position \[B, 3, 2\], found 'weight' float64 \[B, 2, 3\]"):
        result("mean_absolute_error", labels, outputs, weights=np.ones([2, 2, 3]))
