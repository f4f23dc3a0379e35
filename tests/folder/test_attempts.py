"""Attempts: the lock, and numbers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, replace

import pytest

from harness.errors import HarnessError, RunFolderError
from harness.folder.attempts import Lock, Owner, begin, earlier
from harness.folder.run_folder import RunFolder
from harness.job.job import Job
from tests.folder.claimed import claimed

JOB = Job.from_dict({"model": "m", "data": {"files": "a.npz"}, "metrics": ["accuracy"]})
DIGESTS = {"job": "1", "data": "2", "model": "3"}


@pytest.fixture
def folder(tmp_path):
    found = RunFolder(tmp_path / "run")
    claimed(found, DIGESTS, JOB)
    found.clear()
    return found


def held_by(folder: RunFolder, owner: Owner) -> None:
    folder.lock.write_text(json.dumps(asdict(owner), sort_keys=True))


def test_a_lock_is_taken_and_given_back(folder):
    lock = Lock(folder)
    lock.take()
    assert json.loads(folder.lock.read_text())["pid"] == os.getpid()
    lock.give_back()
    assert not folder.lock.exists()
    assert [path.name for path in folder.path.iterdir() if path.name.startswith(".")] == []


def test_a_live_process_of_this_machine_keeps_others_out(folder):
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        stat = open(f"/proc/{process.pid}/stat").read().rpartition(")")[2].split()
        held_by(folder, replace(Owner.this(), pid=process.pid, started=stat[19]))
        with pytest.raises(RunFolderError, match=f"another attempt is at work here, pid {process.pid} on .*touch .*/stop"):
            Lock(folder, leaving_s=0.2).take()
        process.send_signal(signal.SIGSTOP)  # it may wake up
        with pytest.raises(RunFolderError, match="another attempt is at work"):
            Lock(folder, leaving_s=0.2).take()
    finally:
        process.kill()
        process.wait()
    Lock(folder, leaving_s=0.2).take()
    assert json.loads(folder.lock.read_text())["pid"] == os.getpid()


def test_a_process_that_is_about_to_end_is_waited_for(folder):
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    stat = open(f"/proc/{process.pid}/stat").read().rpartition(")")[2].split()
    held_by(folder, replace(Owner.this(), pid=process.pid, started=stat[19]))
    waits = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

    Lock(folder, sleep=sleep).take()  # dead and not yet buried is dead
    process.wait()
    assert waits


@pytest.mark.parametrize("changed", [{"started": "1"}, {"pid": 2**22 + 1}])
def test_a_dead_process_keeps_nobody_out(folder, changed):
    held_by(folder, replace(Owner.this(), **changed))
    Lock(folder, leaving_s=0).take()
    assert json.loads(folder.lock.read_text()) == asdict(Owner.this())


@pytest.mark.parametrize("changed", [{"host": "elsewhere"}, {"boot": "before"}, {"space": "pid:[1]"}])
def test_of_a_process_elsewhere_the_heartbeat_tells(folder, changed):
    held_by(folder, replace(Owner.this(), **changed))
    beats = iter(range(100))

    def sleep(seconds: float) -> None:
        folder.heartbeat(0).write_text(str(next(beats)))

    with pytest.raises(RunFolderError, match="another attempt is at work"):
        Lock(folder, sleep=sleep).take()
    waited = []
    Lock(folder, still_s=3.0, sleep=waited.append).take()
    assert sum(waited) == pytest.approx(3.0)


def test_a_lock_that_is_no_longer_ones_own_is_left_alone(folder):
    lock = Lock(folder)
    lock.take()
    held_by(folder, replace(Owner.this(), pid=1))
    lock.give_back()
    assert folder.lock.exists()


def test_attempts_are_numbered_and_a_later_one_ends_an_earlier_one(folder):
    first = begin(folder, [], 0, 2)
    first.check(folder)
    second = begin(folder, ["0001-00000-000001.segment"], 3, 5)
    assert (first.number, second.number, second.kept, second.done) == (1, 2, ("0001-00000-000001.segment",), 3)
    with pytest.raises(HarnessError, match="attempt 2 has taken over this run; attempt 1 ends"):
        first.check(folder)
    second.check(folder)
    assert [(n, record["size"], record["chunks_resumed"]) for n, record in earlier(folder)] == [(1, 2, 0), (2, 5, 3)]


def test_asking_to_stop(folder):
    assert folder.asked_to_stop(2) is None
    folder.stop.touch()
    assert folder.asked_to_stop(2) == ""
    folder.stop.unlink()
    folder.ask_to_stop(2, "SIGTERM")
    folder.ask_to_stop(3, "late")
    assert folder.asked_to_stop(2) == "SIGTERM"
    assert folder.asked_to_stop(3) is None  # it was meant for another attempt
    folder.clear()
    assert folder.asked_to_stop(2) is None
