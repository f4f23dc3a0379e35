"""A part of the examples is read forwards, and nothing of a file twice; what lies between strides is left out."""

from __future__ import annotations

import gzip
import itertools

import numpy as np
import pytest

from harness.data import SERIALIZED, open_source
from harness.data.partial import PartialSource
from harness.data.range_file import RangeFile
from harness.data.tfrecord_framing import frame

RECORDS = 30_000


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The same records in a file, in two, and packed."""
    folder = tmp_path_factory.mktemp("partial")
    framed = [frame(b"%d" % record) for record in range(RECORDS)]
    (folder / "a").write_bytes(b"".join(framed))
    (folder / "b0").write_bytes(b"".join(framed[:11_000]))
    (folder / "b1").write_bytes(b"".join(framed[11_000:]))
    (folder / "c").write_bytes(gzip.compress(b"".join(framed), 1))
    return folder


@pytest.mark.parametrize(
    ("names", "share", "part"),
    [
        (["a"], 1 / 400, 1.0),  # further apart than a gap, and several in a stride
        (["a"], 1 / 4000, 0.5),  # whole strides between them
        (["a"], 0.3, 1.0),
        (["b0", "b1"], 1 / 400, 1.0),
    ],
)
def test_a_sample_is_read_forwards_and_nothing_twice(names, share, part, files, monkeypatch):
    source = open_source("tfrecord", [str(files / name) for name in names])
    sample = PartialSource(source, share, None)
    wanted = sample.drawn[:]
    spans, read = [], RangeFile.read
    monkeypatch.setattr(RangeFile, "read", lambda file, *span: spans.append((file.path, *span)) or read(file, *span))
    records = list(sample.read(0, len(wanted), 64))
    assert np.concatenate([r.ids for r in records]).tolist() == wanted.tolist()
    assert [int(data) for r in records for data in r.raw[SERIALIZED]] == wanted.tolist()
    assert all(this[0] < that[0] or this[2] <= that[1] for this, that in itertools.pairwise(spans)), spans
    total = sum((files / name).stat().st_size for name in names)
    assert sum(stop - start for _, start, stop in spans) <= part * total


def test_a_packed_file_is_unpacked_once(files, monkeypatch):
    sample = PartialSource(open_source("tfrecord", [str(files / "c")]), 1 / 4000, None)
    opened = []
    begin = RangeFile.stream
    monkeypatch.setattr(RangeFile, "stream", lambda file: opened.append(file.path) or begin(file))
    assert sum(len(records.ids) for records in sample.read(0, len(sample.drawn), 64)) == len(sample.drawn)
    assert len(opened) == 1
