"""TFRecord files, against files that TensorFlow wrote."""

import gzip
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from harness.data import SERIALIZED, Feature, open_source
from harness.data.tfrecord import TFRecordSource
from harness.data.tfrecord_framing import frame
from harness.data.tfrecord_index import index_path, scan, write_index
from harness.errors import DataError
from tests import made

RECORDS = [b"", b"a", b"bb" * 1000, b"\0" * 7, "größe".encode()] + [bytes([i]) * i for i in range(30)]


@pytest.fixture
def plain(tmp_path):
    return made.write_tfrecord(tmp_path / "p.tfrecord", RECORDS)


@pytest.fixture
def packed(tmp_path):
    return made.write_tfrecord(tmp_path / "p.gz", RECORDS, compress=True)


def read(paths, start=0, stop=None, size=7):
    source = TFRecordSource.open([str(p) for p in paths])
    total = sum(f.examples for f in source.files)
    found = list(source.read(start, total if stop is None else stop, size))
    ids = [i for r in found for i in r.ids.tolist()]
    assert all(len(r.ids) <= size for r in found)
    return ids, [data for r in found for data in r.raw[SERIALIZED].tolist()]


def test_a_file_is_read_as_it_was_written(plain, packed):
    assert read([plain]) == (list(range(35)), RECORDS)
    assert read([packed]) == (list(range(35)), RECORDS)


@pytest.mark.parametrize("start, stop", [(0, 1), (3, 3), (3, 17), (30, 40), (34, 36), (69, 70), (0, 70)])
@pytest.mark.parametrize("size", [1, 4, 100])
def test_any_run_of_examples_over_several_files(plain, packed, tmp_path, start, stop, size):
    empty = made.write_tfrecord(tmp_path / "empty", [])
    assert read([empty, plain, empty, packed, empty], start, stop, size) == (
        list(range(start, stop)),
        (RECORDS + RECORDS)[start:stop],
    )


def test_files_say_how_many_examples_they_hold(plain, packed, tmp_path):
    empty = made.write_tfrecord(tmp_path / "empty", [])
    files = TFRecordSource.open([str(plain), str(packed), str(empty)]).files
    assert [(f.examples, f.divisible, f.size_bytes) for f in files] == [
        (35, True, plain.stat().st_size),
        (35, False, packed.stat().st_size),
        (0, True, 0),
    ]


def test_an_empty_gzip_file_has_no_examples(tmp_path):
    (tmp_path / "e.gz").write_bytes(gzip.compress(b""))
    assert read([tmp_path / "e.gz"]) == ([], [])


def test_index_has_every_offset_and_the_size(plain):
    assert np.concatenate(list(scan(str(plain)))).tolist() == made.record_offsets(plain)


def test_an_index_beside_a_file_is_read(plain, monkeypatch):
    assert write_index(str(plain)) == 35
    lines = open(index_path(str(plain))).read().splitlines()
    offsets = made.record_offsets(plain)
    assert lines[:2] == [f"0 {offsets[1]}", f"{offsets[1]} {offsets[2] - offsets[1]}"]
    monkeypatch.setattr("harness.data.tfrecord_index.scan", lambda path, **_: pytest.fail("the file was scanned"))
    assert read([plain])[1] == RECORDS


def test_an_index_that_does_not_fit_is_not_used(plain):
    write_index(str(plain))
    made.write_tfrecord(plain, RECORDS[:-1])  # written again since
    os.utime(index_path(str(plain)), (2**31, 2**31))
    assert read([plain])[1] == RECORDS[:-1]


@pytest.mark.parametrize("content", ["", "not an index\n", "0 16\n", "1 2\n3 4\n"])
def test_a_broken_index_is_not_used(plain, content):
    open(index_path(str(plain)), "w").write(content)
    assert read([plain])[1] == RECORDS


def test_an_index_of_sizes_that_no_record_has_is_not_used(plain):
    size = plain.stat().st_size
    for sizes in ([5, size - 5], [size + 40, -40], [2**62, 2**62, size - 2**63]):
        begins = [sum(sizes[:place]) for place in range(len(sizes))]
        open(index_path(str(plain)), "w").writelines(f"{begin} {size}\n" for begin, size in zip(begins, sizes, strict=True))
        assert read([plain])[1] == RECORDS


def test_an_index_that_cannot_be_made_leaves_nothing_behind(plain):
    before = sorted(plain.parent.iterdir())
    made.cut(plain, plain.stat().st_size - 3)
    with pytest.raises(DataError, match="the file is cut off"):
        write_index(str(plain))
    assert sorted(plain.parent.iterdir()) == before


def test_an_index_that_cannot_be_written_is_named(plain):
    os.mkdir(index_path(str(plain)))
    with pytest.raises(DataError, match="idx: cannot be written: "):
        write_index(str(plain))
    assert sorted(path.name for path in plain.parent.iterdir() if "idx" in path.name) == [f"{plain.name}.idx"]


def test_index_of_a_gzip_file_is_refused(packed):
    with pytest.raises(DataError, match="a GZIP file cannot be cut"):
        write_index(str(packed))


@pytest.mark.parametrize(
    "at, message",
    [
        (12, "the CRC of its data is wrong, the record is corrupt"),  # the first byte of the data
        (-1, "the CRC of its data is wrong, the record is corrupt"),  # the last byte of the CRC
    ],
)
def test_a_corrupt_record_is_named(plain, at, message):
    offsets = made.record_offsets(plain)
    made.flip(plain, offsets[2] + at if at >= 0 else offsets[3] + at)
    with pytest.raises(DataError) as caught:
        read([plain])
    assert f"{plain}, record 2 at byte {offsets[2]}: {message}" in str(caught.value)


@pytest.mark.parametrize("record, message", [(0, "is it a TFRecord file?"), (9, "copy or write the file again")])
def test_a_corrupt_length_is_found_when_the_file_is_indexed(plain, record, message):
    at = made.record_offsets(plain)[record]
    made.flip(plain, at + 8)
    with pytest.raises(DataError) as caught:
        read([plain])
    assert f"{plain}, record {record} at byte {at}: the CRC of its length is wrong; {message}" in str(caught.value)


@pytest.mark.parametrize("missing", [1, 5, 20])
def test_a_file_that_is_cut_off(plain, missing):
    offsets = made.record_offsets(plain)
    made.cut(plain, offsets[-1] - missing)
    with pytest.raises(DataError) as caught:
        read([plain])
    assert f"{plain}, record 34 at byte {offsets[-2]}: the file is cut off: expected " in str(caught.value)


def test_a_file_that_is_cut_off_after_it_was_indexed(plain):
    source = TFRecordSource.open([str(plain)])
    made.cut(plain, plain.stat().st_size - 3)
    with pytest.raises(DataError, match="record 34 at byte [0-9]+: the file is cut off"):
        list(source.read(0, 35, 100))


def test_a_file_that_goes_away(plain):
    source = TFRecordSource.open([str(plain)])
    plain.unlink()
    with pytest.raises(DataError, match=r"p\.tfrecord: cannot be read: No such file"):
        list(source.read(0, 35, 100))


@pytest.mark.parametrize("kept", [0.3, 0.7, 0.99])
def test_a_gzip_file_that_is_cut_off(packed, kept):
    made.cut(packed, int(packed.stat().st_size * kept))
    with pytest.raises(DataError, match=r"p\.gz, record [0-9]+ at byte [0-9]+ of the unpacked stream: "):
        read([packed])


def test_a_corrupt_record_in_a_gzip_file(plain, tmp_path):
    offsets = made.record_offsets(plain)
    made.flip(plain, offsets[2] + 12)
    (tmp_path / "x.gz").write_bytes(gzip.compress(plain.read_bytes()))
    with pytest.raises(DataError, match=rf"x\.gz, record 2 at byte {offsets[2]} of the unpacked stream: the CRC of its data"):
        read([tmp_path / "x.gz"])


def test_a_text_file_is_no_tfrecord_file(tmp_path):
    (tmp_path / "t.tfrecord").write_text("one line of text, long enough for a header\n")
    with pytest.raises(DataError, match="record 0 at byte 0: the CRC of its length is wrong; is it a TFRecord file"):
        read([tmp_path / "t.tfrecord"])
    (tmp_path / "short").write_text("hi")
    with pytest.raises(DataError, match="record 0 at byte 0: the file is cut off: expected 12 bytes more, found 2"):
        read([tmp_path / "short"])


def examples(tmp_path, *columns):
    path = made.write_tfrecord(tmp_path / "x.tfrecord", [made.record(c) for c in columns])
    return TFRecordSource.open([str(path)])


def test_features_are_those_of_the_first_record(tmp_path):
    source = examples(tmp_path, {"x": np.zeros(3, np.float32), "y": np.int64(1), "s": np.array([b"ab"])})
    assert source.features() == {"s": Feature("string", (1,)), "x": Feature("float32", (3,)), "y": Feature("int64", (1,))}


def test_a_record_that_is_no_example(tmp_path):
    path = made.write_tfrecord(tmp_path / "x.tfrecord", [b"\xff\xff\xff"])
    with pytest.raises(DataError, match=r"x\.tfrecord, record 0 at byte 0: not a tf\.train\.Example"):
        TFRecordSource.open([str(path)]).features()


@pytest.mark.parametrize(
    "bad, message",
    [
        ({"y": np.int64(1)}, "feature 'x' is missing; the record has y"),
        ({"x": np.array([1, 2]), "y": np.int64(1)}, "feature 'x': expected float32 [2], found int64 values"),
        ({"x": np.zeros(3, np.float32), "y": np.int64(1)}, "feature 'x': expected float32 [2], that is 2 values, found 3"),
    ],
)
def test_a_record_that_does_not_parse_is_found(tmp_path, bad, message):
    good = {"x": np.zeros(2, np.float32), "y": np.int64(1)}
    source = examples(tmp_path, good, good, bad, good)
    wanted = {"x": Feature("float32", (2,)), "y": Feature("int64", ())}
    at = made.record_offsets(tmp_path / "x.tfrecord")[2]
    assert source.explain(0, 4, wanted) == f"{tmp_path}/x.tfrecord, record 2 at byte {at}: {message}"
    assert source.explain(3, 4, wanted) is None


def test_which_files_had_to_be_gone_through_is_known(tmp_path):
    for name in ("a", "b"):
        made.write_tfrecord(tmp_path / name, [b"x" * 50] * 3)
    write_index(str(tmp_path / "b"))
    assert TFRecordSource.open([str(tmp_path / "a"), str(tmp_path / "b")]).counted == (str(tmp_path / "a"),)
    (tmp_path / "c.csv").write_text("x\n1\n2\n")
    assert open_source("csv", [str(tmp_path / "c.csv")]).counted == (str(tmp_path / "c.csv"),)
    np.save(tmp_path / "d.npy", np.zeros(3))
    assert open_source("npy", [str(tmp_path / "d.npy")]).counted == ()


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """More records than are known one by one: short ones, long ones, and the same ones again and again."""
    random = np.random.default_rng(1)
    lengths = [*random.integers(0, 200, 700), *[40] * 900, *[300_000] * 5, *random.integers(0, 60_000, 100), 1 << 20, 0, 0]
    records = [random.bytes(int(length)) for length in lengths]
    return made.write_tfrecord(tmp_path_factory.mktemp("long") / "long.tfrecord", records), records


@pytest.mark.parametrize("size", [1, 7, 64, 5000])
def test_any_run_of_a_long_file_is_found_from_some_records(long, size):
    path, records = long
    total = len(records)
    for start, stop in (
        (0, total),
        (1, total),
        (255, 257),
        (700, 1600),
        (1023, 1024),
        (1605, 1700),
        (total - 1, total),
        (5, 900),
    ):
        assert read([path], start, stop, size) == (list(range(start, stop)), records[start:stop])


def test_what_is_kept_of_a_long_file_are_some_records_in_memory_and_in_the_cache(long):
    path, records = long
    (index,) = TFRecordSource.open([str(path)])._index
    offsets = np.array(made.record_offsets(path))
    np.testing.assert_array_equal(index.offsets, offsets[index.records])
    assert index.records[0] == 0 and index.count == len(records)
    steps, spans = np.diff(index.records), np.diff(index.offsets)
    assert steps.max() <= 1024 and (spans[steps > 1] <= (1 << 18) + max(map(len, records)) + 16).all()
    assert len(index.records) < len(records) / 1024 + offsets[-1] / (1 << 18) + 7


@pytest.mark.filterwarnings("error")
def test_blank_lines_of_an_index_say_nothing(long, monkeypatch):
    path, records = long
    write_index(str(path))
    beside = Path(index_path(str(path)))
    beside.write_text(beside.read_text() + "\n" * 50)
    monkeypatch.setattr("harness.data.tfrecord_index.LINES", len(records) // 2)
    monkeypatch.setattr("harness.data.tfrecord_index.scan", lambda path, **_: pytest.fail("the file was scanned"))
    assert TFRecordSource.open([str(path)]).files[0].examples == len(records)
    beside.unlink()


@pytest.mark.parametrize("beside", [False, True])
def test_memory_does_not_grow_with_the_number_of_records(tmp_path, monkeypatch, beside):
    monkeypatch.setattr("harness.data.tfrecord_index.SCAN", 1 << 16)
    monkeypatch.setattr("harness.data.tfrecord_index.LINES", 1 << 12)
    peaks = []
    for count in (20_000, 200_000):
        path = tmp_path / f"{count}.tfrecord"
        path.write_bytes(frame(bytes(4)) * count)
        if beside:
            write_index(str(path))
        tracemalloc.start()
        assert TFRecordSource.open([str(path)]).files[0].examples == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 100_000  # half a byte a record; the offsets of all would be 1.4 MB more


@pytest.mark.parametrize("record", [3, 256, 1000, 1602, 1650])
def test_what_is_wrong_in_a_long_file_is_named_by_its_own_number_and_byte(long, tmp_path, record):
    path, records = long
    offsets = made.record_offsets(path)
    source = TFRecordSource.open([str(path)])
    broken = tmp_path / "long.tfrecord"
    broken.write_bytes(path.read_bytes())
    made.flip(broken, offsets[record] + 13)
    source.files = tuple(type(file)(str(broken), file.size_bytes, file.examples) for file in source.files)
    with pytest.raises(DataError, match=f"record {record} at byte {offsets[record]}: the CRC of its data is wrong"):
        list(source.read(max(record - 300, 0), len(records), 16))
    wanted = {"x": Feature("int64", ())}
    plain = TFRecordSource.open([str(path)])
    assert plain.explain(record, record + 1, wanted).startswith(f"{path}, record {record} at byte {offsets[record]}: ")


def test_a_record_that_is_corrupt_is_met_by_those_who_ask_for_it_alone(long, tmp_path):
    """The records round it are read in one go; what is wrong with one of them is said once, by the rank that draws it."""
    path, broken = tmp_path / "long.tfrecord", 30
    path.write_bytes(long[0].read_bytes())
    whole = long[1]
    made.flip(path, made.record_offsets(path)[broken] + 13)
    source = TFRecordSource.open([str(path)])
    for start in range(0, 64, 8):
        if start <= broken < start + 8:
            with pytest.raises(DataError, match=f"record {broken} at byte"):
                list(source.read(start, start + 8, 8))
        else:
            (records,) = source.read(start, start + 8, 8)
            assert records.raw[SERIALIZED].tolist() == whole[start : start + 8]
            assert np.array_equal(records.words, next(TFRecordSource.open([str(long[0])]).read(start, start + 8, 8)).words)


def test_a_file_that_was_written_again_with_other_records_is_noticed(long, tmp_path):
    """Two records in the place of one, after the file was counted: ids would be shifted by one from there on."""
    again = tmp_path / "again.tfrecord"
    made.write_tfrecord(again, [bytes(84)] * 2000)  # a hundred bytes each
    source = TFRecordSource.open([str(again)])
    made.write_tfrecord(again, [bytes(84)] * 100 + [bytes(34)] * 2 + [bytes(84)] * 1899)
    with pytest.raises(
        DataError, match=r"again.tfrecord: expected record 1024 at byte 102400, found another there; the file has changed"
    ):
        list(source.read(0, 2000, 16))
