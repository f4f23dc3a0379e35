"""MPI as mpi4py gives it: loaded late, begun and ended where that is ours, and the counter in a window of memory."""

from __future__ import annotations

import atexit
import os
from typing import Any

import numpy as np

from harness.errors import CommError
from harness.ranks.comm import Counter, summary_of

__all__ = ["MpiWindow", "begin_mpi", "end_mpi", "load_mpi"]

LEFT_ALONE = ("HOROVOD_MPI_THREADS_DISABLE", "HOROVOD_TIMELINE")  # the first is about MPI; the second would be begun anew
MPI_VARIABLES = ("OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK")  # of processes that belong to a world of MPI


def begin_mpi() -> Any:
    """Initialise MPI before Horovod does; None where that is not ours, or Horovod was told to do it in its own way."""
    launched = any(name in os.environ for name in MPI_VARIABLES)
    forbidden = os.environ.get("HOROVOD_CONTROLLER", "").lower() == "gloo" or any(name in os.environ for name in LEFT_ALONE)
    if not launched or forbidden:
        return None
    try:
        mpi = load_mpi()
    except ImportError:
        return None
    if mpi.Is_initialized():  # by the script that we are called from
        return None
    mpi.Init_thread(mpi.THREAD_MULTIPLE)
    atexit.register(end_mpi)  # after Horovod's own shutdown, which is registered later
    return mpi


def end_mpi() -> None:
    """Finalise MPI, unless that has been done."""
    mpi = load_mpi()
    if not mpi.Is_finalized():
        mpi.Finalize()


def load_mpi() -> Any:
    """Load mpi4py, which initialises and finalises nothing by itself."""
    import mpi4py

    mpi4py.rc.initialize = mpi4py.rc.finalize = False
    from mpi4py import MPI

    return MPI


class MpiWindow(Counter):
    """A counter in a window of rank 0's memory that the others add to without its help.

    Args:
      alone: whether all ranks share a machine, and with it the memory. From another one it may take rank 0's MPI to add.
    """

    name = "mpi window"

    def __init__(self, *, alone: bool) -> None:
        self.needs_progress = not alone
        self._mpi = load_mpi()
        size = 8
        comm = self._mpi.COMM_WORLD
        self._window = self._mpi.Win.Allocate(2 * size if comm.rank == 0 else 0, size, comm=comm)
        if comm.rank == 0:
            self._window.Lock(0, self._mpi.LOCK_EXCLUSIVE)
            np.frombuffer(self._window.tomemory(), np.int64)[:] = 0
            self._window.Unlock(0)
        comm.Barrier()

    def probe(self) -> int:
        """Take one of a second number."""
        return self._add(1, 1)

    def take(self, count: int) -> int:
        """Add to the number in one operation."""
        return self._add(count, 0)

    def _add(self, count: int, place: int) -> int:
        amount, before = np.array([count], np.int64), np.zeros(1, np.int64)
        try:
            self._window.Lock(0, self._mpi.LOCK_SHARED)
            self._window.Fetch_and_op(amount, before, 0, place, self._mpi.SUM)
            self._window.Unlock(0)
        except self._mpi.Exception as exc:
            raise CommError(
                f"rank 0, which hands out the chunks, does not answer; it is probably gone: {summary_of(exc)}"
            ) from exc
        return int(before[0])

    def close(self) -> None:
        """Free the window."""
        self._window.Free()
