"""Whether a rank of this machine is gone, and what that makes of a signal. Real ranks are in ranks/test_launch_ends.py."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from types import SimpleNamespace

import pytest

from harness.folder.attempts import Owner
from harness.folder.killed_attempt import KilledAttempt
from harness.folder.run_folder import RunFolder, read_json
from harness.watch.interrupt import Interrupt
from harness.watch.neighbours import Neighbours
from tests.conftest import LIMIT_S

OWNER = "import json, sys; from dataclasses import asdict; from harness.folder.attempts import Owner; print(json.dumps(asdict(Owner.this())), flush=True); sys.stdin.read()"


class LeftWith(Exception):
    """How this rank ended."""


@pytest.fixture
def other():
    """Return a process that stands for rank 1, and who it is."""
    process = subprocess.Popen([sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield process, json.loads(process.stdout.readline())
    process.kill()
    process.communicate(timeout=LIMIT_S)


def meet(*others: dict[str, object]) -> Neighbours:
    answers = [json.dumps(one).encode() for one in (asdict(Owner.this()), *others)]
    return Neighbours.meet(SimpleNamespace(rank=0, gather=lambda own: answers))


def test_a_rank_that_was_killed_is_gone_also_before_it_is_buried(other):
    process, owner = other
    elsewhere = asdict(replace(Owner.this(), space="pid:[1]", pid=2**22 + 1))
    neighbours = meet(owner, elsewhere)
    assert neighbours.gone() == []  # nobody can say of the third
    process.send_signal(signal.SIGKILL)
    while not (gone := neighbours.gone()):
        assert process.returncode is None
    assert gone == [1]  # a zombie, until somebody waits for it
    process.wait(timeout=LIMIT_S)
    assert neighbours.gone() == [1]


@pytest.mark.parametrize(
    "why, killed, asked, state",
    [
        ("SIGTERM", True, False, "failed"),
        ("SIGTERM", False, False, "interrupted"),
        ("SIGTERM", True, True, "interrupted"),  # it left because it was asked to stop
        ("SIGUSR1", True, False, "interrupted"),  # by which a person's wish is passed on
    ],
)
def test_sigterm_is_no_stop_where_another_rank_was_killed(why, killed, asked, state, other, tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_STATUS", str(tmp_path / "left.json"))
    process, owner = other
    if killed:
        process.kill()
        process.wait(timeout=LIMIT_S)
    folder, phases = RunFolder(tmp_path), []
    folder.set_status("interrupted" if asked else "running", 4 if asked else None, attempt=1)
    heartbeat = SimpleNamespace(
        beat=SimpleNamespace(phase="evaluating"), neighbours=meet(owner), move=phases.append, stop=lambda: None,
        ask_to_stop=lambda why: phases.append("asked"), wait_for_others=lambda until: None,
    )  # fmt: skip
    comm = SimpleNamespace(rank=0, size=2, host="vm")

    def end(code):
        raise LeftWith(code)

    comm.abort = end
    interrupt = Interrupt()
    interrupt.attach(comm, folder, 1, heartbeat, lambda: None, lambda: pytest.fail("settled"))
    with pytest.raises(LeftWith) as ended:
        interrupt._end(why, urgent=True)
    failed = state == "failed"
    assert ended.value.args == (3 if failed else 4,)
    assert read_json(folder.status_json)["state"] == state
    assert phases == ([] if failed else ["asked", "interrupted"])  # a last beat that is no end leaves the monitor's file
    assert folder.stop.exists() is not failed and (tmp_path / "left.json").exists() is not failed
    if failed:
        assert read_json(folder.failure_json)["message"].startswith("rank 1 on vm is gone: it was killed, or it crashed")


@pytest.mark.parametrize(
    "before, after, wanted",
    [
        (None, ("running", None), "failed"),  # all ranks were killed at once
        (None, ("interrupted", 4), "failed"),  # on another machine than the one that was killed
        (("interrupted", 4), ("running", None), "failed"),
        (("interrupted", 4), None, "interrupted"),  # of an earlier attempt: this one has not begun
        (None, ("failed", 1), "failed"),
        (None, ("done", 0), "done"),
        (None, None, None),
    ],
)
def test_who_started_ranks_has_the_last_word_on_those_that_were_killed(before, after, wanted, tmp_path):
    folder = RunFolder(tmp_path)
    if before:
        folder.set_status(*before, attempt=1)
    attempt = KilledAttempt(tmp_path)
    if after:
        folder.set_status(*after, attempt=2)
    attempt.record("rank 1 on vm was killed by signal 9 (SIGKILL)")
    status = read_json(folder.status_json) or {}
    assert status.get("state") == wanted
    corrected = wanted == "failed" and after != ("failed", 1)
    assert (read_json(folder.failure_json) or {}).get("message") == (
        "rank 1 on vm was killed by signal 9 (SIGKILL)" if corrected else None
    )
    assert status.get("exit_code") == {"failed": 1, "interrupted": 4, "done": 0, None: None}[wanted]
