"""The framing of records against TensorFlow's writer and reader."""

import numpy as np
import pytest

from harness.data import tfrecord_framing as framing
from harness.errors import DataError

RECORDS = [b"", b"a", b"12345678" * 100, bytes(300)]


def test_a_file_is_what_tensorflow_writes(tmp_path):
    import tensorflow as tf

    with tf.io.TFRecordWriter(str(tmp_path / "a")) as writer:
        for data in RECORDS:
            writer.write(data)
    assert (tmp_path / "a").read_bytes() == b"".join(map(framing.frame, RECORDS))


@pytest.mark.parametrize("records", [RECORDS, RECORDS[2:3], [b"abc"] * 5, [b""]])
def test_both_ways_of_cutting_agree(records):
    block = b"".join(map(framing.frame, records))
    data, crcs = framing.cut_all(block, framing.starts(block))
    assert data == framing.cut(block, "a", 0, 0) == records
    assert (crcs == framing.crcs(records)).all()


@pytest.mark.parametrize(
    ("at", "message"),
    [
        (0, "a, record 5 at byte 70: the CRC of its length is wrong; write the file again"),
        (13, "a, record 5 at byte 70: the CRC of its data is wrong, the record is corrupt; copy or write the file again"),
    ],
)
def test_a_flipped_bit_is_seen(at, message):
    block = bytearray(framing.frame(b"abc"))
    block[at] ^= 1
    assert framing.cut_all(bytes(block), np.array([0, len(block)])) is None
    with pytest.raises(DataError) as caught:
        framing.cut(bytes(block), "a", 5, 70)
    assert str(caught.value) == message


def test_a_corrupt_record_is_skipped_and_marked():
    block = bytearray(framing.frame(b"abc") + framing.frame(b"d"))
    block[13] ^= 1
    records = framing.cut(bytes(block), "a", 0, 0, skip=True)
    assert records == [None, b"d"]
    assert framing.crcs(records)[0] == framing.CRC_SKIPPED


@pytest.mark.parametrize("size", [5, 14])
def test_what_is_cut_off_is_said(size):
    with pytest.raises(DataError, match=r"a, record 0 at byte 9: the file is cut off: expected (12|19) bytes more, found"):
        framing.cut(framing.frame(b"abc")[:size], "a", 0, 9)
