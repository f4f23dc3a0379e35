"""Columns of a CSV file that stand side by side as numbers: what is none is named by file and row, and skipped if asked."""

from __future__ import annotations

import json

import numpy as np
import pytest

from harness.data import BAD, Feature, csv, open_source
from harness.data.derive import DerivedSource
from harness.errors import DataError, JobError

WANTED = {"x": Feature("float32", (2,))}
ROWS = 5000  # the types are told from fewer


def source(path, content: bytes, **keys):
    path.write_bytes(content)
    plain = open_source(keys.pop("format", "csv"), [str(path)])
    return DerivedSource(
        plain, declared={}, columns={"x": ("a", "b")}, transform=None, filter=None, asked={}, folder=path.parent, **keys
    )


def rows(number: int, bad: bytes) -> bytes:
    lines = [f"{n}.5,{n}".encode() for n in range(ROWS)]
    lines[number] = bad
    return b"a,b\n" + b"\n".join(lines) + b"\n"


@pytest.mark.parametrize("number", [0, 2, 4500])
@pytest.mark.parametrize(
    ("bad", "column", "found"),
    [(b"foo,1", "a", "'foo'"), (b"1\x002,1", "a", "double"), (b"\x00,1", "a", "double"), (b"1,2x", "b", "'2x'")],
    ids=["text", "NUL within", "NUL", "of integers"],
)
def test_what_is_no_number_is_named_or_skipped(tmp_path, monkeypatch, number, bad, column, found):
    monkeypatch.setattr(csv, "BLOCK", 128)  # rows of the block that cannot be converted are gone through one by one
    path = tmp_path / "x.csv"
    data = source(path, rows(number, bad))
    with pytest.raises(DataError) as caught:
        for _ in data.select(WANTED).read(0, ROWS, 64):
            pass
    assert str(caught.value).startswith(f"{path}, row {number} (the first below the header is 0): column '{column}': ")
    assert found in str(caught.value)
    read = list(data.select(WANTED, skip=True).read(0, ROWS, 64))
    skipped = np.concatenate([records.raw[BAD] for records in read])
    assert np.flatnonzero(skipped).tolist() == [number]
    values = np.concatenate([records.raw["a"] for records in read])
    np.testing.assert_array_equal(values[~skipped], np.delete(np.arange(ROWS) + 0.5, number))


def test_the_column_is_named_whatever_stands_in_front_of_it(tmp_path):
    """The converter counts rows and columns from 0 and 1: its `Row #1` is no column."""
    path = tmp_path / "x.csv"
    path.write_text("a,b,c\n1,2,3\n4,5,foo\n")
    data = DerivedSource(
        open_source("csv", [str(path)]), declared={}, columns={"x": ("a", "b", "c")}, transform=None, filter=None, asked={},
        folder=tmp_path,
    )  # fmt: skip
    with pytest.raises(DataError, match=r"row 1 \(the first below the header is 0\): column 'c': .*foo"):
        list(data.select({"x": Feature("float32", (3,))}).read(0, 2, 2))


def test_numbers_are_the_same_beside_a_text_and_without(tmp_path):
    """0.1 is rounded to float64 and then to float32, however its column was told."""
    import tensorflow as tf

    texts = ["0.1", "16777217", "3.4028235e38", "0.30000001192092896"]
    parsed = []
    for extra in ("foo", "7"):
        lines = "\n".join(f"{text},1" for text in [*texts, extra])
        data = source(tmp_path / "x.csv", f"a,b\n{lines}\n".encode())
        (records,) = data.select(WANTED, skip=True).read(0, 5, 5)
        raw = {name: tf.constant(array) for name, array in records.raw.items() if name != BAD}
        parsed.append(data.parse(raw, WANTED)["x"].numpy()[:4])
    assert parsed[0].tobytes() == parsed[1].tobytes()
    np.testing.assert_array_equal(parsed[0][:, 0], np.array([float(t) for t in texts], np.float32))


def test_a_part_of_the_examples_is_no_other(tmp_path):
    from harness.data.partial import PartialSource

    path = tmp_path / "x.csv"
    path.write_bytes(rows(2, b"foo,1"))
    part = PartialSource(open_source("csv", [str(path)]), None, 3)
    data = DerivedSource(part, declared={}, columns={"x": ("a", "b")}, transform=None, filter=None, asked={}, folder=tmp_path)
    (records,) = data.select(WANTED, skip=True).read(0, 3, 8)
    assert records.raw[BAD].tolist() == [False, False, True]


def test_columns_that_are_texts_by_type_are_refused(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.array([b"1", b"2"]), b=np.zeros(2))
    data = DerivedSource(
        open_source("npz", [str(tmp_path / "x.npz")]), declared={}, columns={"x": ("a", "b")}, transform=None, filter=None, asked={},
        folder=tmp_path,
    )  # fmt: skip
    with pytest.raises(JobError, match="data.features.x.columns: expected numbers, feature 'a' is string"):
        data.features()


@pytest.mark.slow
def test_a_whole_run_names_the_row_or_skips_it(world, harness, tmp_path):
    from tests import made

    columns = made.examples().columns()
    names = [f"x{number}" for number in range(8)]
    lines = [",".join([*map(str, x), str(y)]) for x, y in zip(columns["x"], columns["label"], strict=True)]
    (tmp_path / "good.csv").write_text("\n".join([",".join([*names, "label"]), *lines[:3], *lines[4:], ""]))
    lines[3] = ",".join(["no number", *lines[3].split(",")[1:]])
    (tmp_path / "bad.csv").write_text("\n".join([",".join([*names, "label"]), *lines, ""]))
    found = {}
    for name, more in (("good", {}), ("bad", {}), ("skip", {"on_bad_record": "skip"})):
        file = tmp_path / ("bad.csv" if name == "skip" else f"{name}.csv")
        data = {"files": [str(file)], "inputs": {"x": "x"}, "features": {"x": {"dtype": "float32", "columns": names}}, **more}
        job = world.job(tmp_path / f"{name}.yaml", data=data)
        found[name] = harness("evaluate", job, "-o", tmp_path / name)
    assert [done.code for done in found.values()] == [0, 1, 0], found["skip"].text
    assert f"{tmp_path}/bad.csv, row 3 (the first below the header is 0): column 'x0'" in found["bad"].err
    values = [json.loads((tmp_path / name / "metrics.json").read_text())["metrics"]["accuracy"] for name in ("good", "skip")]
    assert values[0] == values[1]
