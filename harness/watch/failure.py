"""What a failing rank says, to whom, and how the others are ended: at once, never at the end of the loop."""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path

from harness.errors import CommError, HarnessError, OtherRankFailed, TakenOver
from harness.folder.run_folder import RunFolder, write_first_status, write_status
from harness.names.variables import STATUS
from harness.ranks import open_files
from harness.ranks.comm import Comm

__all__ = ["end_all", "report_failure", "say", "tell_launcher"]

LAST_WORD_S = 5.0


def report_failure(comm: Comm, folder: RunFolder, message: str, exit_code: int = 1, *, said: bool = False) -> None:
    """Say what failed: on stderr (unless it was said there), in the run folder, and to the launcher."""
    if not said:
        say(comm, message)
    # Before the others see the failure and leave: the launcher may end this rank then, and its code is the one that counts.
    tell_launcher(exit_code)
    if folder.record_failure(message, rank=comm.rank, host=comm.host):
        with contextlib.suppress(HarnessError):
            folder.set_status("failed", exit_code, rank=comm.rank)


def say(comm: Comm, message: str) -> None:
    """Write an error to stderr; which rank it comes from, where there are several."""
    rank = f"rank {comm.rank} on {comm.host}: " if comm.size > 1 else ""
    print(f"harness: error: {rank}{message}", file=sys.stderr, flush=True)


def tell_launcher(exit_code: int) -> None:
    """Leave the exit code where `harness launch` looks for it: launchers of ranks lose it.

    The first rank that fails decides: one that ends because of it, or is asked to stop meanwhile, changes nothing. Only a
    result that is written goes before all of them.
    """
    open_files.release()  # the rank may fail because it has none left
    if path := STATUS.get():
        with contextlib.suppress(HarnessError):
            (write_status if exit_code == 0 else write_first_status)(Path(path), "ended", exit_code)


def _another_failed(folder: RunFolder) -> bool:
    """Wait a little for the word of the rank that is gone: or for the launcher's signal, where it could not say any."""
    deadline = time.monotonic() + LAST_WORD_S
    while not folder.failure_json.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    return folder.failure_json.exists()


def end_all(comm: Comm, folder: RunFolder, exc: HarnessError) -> None:
    """Say what failed and end every rank; returns only where this rank is alone."""
    if isinstance(exc, CommError) and comm.size > 1 and _another_failed(folder):
        print(f"harness: rank {comm.rank} on {comm.host}: another rank failed, this one ends", file=sys.stderr, flush=True)
        comm.abort(OtherRankFailed.exit_code)  # the other has said why
    if isinstance(exc, TakenOver):
        say(comm, str(exc))  # and leave no word of it in a folder that is another's by now
    else:
        report_failure(comm, folder, str(exc), exc.exit_code, said=exc.reported)
    exc.reported = True
    if comm.size > 1:
        comm.abort(exc.exit_code)
