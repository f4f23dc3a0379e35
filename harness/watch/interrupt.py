"""Ends a rank that is asked to stop: what is finished is committed, all ranks leave with exit code 4, in seconds.

A Python signal handler runs only when the compiled step returns. So a thread waits for the byte that the interpreter's
own handler writes, whatever the main thread does; and it looks for the file `stop` in the run folder, by which people
ask, and by which one rank that got a signal tells the others: rank 0 looks twice a second and tells all in its notices, the
others look the more seldom the more there are. The interpreter writes the number of every signal that has a
handler in Python, those of a user's own code too: they are handed on to whoever listened before.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Callable

from harness.errors import HarnessError, Interrupted, OtherRankFailed
from harness.folder.commit import Committer
from harness.folder.file_rate import STOPS, Turn
from harness.folder.run_folder import RunFolder, read_json
from harness.names.events import Event
from harness.names.log import LOG
from harness.ranks.comm import Comm
from harness.ranks.process_exit import exit_process
from harness.watch.failure import tell_launcher
from harness.watch.heartbeat import Heartbeat

__all__ = ["Interrupt", "stop_turn"]

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
LOOK_S = 0.5  # between looks for the file, where ranks are few
HEAR_S = 0.1  # between looks whether rank 0 has told
# Of the four seconds from a signal to the end of the job Open MPI's launcher takes two: it sleeps a second before SIGTERM
# to the ranks that are left, and another before SIGKILL, whatever they do.
CHUNK_S = 1.2  # a signal's patience with the chunk under way, where a grid cannot be had in the middle of it
LEAVE_S = 1.7  # from a signal until this rank leaves, whatever the other ranks do
RESULT_S = 1.0  # a run that is about to be done is let be done


def stop_turn(rank: int, size: int) -> Turn:
    """Return when a rank of so many looks for the file.

    >>> stop_turn(0, 4096), stop_turn(1024, 4096)
    (Turn(first_s=0.0, every_s=0.5), Turn(first_s=256.0, every_s=1024.0))
    """
    return STOPS.turn(rank, size, LOOK_S) if rank else Turn(0.0, LOOK_S)


class Interrupt:
    """The thread that waits to be asked.

    Args:
      leave: ends the process; another in tests.
    """

    def __init__(self, leave: Callable[[int], None] = exit_process) -> None:
        self._leave = leave
        self._comm: Comm | None = None
        self._folder: RunFolder | None = None
        self._attempt = 0
        self._turn = Turn()
        self._look_s = 0.0  # when to look for the file
        self._heartbeat: Heartbeat | None = None
        self._committer: Committer | None = None
        self._release: Callable[[], None] = lambda: None
        self._settle: Callable[[], int] = lambda: 0
        self._close = threading.Event()
        self._before: dict[signal.Signals, object] = {}
        self._masks = threading.local()  # what was blocked before a fork
        self._former = -1  # the descriptor of whoever listened before, an event loop say
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        self._thread = threading.Thread(target=self._run, name="interrupt", daemon=True)

    def start(self) -> None:
        """Begin to listen: from the main thread, before anything else."""
        if threading.current_thread() is threading.main_thread():
            self._former = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
            for number in SIGNALS:
                self._before[number] = signal.signal(number, lambda *_: None)
                signal.siginterrupt(number, False)  # other threads' system calls go on
            os.register_at_fork(before=self._hold, after_in_parent=self._go_on, after_in_child=self._leave_child)
        self._thread.start()

    def attach(
        self,
        comm: Comm,
        folder: RunFolder,
        attempt: int,
        heartbeat: Heartbeat,
        release: Callable[[], None],
        settle: Callable[[], int],
    ) -> None:
        """Say what is to be ended; `release` gives the run folder free, `settle` says how a run ends whose result is written."""
        self._comm, self._attempt, self._heartbeat, self._release, self._settle = comm, attempt, heartbeat, release, settle
        self._turn = stop_turn(comm.rank, comm.size)
        self._look_s = time.monotonic() + self._turn.first_s
        self._folder = folder  # last: it is what the thread looks at

    def be_done(self, comm: Comm) -> None:
        """Say that the run was done before, and there is nothing to end: for `close`, of a rank that attaches nothing."""
        self._comm = comm

    def guard(self, committer: Committer) -> None:
        """Say what is to be committed first."""
        self._committer = committer

    def close(self) -> None:
        """Listen no more. A rank of several ends now, with the exit code that it has: what comes still comes too late."""
        self._close.set()
        if self._comm is not None and self._comm.size > 1:
            self._before = dict.fromkeys(self._before, signal.SIG_IGN)
        self._give_back()
        if threading.current_thread() is not self._thread:
            self._thread.join()
            for descriptor in (self._read, self._write):
                os.close(descriptor)

    def _give_back(self) -> None:
        """Let signals do what they did before."""
        if self._before:
            for number, handler in self._before.items():
                signal.signal(number, handler)  # type: ignore[arg-type]
            signal.set_wakeup_fd(self._former)
            self._before = {}

    # A process that this one forks (a worker of a user's own reader, say) shares the pipe, and has no thread that listens:
    # told to end, it would end the run instead and live on. So from the fork on its signals are its own.

    def _hold(self) -> None:
        """Before a fork: no signal reaches the child while it still has the handlers of this process."""
        self._masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS if self._before else ())

    def _go_on(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._masks.before)

    def _leave_child(self) -> None:
        self._close.set()
        self._give_back()
        self._go_on()

    def _signal(self) -> signal.Signals | None:
        """Return the signal to end for, of those that have come; hand the others on."""
        for number in os.read(self._read, 4096):
            if number in SIGNALS:
                return signal.Signals(number)
            if self._former != -1:
                with contextlib.suppress(OSError):
                    os.write(self._former, bytes([number]))
        return None

    def _run(self) -> None:
        look = time.monotonic()  # when to look next: a user's own timer may tick a thousand times a second
        while not self._close.is_set():
            ready = select.select([self._read], [], [], max(look - time.monotonic(), 0.0))[0]
            if ready and (number := self._signal()) is not None:
                self._end(number.name, urgent=True)
                return
            if time.monotonic() < look:
                continue
            look = time.monotonic() + HEAR_S
            why = self._asked()
            if why is not None:
                self._end(why or f"the file {self._folder.stop if self._folder else 'stop'}", urgent=bool(why))
                return

    def _asked(self) -> str | None:
        """Return why this rank is to stop; an empty text where a person asks, None where nobody does."""
        if self._folder is None or self._comm is None:
            return None
        comm, now = self._comm, time.monotonic()
        if comm.rank and self._heartbeat is not None and (why := self._heartbeat.asked) is not None:
            return why
        if now < self._look_s:
            return None
        self._look_s = now + self._turn.every_s
        return self._folder.asked_to_stop(self._attempt)

    def _end(self, why: str, *, urgent: bool) -> None:
        """Commit, tell, wait for the others, leave."""
        begun = time.monotonic()
        comm, folder, heartbeat = self._comm, self._folder, self._heartbeat
        if folder is None or comm is None or heartbeat is None:
            _print(Event.RUN_INTERRUPTED, f"interrupted by {why}, before anything was evaluated")
            tell_launcher(Interrupted.exit_code)
            self._leave(Interrupted.exit_code)
            return
        if comm.size > 1 and not self._another_was_killed(why, comm, folder, heartbeat):
            folder.ask_to_stop(self._attempt, why if urgent else "")
            heartbeat.ask_to_stop(why if urgent else "")
        if heartbeat.beat.phase in ("writing", "done"):
            self._close.wait(RESULT_S)
        if self._is_over(folder):
            return
        self._commit(comm, urgent=urgent)
        if folder.failure_json.exists():
            # The launcher ends the ranks that are well when one has failed: its word stands.
            place = f"rank {comm.rank} on {comm.host}"
            _print(Event.RANK_LEFT, f"{place}: another rank failed, this one ends; what it had finished is kept")
            comm.abort(OtherRankFailed.exit_code)
        if comm.rank == 0 or comm.size == 1:
            _print(Event.RUN_INTERRUPTED, f"interrupted by {why}; what was finished is kept, --resume goes on from there")
        if self._is_over(folder):
            return
        tell_launcher(Interrupted.exit_code)
        with contextlib.suppress(HarnessError):
            folder.set_status("interrupted", Interrupted.exit_code, attempt=self._attempt)
        heartbeat.move("interrupted")
        heartbeat.stop()
        heartbeat.wait_for_others(begun + LEAVE_S if urgent else None)
        if folder.metrics_json.exists():  # by now: the run is done, and nothing was interrupted
            self._settle()
            return
        self._release()
        comm.abort(Interrupted.exit_code)

    def _another_was_killed(self, why: str, comm: Comm, folder: RunFolder, heartbeat: Heartbeat) -> bool:
        """See whether SIGTERM is the launcher's, which ends the ranks that are left; say in the run folder what has failed.

        Nobody else may be left who could. A rank that ended because it was asked to stop has said so in the run folder.
        """
        if why != signal.SIGTERM.name or self._is_over(folder):
            return False
        status = read_json(folder.status_json)
        asked = isinstance(status, dict) and status.get("state") == "interrupted"
        gone = [] if asked else heartbeat.neighbours.gone()
        if gone:
            message = (
                f"rank {gone[0]} on {comm.host} is gone: it was killed, or it crashed; --resume goes on from what was finished"
            )
            if folder.record_failure(message, rank=gone[0], host=comm.host):
                with contextlib.suppress(HarnessError):
                    folder.set_status("failed", HarnessError.exit_code, attempt=self._attempt, rank=gone[0])
        return bool(gone)

    def _is_over(self, folder: RunFolder) -> bool:
        """Say whether the run has come to its end meanwhile."""
        return self._close.is_set() or folder.metrics_json.exists()

    def _commit(self, comm: Comm, *, urgent: bool) -> None:
        """Commit what this rank has finished; say so where that fails."""
        if self._committer is not None:
            try:
                self._committer.keep(CHUNK_S if urgent else None)
            except HarnessError as exc:
                LOG.say(Event.RUN_FAILED, f"rank {comm.rank} on {comm.host}: {exc}")


def _print(event: Event, message: str) -> None:
    LOG.say(event, message, text=f"harness: {message}")
