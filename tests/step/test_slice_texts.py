"""Texts that hold what the keys of slices are made of: each value is a slice of its own, alone and in a cross."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from harness.job.specs import SlicesSpec
from harness.sums.grid import ESCAPES, PART_END, SPEC_END, SliceKey, decode, sort_key

pytestmark = pytest.mark.slow

# Pairs that a plain join would mix up, and texts that look like what they are written as.
A = ["x", "x\x1fsy", "", "\x1a", "\x1a0", "\x1a1", "\x1f", "\x1e", "x\x1a\x1f1", "x"]
B = ["y\x1fsz", "z", "\x1f", "1", "", "0", "\x1a", "\x1e0", "\x1a1", "y\x1fsz"]


def test_every_pair_is_a_slice_of_its_own():
    import harness

    columns = {
        "x": np.zeros((len(A), 2), np.float32),
        "label": np.zeros(len(A), np.int64),
        "a": np.array([text.encode() for text in A], object),
        "b": np.array([text.encode() for text in B], object),
        "n": np.arange(len(A)) % 2,
    }
    found = harness.evaluate(
        lambda x: x + np.array([1.0, 0.0], np.float32),
        columns,
        ["accuracy"],
        label="label",
        inputs=["x"],
        slices=[["a"], ["a", "b"], ["a", "n"]],
        alone=True,
    )
    expected = Counter([(("a", a),) for a in A])
    expected += Counter([(("a", a), ("b", b)) for a, b in zip(A, B, strict=True)])
    expected += Counter([(("a", a), ("n", number % 2)) for number, a in enumerate(A)])
    assert {tuple(entry["slice"].items()): entry["examples"] for entry in found.document["slices"]} == dict(expected)


def test_slices_are_in_the_order_of_their_values():
    spec = SlicesSpec.model_validate([["a", "b"]])

    def key(*texts: str) -> str:
        for plain, escaped in ESCAPES:
            texts = tuple(text.replace(plain, escaped) for text in texts)
        return f"0{SPEC_END}" + PART_END.join(f"s{text}" for text in texts)

    pairs = sorted(set(zip(A, B, strict=True)))
    keys = sorted((key(*pair) for pair in reversed(pairs)), key=lambda each: sort_key(each, spec))
    assert [decode(each, spec) for each in keys] == [SliceKey(("a", "b"), pair) for pair in pairs]


@pytest.mark.parametrize("dtype", ["uint64", "int64", "int8"])
def test_whole_numbers_are_named_as_they_are(dtype):
    import harness

    limits = np.iinfo(dtype)
    columns = {"x": np.eye(2, dtype=np.float32), "label": np.arange(2), "n": np.array([limits.min, limits.max], dtype)}
    found = harness.evaluate(lambda x: x, columns, ["accuracy"], label="label", inputs=["x"], slices=["n"], alone=True)
    assert [entry["slice"]["n"] for entry in found.document["slices"]] == [limits.min, limits.max]
