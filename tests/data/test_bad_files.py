"""What a bad file gets, by format: the error names file and place. Permissions are tested as root too, which ignores them."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.data import BAD, Feature, Kind, open_source
from harness.errors import DataError, HarnessError
from tests import made
from tests.conftest import ROOT

NOBODY = 65534
A = {"a": Feature("int64", ())}
FLOAT = {"a": Feature("float32", ())}
LIST = {"a": Feature("float64", (2,))}


def parquet(path, values=(1, 2, 3), name="a", kind=None):
    pq.write_table(pa.table({name: pa.array(values, kind)}), path, row_group_size=2, write_page_checksum=True)
    return str(path)


def text(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def read(kind, paths, wanted, skip=False, start=0, stop=None):
    source = open_source(kind, paths)
    total = sum(file.examples for file in source.files)
    return list(source.select(wanted, skip=skip).read(start, total if stop is None else stop, 2))


CSV = "a,b\n1,x\n2,y\n3,z\n"
CASES = {
    "parquet cut off": ("parquet", lambda p: made.cut(p, 100), "not a readable Parquet file"),
    "parquet corrupt": ("parquet", lambda p: made.flip(p, 30), ", row group 0: not a readable Parquet file"),
    "parquet empty": ("parquet", lambda p: text(p, ""), "not a readable Parquet file"),
    "parquet no column": ("parquet", lambda p: parquet(p, name="b"), "no column 'a': valid: b"),
    "csv unclosed quotes": ("csv", lambda p: text(p, 'a\n1\n"2\n3\n'), "the file ends within double quotes that began after byte 4"),
    "csv empty": ("csv", lambda p: text(p, ""), "expected a first line with the names of the columns, found an empty file"),
    "csv twice": ("csv", lambda p: text(p, "a,a\n1,2\n"), "expected unlike names of columns, found a, a"),
    "parquet twice": (
        "parquet",
        lambda p: pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]), p),
        "expected unlike names of columns, found a, a",
    ),
    "csv long header": ("csv", lambda p: text(p, "a," + "b" * 140_000 + "\n1,2\n"), "names of the columns, found none: field larger than"),
    "csv old Mac": ("csv", lambda p: text(p, "a,b\r1,x\r"), "expected lines that end with a newline, found carriage returns alone"),
    "csv bad byte": ("csv", lambda p: text(p, b"a,b\n1,x\n\xff\n3,z\n"), "row 1 (the first below the header is 0): column 'a': "),
    "csv mixed": ("csv", lambda p: text(p, "a,b\n1,x\n2.5,y\n3,z\n"), "row 1 (the first below the header is 0): column 'a': "),
    "csv short row": ("csv", lambda p: text(p, "a,b\n1,x\n2,y\n3\n"), "row 2"),
    "csv word": ("csv", lambda p: text(p, "a,b\n1,x\nten,y\n"), "row 1"),
    "csv no column": ("csv", lambda p: text(p, "b,c\n1,2\n"), "no column 'a': valid: b, c"),
    "csv null": ("csv", lambda p: text(p, "a,b\n1,x\n,y\n"), "row 1 (the first below the header is 0): column 'a': expected a number, found null"),
    "csv gzip cut": ("csv", lambda p: text(p, gzip.compress(CSV.encode() * 1000)[:60]), "the packed stream is broken"),
    "jsonl no json": ("jsonl", lambda p: text(p, '{"a": 1}\n{"a": 2\n{"a": 3}\n'), "line 1"),
    "jsonl cut off": ("jsonl", lambda p: text(p, '{"a": 1}\n{"a": '), "line 1"),
    "jsonl no object": ("jsonl", lambda p: text(p, '{"a": 1}\n[2]\n'), "line 1"),
    "jsonl no key": ("jsonl", lambda p: text(p, '{"a": 1}\n{"b": 2}\n'), "line 1: column 'a': expected a value, found null or no such key"),
    "jsonl mixed": ("jsonl", lambda p: text(p, '{"a": 1}\n{"a": "x"}\n'), "changed from number to string in row 1"),
    "npy cut off": ("npy", lambda p: made.cut(p, 140), "the file is cut off: expected 152 bytes, found 140"),
    "npy empty": ("npy", lambda p: text(p, ""), "not a readable .npy file"),
    "npy no array": ("npy", lambda p: text(p, "nothing"), "not a readable .npy file"),
    "zlib cut off": ("tfrecord", lambda p: text(p, zlib.compress(bytes(99))[:4]), "the packed stream is broken"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_bad_file_is_named_and_the_place_in_it(tmp_path, case):
    kind, spoil, words = CASES[case]
    path = tmp_path / f"x.{kind}"
    if kind == "parquet":
        parquet(path)
    elif kind == "npy":
        np.save(path, np.array([1, 2, 3]))
    spoil(path)
    with pytest.raises(DataError) as caught:
        read(kind, [str(path)], A)
    assert str(path) in str(caught.value) and words in str(caught.value)


@pytest.mark.parametrize(
    "values, kind, wanted, words",
    [
        ([1, None, 3], None, A, "row 1: column 'a': expected a number, found null"),
        ([1.5, 2.0, 3.0], None, A, "row 0: column 'a': expected int64 [], found double"),
        (["x", "y", "z"], None, A, "row 0: column 'a': expected int64 [], found string"),
        ([[1.0, 2.0], [1.0, 2.0], [1.0]], None, LIST, "row 2: column 'a': expected float64 [2], found a list of 1"),
        ([[1.0, 2.0], None, [1.0, 3.0]], None, LIST, "row 1: column 'a': expected float64 [2], found null"),
        ([1, 2, 3], None, LIST, "row 0: column 'a': expected float64 [2], found int64"),
    ],
)
def test_values_that_are_not_what_they_should_be(tmp_path, values, kind, wanted, words):
    path = parquet(tmp_path / "x.parquet", values, kind=kind)
    with pytest.raises(DataError) as caught:
        read("parquet", [path], wanted)
    assert f"{path}, {words}" in str(caught.value)


def test_a_missing_number_of_a_float_column_is_nan(tmp_path):
    found = read("parquet", [parquet(tmp_path / "x.parquet", [1.0, None, 3.0])], FLOAT)
    assert np.isnan(found[0].raw["a"]).tolist() == [False, True] and found[0].raw["a"].dtype == np.float32


@pytest.mark.parametrize(
    "kind, content, bad",
    [
        ("csv", "a,b\n1,x\nten,y\n3\n4,z\n", [False, True, True, False]),
        ("jsonl", '{"a": 1}\nnothing\n{"b": 2}\n{"a": 4}\n', [False, True, True, False]),
    ],
)
def test_bad_rows_are_marked_where_they_are_skipped(tmp_path, kind, content, bad):
    if kind == "jsonl":
        content = '{"a": 0}\n' * 1024 + content  # the first lines tell the types, and have to be good
    path = text(tmp_path / f"x.{kind}", content)
    start = 1024 if kind == "jsonl" else 0
    found = read(kind, [path], A, skip=True, start=start)
    assert np.concatenate([r.raw[BAD] for r in found]).tolist() == bad
    assert np.concatenate([r.raw["a"] for r in found]).tolist() == [1, 0, 0, 4]
    assert np.concatenate([r.ids for r in found]).tolist() == [start + i for i in range(4)]


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_what_several_threads_convert_is_what_lies_there(tmp_path, kind):
    """Rows of half a kilobyte, so that blocks are cut for Arrow's threads; one row is longer than what a thread takes."""
    notes = [f"{number} " + "n" * (500 if number != 3000 else 2 << 20) for number in range(9000)]
    if kind == "csv":
        lines = ["a,note", *(f'{number},"{note}\n"' for number, note in enumerate(notes))]
    else:
        lines = [json.dumps({"a": number, "note": note + "\n"}) for number, note in enumerate(notes)]
    path = text(tmp_path / f"x.{kind}", "\n".join(lines) + "\n")
    wanted = {**A, "note": Feature("string", ())}
    found = list(open_source(kind, [path]).select(wanted).read(100, 8900, 1000))
    assert np.concatenate([r.ids for r in found]).tolist() == list(range(100, 8900))
    assert np.concatenate([r.raw["a"] for r in found]).tolist() == list(range(100, 8900))
    assert np.concatenate([r.raw["note"] for r in found]).tolist() == [note.encode() + b"\n" for note in notes[100:8900]]
    at = next(i for i, line in enumerate(lines) if "8000 n" in line)
    lines[at] = lines[at].replace("8000", "eight", 1)
    text(tmp_path / f"x.{kind}", "\n".join(lines) + "\n")
    with pytest.raises(DataError) as caught:
        list(open_source(kind, [path]).select(wanted).read(0, 9000, 1000))
    assert f"{path}, {'row' if kind == 'csv' else 'line'} 8000" in str(caught.value)


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_files_with_other_columns_are_refused(tmp_path, kind):
    make = parquet if kind == "parquet" else lambda path, values=(), name="a": text(path, f"{name}\n1\n")
    one, other = make(tmp_path / f"1.{kind}"), make(tmp_path / f"2.{kind}", name="b")
    with pytest.raises(DataError) as caught:
        open_source(kind, [one, other])
    assert f"{other}: expected the columns of {one}" in str(caught.value)


READ_AS_ANOTHER = """
import os, sys
# All that is loaded when it is used is loaded now: the interpreter's own files may be closed to others.
import csv, pyarrow.csv, pyarrow.json, pyarrow.parquet
from harness.data import jsonl, npy, npz, open_source, parquet, tfrecord
from harness.errors import DataError
open_source("csv", [sys.argv[1] + "/good.csv"])
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(int(sys.argv[2]))
    os.setuid(int(sys.argv[2]))
print(os.geteuid(), open_source("csv", [sys.argv[1] + "/good.csv"]).files[0].examples)
for kind in ("parquet", "csv", "jsonl", "npy", "npz", "tfrecord"):
    try:
        open_source(kind, [f"{sys.argv[1]}/x.{kind}"])
    except DataError as exc:
        print(exc)
"""


def test_files_that_may_not_be_read():
    """In a process of a user who may enter the folder: root reads what it has no permission for."""
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to others
        folder = Path(name)
        folder.chmod(0o755)
        text(folder / "good.csv", CSV)
        kinds = ("parquet", "csv", "jsonl", "npy", "npz", "tfrecord")
        for kind in kinds:
            text(folder / f"x.{kind}", CSV)
            (folder / f"x.{kind}").chmod(0)
        root = os.geteuid() == 0
        argv = [sys.executable, "-c", READ_AS_ANOTHER, name, str(NOBODY)]
        done = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        first, *said = done.stdout.splitlines()
        assert first == f"{NOBODY if root else os.geteuid()} {CSV.count(chr(10)) - 1}"
        assert len(said) == len(kinds)
        for kind, line in zip(kinds, said, strict=True):
            assert line.startswith(f"{folder}/x.{kind}: cannot be read: Permission denied"), line


@pytest.mark.parametrize(
    "content, rows",
    [
        ("a\n1\n2", ["1", "2"]),
        ("a\r\n1\r\n2\r\n", ["1", "2"]),
        ("\ufeffa\n1\n\n\n2\n", ["1", "2"]),
        ('a,b\n1,"x\ny"\n2,"""\n"\n', ["1", "2"]),
        ("a\n", []),
        ("a", []),
        ("\n\na\n\n1\n", ["1"]),
    ],
)
@pytest.mark.parametrize("scan", [1, 3, 1 << 20])
@pytest.mark.parametrize("pack", [bytes, gzip.compress, zlib.compress])
def test_lines_are_cut_where_records_end(tmp_path, monkeypatch, content, rows, scan, pack):
    monkeypatch.setattr("harness.data.line_pass.SCAN", scan)
    path = text(tmp_path / "x.csv", pack(content.encode()))
    assert [str(a) for r in read("csv", [path], A) for a in r.raw["a"].tolist()] == rows


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_any_run_of_lines(tmp_path, kind):
    lines = [f'{i},"{"x" * (i % 7)}\n"' if kind == "csv" else f'{{"a": {i}, "b": "{i}"}}' for i in range(9000)]
    lines[8500] = "word,x" if kind == "csv" else '{"a": "word"}'
    path = text(tmp_path / f"x.{kind}", ("a,b\n" if kind == "csv" else "") + "\n".join(lines) + "\n")
    for start, stop in ((0, 1), (255, 257), (256, 512), (700, 1999), (1999, 2000), (0, 8192), (4000, 8400), (8501, 9000)):
        found = read(kind, [path], A, start=start, stop=stop)
        assert [a for r in found for a in r.raw["a"].tolist()] == list(range(start, stop))
        assert [i for r in found for i in r.ids.tolist()] == list(range(start, stop))
    found = read(kind, [path], A, skip=True, start=4000, stop=9000)
    assert [i for r in found for i in r.ids.tolist()] == list(range(4000, 9000))
    assert [i for r in found for i in r.ids[r.raw[BAD]].tolist()] == [8500]


def test_large_archives_are_mapped(tmp_path, monkeypatch):
    monkeypatch.setattr("harness.data.npz.IN_MEMORY", 10)
    np.savez(tmp_path / "x.npz", a=np.arange(300), b=np.asfortranarray(np.arange(600).reshape(300, 2)))
    np.savez_compressed(tmp_path / "y.npz", a=np.arange(300))
    source = open_source("npz", [str(tmp_path / "x.npz")])
    assert source.arrays is None and source.features() == {"a": Feature("int64", ()), "b": Feature("int64", (2,))}
    found = next(iter(source.read(100, 102, 2)))
    assert (found.raw["a"].tolist(), found.raw["b"].tolist()) == ([100, 101], [[200, 201], [202, 203]])
    assert open_source("npz", [str(tmp_path / "y.npz")]).arrays is not None


def test_folders_of_images(tmp_path):
    import tensorflow as tf

    for name, value in (("dog/b.png", 1), ("dog/a.png", 2), ("cat/x/z.jpg", 3)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        encode = tf.io.encode_jpeg if name.endswith("jpg") else tf.io.encode_png
        (tmp_path / name).write_bytes(encode(np.full([4, 4, 3], value, np.uint8)).numpy())
    (tmp_path / "dog" / "notes.txt").write_text("no image")
    wanted = {"image": Feature("float32", (2, 2, 3), Kind.IMAGE), "label": Feature("int64", ()), "class": Feature("string", ())}
    source = open_source("images", [str(tmp_path)]).select(wanted)
    records = list(source.read(0, 3, 3))
    found = source.parse({n: tf.constant(a) for n, a in records[0].raw.items()}, wanted)
    assert found["image"].numpy()[:, 0, 0, 0].tolist() == [3, 2, 1]
    assert (found["label"].numpy().tolist(), found["class"].numpy().tolist()) == ([0, 1, 1], [b"cat", b"dog", b"dog"])
    listed = text(tmp_path / "list.csv", "path,label\ndog/b.png,7\ncat/x/z.jpg,8\n")
    source = open_source("images", [listed]).select({n: wanted[n] for n in ("image", "label")})
    assert next(iter(source.read(0, 2, 2))).raw["label"].tolist() == [7, 8]
    (tmp_path / "dog" / "a.png").write_bytes(b"broken")
    source = open_source("images", [str(tmp_path)])
    assert source.explain(0, 3, wanted) == f"{tmp_path}/dog/a.png: 'image' is no readable JPEG or PNG image"
    (tmp_path / "none").mkdir()
    with pytest.raises(HarnessError, match="expected a folder a class with images"):
        open_source("images", [str(tmp_path / "none")])


def test_a_prepared_folder_that_is_not_whole(tmp_path):
    with pytest.raises(DataError, match=r"dataset_info\.json: no such file; is it a prepared folder"):
        open_source("tfds", [str(tmp_path)])
    text(tmp_path / "features.json", '{"classLabel": {}}')
    text(tmp_path / "dataset_info.json", '{"name": "x", "splits": [{"name": "a", "shardLengths": ["2"]}, {"name": "b"}]}')
    with pytest.raises(DataError, match="has several splits, name one: .*#SPLIT"):
        open_source("tfds", [str(tmp_path)])
    with pytest.raises(DataError, match="x-a.tfrecord-00000-of-00001: no such file, though dataset_info.json names it"):
        open_source("tfds", [f"{tmp_path}#a"])
    made.write_tfrecord(tmp_path / "x-a.tfrecord-00000-of-00001", [b"1", b"2", b"3"])
    with pytest.raises(DataError, match="expected 2 records, as dataset_info.json says, found 3"):
        open_source("tfds", [f"{tmp_path}#a"])


READERS = """
class Reader:
    def __init__(self, runs): self.runs = runs
    def __len__(self): return 4
    def read(self, start, stop): yield from self.runs
def short(): return Reader([{"a": [1, 2]}])
def long(): return Reader([{"a": [1, 2, 3, 4, 5]}])
def uneven(): return Reader([{"a": [1, 2], "b": [1]}])
def raises(): return Reader(1 / 0 for _ in range(1))
def words(): return Reader([{"a": ["x", "y", "z", "w"]}])
def nothing(): return None
def fails(): raise OSError("no database")
"""


@pytest.mark.parametrize(
    "name, words",
    [
        ("short", "example 2: expected examples 0..4, found 2 of 4"),
        ("long", "example 0: expected examples 0..4, found 1 more"),
        ("uneven", "example 0: expected arrays of one length, found lengths [1, 2]"),
        ("raises", "reading examples 0..4 fails: ZeroDivisionError: division by zero"),
        ("words", "feature 'a': expected int64 [], found <U1 []"),
        ("nothing", "returned a NoneType, expected an object with len() and read(start, stop)"),
        ("fails", "bad_readers:fails fails: OSError: no database"),
    ],
)
def test_readers_of_ones_own_that_are_wrong(tmp_path, name, words):
    text(tmp_path / "bad_readers.py", READERS)
    with pytest.raises(HarnessError) as caught:
        source = open_source("python", [], target=f"bad_readers:{name}", folder=tmp_path)
        list(source.select(A).read(0, 4, 2))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "kind, text, message",
    [
        (
            "csv",
            "a;b;y\n1;2;0\n",
            "expected commas between columns, found one column named 'a;b;y', which semicolons seem to divide",
        ),
        ("csv", "a\ty\n1\t0\n", "found one column named 'a\\ty', which tabs seem to divide; say data.format: tsv"),
        ("tsv", "a,y\n1,0\n", "expected tabs between columns, found one column named 'a,y', which commas seem to divide"),
        ("csv", "0.5,-1e3,2\n1,2,3\n", "expected a first line with the names of the columns, found numbers: 0.5, -1e3, 2; write"),
    ],
)
def test_a_table_with_another_first_line_than_is_expected(tmp_path, kind, text, message):
    path = tmp_path / f"x.{kind}"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        open_source(kind, [str(path)])
    assert f"{path}: " in str(caught.value) and message in str(caught.value)


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl"])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_text_of_a_spreadsheet_that_is_utf_16_is_named(tmp_path, kind, encoding):
    path = tmp_path / f"x.{kind}"
    path.write_bytes(("\ufeff" + ('{"a": 1}\n' if kind == "jsonl" else "a\n1\n")).encode(encoding))
    with pytest.raises(DataError, match=f"{path}: expected text in UTF-8, found UTF-16: write it so, or: iconv -f UTF-16"):
        open_source(kind, [str(path)])


def test_a_bad_byte_in_a_row_with_too_few_fields_is_skipped_without_a_traceback(tmp_path, capfd):
    path = text(tmp_path / "x.csv", b"a,b\n1,x\n\xff\n3,\xff\n")
    found = read("csv", [path], {**A, "b": Feature("string", ())}, skip=True)
    assert np.concatenate([r.raw[BAD] for r in found]).tolist() == [False, True, False]
    assert found[-1].raw["b"].tolist() == [b"\xff"] and capfd.readouterr().err == ""


def test_a_name_of_a_column_may_hold_a_newline(tmp_path):
    path = text(tmp_path / "x.csv", '"a\rb","c\r\nd"\r\n1,2\r\n')
    assert list(open_source("csv", [path]).features()) == ["a\rb", "c\r\nd"]


def test_columns_that_are_numbered_have_a_header(tmp_path):
    (tmp_path / "x.csv").write_text("0,1,2\n0.5,1.5,2\n")
    assert list(open_source("csv", [str(tmp_path / "x.csv")]).features()) == ["0", "1", "2"]
