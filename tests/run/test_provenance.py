"""Whether the data are the same, as hosts and ranks find out together: shared files, copies of a host's own, files that are gone."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from harness.data import Feature, Place, Records, open_source
from harness.data.content import ContentHash, signed
from harness.data.identity import Identity, identify, take
from harness.data.npz import NpzSource
from harness.errors import DataError, OtherRankFailed
from harness.folder.journal import Journal, plan_digest
from harness.folder.run_folder import RunFolder
from harness.folder.segment import Origin
from harness.plan.plan import Plan
from harness.run.provenance import Provenance, Reading, meet
from harness.sums.grid import GridLayout, GridState
from harness.sums.layout import Layout
from harness.sums.sums import Sums
from harness.watch.failure import Told
from tests.thread_comm import ThreadComm, on_ranks

X, LABEL = np.arange(20, dtype=np.float32), np.arange(20) % 3
READING = Reading({"x": Feature("float32", ()), "label": Feature("int64", ())}, ("label", "x"), False)
HOSTS = ("a", "a", "b", "b")


class HostComm(ThreadComm):
    """Ranks 0 and 1 are on host a, ranks 2 and 3 on host b."""

    def __init__(self, comm: ThreadComm) -> None:
        super().__init__(comm.rank, comm.size, comm._barrier, comm._board)
        self.local_rank = comm.rank % 2

    @property
    def host(self) -> str:
        return HOSTS[self.rank]


def write(path: Path, label: np.ndarray = LABEL, mtime_ns: int = 10**18) -> str:
    path.parent.mkdir(exist_ok=True)
    np.savez(path, x=X, label=label)
    os.utime(path, ns=(mtime_ns, mtime_ns))
    return str(path)


@pytest.fixture
def run(tmp_path):
    """A run folder with chunks 1 and 3 of five committed, and what its only host saw: the file of host a."""
    path = write(tmp_path / "a" / "val.npz")
    source = NpzSource.open([path])
    plan = Plan(source.files, 2, 4)
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    folder.clear()
    lines = []
    for chunk in (plan[1], plan[3]):
        records = Records(np.arange(chunk.start, chunk.stop), {"x": X[chunk.start : chunk.stop], "label": LABEL[chunk.start : chunk.stop]})  # fmt: skip
        lines.append([chunk.index, 4, plan.id_hash(chunk), 4, 0, 0, plan.id_hash(chunk), signed(ContentHash().of(records))])
    origin = Origin("1", "2", "3", plan_digest(plan), "l", "s")
    journal = Journal(folder.journal, origin, 1, 0)
    grid = GridState.zero(GridLayout((), (), (), (), Layout((), ())), 1)
    journal.write(Sums(np.array(lines, np.int64), np.zeros(1, np.int64), grid))
    seen = take(source)
    Provenance(source, plan, seen, ("a",), {"a": seen}).record(folder, READING)
    return folder, plan, tuple(journal.names)


def confirmed(run, paths: dict[str, str], *, finished: bool = False) -> list[BaseException | None]:
    """Have four ranks on two hosts meet and confirm; return what each raised."""
    folder, plan, segments = run

    def rank(comm: ThreadComm) -> BaseException | None:
        here = HostComm(comm)
        source = NpzSource.open([paths[here.host]])
        try:
            meet(here, source, plan, seen).confirm(here, folder, segments, finished=finished)
        except Told as exc:
            return exc.__cause__
        return None

    seen = take(NpzSource.open([paths["a"]]))
    return on_ranks(4, rank)


def test_hosts_that_share_the_files_read_nothing_again(run, tmp_path, monkeypatch):
    monkeypatch.setattr(Reading, "contents", lambda *args: pytest.fail("read again"))
    path = str(tmp_path / "a" / "val.npz")
    assert confirmed(run, {"a": path, "b": path}) == [None] * 4


@pytest.mark.parametrize("finished", [False, True])
def test_a_copy_on_another_node_is_read_again(run, tmp_path, capsys, finished):
    paths = {"a": str(tmp_path / "a" / "val.npz"), "b": write(tmp_path / "b" / "val.npz", mtime_ns=11 * 10**17)}
    if finished:  # three chunks are in no segment: that cannot be told
        (first, *others) = confirmed(run, paths, finished=True)
        assert isinstance(first, DataError) and "chunk 0 is not in " in str(first)
        assert all(isinstance(other, OtherRankFailed) for other in others)
        return
    assert confirmed(run, paths) == [None] * 4
    assert "2 chunks of the data were read again" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "b")
    paths["b"] = write(tmp_path / "b" / "val.npz", np.where(np.arange(20) == 13, 7, LABEL), 11 * 10**17)
    found = confirmed(run, paths)
    errors = [exc for exc in found if isinstance(exc, DataError)]
    assert len(errors) == 1 and all(isinstance(exc, DataError | OtherRankFailed) for exc in found)
    # Rank 3 is the second of its host's two ranks, chunk 3 the second that was committed.
    assert found[3] is errors[0] and f"{paths['b']} is not as it was: " in str(errors[0]) and "chunk 3 (" in str(errors[0])


def test_a_change_where_nothing_was_committed_stops_nobody(run, tmp_path):
    path = write(tmp_path / "a" / "val.npz", np.where(np.arange(20) == 0, 7, LABEL), 12 * 10**17)
    assert confirmed(run, {"a": path, "b": path}) == [None] * 4


def test_a_copy_of_another_size_is_refused_by_name(run, tmp_path):
    (tmp_path / "b").mkdir()
    np.savez(tmp_path / "b" / "val.npz", x=X[:19], label=LABEL[:19])
    found = confirmed(run, {"a": str(tmp_path / "a" / "val.npz"), "b": str(tmp_path / "b" / "val.npz")})
    assert (
        isinstance(found[2], DataError) and f"{tmp_path / 'b' / 'val.npz'} has " in str(found[2]) and "on b and" in str(found[2])
    )


def inventory(*paths: Path) -> Provenance:
    """Two files of six examples each, in chunks of four: 0..4, 4..8, 8..12."""
    columns = [{"x": np.zeros(6)}, {"x": np.zeros(6)}]
    for path, arrays in zip(paths, columns, strict=True):
        np.savez(path, **arrays)
    source = NpzSource.open([str(path) for path in paths])
    return Provenance(source, Plan(source.files, 2, 4), take(source))


def test_the_files_of_what_is_committed_are_looked_at(tmp_path):
    one, two = tmp_path / "one.npz", tmp_path / "two.npz"
    here = inventory(one, two)
    here.check(range(3))
    os.utime(two, ns=(5, 5))
    here.check([0])
    for chunks in ([1], [2], [0, 2]):
        with pytest.raises(DataError, match=r"two\.npz changed while it was evaluated: changed .* now 1970-01-01T00:00:00"):
            here.check(chunks)
    shutil.copy2(one, tmp_path / "new")
    os.replace(tmp_path / "new", one)
    with pytest.raises(DataError, match=r"one\.npz changed while it was evaluated: inode \d+, now \d+"):
        here.check([0])
    one.unlink()
    with pytest.raises(DataError, match=r"one\.npz: cannot be read: No such file"):
        here.check([0])


def test_a_folder_of_images_is_known_by_all_of_them(tmp_path):
    (tmp_path / "c").mkdir()
    paths = [str(tmp_path / "c" / f"{n}.png") for n in range(3)]
    for path in paths:
        Path(path).write_bytes(b"x")
    source = open_source("images", [str(tmp_path)])
    assert source.lies_in(0) == Place(members=paths)
    (before,) = take(source).identities
    assert before == take(source).identities[0] and not before.alone
    os.utime(paths[1], ns=(7, 7))
    assert "version" in before.changes(take(source).identities[0])


class Storage:
    """A file system that keeps listings, as object stores' do."""

    def __init__(self) -> None:
        self.info_now = {"size": 3, "ETag": "e1", "generation": 5}
        self.listed = dict(self.info_now)

    def invalidate_cache(self) -> None:
        self.listed = dict(self.info_now)

    def info(self, key: str) -> dict:
        return self.listed


def test_a_url_is_known_by_its_etag_and_generation(monkeypatch):
    fs = Storage()
    monkeypatch.setattr("harness.data.storage.filesystem", lambda url: (fs, url))
    before = identify("gs://b/x")
    assert before == Identity("gs://b/x", 3, version="ETag e1, generation 5") and before.alone
    fs.info_now["generation"] = 6
    assert before.changes(identify("gs://b/x")) == "version ETag e1, generation 5, now ETag e1, generation 6"
