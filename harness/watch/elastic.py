"""Elastic runs: a rank that dies does not end the job, new hosts join. One round after another, each an attempt of its own.

A round ends before its time where a collective or the counter finds a rank gone, or where rank 0 is told of new hosts. Then
every rank commits what it has finished, meets those that are there by now, and goes on from the journal like a resumed run.
A death is not looked for: those that are left draw what is left, and find out when they are done. Nothing here is called
in the loop but `Watch.check`, which looks at an event.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from harness.errors import CommError, HarnessError, OtherRankFailed, WorldChanged
from harness.folder.file_rate import LOOKS
from harness.folder.run_folder import RunFolder
from harness.names.events import Event
from harness.names.log import LOG
from harness.ranks.comm import Comm, Counter
from harness.watch.beat import Beat
from harness.watch.failure import Ended, report_failure, say

__all__ = ["Stuck", "Watch", "is_elastic", "rounds"]

LOOK_S = 0.5
MEETINGS = 3  # that may fail one after another: a rank may die while ranks meet
JOB_VARIABLE = "HOROVOD_GLOO_RENDEZVOUS_PORT"  # the same for all ranks of a job, and for no others of the machine


def is_elastic(environ: Mapping[str, str] = os.environ) -> bool:
    """Say whether the launcher keeps a job going when ranks come and go.

    >>> is_elastic({"HOROVOD_ELASTIC": "1"}), is_elastic({})
    (True, False)
    """
    return environ.get("HOROVOD_ELASTIC") == "1"


def rounds(
    meet: Callable[[], Comm],
    play: Callable[[Comm, bool], int],
    folder: RunFolder,
    release: Callable[[], None],
    settle: Callable[[], int],
) -> int:
    """Play until a round comes to its end; return its exit code.

    Args:
      meet: joins the world as it is now.
      play: goes through a round; the second argument says whether there was one before.
      folder: of the run.
      release: gives the run folder free.
      settle: returns the exit code of a run whose result is written.
    Raises: HarnessError: what went wrong, other than that ranks have come or gone.
    """
    again, failed = False, 0
    while True:
        try:
            comm = meet()
        except CommError:
            failed += 1
            if failed == MEETINGS:
                raise
            continue
        try:
            return play(comm, again)
        except (CommError, WorldChanged) as exc:
            if folder.metrics_json.exists():
                return settle()  # somebody died after the result was written
            if _has_failed(folder):
                raise OtherRankFailed("another rank failed, and has said why") from exc
            _note(comm, f"goes on with those that are there: {exc}")
        release()
        with contextlib.suppress(CommError):
            comm.close()
        again, failed = True, 0


def _has_failed(folder: RunFolder) -> bool:
    """Say whether a rank has failed other than by its death: it says so in the run folder before it ends.

    The folder is listed: of a single file network file systems remember for seconds that it was not there.
    """
    with contextlib.suppress(OSError):
        return folder.failure_json.name in os.listdir(folder.path)
    return False


class Watch:
    """The thread of a round that looks whether another rank has failed, or ranks are to meet anew.

    Args:
      comm: of the round.
      folder: of the run.
      attempt: its number.
    """

    def __init__(self, comm: Comm, folder: RunFolder, attempt: int) -> None:
        self._comm = comm
        self._folder = folder
        self._attempt = attempt
        self._leave = threading.Event()
        self._close = threading.Event()
        self._thread = threading.Thread(target=self._run, name="elastic", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._close.set()
        self._thread.join()

    def invite(self) -> None:
        """Ask all ranks to meet anew: there are new hosts. Called on rank 0."""
        self._folder.ask_to_meet(self._attempt)

    @property
    def leaving(self) -> bool:
        """Whether this rank is to leave the loop at the next border."""
        return self._leave.is_set()

    def _run(self) -> None:
        turn = LOOKS.turn(self._comm.rank, self._comm.size, LOOK_S)
        wait_s = turn.first_s
        while not self._close.wait(wait_s):
            wait_s = turn.every_s
            if self._folder.asked_to_meet(self._attempt):
                self._leave.set()
            if self._folder.failure_json.exists() and not self._close.is_set():
                _note(self._comm, "ends: another rank failed")
                self._comm.abort(OtherRankFailed.exit_code)


class Stuck:
    """What is done about a rank that makes no progress: it is ended, and the others go on.

    Args:
      comm: of the round.
      folder: of the run.
    """

    def __init__(self, comm: Comm, folder: RunFolder) -> None:
        self._comm = comm
        self._folder = folder
        self.counter: Counter | None = None  # which knows of ranks that are gone

    def __call__(self, beat: Beat, message: str) -> bool:
        """End a stuck rank; return whether to watch on. Does not return where the stuck rank is this one."""
        if beat.rank == self._comm.rank:
            say(self._comm, f"{message}; this rank ends, the others go on", Event.RANK_ENDED)
            self._comm.abort(1)
        if self.counter is not None and beat.rank in self.counter.gone:
            return True  # dead, not stuck
        if beat.host != self._comm.host:
            # Nobody there can end it, and the launcher takes it for alive: the others would wait for it in the end.
            text = f"{message}, and cannot be ended from {self._comm.host}; the job ends"
            report_failure(self._comm, self._folder, Ended(HarnessError.exit_code, text, self._comm.rank))
            self._comm.abort(1)
        if _of_this_job(beat.pid):
            say(self._comm, f"{message}; it is ended, the others go on", Event.RANK_ENDED)
            with contextlib.suppress(ProcessLookupError):
                os.kill(beat.pid, signal.SIGKILL)
        return True


def _note(comm: Comm, what: str) -> None:
    message = f"rank {comm.rank} on {comm.host} {what}"
    LOG.say(Event.RANK_LEFT, message, text=f"harness: {message}")


def _of_this_job(pid: int) -> bool:
    """Say whether a process of this machine is a rank of this job; its number may be another's by now."""
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
    return f"{JOB_VARIABLE}={os.environ.get(JOB_VARIABLE, '')}".encode() in variables
