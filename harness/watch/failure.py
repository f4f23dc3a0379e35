"""What a failing rank says, to whom, and how the others are ended: at once, never at the end of the loop."""

from __future__ import annotations

import contextlib
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from harness.errors import CommError, HarnessError, OtherRankFailed, TakenOver
from harness.folder.file_rate import STOPS
from harness.folder.run_folder import RunFolder, write_first_status, write_status
from harness.names.events import Event
from harness.names.log import LOG
from harness.names.variables import STATUS
from harness.names.verbosity import is_verbose
from harness.ranks import open_files
from harness.ranks.comm import Comm

__all__ = ["Ended", "Told", "end_all", "report_failure", "say", "tell_launcher", "trace"]

LAST_WORD_S = 5.0
LOOK_S = 0.1


@dataclass(frozen=True)
class Ended:
    """How a run ends on the ranks that know of a failure.

    Attributes:
      code: exit code of the process.
      message: what failed.
      rank: where it failed.
    """

    code: int
    message: str
    rank: int

    @classmethod
    def of(cls, exc: HarnessError, rank: int) -> Ended:
        """Decide how a failure of a rank ends the run."""
        return cls(exc.exit_code, str(exc), rank)


class Told(HarnessError):
    """A failure that has been said already, on the rank that it is of; its argument is an `Ended`, its cause the failure.

    On the other ranks, where they know of it, the cause is `OtherRankFailed`.
    """

    @property
    def ended(self) -> Ended:
        """How that ends the run."""
        ended: Ended = self.args[0]
        return ended

    def __str__(self) -> str:
        return self.ended.message


def report_failure(comm: Comm, folder: RunFolder, ended: Ended, *, told: bool = False) -> None:
    """Say what failed: on stderr (unless that is done), in the run folder, and to the launcher."""
    if not told:
        say(comm, ended.message)
    # Before the others see the failure and leave: the launcher may end this rank then, and its code is the one that counts.
    tell_launcher(ended.code)
    if folder.record_failure(ended.message, rank=comm.rank, host=comm.host):
        with contextlib.suppress(HarnessError):
            folder.set_status("failed", ended.code, rank=comm.rank)


def say(comm: Comm, message: str, event: Event = Event.RUN_FAILED) -> None:
    """Log an error; which rank it comes from, where there are several."""
    rank = f"rank {comm.rank} on {comm.host}: " if comm.size > 1 else ""
    LOG.say(event, f"{rank}{message}", text=f"harness: error: {rank}{message}")


def trace(exc: BaseException) -> None:
    """Write where an error comes from, where libraries may speak."""
    if is_verbose():
        traceback.print_exception(exc)


def tell_launcher(exit_code: int, *, done: bool = False) -> None:
    """Leave the exit code where `harness launch` looks for it: launchers of ranks lose it.

    The first rank that fails decides: one that ends because of it, or is asked to stop meanwhile, changes nothing. Only a
    result that is written goes before all of them.

    Args:
      exit_code: of the process.
      done: whether a result is written, whatever its gate says of it: nothing is to be started again.
    """
    open_files.release()  # the rank may fail because it has none left
    if path := STATUS.get():
        with contextlib.suppress(HarnessError):
            write = write_status if done or exit_code == 0 else write_first_status
            write(Path(path), "done" if done else "ended", exit_code)


def _another_failed(comm: Comm, folder: RunFolder) -> bool:
    """Wait a little for the word of the rank that is gone: or for the launcher's signal, where it could not say any."""
    deadline = time.monotonic() + LAST_WORD_S
    look_s = STOPS.turn(comm.rank, comm.size, LOOK_S).every_s
    while not folder.failure_json.exists() and (left_s := deadline - time.monotonic()) > 0:
        time.sleep(min(look_s, left_s))
    return folder.failure_json.exists()


def end_all(comm: Comm, folder: RunFolder, exc: HarnessError) -> Ended:
    """Say what failed, unless that is done, and end every rank; returns where this rank is alone, or ends because of another."""
    ended = exc.ended if isinstance(exc, Told) else Ended.of(exc, comm.rank)
    if ended.rank != comm.rank:
        return ended  # that rank ends all
    if isinstance(exc, CommError) and comm.size > 1 and _another_failed(comm, folder):
        message = f"rank {comm.rank} on {comm.host}: another rank failed, this one ends"
        LOG.say(Event.RANK_LEFT, message, text=f"harness: {message}")
        comm.abort(OtherRankFailed.exit_code)  # the other has said why
    if isinstance(exc, TakenOver):
        say(comm, ended.message)  # and leave no word of it in a folder that is another's by now
    else:
        if not isinstance(exc, Told):
            trace(exc)
        report_failure(comm, folder, ended, told=isinstance(exc, Told))
    if comm.size > 1:
        comm.abort(ended.code)
    return ended
