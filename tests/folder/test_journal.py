"""The journal: laws over random histories, kill points of its own write, torn files, disks that are full or read-only."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import HarnessError, RunFolderError
from harness.folder import journal as journal_
from harness.folder import run_folder as runfolder
from harness.folder.journal import Found, Journal, add_up, find, load, unite
from harness.folder.segment import Name, Origin, Torn, pack, read_lines, read_segment
from harness.plan.certificate import Certificate
from harness.plan.plan import File, Plan
from harness.ranks.schedule import static_share
from harness.sums.grid import GridLayout, GridState
from harness.sums.layout import Counted, Layout
from harness.sums.row_store import RowStore
from harness.sums.rows import RowTable
from harness.sums.sums import Layouts, Sums

ORIGIN = Origin("j", "d", "m", "p", "l", "tf 1")
NO_GRID = GridState.zero(GridLayout((), (), (), (), Layout((), ())), 1)
PLAN = Plan((File("a", 0, 7), File("b", 0, 5)), 2, 4)  # chunks 0..4, 4..8, 8..12


def line(plan: Plan, chunk: int) -> list[int]:
    count = plan[chunk].stop - plan[chunk].start
    return [chunk, count, plan.id_hash(plan[chunk]), count, 0, 0, plan.id_hash(plan[chunk]), 1000 + chunk]


def added(*parts: Sums) -> Sums:
    """Add up; what is added stays as it was."""
    total = parts[0].copy()
    for part in parts[1:]:
        total.add(part.copy())
    return total


def segment(plan: Plan, *chunks: int) -> Sums:
    """A segment whose state says how often each chunk was added."""
    state = np.zeros(len(plan), np.int64)
    state[list(chunks)] = 1
    lines = np.array([line(plan, chunk) for chunk in sorted(chunks)], np.int64).reshape(-1, 8)
    return Sums(lines, state, NO_GRID)


def found(plan: Plan, name: Name, *chunks: int) -> Found:
    return Found(str(name), ORIGIN, segment(plan, *chunks).lines)


# Laws ---------------------------------------------------------------------------------------------------------------

plans = st.builds(
    lambda files, chunk: Plan(tuple(File(f"f{i}", 0, n, whole) for i, (n, whole) in enumerate(files)), 2, chunk),
    st.lists(st.tuples(st.integers(1, 15), st.booleans()), min_size=1, max_size=4),
    st.integers(1, 6),
)


def evaluate(plan: Plan, left: np.ndarray, number: int, size: int, draw) -> dict[str, Sums]:
    """What the ranks of one attempt leave behind: each commits some chunks at a time, and may be cut off."""
    written: dict[str, Sums] = {}
    for rank in range(size):
        share = [chunk.index for chunk in static_share(plan, rank, size, left)]
        share = share[: draw(st.integers(0, len(share)))]
        count = 0
        while share:
            at = draw(st.integers(1, len(share)))
            count += 1
            written[str(Name(number, rank, count))] = segment(plan, *share[:at])
            share = share[at:]
    return written


@settings(max_examples=150, deadline=None)
@given(st.data(), plans)
def test_any_history_of_attempts_gives_every_chunk_once(data, plan):
    disk: dict[str, Sums] = {}
    late: dict[str, Sums] = {}  # of ranks that were stopped, and wake up in a later attempt
    for number in range(1, data.draw(st.integers(1, 5)) + 1):
        united = unite([Found(name, ORIGIN, each.lines) for name, each in disk.items()], plan)
        # what is kept and what is left are the plan, and no chunk is twice in what is kept
        kept = added(segment(plan), *(disk[name] for name in united.kept))
        left = np.setdiff1d(np.arange(len(plan)), united.done)
        assert kept.state.tolist() == [1 if chunk in united.done else 0 for chunk in range(len(plan))]
        assert kept.chunks.tolist() == united.done.tolist()
        disk |= late
        late = {}
        for name, each in evaluate(plan, left, number, data.draw(st.integers(1, 4)), data.draw).items():
            fate = data.draw(st.sampled_from(["written", "written", "written", "torn", "late"]))
            if fate != "torn":
                (disk if fate == "written" else late)[name] = each
    # the last attempt is quiet
    disk |= late
    united = unite([Found(name, ORIGIN, each.lines) for name, each in disk.items()], plan)
    left = np.setdiff1d(np.arange(len(plan)), united.done)
    size = data.draw(st.integers(1, 4))
    shares = [[chunk.index for chunk in static_share(plan, rank, size, left)] for rank in range(size)]
    assert sorted(chunk for share in shares for chunk in share) == left.tolist()
    total = added(*(disk[name] for name in united.kept), *(segment(plan, *share) for share in shares))
    assert total.state.tolist() == [1] * len(plan)
    certificate = Certificate(plan)
    certificate.expect(plan[i] for i in range(len(plan)))
    certificate.add(total.lines)
    assert certificate.problems() == []
    # and where one segment is left out, the certificate names its chunks and no others
    for name in united.kept[:1]:
        certificate = Certificate(plan)
        certificate.expect(plan[i] for i in range(len(plan)))
        certificate.add(
            added(segment(plan), *(disk[n] for n in united.kept if n != name), *(segment(plan, *s) for s in shares)).lines
        )
        named = [int(text.split()[1]) for text in certificate.problems() if text.startswith("chunk ")]
        assert named == disk[name].chunks.tolist()[:5]


def test_of_two_segments_that_share_a_chunk_the_larger_stays_whole():
    all_found = [found(PLAN, Name(2, 0, 1), 1), found(PLAN, Name(1, 0, 1), 0, 1), found(PLAN, Name(2, 1, 1), 2)]
    united = unite(all_found, PLAN)
    assert united.kept == ("0001-00000-000001.segment", "0002-00001-000001.segment")
    assert united.done.tolist() == [0, 1, 2] and united.warnings == ()
    united = unite([found(PLAN, Name(2, 0, 1), 1, 2), found(PLAN, Name(1, 0, 1), 0, 1)], PLAN)
    assert united.kept == ("0001-00000-000001.segment",) and united.done.tolist() == [0, 1]  # of equals the first
    assert united.warnings == ("0002-00000-000001.segment overlaps with another segment: 1 of its chunks are evaluated again",)


@pytest.mark.parametrize(
    "lines",
    [
        [[0, 3, 0]],  # half a chunk
        [[3, 4, 0]],  # no chunk of the plan
        [[-1, 4, 0]],
        [[0, 4, 0], [0, 4, 0]],  # one twice
    ],
)
def test_what_is_not_whole_chunks_is_left_out(lines):
    united = unite([Found("0001-00000-000001.segment", ORIGIN, np.array(lines))], PLAN)
    assert united.kept == () and united.done.tolist() == []
    assert "does not hold whole chunks of the plan" in united.warnings[0]


# Files --------------------------------------------------------------------------------------------------------------

TABLE = RowTable(
    np.array([0.5, -0.0]), {"y": np.array([1, 0])}, np.array([7, 8]), np.array([[1], [2]]), None, np.array([1.0, 2.0])
)
GRID = GridState(
    ("0\x1eib", "0\x1eia"), np.arange(6).reshape(3, 1, 2), np.arange(3).reshape(3, 1, 1), np.zeros((3, 0, 1, 5), np.int64)
)
FULL = Sums(np.array([[1, 4, -5, 3, 1, 0, 8, 2**63 - 1]]), np.array([1, -2, 2**62]), GRID, {"roc/auc=1": RowStore.of(TABLE)})


def test_a_segment_comes_back_as_it_was(tmp_path):
    (tmp_path / "s").write_bytes(b"".join(pack(FULL, ORIGIN)))
    origin, back = read_segment(tmp_path / "s")
    assert origin == ORIGIN
    assert back.lines.tolist() == [[1, 4, -5, 3, 1, 0, 8, 2**63 - 1]] and back.state.tolist() == [1, -2, 2**62]
    assert back.grid.keys == GRID.keys and back.grid.flat().tolist() == GRID.flat().tolist()
    assert {name: a.tolist() for name, a in back.rows["roc/auc=1"].table().to_arrays().items()} == {
        "key": [0.5, -0.0], "ids": [7, 8], "slices": [[1], [2]], "weights": [1.0, 2.0], "value.y": [1, 0],
    }  # fmt: skip
    assert read_lines(tmp_path / "s")[1].tolist() == [[1, 4, -5, 3, 1, 0, 8, 2**63 - 1]]


def test_a_segment_keeps_the_digests_of_parts_also_when_it_is_joined(tmp_path):
    row = {chunk: np.full(32, 40 + chunk, np.uint8) for chunk in range(len(PLAN))}
    writer = Journal(tmp_path, ORIGIN, 1, 0, parts=lambda chunks: np.array([row[chunk] for chunk in chunks.tolist()]))
    writer.write(segment(PLAN, 2, 0))
    writer.write(segment(PLAN, 1))
    assert [(found.lines[:, 0].tolist(), found.parts[:, 31].tolist()) for found in find(tmp_path)[0]] == [
        ([0, 2], [40, 42]), ([1], [41])]  # fmt: skip
    writer._join(0)
    ((joined,), _) = find(tmp_path)
    assert joined.lines[:, 0].tolist() == [0, 1, 2] and joined.parts[:, 0].tolist() == [40, 41, 42]
    assert read_segment(tmp_path / joined.name)[1].state.tolist() == [1, 1, 1]
    (tmp_path / "s").write_bytes(b"".join(pack(segment(PLAN, 0), ORIGIN, np.zeros((2, 32), np.uint8))))
    with pytest.raises(Torn, match=r"expected parts uint8 \[1, 32\], found uint8 \(2, 32\)"):
        read_lines(tmp_path / "s")


def test_merging_finds_slices_by_their_keys():
    other = dataclasses.replace(GRID, keys=("0\x1eia", "0\x1eic"))
    both = added(FULL, Sums(np.array([[0, 4, 2, 4, 0, 0, 2, 9]]), np.array([1, 1, 1]), other, {"roc/auc=1": RowStore.of(TABLE)}))
    assert both.grid.keys == ("0\x1eib", "0\x1eia", "0\x1eic")
    assert both.grid.dense[:, 0].tolist() == [[0, 2], [2, 3], [6, 8], [4, 5]]
    assert both.rows["roc/auc=1"].table().slices.tolist() == [[1], [2], [2], [3]]
    assert both.state.tolist() == [2, -1, 2**62 + 1] and both.chunks.tolist() == [0, 1]


def test_any_flipped_or_missing_byte_is_seen(tmp_path):
    data = b"".join(pack(segment(PLAN, 0), ORIGIN))
    path = tmp_path / "0001-00000-000001.segment"
    for at in range(len(data)):
        torn = bytearray(data)
        torn[at] ^= 0x40
        for content in (bytes(torn), data[:at]):
            path.write_bytes(content)
            with pytest.raises(Torn):
                read_lines(path)
    (whole, warnings) = find(tmp_path)
    assert whole == [] and "its chunks are evaluated again" in warnings[0] and path.name in warnings[0]


def test_a_torn_segment_loses_only_its_own_chunks(tmp_path):
    writer = Journal(tmp_path, ORIGIN, 1, 0)
    writer.write(segment(PLAN, 0))
    writer.write(segment(PLAN, 2))
    path = tmp_path / writer.names[0]
    path.write_bytes(path.read_bytes()[:-1])
    (whole, warnings) = find(tmp_path)
    assert unite(whole, PLAN).done.tolist() == [2] and len(warnings) == 1


def test_sums_of_something_else_are_refused_by_name(tmp_path):
    Journal(tmp_path, ORIGIN, 1, 0).write(segment(PLAN, 0))
    name = str(Name(1, 0, 1))
    with pytest.raises(
        RunFolderError, match="computed with another layout and another software \\(tf 1, here tf 2\\); resume with"
    ):
        load(tmp_path, [name], dataclasses.replace(ORIGIN, layout="x", software="tf 2"))
    (tmp_path / name).unlink()
    with pytest.raises(HarnessError, match="cannot be read: No such file or directory, and was whole when this attempt began"):
        load(tmp_path, [name], ORIGIN)


def test_many_segments_become_few(tmp_path, monkeypatch):
    monkeypatch.setattr(journal_, "FAN_IN", 3)
    plan = Plan((File("a", 0, 11),), 1, 1)
    writer = Journal(tmp_path, ORIGIN, 1, 0)
    for chunk in range(11):
        writer.write(segment(plan, chunk))
    assert sorted(path.name for path in tmp_path.iterdir()) == writer.names
    (whole, _) = find(tmp_path)
    assert sorted(each.lines[:, 0].tolist() for each in whole) == [[0, 1, 2, 3, 4, 5, 6, 7, 8], [9], [10]]
    assert added(*load(tmp_path, writer.names, ORIGIN)).state.tolist() == [1] * 11


def test_a_writer_that_may_no_longer_write_does_not(tmp_path):
    def check() -> None:
        raise HarnessError("taken over")

    with pytest.raises(HarnessError, match="taken over"):
        Journal(tmp_path, ORIGIN, 1, 0, check).write(segment(PLAN, 0))
    assert list(tmp_path.iterdir()) == []


# Kill points --------------------------------------------------------------------------------------------------------

WRITES = 4  # of which the third joins the first three


def write_until_killed(folder: Path, at: int) -> bool:
    """Write segments in a child that is killed before its `at`th step; return whether it was."""
    child = os.fork()
    if not child:
        steps = 0

        def step() -> None:
            nonlocal steps
            if steps == at:
                os._exit(77)
            steps += 1

        def stepping(real):
            def call(*args, **more):
                step()
                return real(*args, **more)

            return call

        def pieces(*args) -> Iterator[bytes]:
            for piece in pack(*args):  # before each piece, and in the middle of it
                step()
                yield piece[: len(piece) // 2]
                step()
                yield piece[len(piece) // 2 :]

        journal_.FAN_IN = 3
        journal_.pack = pieces
        # Unbuffered, so that what has been written is on the disk when the child dies.
        real_open = Path.open
        Path.open = lambda self, mode="r": real_open(self, mode, buffering=0 if "w" in mode else -1)  # type: ignore
        for name in ("fsync", "replace", "unlink"):
            setattr(os, name, stepping(getattr(os, name)))
        writer = Journal(folder, ORIGIN, 1, 0)
        for chunk in range(WRITES):
            writer.write(segment(LONG, chunk))
            (folder / f"committed-{chunk}").touch()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 77


LONG = Plan((File("a", 0, WRITES),), 1, 1)


def test_killed_at_any_step_of_a_write_nothing_committed_is_lost(tmp_path):
    at = 0
    seen = set()
    while True:
        folder = tmp_path / str(at)
        folder.mkdir()
        killed = write_until_killed(folder, at)
        committed = {int(path.name.removeprefix("committed-")) for path in folder.glob("committed-*")}
        whole, torn = find(folder)
        assert torn == []  # a file under way does not bear a segment's name
        united = unite(whole, LONG)
        done = set(united.done.tolist())
        assert done in (committed, committed | {len(committed)})
        assert added(segment(LONG), *load(folder, united.kept, ORIGIN)).state.tolist() == [int(c in done) for c in range(WRITES)]
        seen.add((len(done), len(list(folder.glob("*.segment"))), len(list(folder.glob(".*.segment.*")))))
        if not killed:
            break
        at += 1
    assert at > 60 and done == set(range(WRITES))
    # half files, joined segments beside what they were made of: all were seen
    assert {(0, 0, 1), (1, 1, 0), (3, 4, 0), (3, 3, 0), (3, 1, 1), (4, 2, 0)} <= seen


# Disks --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_an_error_and_the_earlier_commit_intact(small_disk):
    writer = Journal(small_disk, ORIGIN, 1, 0)
    writer.write(segment(PLAN, 0))
    filler = small_disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as stream:
        while True:
            stream.write(b"x" * 4096)
    with pytest.raises(
        HarnessError, match="No space left on device; make room .*; what was finished before is kept, --resume"
    ) as caught:
        writer.write(segment(PLAN, 1))
    assert caught.value.exit_code == 1
    assert unite(find(small_disk)[0], PLAN).done.tolist() == [0]
    assert sorted(path.name for path in small_disk.iterdir()) == [str(Name(1, 0, 1)), "filler"]
    filler.unlink()
    writer.write(segment(PLAN, 1))
    assert unite(find(small_disk)[0], PLAN).done.tolist() == [0, 1]


def test_a_read_only_disk_is_an_error(small_disk):
    writer = Journal(small_disk, ORIGIN, 1, 0)
    writer.write(segment(PLAN, 0))
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(HarnessError, match="Read-only file system; make room or choose another folder"):
        writer.write(segment(PLAN, 1))
    with pytest.raises(RunFolderError, match="Read-only file system"):
        runfolder.write_atomically(small_disk / "metrics.json", "{}")
    assert unite(find(small_disk)[0], PLAN).done.tolist() == [0]


# A finished run ------------------------------------------------------------------------------------------------------


def test_the_segments_of_a_run_are_added_up_and_have_to_be_of_one_kind(tmp_path):
    state = Layout((), (Counted(("seen", "chunks"), len(PLAN)),))
    layouts = Layouts(state, GridLayout((), (), (), (), state))
    origin = dataclasses.replace(ORIGIN, layout=layouts.digest)
    for number, (chunks, whose) in enumerate(
        [((0, 2), origin), ((1,), origin), ((1,), ORIGIN), ((1,), dataclasses.replace(origin, data="e"))], start=1
    ):
        Journal(tmp_path, whose, number, 0).write(segment(PLAN, *chunks))
    first, second, other, foreign = (str(Name(number, 0, 1)) for number in (1, 2, 3, 4))
    total = add_up(tmp_path, [first, second], layouts, layouts.digest)
    assert total.state.tolist() == [1, 1, 1] and total.chunks.tolist() == [0, 1, 2]
    for names, message in (
        ([first, other], "another question"), ([first, foreign], "of another data"), ([first, "missing"], "cannot be read"), ([], "at least one"),
    ):  # fmt: skip
        with pytest.raises(RunFolderError, match=message):
            add_up(tmp_path, names, layouts, layouts.digest)
