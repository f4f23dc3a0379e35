"""Columns that travel together come apart as they were."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from harness.step.packed_columns import PackedColumns


@pytest.mark.parametrize("size", [1, 3, 16])
def test_what_is_packed_comes_apart_as_it_was(size):
    random = np.random.default_rng(size)
    block = {
        **{f"f{n}": random.normal(size=(2, size)).astype(np.float32) for n in range(5)},
        **{f"i{n}": random.integers(-9, 9, (2, size)) for n in range(4)},
        "few": random.integers(0, 2, (2, size)).astype(bool),
        "wide": random.normal(size=(2, size, 3)),
        "text": np.full((2, size), b"a", object),
    }
    block["f0"][0, 0], block["f1"][1, 0] = np.nan, -0.0
    columns = PackedColumns({name: array[0] for name, array in block.items()})
    packed = columns.pack(block)
    assert sorted(array.shape[1:] for array in packed.values()) == sorted([(5, size), (4, size), (size,), (size, 3), (size,)])
    for batch in range(2):
        batch_columns = columns.unpack({name: tf.constant(array[batch]) for name, array in packed.items()})
        assert set(batch_columns) == set(block)
        for name, tensor in batch_columns.items():
            assert tensor.numpy().tobytes() == block[name][batch].tobytes() or name == "text", name
            assert tensor.shape == block[name].shape[1:]
