"""What a failing rank says, to whom, and how the others are ended: at once, never at the end of the loop."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.errors import CommError, DataError, HarnessError, ModelError, OtherRankFailed, TakenOver
from harness.folder.run_folder import RunFolder, write_first_status, write_status
from harness.job.job import Job
from harness.plan.plan import Chunk, Plan
from harness.ranks import open_files
from harness.ranks.comm import Comm

__all__ = ["end_all", "report_failure", "say", "tell_launcher", "translate"]

LAST_WORD_S = 5.0
READ_AHEAD = 64  # batches that may be in the pipeline beyond the one under way


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
    path = os.environ.get("HARNESS_STATUS")
    if path:
        with contextlib.suppress(HarnessError):
            (write_status if exit_code == 0 else write_first_status)(Path(path), "ended", exit_code)


def translate(exc: Exception, feed: Any, plan: Plan, ahead: Sequence[Chunk] | None, job: Job) -> HarnessError:
    """Turn what TensorFlow raised into an error of the harness that names the place.

    Args:
      exc: what was raised.
      feed: the pipeline.
      plan: all chunks.
      ahead: this rank's chunks from the one on that was asked for; None where the loop has not begun.
      job: for what to do.
    """
    import tensorflow as tf

    if isinstance(exc, HarnessError):
        return exc
    if isinstance(feed.error, HarnessError):
        return feed.error
    at = feed.reading if feed.error is not None else ahead[0] if ahead else None
    where = "building the step" if ahead is None else f"chunk {at.index} ({plan.describe(at)})" if at else "the first chunk"
    if isinstance(exc, tf.errors.ResourceExhaustedError):
        return HarnessError(
            f"{where}: the device is out of memory with batch_size {job.batch_size}; "
            f"try --set batch_size={max(job.batch_size // 2, 1)}"
        )
    if feed.error is not None:
        return DataError(f"{where}: reading failed: {type(feed.error).__name__}: {feed.error}")
    if isinstance(exc, tf.errors.OpError):
        from harness.step.terms import host_failures

        if host_failures and isinstance(host_failures[-1], HarnessError):
            return HarnessError(f"{where}: {host_failures[-1]}")
        # One call evaluates several chunks, and the pipeline reads ahead: what does not parse may lie further on.
        from harness.step.step import CALL_CHUNKS

        found, left = None, READ_AHEAD
        for number, chunk in enumerate([plan[0]] if ahead is None else ahead):
            left -= chunk.batches(job.batch_size) if number > CALL_CHUNKS else 0
            if (found := feed.explain(chunk.start, chunk.stop)) or left < 0:
                break
        return DataError(found) if found else HarnessError(f"{where}: {' '.join(exc.message.split())[:600]}")
    if ahead is None:
        return ModelError(f"{where}: {type(exc).__name__}: {' '.join(str(exc).split())[:600]}")
    return HarnessError(f"{where}: {type(exc).__name__}: {exc}")


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
