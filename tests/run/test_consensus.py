"""What ranks do before they work: one that fails says so to all, in its own words."""

from __future__ import annotations

import pytest

from harness.errors import OtherRankFailed, RunFolderError
from harness.folder.run_folder import RunFolder
from harness.ranks.comm import SingleComm
from harness.run.consensus import check_shared
from harness.watch.failure import Told
from tests.thread_comm import on_ranks


def outcome(folder, comm):
    """What the check ends with on a rank."""
    try:
        check_shared(RunFolder(folder), comm)
    except Told as exc:
        return exc.__cause__
    return None


def test_ranks_that_see_one_folder_go_on(tmp_path):
    assert on_ranks(3, lambda comm: outcome(tmp_path, comm)) == [None, None, None]
    assert outcome(tmp_path, SingleComm()) is None


def test_a_folder_that_rank_0_cannot_write_is_what_every_rank_hears_of(tmp_path):
    (tmp_path / "run").write_text("a file")
    first, *others = on_ranks(3, lambda comm: outcome(tmp_path / "run", comm))
    assert isinstance(first, RunFolderError)
    assert f"{tmp_path}/run/.shared: cannot be written: Not a directory" in str(first)
    for other in others:
        assert isinstance(other, OtherRankFailed) and str(first) in str(other)


def test_a_rank_that_sees_another_folder_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("harness.run.consensus.SHARED_FOLDER_WAIT_S", 0.2)
    for name in ("0", "1"):
        (tmp_path / name).mkdir()
    first, second = on_ranks(2, lambda comm: outcome(tmp_path / str(comm.rank), comm))
    assert isinstance(second, RunFolderError) and "rank 1 on " in str(second) and "shared file system" in str(second)
    assert isinstance(first, OtherRankFailed) and str(second) in str(first)


@pytest.mark.parametrize("content", ["a folder", "of another run"])
def test_what_is_in_the_way_ends_the_wait_not_the_rank(tmp_path, monkeypatch, content):
    """A look at the file that fails, as on a network file system, is one more look later."""
    monkeypatch.setattr("harness.run.consensus.SHARED_FOLDER_WAIT_S", 0.2)
    for name in ("0", "1"):
        (tmp_path / name).mkdir()
    if content == "a folder":
        (tmp_path / "1" / ".shared").mkdir()
    else:
        (tmp_path / "1" / ".shared").write_bytes(b"x")
    _, second = on_ranks(2, lambda comm: outcome(tmp_path / str(comm.rank), comm))
    assert isinstance(second, RunFolderError) and "does not see the run folder" in str(second)
