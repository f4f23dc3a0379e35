"""Columns to bytes and back: every dtype, odd values, sizes that differ; the same bytes twice."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.errors import DataError, HarnessError, JobError
from harness.predictions.prediction_files import Column, check_format, decode, encode

ID = Column("id", "id", "id", "int64", ())
IDS = [np.array([4, 5]), np.array([6])]


def objects(values, shape) -> np.ndarray:
    out = np.empty(len(values), object)
    out[:] = values
    return out.reshape(shape)


COLUMNS = {
    Column("scalar", "output", "s", "float32", ()): [np.array([0.1, np.nan], np.float32), np.array([-np.inf], np.float32)],
    Column("matrix", "output", "m", "float32", (2, 3)): [np.arange(12, dtype=np.float32).reshape(2, 2, 3) / 7, np.full((1, 2, 3), np.inf, np.float32)],
    Column("half", "output", "h", "float16", (1,)): [np.array([[0.1], [65504]], np.float16), np.array([[6e-8]], np.float16)],
    Column("flag", "output", "b", "bool", ()): [np.array([True, False]), np.array([True])],
    Column("small", "feature", "u", "uint8", (2,)): [np.array([[0, 255], [1, 2]], np.uint8), np.array([[3, 4]], np.uint8)],
    Column("large", "feature", "l", "int64", ()): [np.array([2**63 - 1, -(2**63)]), np.array([0])],
    Column("text", "output", "t", "string", (2,)): [objects([b"a", "é".encode(), b"", b"x\n"], (2, 2)), objects([b"\x00", b"b\x00"], (1, 2))],
    Column("raw", "feature", "r", "string", (), text=False): [objects([b"\xff\x00", b""], (2,)), objects([b"\x00\x00"], (1,))],
    Column("none", "output", "n", "float32", (0,)): [np.zeros((2, 0), np.float32), np.zeros((1, 0), np.float32)],
}  # fmt: skip


@pytest.mark.parametrize("kind", ["parquet", "tfrecord", "jsonl"])
def test_what_is_written_is_read(kind):
    columns, batches = [ID, *COLUMNS], [IDS, *COLUMNS.values()]
    data = encode(kind, columns, batches)
    assert encode(kind, columns, batches) == data
    found = decode(kind, columns, data, "here")
    for column, parts in zip(columns, batches, strict=True):
        wanted = np.concatenate(parts)
        assert (found[column.name].dtype, found[column.name].shape) == (wanted.dtype, wanted.shape)
        assert (
            found[column.name].tobytes() == wanted.tobytes()
            if wanted.dtype != object
            else found[column.name].tolist() == wanted.tolist()
        )


def test_float64_keeps_its_bits():
    column = Column("d", "output", "d", "float64", ())
    values = np.array([0.1, 1 / 3, 5e-324])
    for kind in ("parquet", "jsonl"):
        assert (
            decode(kind, [ID, column], encode(kind, [ID, column], [[np.arange(3)], [values]]), "")["d"].tobytes()
            == values.tobytes()
        )
    with pytest.raises(JobError, match="'d' is float64, a tf.train.Example keeps float32"):
        check_format("tfrecord", [ID, column])
    with pytest.raises(JobError, match="'c' is complex64, which no format keeps"):
        check_format("parquet", [ID, Column("c", "output", "c", "complex64", ())])


def test_sizes_that_differ_between_batches_are_lists_of_their_own_length():
    column = Column("boxes", "output", "boxes", "float32", (None, 2))
    parts = [np.arange(8, dtype=np.float32).reshape(2, 2, 2), np.array([[[9, 8]]], np.float32)]
    data = encode("parquet", [ID, column], [IDS, parts])
    assert pq.read_table(pa.BufferReader(data))["boxes"].to_pylist() == [[[0, 1], [2, 3]], [[4, 5], [6, 7]], [[9, 8]]]
    with pytest.raises(DataError, match="the sizes of 'boxes' differ"):
        decode("parquet", [ID, column], data, "here")
    lines = encode("jsonl", [ID, column], [IDS, parts]).splitlines()
    assert json.loads(lines[2]) == {"id": 6, "boxes": [[9, 8]]}


@pytest.mark.parametrize("kind", ["parquet", "tfrecord", "jsonl"])
def test_a_string_that_is_no_text_is_named(kind):
    column = Column("t", "output", "t", "string", ())
    with pytest.raises(HarnessError, match=r"output 't' of example 6 is no UTF-8 text.*predictions: \{bytes: \[t\]\}"):
        encode(kind, [ID, column], [IDS, [objects([b"a", b"b"], (2,)), objects([b"\xff"], (1,))]])


@pytest.mark.parametrize("kind", ["parquet", "tfrecord", "jsonl"])
def test_what_is_no_part_is_named(kind):
    with pytest.raises(DataError, match="^here: cannot be read"):
        decode(kind, [ID], b"\x00\x01", "here")
