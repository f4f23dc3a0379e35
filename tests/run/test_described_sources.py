"""What rank 0 tells the others of the data: what describes it. It does not grow with the examples, and is the same to read."""

from __future__ import annotations

import csv
import json
import pickle

import numpy as np
import pytest

from harness.data import Feature
from harness.data.shared_index import describe, restore
from harness.errors import DataError, OtherRankFailed
from harness.job.job import Job
from harness.prepare.opened import open_data
from harness.run.consensus import from_rank_0
from harness.watch.failure import Ended, Told
from tests import made
from tests.thread_comm import on_ranks

FEW, MANY = 300, 30_000


def write(folder, kind, count):
    """A file, or a folder, of so many examples."""
    numbers = np.arange(count)
    if kind == "npz":
        np.savez_compressed(folder / "x.npz", x=numbers, y=numbers.astype(np.float32)[:, None] * np.ones(3, np.float32))
    elif kind == "npy":
        np.save(folder / "x.npy", numbers)
    elif kind == "tfrecord":
        made.write_tfrecord(folder / "x.tfrecord", [b"%d" % number for number in numbers])
    elif kind == "csv":
        (folder / "x.csv").write_text("x\n" + "".join(f"{number}\n" for number in numbers))
    elif kind == "jsonl":
        (folder / "x.jsonl").write_text("".join(json.dumps({"x": number}) + "\n" for number in numbers.tolist()))
    elif kind == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table({"x": numbers}), folder / "x.parquet")
    elif kind == "list":
        (folder / "one.png").write_bytes(b"png")
        with open(folder / "x.csv", "w") as stream:
            csv.writer(stream).writerows([("path", "label"), *(("one.png", number) for number in numbers.tolist())])
    else:
        for label in ("a", "b"):
            (folder / "x.images" / label).mkdir(parents=True)
        for number in numbers.tolist():
            (folder / "x.images" / "ab"[number % 2] / f"{number}.png").touch()
    name = next(path.name for path in folder.iterdir() if path.name.startswith("x."))
    return {"files": [name], "format": {"list": "images", "folder": "images"}.get(kind, kind)}


def opened(folder, kind, count, **more):
    folder.mkdir()
    data = write(folder, kind, count)
    model = {"python": "math:sqrt"}  # is not called
    return open_data(Job.from_dict({"model": model, "metrics": ["accuracy"], "data": {**data, **more}}, folder=folder))


def contents(source, wanted):
    """All that is read, and the ids."""
    found = list(source.select(wanted).read(0, sum(file.examples for file in source.files), 100))
    return {
        "ids": np.concatenate([records.ids for records in found]).tolist(),
        **{name: np.concatenate([records.raw[name] for records in found]).tolist() for name in found[0].raw},
    }


@pytest.mark.parametrize("more", [{}, {"sample": 0.5}], ids=["all", "half"])
@pytest.mark.parametrize("kind", ["npz", "npy", "tfrecord", "csv", "jsonl", "parquet", "list", "folder"])
def test_what_is_told_does_not_grow_with_the_examples(kind, more, tmp_path):
    counts = (FEW, 3000) if kind == "folder" else (FEW, MANY)
    few, many = (describe(opened(tmp_path / str(count), kind, count, **more)) for count in counts)
    assert len(many[0]) - len(few[0]) < 200
    # Lines and records: two numbers every 256, which are not pickled.
    assert sum(map(len, many[1])) <= 2 * (counts[1] / 256 + 4)


@pytest.mark.parametrize("more", [{}, {"sample": 0.5}], ids=["all", "half"])
@pytest.mark.parametrize("kind", ["npz", "npy", "tfrecord", "csv", "jsonl", "parquet", "list", "folder"])
def test_what_is_told_reads_the_same(kind, more, tmp_path):
    here = opened(tmp_path / "x", kind, FEW, **more)
    data, arrays = describe(here)
    there = restore(data, np.concatenate([np.zeros(0, np.int64), *arrays]))
    assert there.plan == here.plan and there.digests == here.digests
    assert np.array_equal(there.plan.id_hashes(0, len(there.plan)), here.plan.id_hashes(0, len(here.plan)))
    features = here.source.features()
    assert there.source.features() == features
    wanted = {"serialized": Feature("string", ())} if kind == "tfrecord" else features
    assert contents(there.source, wanted) == contents(here.source, wanted)


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("npz", lambda folder: np.savez_compressed(folder / "x.npz", x=np.arange(FEW - 1)), r"x\.npz: expected 300 examples in "),
        ("npz", lambda folder: (folder / "x.npz").unlink(), r"x\.npz: not a readable"),
        (
            "folder",
            lambda folder: (folder / "x.images/a/0.png").rename(folder / "x.images/a/zero.png"),
            "images that rank 0 listed",
        ),
        ("folder", lambda folder: (folder / "x.images/a/0.png").unlink(), r"images: 300\), found others \(.*images: 299\)"),
    ],
)
def test_other_files_on_another_host_are_refused_by_name(kind, change, message, tmp_path):
    there = pickle.loads(pickle.dumps(opened(tmp_path / "x", kind, FEW)))
    change(tmp_path / "x")
    with pytest.raises(DataError, match=message):
        contents(there.source, there.source.features())


class Unreadable:
    """What can be told, and not opened."""

    def __reduce__(self):
        return _refuse, ()


def _refuse():
    raise DataError("x.npz: is not here")


def test_what_cannot_be_opened_on_one_rank_ends_all():
    def attempt(comm):
        try:
            return from_rank_0(comm, Unreadable)
        except Told as exc:
            return exc.ended, type(exc.__cause__)

    first, second = on_ranks(2, attempt)
    ended = Ended(1, "x.npz: is not here", rank=1)
    assert (first, second) == ((ended, OtherRankFailed), (ended, DataError))


def test_rank_0_keeps_its_own():
    own = []

    def work():
        own.append([1, 2])
        return own[0]

    found = on_ranks(3, lambda comm: from_rank_0(comm, work))
    assert found == [[1, 2]] * 3 and sum(each is own[0] for each in found) == 1 and len(own) == 1
