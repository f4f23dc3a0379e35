"""Files are counted by all ranks: what is found is what one finds, and what is wrong is said alike."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import pytest

from harness.data.tfrecord_framing import frame
from harness.errors import DataError, ModelError, OtherRankFailed
from harness.job.job import Job
from harness.names.status_line import PlainLines
from harness.prepare.opened import open_data, survey
from harness.ranks.comm import SingleComm
from harness.run import counting
from harness.run.counting import count
from harness.watch.counting_progress import CountingProgress
from harness.watch.failure import Told
from tests import made
from tests.thread_comm import ThreadComm, on_ranks

KINDS = ("tfrecord", "csv", "jsonl")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Files of unlike sizes in each format, and a model; pieces of 2,000 bytes."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("harness.data.counting.PIECE", 2000)
    (tmp_path / "model.tflite").write_bytes(bytes(3000))
    for number, records in enumerate((3, 900, 0, 40, 200)):
        values = [f"{number}-{record}" for record in range(records)]
        (tmp_path / f"{number}.tfrecord").write_bytes(b"".join(frame(value.encode() * 3) for value in values))
        (tmp_path / f"{number}.csv").write_text("a,b\n" + "".join(f'{value},"{value}\n{value}"\n' for value in values))
        (tmp_path / f"{number}.jsonl").write_text("".join(f'{{"a": "{value}"}}\n' for value in values))
    return tmp_path


def job_of(folder: Path, kind: str) -> Job:
    data = {"files": f"*.{kind}", "format": kind}
    return Job.from_dict({"model": "model.tflite", "metrics": ["accuracy"], "data": data}, folder=folder)


def opened_by(comm, job):
    """What rank 0 opens, or what each rank leaves with."""
    try:
        counted = count(comm, job, lambda: survey(job))
    except Told as exc:
        return exc.__cause__
    return counted.open(job) if comm.rank == 0 else None


@pytest.mark.parametrize("kind", KINDS)
def test_the_plan_is_the_same_and_each_rank_counts_its_share(folder, monkeypatch, kind):
    shares, scan = [], counting.scan_pieces
    monkeypatch.setattr(counting, "scan_pieces", lambda pieces, *options: shares.append(pieces) or scan(pieces, *options))
    job = job_of(folder, kind)
    alone = open_data(job)
    assert alone.plan.examples == 1143
    for ranks in (1, 2, 3):
        shares.clear()
        opened = (on_ranks(ranks, lambda comm: opened_by(comm, job)) if ranks > 1 else [opened_by(SingleComm(), job)])[0]
        assert opened.plan == alone.plan and opened.digests == alone.digests
        assert pickle.dumps(opened.source) == pickle.dumps(alone.source)
        pieces = [(piece.number, piece.span) for share in shares for piece in share]
        assert len(shares) == ranks and len(pieces) == len(set(pieces)) > 10
        sizes = sorted(sum(piece.size_bytes for piece in share) for share in shares)
        total = sum(path.stat().st_size for path in folder.glob(f"*.{kind}"))
        # The model weighs on the last one. No share is a piece larger than another.
        assert sum(sizes) == total and (ranks == 1 or sizes[-1] - sizes[0] <= 3000 + 3000)


def test_what_was_counted_is_not_counted_again(folder, monkeypatch):
    path = folder / "large.tfrecord"
    path.write_bytes(frame(bytes(1000)) * 2000)
    monkeypatch.setattr("harness.data.counting.PIECE", 1 << 19)
    monkeypatch.setattr("harness.data.pass_cache.RACY_S", -1.0)
    job = job_of(folder, "tfrecord")
    before = on_ranks(2, lambda comm: opened_by(comm, job))[0]
    shares, scan = [], counting.scan_pieces
    monkeypatch.setattr(counting, "scan_pieces", lambda pieces, *options: shares.extend(pieces) or scan(pieces, *options))
    assert on_ranks(2, lambda comm: opened_by(comm, job))[0].plan == before.plan
    assert str(path) not in {piece.way.path for piece in shares}


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_the_first_file_that_is_wrong_is_named_whoever_counts_it(folder, ranks):
    made.cut(folder / "1.tfrecord", 20_000)
    made.cut(folder / "3.tfrecord", 100)
    made.flip(folder / "4.tfrecord", 8)
    job = job_of(folder, "tfrecord")
    with pytest.raises(DataError) as caught:
        open_data(job)
    first, *others = on_ranks(ranks, lambda comm: opened_by(comm, job))
    assert isinstance(first, DataError) and str(first) == str(caught.value) and "1.tfrecord, record " in str(first)
    assert all(isinstance(other, OtherRankFailed) and str(first) in str(other) for other in others)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("0.csv", "0.csv: cannot be read: No such file or directory: rank 1 on n1 does not see the file that rank 0 sees"),
        ("3.csv", "3.csv has 5 bytes for rank 1 on n1 and "),
        ("model.tflite", "model.tflite: rank 1 on n1 does not see the model that rank 0 sees"),
    ],
)
def test_a_rank_that_sees_other_files_is_named(folder, monkeypatch, path, words):
    """Rank 0 has looked before it goes; the files are those of rank 1, for all pieces are dealt to it."""

    def find(comm, job):
        surveyed = survey(job)
        if path == "3.csv":
            (folder / path).write_text("a\n1\n\n"[:5])
        else:
            (folder / path).unlink()
        return surveyed

    job = job_of(folder, "csv")
    monkeypatch.setattr(counting, "deal", lambda sizes, ranks, held_bytes: [[], list(range(len(sizes)))])
    monkeypatch.setattr(ThreadComm, "host", property(lambda comm: f"n{comm.rank}"))

    def work(comm):
        try:
            counted = count(comm, job, lambda: find(comm, job))
            return counted.open(job) if comm.rank == 0 else None
        except Told as exc:
            return exc.__cause__
        except ModelError as exc:
            return exc

    first, _ = on_ranks(2, work)
    assert words in str(first) and "shared file system" in str(first)
    assert isinstance(first, ModelError if path == "model.tflite" else DataError)


class Clock:
    """Seconds, as they are set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_progress_is_said_in_few_lines_and_not_of_what_is_short():
    stream, clock = io.StringIO(), Clock()
    progress = CountingProgress(4_000_000_000, 12, 2, PlainLines(stream), clock)
    for second in range(1, 13):
        clock.now = float(second)
        progress.move(200_000_000)
    assert stream.getvalue().splitlines() == [
        "counting 12 files, rank 0's share among 2 ranks: 1.0 of 4.0 GB (25 %)",
        "counting 12 files, rank 0's share among 2 ranks: 2.0 of 4.0 GB (50 %)",
    ]
    stream = io.StringIO()
    clock.now = 0.0
    progress = CountingProgress(10, 1, 1, PlainLines(stream), clock)
    clock.now = 4.9
    progress.move(10)
    assert stream.getvalue() == ""
