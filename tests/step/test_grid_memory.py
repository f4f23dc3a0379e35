"""How large the grid is allowed to be, and how large it is: by the slices there can be, and by those there are."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import harness
from harness.errors import JobError
from harness.job.specs import SlicesSpec
from harness.names.variables import STATE_BYTES
from harness.sums.grid import most_slices

pytestmark = pytest.mark.slow

COUNT = 6000


@pytest.mark.parametrize(
    ("by", "examples", "classes", "expected"),
    [
        ([["a"]], 60, {}, 60),  # texts, or integers: each example may have one of its own
        ([["a"]], 10**9, {}, 1000),
        ([["a"], ["b"]], 60, {}, 120),
        ([[{"feature": "x", "buckets": [1, 2]}]], 10**9, {}, 4),  # three and NaN
        ([[{"feature": "x", "buckets": [1, 2]}, {"feature": "y", "buckets": [0]}]], 10**9, {}, 12),
        ([[{"feature": "x", "buckets": [1, 2]}, "label"]], 10**9, {"label": 10}, 40),
        ([[{"feature": "x", "buckets": [1, 2]}, "a"]], 100, {}, 100),
        ([["label"], ["a", "label"]], 10**9, {"label": 10}, 1000),
    ],
)
def test_how_many_slices_there_can_be(by, examples, classes, expected):
    assert most_slices(SlicesSpec.model_validate(by), examples, classes) == expected


def columns(count, slices):
    """Features, label and a feature of so many values, the last of which come late."""
    random = np.random.default_rng(3)
    number = np.minimum(random.integers(0, slices, count), np.arange(count) * slices // count)
    number[:: count // slices] = np.arange(slices)[: len(number[:: count // slices])]
    return {
        "x": random.normal(size=(count, 3)).astype(np.float32), "label": random.integers(0, 3, count),
        "weight": random.uniform(0.5, 2, count).astype(np.float32), "user": number,
    }  # fmt: skip


def run(given, **keys):
    return harness.evaluate(
        lambda x: x, given, ["accuracy", {"recall": {"average": "micro", "name": "recall"}}, {"mean": {"output": "output", "name": "mean"}}],
        label="label", weight="weight", inputs=["x"], alone=True, **{"slices": [["user"]], **keys},
    ).document  # fmt: skip


def test_three_slices_of_sixty_examples_fit_where_a_thousand_would_not(monkeypatch):
    given = columns(60, 3)
    keys = {"bootstrap": {"replicates": 40}}
    monkeypatch.setenv(STATE_BYTES.name, str(16 << 20))  # of a thousand: 27 MiB
    assert len(run(given, **keys)["slices"]) == 3
    monkeypatch.setenv(STATE_BYTES.name, str(1 << 20))
    with pytest.raises(JobError, match="the state of 61 slices x 41 draws"):
        run(given, **keys)


def test_a_grid_that_grows_while_it_is_added_to_is_the_same(monkeypatch):
    given = columns(COUNT, 300)
    keys = {"bootstrap": {"replicates": 5}, "batch_size": 16, "chunk_size": 512}
    document = run(given, **keys)
    monkeypatch.setattr("harness.step.grid_variables.FIRST_SLOTS", 1000)
    assert run(given, **keys) == document
    monkeypatch.setattr("harness.step.grid_variables.FIRST_SLOTS", 1)
    assert run(given, **{**keys, "chunk_size": 64})["slices"] == document["slices"]
    table = pd.DataFrame(
        {"user": given["user"], "right": given["x"].argmax(axis=1) == given["label"], "weight": given["weight"].astype(float)}
    )
    groups = {
        user: ((part.right * part.weight).sum() / part.weight.sum(), len(part)) for user, part in table.groupby("user")
    }  # fmt: skip
    found = {int(entry["slice"]["user"]): entry for entry in document["slices"]}
    assert set(found) == set(groups)
    for user, (value, examples) in groups.items():
        assert found[user]["examples"] == examples
        assert found[user]["metrics"]["accuracy"]["value"] == pytest.approx(value, rel=1e-12)
        assert found[user]["metrics"]["recall"]["value"] == pytest.approx(value, rel=1e-12)


def test_labels_that_are_no_class_grow_the_grid_as_far_as_it_fits(monkeypatch):
    """Ten classes were expected; what does not fit is refused by name, not by the system."""
    given = columns(COUNT, 3)
    given["label"] = np.arange(COUNT) % 100
    keys = {"slices": [["label"]], "classes": [str(number) for number in range(3)]}
    assert len(run(given, **keys)["slices"]) == 100
    monkeypatch.setenv(STATE_BYTES.name, "20000")
    with pytest.raises(JobError, match="more do not fit into memory, found "):
        run(given, **keys)
