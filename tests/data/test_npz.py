"""NumPy archives."""

import subprocess
import sys

import numpy as np
import pytest

from harness.data import Feature
from harness.data.npz import NpzSource
from harness.errors import DataError
from tests import made


def save(path, **arrays):
    np.savez(path, **arrays)
    return str(path)


def test_files_are_joined_in_their_order(tmp_path):
    a = save(tmp_path / "a.npz", x=np.arange(6).reshape(3, 2), y=np.array([1.5, 2.5, 3.5]))
    none = save(tmp_path / "none.npz", x=np.zeros([0, 2], int), y=np.zeros(0))
    b = save(tmp_path / "b.npz", x=np.array([[7, 8]]), y=np.array([4.5]))
    source = NpzSource.open([a, none, b])
    assert [f.examples for f in source.files] == [3, 0, 1]
    assert source.features() == {"x": Feature("int64", (2,)), "y": Feature("float64", ())}
    found = list(source.read(1, 4, 2))
    assert [r.ids.tolist() for r in found] == [[1, 2], [3]]
    assert [r.raw["x"].tolist() for r in found] == [[[2, 3], [4, 5]], [[7, 8]]]
    assert set(found[0].raw) == {"x", "y"}


@pytest.mark.parametrize(
    "arrays, message",
    [
        ({"x": np.zeros(3), "y": np.zeros(4)}, "expected arrays of one length, found x: float64 [3], y: float64 [4]"),
        ({"x": np.float64(1)}, "expected arrays with one value per example, found x: float64 []"),
        ({}, "expected arrays with one value per example, found none"),
        ({"x": np.array([None, 1])}, "array 'x': expected numbers or strings of fixed length, found Python objects"),
    ],
)
def test_arrays_that_are_no_examples(tmp_path, arrays, message):
    path = save(tmp_path / "x.npz", **arrays)
    with pytest.raises(DataError) as caught:
        NpzSource.open([path])
    assert f"{path}: {message}" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"PK\3\4 cut off", b"no archive"])
def test_a_file_that_is_no_archive(tmp_path, content):
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.npz: not a readable \.npz file \(numpy\.savez writes them\)"):
        NpzSource.open([str(tmp_path / "x.npz")])


def test_a_single_array_is_no_archive(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros(3))
    with pytest.raises(DataError, match="not a readable"):
        NpzSource.open([str(tmp_path / "x.npy")])


def test_files_that_do_not_go_together(tmp_path):
    a, b = save(tmp_path / "a.npz", x=np.zeros([3, 2])), save(tmp_path / "b.npz", x=np.zeros([3, 4]))
    with pytest.raises(DataError) as caught:
        NpzSource.open([a, b])
    assert f"{b}: expected the arrays of {a} (x: float64 [3, 2]), found x: float64 [3, 4]" in str(caught.value)


def test_a_corrupt_compressed_array(tmp_path):
    path = tmp_path / "x.npz"
    np.savez_compressed(path, x=np.random.default_rng(0).normal(size=1000))
    made.flip(path, 2000)
    with pytest.raises(DataError, match="not a readable"):
        NpzSource.open([str(path)])


def test_arrays_stay_on_the_cpu_whatever_the_default_device():
    code = """
import numpy as np, tensorflow as tf
from harness.data import Feature
from harness.data.memory import from_arrays
from harness.step.array_feed import ArrayFeed
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2)
with tf.device("/CPU:1"):
    feed = ArrayFeed(from_arrays({"x": np.zeros(3, np.float32)})[0], {"x": Feature("float32", ())}, 2)
print({tensor.tensor.device[-5:] for tensor in feed.stream.tensors.values()})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "{'CPU:0'}\n"
