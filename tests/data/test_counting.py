"""Passes over files in pieces: what is found is what one pass finds, and so are the errors."""

from __future__ import annotations

import csv
import gzip
import io
import os

import numpy as np
import pytest

from harness.data import Feature, Origin, open_source, survey
from harness.data.counting import combine, count, pieces_of, scan_pieces
from harness.data.tfrecord_framing import frame
from harness.data.tfrecord_index import look
from harness.errors import DataError
from tests import made

PIECES = (3, 50, 1000)  # bytes
DIGITS = np.random.default_rng(3)


def read(kind, path, name):
    source = open_source(kind, [str(path)])
    total = source.files[0].examples
    records = list(source.select({name: Feature("string", ())}).read(0, total, 100))
    assert [i for part in records for i in part.ids.tolist()] == list(range(total))
    return [value for part in records for value in part.raw[name].tolist()]


def tfrecords():
    inner = frame(b"in a record") * 20  # what looks like a record, and is a part of one
    random = DIGITS.bytes(700)
    return [b"", inner, b"a", bytes(300), inner[5:], random, *(bytes([n]) * (n % 40) for n in range(150)), inner * 3]


@pytest.mark.parametrize("piece", PIECES)
def test_records_in_pieces(tmp_path, monkeypatch, piece):
    monkeypatch.setattr("harness.data.counting.PIECE", piece)
    monkeypatch.setattr("harness.data.tfrecord_index.SCAN", 64)
    path = tmp_path / "a.tfrecord"
    records = tfrecords()
    path.write_bytes(b"".join(map(frame, records)))
    assert read("tfrecord", path, "serialized") == records
    empty = tmp_path / "e.tfrecord"
    empty.write_bytes(b"")
    assert open_source("tfrecord", [str(empty)]).files[0].examples == 0


def test_a_piece_is_gone_through_again_only_where_it_has_to_be(tmp_path, monkeypatch):
    """Or the rank that puts the pieces together would count all of them."""
    import harness.data.tfrecord_index as module

    path, begins, scan = tmp_path / "a.tfrecord", [], module.scan
    path.write_bytes(frame(bytes(84)) * 200)
    monkeypatch.setattr("harness.data.counting.PIECE", 1000)
    monkeypatch.setattr(module, "scan", lambda path, **options: begins.append(options.get("start", 0)) or scan(path, **options))
    assert open_source("tfrecord", [str(path)]).files[0].examples == 200
    assert sorted(begins) == list(range(0, 20_000, 1000))


@pytest.mark.parametrize("spoil", [lambda path, at: made.flip(path, at[90] + 3), lambda path, at: made.cut(path, at[-1] - 5)])
def test_what_is_wrong_is_named_as_by_one_pass(tmp_path, monkeypatch, spoil):
    path = tmp_path / "a.tfrecord"
    path.write_bytes(b"".join(map(frame, tfrecords())))
    spoil(path, made.record_offsets(path))
    messages = set()
    for piece in (1 << 20, *PIECES):
        monkeypatch.setattr("harness.data.counting.PIECE", piece)
        with pytest.raises(DataError) as caught:
            open_source("tfrecord", [str(path)])
        messages.add(str(caught.value))
    assert len(messages) == 1 and " record " in messages.pop()


TEXTS = {
    "quotes and newlines": 'a,b\n1,"x\ny"\n2,"""\n"\n"3","\n\n"\n' * 30 + "4,z",
    "carriage returns": "\ufeffa,b\r\n" + '1,"x\r\n"\r\n\r\n\r\n2,y\r\n' * 40,
    "the header late": "\n\n\r\n" * 60 + "a,b\n1,x\n",
    "a header alone": "a,b",
    "a header and its end": "a,b\n",
    "a long line": "a,b\n1," + "x" * 3000 + "\n2,y\n",
    "many": "a,b\n" + "".join(f'{n},"{"q" * (n % 5)}{chr(10) * (n % 3)}"\n' for n in range(2000)),
}


@pytest.mark.parametrize("text, piece", [*((text, piece) for text in TEXTS for piece in PIECES), ("carriage returns", 1)])
def test_lines_in_pieces(tmp_path, monkeypatch, text, piece):
    monkeypatch.setattr("harness.data.counting.PIECE", piece)
    monkeypatch.setattr("harness.data.line_pass.SCAN", 30)
    path = tmp_path / "a.csv"
    path.write_bytes(TEXTS[text].encode())
    rows = list(csv.reader(io.StringIO(TEXTS[text].removeprefix("\ufeff"), newline="")))
    rows = [row for row in rows if row][1:]
    if rows:
        assert [value.decode() for value in read("csv", path, "b")] == [row[1] for row in rows]
    assert open_source("csv", [str(path)]).files[0].examples == len(rows)


@pytest.mark.parametrize("piece", PIECES)
def test_lines_without_quotes_in_pieces(tmp_path, monkeypatch, piece):
    monkeypatch.setattr("harness.data.counting.PIECE", piece)
    path = tmp_path / "a.jsonl"
    values = [f"{'v' * (n % 9)}{n}" for n in range(700)]
    path.write_text("\n\r\n".join(f'{{"a": "{value}"}}' for value in values))
    assert read("jsonl", path, "a") == [value.encode() for value in values]


def test_a_file_that_ends_within_quotes_is_named_as_by_one_pass(tmp_path, monkeypatch):
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,x\n" * 100 + '2,"' + "y\n" * 100)
    for piece in (1 << 20, *PIECES):
        monkeypatch.setattr("harness.data.counting.PIECE", piece)
        with pytest.raises(DataError, match="the file ends within double quotes that began after byte 800; is it cut off"):
            open_source("csv", [str(path)])


def test_what_is_kept_does_not_depend_on_the_machine_but_on_the_file(tmp_path, monkeypatch):
    """Packed files are one piece, small files too; of a large one every piece has about the same size."""
    monkeypatch.setattr("harness.data.counting.PIECE", 100)
    paths = [tmp_path / name for name in ("small.csv", "large.csv", "large.csv.gz")]
    paths[0].write_text("a\n1\n")
    paths[1].write_text("a\n" + "1\n" * 480)
    paths[2].write_bytes(gzip.compress(paths[1].read_bytes()))
    ways = [file.way for file in survey("csv", Origin([str(path) for path in paths]))]
    assert [len(way.spans) for way in ways] == [1, 10, 1]
    assert ways[1].spans[0] == (0, 96) and ways[1].spans[-1][1] == 962


def test_the_first_file_that_is_wrong_is_named_and_those_behind_it_are_left_alone(tmp_path):
    paths = []
    for number in range(20):
        path = tmp_path / f"{number:02}.tfrecord"
        path.write_bytes(frame(b"a") * 3)
        paths.append(str(path))
    for number in (7, 12):
        made.cut(tmp_path / f"{number:02}.tfrecord", 30)
    with pytest.raises(DataError, match="07.tfrecord, record 1 at byte 17: the file is cut off"):
        count(survey("tfrecord", Origin(paths)))


def test_a_file_that_gets_shorter_while_it_is_counted_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("harness.data.counting.PIECE", 1000)
    path = tmp_path / "a.tfrecord"
    for shorter in range(0, 8000, 250):
        path.write_bytes(frame(bytes(84)) * 80)
        known = look(str(path))
        pieces = pieces_of([known])
        parts = scan_pieces(pieces[:1])
        os.truncate(path, shorter)
        with pytest.raises(DataError, match="a.tfrecord.*(cut off|shorter|copy or write)"):
            combine([known], pieces, parts + scan_pieces(pieces[1:]))
