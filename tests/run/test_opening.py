"""What rank 0 opens is the same on every rank; its index is mapped from one file a node, or sent where that cannot be."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from harness.data.source import SERIALIZED
from harness.data.tfrecord_framing import frame
from harness.errors import DataError
from harness.job.job import Job
from harness.prepare.opened import open_data
from harness.run import opening
from harness.run.opening import open_on_all
from harness.watch.failure import Ended, Told
from tests.thread_comm import ThreadComm, on_ranks

SENT = 9000  # bytes: what describes the job, and what ranks tell each other of the index


@dataclass(frozen=True)
class Node:
    """The folders of a node, and whether its temporary one can be written."""

    cache: str
    temporary: str


SHARED_HOME = (Node("home", "a"), Node("home", "a"), Node("home", "b"))
OWN_HOMES = (Node("home", "a"), Node("other", "b"), Node("other", "b"))
NO_CACHE = (Node("file", "a"), Node("file", "a"), Node("file", "b"))
NOWHERE = (Node("file", "file"), Node("file", "file"), Node("home", "b"))


@pytest.fixture
def job(tmp_path, monkeypatch):
    """A job of two files whose index is 8 KiB in blocks of 1,000 bytes; the folders that a rank has are those of its thread."""
    monkeypatch.setattr(opening, "MAPPED_BYTES", 1)
    monkeypatch.setattr("harness.data.shared_index.BLOCK_BYTES", 1000)
    monkeypatch.setattr(opening, "BLOCK_BYTES", 1000)
    monkeypatch.setattr("harness.data.record_index.STRIDE", 4)
    (tmp_path / "file").touch()
    for number, records in enumerate((900, 1100)):
        (tmp_path / f"{number}.tfrecord").write_bytes(b"".join(frame(b"%d" % record) for record in range(records)))
    return Job.from_dict(
        {"model": {"python": "math:sqrt"}, "metrics": ["accuracy"], "data": {"files": "*.tfrecord", "sample": 0.5}},
        folder=tmp_path,
    )


def open_on(nodes, job, folder: Path, monkeypatch, prepare=lambda comm: None):
    """Open a job on a rank a node that is named; return of each what it has opened, and the bytes that were broadcast."""
    mine, sizes = threading.local(), []
    monkeypatch.setattr("harness.data.pass_cache.cache_folder", lambda: folder / mine.node.cache)
    monkeypatch.setattr("harness.data.private_folder.of_node", lambda: folder / mine.node.temporary)
    broadcast = ThreadComm.broadcast
    monkeypatch.setattr(ThreadComm, "broadcast", lambda comm, data: sizes.append(len(data)) or broadcast(comm, data))

    def work(comm):
        mine.node = nodes[comm.rank]
        comm.local_rank = nodes[: comm.rank].count(mine.node) if mine.node.temporary != "file" else comm.rank
        prepare(comm)
        return open_on_all(comm, lambda: open_data(job))

    opened = on_ranks(len(nodes), work)
    monkeypatch.setattr(ThreadComm, "broadcast", broadcast)
    return opened, sum(sizes)


def index_of(opened) -> list:
    return opened.source._source._index


def mapped_from(array: np.ndarray) -> Path | None:
    """Return the file that an array lies in; None where it lies in memory."""
    while array is not None and not isinstance(array, np.memmap):
        array = getattr(array, "base", None)
    return None if array is None else Path(array.filename)


@pytest.mark.parametrize(
    ("nodes", "places", "sent"),
    [
        pytest.param(SHARED_HOME, ["home"] * 3, 0, id="a home that all nodes share"),
        pytest.param(OWN_HOMES, ["home", "b", "b"], 1, id="a home on each node"),
        pytest.param(NO_CACHE, ["a", "a", "b"], 1, id="a cache that cannot be written"),
        pytest.param(NOWHERE, [None, None, "b"], 2, id="a node that can write nowhere"),
    ],
)
def test_the_index_is_mapped_where_it_can_be_and_the_same_everywhere(nodes, places, sent, job, tmp_path, monkeypatch):
    alone = open_data(job)
    everyone, sent_bytes = open_on(nodes, job, tmp_path, monkeypatch)
    size = sum(index.pack().nbytes for index in index_of(alone))
    assert size > 7000 and sent * size <= sent_bytes < sent * size + SENT
    for opened, place in zip(everyone, places, strict=True):
        assert opened.plan == alone.plan and opened.digests == alone.digests
        assert np.array_equal(opened.plan.id_hashes(0, len(alone.plan)), alone.plan.id_hashes(0, len(alone.plan)))
        for index, own in zip(index_of(opened), index_of(alone), strict=True):
            assert np.array_equal(index.pack(), own.pack())
            file = mapped_from(index.offsets)
            assert (None if file is None else file.parent.name) == place and not index.offsets.flags.writeable
    reads = [list(opened.source.select({}).read(300, 700, 100)) for opened in (alone, *everyone)]
    assert len({tuple(data for records in read for data in records.raw[SERIALIZED]) for read in reads}) == 1


def test_a_file_is_kept_for_the_next_run_and_one_that_was_changed_is_not_believed(job, tmp_path, monkeypatch):
    first, _ = open_on(OWN_HOMES, job, tmp_path, monkeypatch)
    files = [mapped_from(index_of(opened)[0].offsets) for opened in first]
    kept = [file.stat().st_ino for file in files]
    again, sent_bytes = open_on(OWN_HOMES, job, tmp_path, monkeypatch)
    assert [mapped_from(index_of(opened)[0].offsets).stat().st_ino for opened in again] == kept and sent_bytes < SENT
    wanted = index_of(first[0])[0].pack()

    def change(comm):
        """Flip a bit of the one, shorten the other: as new files, for the old ones are mapped."""
        if comm.rank < 2:  # the third shares the second's
            content = bytearray(files[comm.rank].read_bytes())
            content[100] ^= comm.rank == 0
            files[comm.rank].unlink()
            files[comm.rank].write_bytes(content[: len(content) - 8 * comm.rank])

    last, _ = open_on(OWN_HOMES, job, tmp_path, monkeypatch, prepare=change)
    assert all(np.array_equal(index_of(opened)[0].pack(), wanted) for opened in last)
    assert [mapped_from(index_of(opened)[0].offsets) for opened in last] == files


def test_a_small_index_is_sent_and_leaves_no_file(job, tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "MAPPED_BYTES", 1 << 20)
    everyone, sent_bytes = open_on(SHARED_HOME, job, tmp_path, monkeypatch)
    assert sent_bytes > 7000 and {mapped_from(index_of(opened)[0].offsets) for opened in everyone} == {None}
    assert not list(tmp_path.glob("*/*.index"))


def test_what_has_no_index_is_told_and_rank_0_keeps_its_own():
    own = []

    def work():
        own.append([1, 2])
        return own[0]

    found = on_ranks(3, lambda comm: (open_on_all(comm, work), comm.barrier())[0])
    assert found == [[1, 2]] * 3 and sum(each is own[0] for each in found) == 1 and len(own) == 1


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_cannot_open_it_ends_all(rank, monkeypatch):
    def refuse(*given):
        raise DataError("x is not here")

    monkeypatch.setattr(opening, "restore", refuse)

    def attempt(comm):
        try:
            return open_on_all(comm, refuse if rank == 0 else lambda: 3)
        except Told as exc:
            return exc.ended

    assert on_ranks(2, attempt) == [Ended(1, "x is not here", rank=rank)] * 2
