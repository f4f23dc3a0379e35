"""The run folder: claims, and files that appear whole."""

import errno
import json
import os

import pytest

from harness.errors import RunFolderError
from harness.folder.run_folder import RunFolder, read_json, write_atomically
from harness.job.job import Job
from tests.folder.claimed import claimed

JOB = Job.from_dict({"model": "m", "data": {"files": "a.npz"}, "metrics": ["accuracy"]})
DIGESTS = {"job": "1", "data": "2", "model": "3"}


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "deep" / "run")


def test_a_new_folder_is_claimed(folder):
    assert claimed(folder, DIGESTS, JOB) is False
    assert json.loads(folder.job_json.read_text()) == DIGESTS
    folder.clear()
    assert folder.progress.is_dir() and folder.journal.is_dir() and folder.attempts.is_dir()


def test_a_folder_of_the_same_job_is_claimed_again(folder):
    claimed(folder, DIGESTS, JOB)
    folder.clear()
    folder.record_failure("it broke", rank=1)
    folder.heartbeat(0).write_text("{}")
    (folder.journal / "0001-00000-000001.segment").touch()
    (folder.journal / ".0001-00000-000002.segment.host.7").touch()
    assert claimed(folder, DIGESTS, JOB) is False
    folder.clear()
    assert [path.name for path in folder.journal.iterdir()] == ["0001-00000-000001.segment"]
    assert not folder.failure_json.exists()  # the last attempt's
    assert list(folder.progress.iterdir()) == []


def test_a_run_that_is_done_is_left_alone(folder):
    claimed(folder, DIGESTS, JOB)
    folder.metrics_json.write_text("{}")
    assert claimed(folder, DIGESTS, JOB) is True


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"data": "x"}, "its data differs from this one's"),
        ({"job": "x", "model": "y"}, "its job and model differ from this one's"),
    ],
)
def test_another_jobs_folder_is_refused(folder, changed, message):
    claimed(folder, DIGESTS, JOB)
    before = folder.job_json.read_text()
    with pytest.raises(RunFolderError) as caught:
        claimed(folder, {**DIGESTS, **changed}, JOB)
    assert message in str(caught.value) and "-o" in str(caught.value)
    assert folder.job_json.read_text() == before


def test_a_folder_of_another_job_that_failed_without_results_is_taken_over(folder):
    claimed(folder, DIGESTS, JOB)
    folder.set_status("failed", 2)
    assert claimed(folder, {**DIGESTS, "model": "mended"}, JOB) is False
    assert json.loads(folder.job_json.read_text())["model"] == "mended"
    folder.clear()
    folder.set_status("failed", 1)
    segment = folder.journal / "0001-00000-000001.segment"
    segment.touch()  # something has been finished
    with pytest.raises(RunFolderError, match="its model differs"):
        claimed(folder, DIGESTS, JOB)
    segment.unlink()
    folder.metrics_json.write_text("{}")
    folder.set_status("failed", 2)
    with pytest.raises(RunFolderError, match="its model differs"):
        claimed(folder, DIGESTS, JOB)


def test_a_folder_with_other_things_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(RunFolderError, match="not a run folder, and not empty; choose another with -o"):
        claimed(RunFolder(tmp_path), DIGESTS, JOB)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_schedulers_output_may_lie_there_before(tmp_path):
    (tmp_path / "slurm-17.out").write_text("")
    assert claimed(RunFolder(tmp_path), DIGESTS, JOB) is False


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="cannot be used as run folder: Not a directory"):
        claimed(RunFolder(tmp_path / "file" / "run"), DIGESTS, JOB)
    with pytest.raises(RunFolderError, match="cannot be used as run folder: File exists"):
        claimed(RunFolder(tmp_path / "file"), DIGESTS, JOB)


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    write_atomically(tmp_path / "a", "old")
    monkeypatch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(RunFolderError, match="a: cannot be written: No space left on device; make room or choose another"):
        write_atomically(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_write_to_a_folder_that_is_gone(tmp_path):
    with pytest.raises(RunFolderError, match="cannot be written: No such file"):
        write_atomically(tmp_path / "gone" / "a", "x")


def test_only_the_first_failure_is_kept(folder):
    claimed(folder, DIGESTS, JOB)
    assert folder.record_failure("first", rank=2) is True
    assert folder.record_failure("second", rank=0) is False
    found = read_json(folder.failure_json)
    assert (found["message"], found["rank"]) == ("first", 2)
    assert not [p for p in folder.path.iterdir() if p.name.startswith(".failure")]


def test_a_failure_where_the_folder_is_gone_is_no_second_failure(tmp_path):
    assert RunFolder(tmp_path / "gone").record_failure("x") is False


def test_a_torn_file_is_none(tmp_path):
    (tmp_path / "a.json").write_text('{"a": 1')
    assert read_json(tmp_path / "a.json") is None
    assert read_json(tmp_path / "no.json") is None


def test_a_table_of_any_metric_has_a_file_name(tmp_path):
    assert RunFolder(tmp_path).table_csv("a/../b(k=1) ö").name == "a_.._b_k=1__ö.csv"


@pytest.fixture
def full(folder, monkeypatch):
    """A run that is under way on a disk without a block to spare: what is there can be written over, names can be made."""
    claimed(folder, DIGESTS, JOB)
    folder.set_status("running", None, pid=12345, ranks=2, attempt=1)

    def refuse(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", refuse)
    monkeypatch.setattr(type(folder.path), "write_text", refuse)
    return folder


def test_on_a_full_disk_a_run_that_failed_does_not_seem_to_go_on(full):
    assert full.record_failure("No space left on device", rank=1)
    full.set_status("failed", 1, rank=1)
    assert read_json(full.status_json) == {"state": "failed", "exit_code": 1, "rank": 1}
    assert full.failure_json.exists()
    assert not full.record_failure("me too", rank=0)  # another was first
    assert not [entry.name for entry in full.path.iterdir() if entry.name.startswith(".")]


def test_where_nothing_can_be_written_the_reason_is_said(full, monkeypatch):
    full.status_json.unlink()
    with pytest.raises(RunFolderError, match="No space left on device; make room"):
        full.set_status("failed", 1)
