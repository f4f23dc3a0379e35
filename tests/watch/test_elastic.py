"""Rounds of an elastic run, what ends one, and what is done about a rank that is stuck; real ranks are in ranks/."""

import os
import subprocess
import sys
import threading

import pytest

from harness.errors import CommError, DataError, OtherRankFailed, WorldChanged
from harness.folder.run_folder import RunFolder
from harness.ranks.comm import Counter, SingleComm
from harness.watch.beat import Beat
from harness.watch.elastic import JOB_VARIABLE, Stuck, Watch, rounds


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    return RunFolder(tmp_path)


def playing(*ends):
    """A round for each end: what it raises, or the exit code; and what each was told."""
    left, told = list(ends), []

    def play(comm, again):
        told.append(again)
        end = left.pop(0)
        if isinstance(end, Exception):
            raise end
        return end

    return play, told


def test_rounds_go_on_until_one_comes_to_its_end(folder, capsys):
    play, told = playing(CommError("rank 1 is gone"), WorldChanged("there are new hosts"), 0)
    released = []
    assert rounds(SingleComm, play, folder, lambda: released.append(1), int) == 0
    assert told == [False, True, True] and len(released) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("goes on with those that are there: ")[1] for line in lines] == ["rank 1 is gone", "there are new hosts"]


def test_a_rank_that_is_gone_after_the_result_was_written_does_no_harm(folder):
    folder.metrics_json.write_text("{}")
    play, _ = playing(CommError("rank 1 is gone"))
    assert rounds(SingleComm, play, folder, lambda: None, lambda: 5) == 5


def test_what_is_no_death_ends_the_run(folder):
    with pytest.raises(DataError):
        rounds(SingleComm, playing(DataError("broken"))[0], folder, lambda: None, int)
    folder.failure_json.write_text("{}")  # the other rank had something to say
    with pytest.raises(OtherRankFailed):
        rounds(SingleComm, playing(CommError("gone"))[0], folder, lambda: None, int)


def test_a_meeting_may_fail_but_not_for_ever(folder):
    meetings = iter([CommError("died meanwhile"), SingleComm(), *[CommError("nobody there")] * 3])

    def meet():
        found = next(meetings)
        if isinstance(found, Exception):
            raise found
        return found

    play, told = playing(CommError("gone"))
    with pytest.raises(CommError, match="nobody there"):
        rounds(meet, play, folder, lambda: None, int)
    assert told == [False] and next(meetings, None) is None


def test_ranks_leave_when_those_of_their_attempt_are_asked_to_meet(folder, monkeypatch):
    monkeypatch.setattr("harness.watch.elastic.LOOK_S", 0.01)
    late, current = (Watch(SingleComm(), folder, attempt) for attempt in (3, 4))
    for watch in (late, current):
        watch.start()
    assert not current.leaving
    current.invite()
    for _ in range(3000):
        if current.leaving:
            break
        threading.Event().wait(0.01)
    threading.Event().wait(0.1)
    assert current.leaving and not late.leaving
    for watch in (late, current):
        watch.close()


class Gone(Counter):
    """Knows of one rank that is gone."""

    name, gone = "gone", (2,)

    def take(self, count: int) -> int:
        raise AssertionError

    def close(self) -> None:
        pass


@pytest.mark.parametrize("port, ended", [("5077", True), ("5078", False)])
def test_a_stuck_rank_of_this_job_is_ended_and_no_other_process(port, ended, folder, monkeypatch, capsys):
    monkeypatch.setenv(JOB_VARIABLE, "5077")
    argv = [sys.executable, "-c", "print('there', flush=True); input()"]
    process = subprocess.Popen(
        argv, env={**os.environ, JOB_VARIABLE: port}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "there\n"
    comm = SingleComm()
    assert Stuck(comm, folder)(Beat(1, host=comm.host, pid=process.pid), "rank 1 has made no progress")
    assert ("it is ended, the others go on" in capsys.readouterr().err) is ended
    process.stdin.close()
    assert process.wait(30) == (-9 if ended else 1)


def test_a_rank_that_is_dead_is_not_stuck(folder, capsys):
    stuck = Stuck(SingleComm(), folder)
    stuck.counter = Gone()
    assert stuck(Beat(2, host="another", pid=1), "rank 2 has made no progress")
    assert capsys.readouterr().err == "" and not folder.failure_json.exists()


class Ends(Exception):
    """Stands for the end of a process."""


def test_a_stuck_rank_that_nobody_here_can_end_ends_the_job(folder, monkeypatch, capsys):
    def abort(self, code):
        raise Ends(code)

    monkeypatch.setattr(SingleComm, "abort", abort)
    with pytest.raises(Ends, match="1"):
        Stuck(SingleComm(), folder)(Beat(3, host="another", pid=1), "rank 3 has made no progress")
    assert folder.failure_json.exists() and "cannot be ended from " in capsys.readouterr().err
