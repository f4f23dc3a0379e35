"""Batches cut out of an archive's bytes are those of its arrays, wherever in the file these begin."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from harness.data.npy import open_mapped
from harness.data.source import ALIGNED
from harness.step.array_tensor import AlignedTensor, ByteTensor

pytestmark = pytest.mark.slow

EXAMPLES = 37


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "float16", "int32", "float32", "int64", "float64"])
@pytest.mark.parametrize("shape", [(), (3,), (5, 43)])  # the last is more than is gathered byte by byte, but for small dtypes
def test_what_is_cut_is_what_the_array_holds(tmp_path, dtype, shape):
    values = np.random.default_rng(0).integers(0, 200, (EXAMPLES, *shape)).astype(dtype)
    starts = set()
    for letters in range(1, 9):  # an entry's array begins where its name has ended
        path = tmp_path / f"{letters}.npz"
        np.savez(path, **{"x" * letters: values})
        source = open_mapped([str(path)])
        (lead,), array = source.leads.values() or (None,), source.arrays["x" * letters]
        assert np.array_equal(array, values) and array.dtype == values.dtype
        if lead is None:
            continue
        assert lead.ctypes.data % ALIGNED == 0
        starts.add(len(lead) - values.nbytes)
        tensor = ByteTensor(lead, array)
        check(tensor, values)
    assert len(starts) > 3
    check(AlignedTensor(values, copy=True), values)


def check(tensor, values):
    assert (tensor.spec.shape, tensor.spec.dtype) == (values.shape[1:], tf.as_dtype(values.dtype))
    first = tf.constant(11, tf.int64)
    assert np.array_equal(tensor.cut(first, 8), values[11:19])
    assert np.array_equal(tensor.pad(first, tf.constant(3, tf.int64), 5), values[[11, 12, 13, 11, 11]])
    last = tf.constant(EXAMPLES - 2, tf.int64)
    assert np.array_equal(tensor.pad(last, tf.constant(2, tf.int64), 8)[:3], values[[-2, -1, -2]])
    order = np.array([36, 0, 5, 5, 20])
    assert np.array_equal(tensor.gather(tf.constant(order)), values[order])
