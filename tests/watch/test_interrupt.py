"""What ends a rank and what does not: signals are sent to processes of their own. Whole runs are in ranks/test_resume.py."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest

from harness.folder.run_folder import RunFolder
from harness.watch.interrupt import Interrupt
from tests.conftest import LIMIT_S, ROOT

BEGIN = """
import multiprocessing, os, signal, socket, subprocess, sys, time
from harness.watch.interrupt import Interrupt
interrupt = Interrupt()
interrupt.start()
def until(true):
    begun = time.monotonic()
    while not true():
        assert time.monotonic() - begun < 60
        time.sleep(0.01)
"""
END = """
time.sleep(0.3)
print("goes on", flush=True)
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(60)
"""


def process(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False)


WELL = {
    "a child that ends": """
seen = []
signal.signal(signal.SIGCHLD, lambda *_: seen.append(1))
subprocess.run(["true"])
until(lambda: seen)
""",
    "a timer": """
seen = []
signal.signal(signal.SIGALRM, lambda *_: seen.append(1))
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
until(lambda: len(seen) > 100)
signal.setitimer(signal.ITIMER_REAL, 0)
""",
    "a worker that is told to end": """
worker = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
worker.start()
worker.terminate()
worker.join(30)
if worker.exitcode != -signal.SIGTERM:
    worker.kill()
    raise SystemExit(f"the worker ended with {worker.exitcode}")
""",
}


@pytest.mark.parametrize("name", WELL)
def test_signals_of_other_things_do_not_end_a_rank(name):
    done = process(BEGIN + WELL[name] + END)
    assert (done.returncode, done.stdout) == (4, "goes on\n"), done.stderr
    assert done.stderr == "harness: interrupted by SIGTERM, before anything was evaluated\n"


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGINT"])
def test_a_signal_ends_a_rank_that_is_busy(name):
    """Also after others, and while the interpreter is in a call that does not return."""
    busy = f"""
signal.signal(signal.SIGCHLD, lambda *_: None)
for _ in range(20):
    subprocess.run(["true"])
subprocess.Popen(["sh", "-c", f"sleep 0.3; kill -{name[3:]} {{os.getpid()}}"])
import ctypes
while True:
    ctypes.CDLL(None).sleep(60)
"""
    done = process(BEGIN + busy)
    assert done.returncode == 4, done.stderr
    assert done.stderr == f"harness: interrupted by {name}, before anything was evaluated\n"


def test_what_listened_before_is_told_of_its_signals_and_is_given_its_place_back():
    """An event loop of the script that the harness is called from has a descriptor of its own."""
    script = BEGIN.replace(
        "interrupt = ",
        """
ours, theirs = socket.socketpair()
for end in (ours, theirs): end.setblocking(False)
signal.set_wakeup_fd(theirs.fileno())
interrupt = """,
    )
    script += """
signal.signal(signal.SIGCHLD, lambda *_: None)
subprocess.run(["true"])
def received():
    try:
        return ours.recv(1)
    except BlockingIOError:
        return b""
until(lambda: received() == bytes([signal.SIGCHLD]))
interrupt.close()
assert signal.set_wakeup_fd(-1) == theirs.fileno()
assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
"""
    done = process(script)
    assert done.returncode == 0, done.stderr


def test_a_signal_that_comes_when_a_rank_has_done_its_work_changes_nothing():
    """A launcher repeats its signal; the rank is on its way out, with its exit code. A process alone gets its handlers back."""
    script = (
        BEGIN
        + """
from types import SimpleNamespace
interrupt.attach(SimpleNamespace(size=2, rank=0), SimpleNamespace(asked_to_stop=lambda _: None), 1, None, None, None)
interrupt.close()
for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
    os.kill(os.getpid(), number)
time.sleep(0.1)
raise SystemExit(7)
"""
    )
    assert process(script).returncode == 7


def test_a_run_that_is_done_while_its_ranks_leave_is_settled_and_not_interrupted(tmp_path, monkeypatch):
    """Its exit code is what its gate says then, and no word of the interruption stays."""
    monkeypatch.setenv("HARNESS_STATUS", str(tmp_path / "left.json"))
    folder, settled = RunFolder(tmp_path), []
    heartbeat = SimpleNamespace(
        beat=SimpleNamespace(phase="evaluating"),
        move=lambda phase: None,
        stop=lambda: None,
        wait_for_others=lambda until: folder.metrics_json.write_text("{}"),
    )
    comm = SimpleNamespace(rank=0, size=1, abort=lambda code: pytest.fail(f"ended with {code}"))
    interrupt = Interrupt(leave=lambda code: pytest.fail(f"left with {code}"))
    interrupt.attach(comm, folder, 1, heartbeat, lambda: pytest.fail("given free"), lambda: settled.append(1) or 1)
    interrupt._end("SIGTERM", urgent=True)
    assert settled == [1]
