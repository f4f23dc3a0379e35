"""Headers of .npy files and archives' members that claim what cannot be."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest

from harness.data import Feature, open_source
from harness.data.npy import open_mapped
from harness.errors import DataError
from harness.step.blocks import _in_batches


def spoiled(shape: object, descr: str = "<f8") -> bytes:
    """Return an array of 64 bytes under a header that says another shape."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": descr, "fortran_order": False, "shape": shape})
    return stream.getvalue() + bytes(64)


SHAPES = [
    ((2**61, 8), "cut off: expected"),  # 2^67 bytes: nothing at all in 64 bits
    ((2**63,), "cut off: expected"),
    ((2**64,), "cut off: expected"),
    ((2**32, 2**32), "cut off: expected"),
    ((4 << 30,), "cut off: expected 34359738"),
    ((-1,), r"expected a shape of whole numbers from 0 on, found \(-1,\)"),
    ((True,), r"expected a shape of whole numbers from 0 on, found \(True,\)"),
]


@pytest.mark.parametrize("shape, words", SHAPES)
@pytest.mark.parametrize("packed", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, None])
def test_a_shape_that_the_file_cannot_hold(tmp_path, shape, words, packed):
    kind = "npy" if packed is None else "npz"
    path = tmp_path / f"x.{kind}"
    if packed is None:
        path.write_bytes(spoiled(shape))
    else:
        with zipfile.ZipFile(path, "w", packed) as archive:
            archive.writestr("x.npy", spoiled(shape))
    with pytest.raises(DataError, match=words) as caught:
        open_source(kind, [str(path)])
    assert str(caught.value).startswith(f"{path}: {'array' if kind == 'npz' else 'the file' if 'cut' in words else 'expected'}")
    assert kind == "npy" or open_mapped([str(path)]) is None


def test_a_header_that_is_no_dictionary(tmp_path):
    path = tmp_path / "x.npy"
    for header in (b"(((\n", b"{[]: 1}\n", b"{'a': \n"):
        path.write_bytes(b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header)
        with pytest.raises(DataError, match=r"x\.npy: not a readable \.npy file"):
            open_source("npy", [str(path)])


@pytest.mark.parametrize(
    "dtype, words",
    [
        (np.longdouble, "found float128, which TensorFlow has not; convert it"),
        ([("a", "f8"), ("b", "i4")], "found records of a, b, which TensorFlow has not; write each field as an array of its own"),
        ("V12", "found void96"),
        ("M8[s]", r"found datetime64\[s\]"),
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_dtypes_that_no_tensor_has_are_refused_where_they_are_wanted(tmp_path, dtype, words, kind):
    array = np.zeros(3, dtype)
    if kind == "npy":
        np.save(tmp_path / "t.npy", array)
        np.save(tmp_path / "x.npy", np.ones(3))
        paths = [str(tmp_path / "t.npy"), str(tmp_path / "x.npy")]
    else:
        paths = [str(tmp_path / "all.npz")]
        np.savez(paths[0], t=array, x=np.ones(3))
    source = open_source(kind, paths)
    np.dtype(source.features()["t"].dtype)  # a name that NumPy knows
    with pytest.raises(DataError, match=f"{paths[0]}: array 't': expected numbers or strings, {words}"):
        source.select({"t": Feature("float32", ())})
    (records,) = source.select({"x": Feature("float64", ())}).read(0, 3, 3)
    assert records.raw["x"].tolist() == [1, 1, 1]


def test_examples_without_numbers_are_cut_into_batches():
    assert _in_batches(np.zeros((5, 0)), 2).shape == (3, 2, 0) and _in_batches(np.zeros((0, 3)), 2).shape == (0, 2, 3)
