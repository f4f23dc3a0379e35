"""Integers that a model takes in a narrower dtype: those that fit are what they are, others end the run."""

import numpy as np
import pytest
import tensorflow as tf

import harness
from harness.errors import HarnessError


@pytest.mark.parametrize(
    ("values", "dtype", "wrong"),
    [
        (np.array([1, 2**32 + 7]), "int32", "int32, found 4294967303"),
        (np.array([1, -(2**31) - 1]), "int32", "int32, found -2147483649"),
        (np.array([1, 2**64 - 1], np.uint64), "int64", "int64, found 18446744073709551615"),
        (np.array([1, 2**31 - 1]), "int32", None),
        (np.array([1, 2**63 - 1], np.uint64), "int64", None),
    ],
)
def test_an_integer_that_does_not_fit_the_model_is_named(values, dtype, wrong):
    model = tf.function(lambda x: tf.cast(x, tf.float64), input_signature=[tf.TensorSpec([None], dtype, name="x")])

    def evaluate():
        return harness.evaluate(model, {"x": values, "y": values.astype(np.int64)}, ["mean"], label="y", progress=False)

    if wrong is None:
        assert evaluate()["mean"] == values.astype(float).mean()
    else:
        with pytest.raises(HarnessError, match=f"feature 'x': expected integers that fit the model's {wrong}$"):
            evaluate()
