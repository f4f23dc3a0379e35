"""Rows of Parquet files against the arrays they were written from: any run of them, in any order, few in memory at a time."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.data import Feature, open_source
from harness.data.block_size import BlockSize
from harness.data.parquet_rows import BLOCK_BYTES, GroupRows
from harness.data.source import Kind, Records
from harness.errors import DataError
from harness.plan.plan import Chunk
from harness.step.blocks import read_runs

ROWS = 1000
WANTED = {"x": Feature("float32", (3,)), "a.b": Feature("int64", ()), "text": Feature("string", ())}


def columns(rows: int = ROWS) -> dict[str, np.ndarray]:
    numbers = np.arange(rows)
    texts = np.array([f"{number % 7}".encode() for number in numbers], object)
    return {"x": (numbers[:, None] + [0.0, 0.25, 0.5]).astype(np.float32), "a.b": numbers * 3, "text": texts}


def write(path: Path, rows: int, group: int) -> Path:
    data = columns(rows)
    x = pa.array(list(data["x"]), pa.list_(pa.float32()))
    table = pa.table({"x": x, "a.b": data["a.b"], "text": data["text"], "unused": [b"y" * 1000] * rows})
    pq.write_table(table, path, row_group_size=group)
    return path


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("parquet")
    return [str(write(folder / f"{group}.parquet", ROWS, group)) for group in (7, 33, 256, ROWS)]


@settings(max_examples=25)
@given(
    runs=st.lists(st.tuples(st.integers(0, 4 * ROWS - 1), st.integers(1, 700)), min_size=1, max_size=5),
    size=st.sampled_from([1, 16, 300]),
    decoded=st.sampled_from([64, 2000, BLOCK_BYTES]),
)
def test_any_run_of_rows_in_any_order(paths: list[str], runs: list[tuple[int, int]], size: int, decoded: int) -> None:
    truth = {name: np.concatenate([array] * 4) for name, array in columns().items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("harness.data.parquet_rows.BLOCK_BYTES", decoded)
        source = open_source("parquet", paths).select(WANTED)
        for start, length in runs:
            stop = min(start + length, 4 * ROWS)
            read = list(source.read(start, stop, size))
            assert np.concatenate([records.ids for records in read]).tolist() == list(range(start, stop))
            for name, array in truth.items():
                assert np.array_equal(np.concatenate([records.raw[name] for records in read]), array[start:stop])


@given(lengths=st.lists(st.integers(1, 90), min_size=1, max_size=12), batch=st.sampled_from([1, 4, 16]))
def test_runs_of_any_length_become_whole_batches(lengths: list[int], batch: int) -> None:
    bounds = np.cumsum([0, *lengths])

    class Source:
        def read(self, start: int, stop: int, size: int):
            for first, end in pairwise(bounds):
                for at in range(max(first, start), min(end, stop), size):
                    ids = np.arange(at, min(at + size, end, stop))
                    yield Records(ids, {"x": ids * 2})

    chunk = Chunk(0, 0, int(bounds[-1]))
    read = list(read_runs(Source(), chunk, BlockSize(batch, 4)))
    assert np.concatenate([records.ids for records in read]).tolist() == list(range(chunk.stop))
    assert all((records.raw["x"] == records.ids * 2).all() for records in read)
    assert not any(len(records.ids) % batch for records in read[:-1])
    assert all(len(records.ids) < 5 * batch for records in read)


def test_a_large_row_group_is_never_in_memory(tmp_path: Path) -> None:
    """Of 80 MB no more is held than what is decoded at a time: also where a few repeated values are small in the file."""
    path = tmp_path / "a.parquet"
    x = np.random.default_rng(0).integers(0, 200, (25_600, 784)).astype(np.float32)
    table = pa.table({"x": pa.FixedSizeListArray.from_arrays(x.ravel(), 784)})
    pq.write_table(table, path, row_group_size=len(x))
    del table
    source = open_source("parquet", [str(path)]).select({"x": Feature("float32", (784,))})
    before, peak, total = pa.total_allocated_bytes(), 0, 0.0
    for records in source.read(0, len(x), 256):
        peak = max(peak, pa.total_allocated_bytes() - before)
        total += float(records.raw["x"].sum(dtype=np.float64))
    assert total == x.sum(dtype=np.float64) and peak < 5 * BLOCK_BYTES


def test_rows_are_decoded_in_whole_units_as_many_as_their_bytes_allow(tmp_path: Path) -> None:
    file = pq.ParquetFile(write(tmp_path / "a.parquet", ROWS, ROWS))
    rows = GroupRows(file, 0, ["a.b"], 16)
    first, batch = rows.at(3)
    assert (first, batch.num_rows, batch.schema.names, rows.first) == (0, ROWS, ["a.b"], 0)
    with pytest.raises(EOFError, match="1000 rows"):
        rows.at(ROWS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("harness.data.parquet_rows.BLOCK_BYTES", 8 * 40)
        rows = GroupRows(file, 0, ["a.b"], 16)
    assert [(first, batch.num_rows) for first, batch in (rows.at(0), rows.at(31), rows.at(35))] == [(0, 32), (0, 32), (32, 32)]
    assert rows.first == 32


def test_a_file_that_has_other_rows_than_it_had_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", ROWS, 100)
    source = open_source("parquet", [str(path)]).select(WANTED)
    write(path, ROWS, 200)
    with pytest.raises(DataError, match=r"a\.parquet, row group 0: expected 100 rows, found 200; has the file changed\?"):
        list(source.read(0, 10, 10))
    with pytest.raises(DataError, match=r"a\.parquet, row group 7: expected 100 rows, found 0; has the file changed\?"):
        list(source.read(700, 710, 10))


def test_what_is_small_in_the_file_and_large_as_arrays_is_converted_in_small_pieces(tmp_path: Path) -> None:
    rows, path = 60_000, str(tmp_path / "a.parquet")
    short = pa.array([[1, 2]] * rows, pa.list_(pa.int32()))
    pq.write_table(pa.table({"x": short}), path, row_group_size=rows)
    wanted = {"x": Feature("int64", (512,), Kind.VARIABLE, pad=0)}
    for records in open_source("parquet", [path]).select(wanted).read(0, rows, 256):
        assert records.raw["x"].base.shape[0] <= 4096


def test_texts_that_are_repeated_and_columns_with_dots_are_decoded_in_small_pieces(tmp_path: Path) -> None:
    rows, path = 20_000, str(tmp_path / "a.parquet")
    texts = pa.array([f"{number % 10}" * 4000 for number in range(rows)])
    bounds = np.arange(0, (rows + 1) * 1000, 1000, dtype=np.int32)
    lists = pa.ListArray.from_arrays(bounds, np.arange(rows * 1000, dtype=np.float32))
    pq.write_table(pa.table({"text": texts, "x.y": lists}), path, row_group_size=rows)
    del texts, lists
    file = pq.ParquetFile(path)
    assert GroupRows(file, 0, ["text"], 256).at(0)[1].num_rows == 4096  # 16 MB; by what they take in the file, all of them
    assert GroupRows(file, 0, ["x.y"], 256).at(0)[1].num_rows <= 2048


def test_a_read_that_failed_can_be_made_again(tmp_path: Path) -> None:
    source = open_source("parquet", [str(write(tmp_path / "a.parquet", ROWS, ROWS))]).select(WANTED)
    failures = [OSError("the storage is away")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            GroupRows,
            "at",
            lambda rows, row, at=GroupRows.at: (_ for _ in ()).throw(failures.pop()) if failures else at(rows, row),
        )
        with pytest.raises(DataError, match="the storage is away"):
            list(source.read(0, 10, 10))
        assert next(iter(source.read(500, 510, 10))).raw["a.b"].tolist() == list(range(1500, 1530, 3))


def test_asking_for_the_features_meanwhile_changes_nothing(tmp_path: Path) -> None:
    source = open_source("parquet", [str(write(tmp_path / "a.parquet", ROWS, ROWS))])
    read = [len(records.ids) for records in source.read(0, ROWS, 100) if source.features()]
    assert read == [100] * 10


def test_bytes_of_a_fixed_size_are_no_text(tmp_path: Path) -> None:
    path, values = str(tmp_path / "a.parquet"), [b"\xff\x00a", b"\xfe\x01b"]
    pq.write_table(pa.table({"x": pa.array(values, pa.binary(3))}), path)
    (records,) = open_source("parquet", [path]).select({"x": Feature("string", ())}).read(0, 2, 2)
    assert records.raw["x"].tolist() == values
