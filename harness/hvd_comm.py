"""The Comm over Horovod, on MPI or Gloo. The only file that imports horovod or mpi4py."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from harness.comm import Comm, Counter, joined
from harness.errors import CommError

__all__ = ["HorovodComm"]

ROUND_BYTES = 16 << 20  # of what is sent at once
PROBE_S = 10.0  # for a window that is made at all


class HorovodComm(Comm):
    """All ranks that the launcher started.

    Raises: CommError: Horovod cannot be loaded or initialised.
    """

    def __init__(self) -> None:
        # A rank that finishes early waits for the others; Horovod must not take that for a stall.
        os.environ.setdefault("HOROVOD_STALL_CHECK_DISABLE", "1")
        # What goes wrong is raised; Horovod's own thread would say it once more, of every rank that lost another.
        os.environ.setdefault("HOROVOD_LOG_LEVEL", "fatal")
        # Open MPI spins while it waits, and Horovod's thread waits most of the time. Where ranks outnumber idle cores, the
        # one that others wait for then stands in line behind those that spin, a scheduler's time slice at each turn.
        os.environ.setdefault("OMPI_MCA_mpi_yield_when_idle", "1")
        try:
            import horovod.tensorflow as hvd
        except ImportError as exc:
            raise CommError(
                f"this process is one of several ranks, but Horovod cannot be loaded: {exc}; "
                "'harness doctor' says what is missing, launch/install builds it"
            ) from exc
        try:
            if not hvd.is_initialized():  # by the script that we are called from
                hvd.init()
        except Exception as exc:
            raise CommError(f"Horovod cannot be initialised: {exc}") from exc
        self._hvd = hvd
        self.rank, self.size = hvd.rank(), hvd.size()
        self.local_rank, self.local_size = hvd.local_rank(), hvd.local_size()
        self.name = "mpi" if hvd.mpi_enabled() else "gloo"
        if os.environ.get("HOROVOD_ELASTIC") == "1":  # what the launcher said of places when this process began may be over
            os.environ.update(HOROVOD_RANK=str(self.rank), HOROVOD_SIZE=str(self.size))
        # The first sum of a process costs ten times the later ones: kernels, connections, buffers.
        self.sum(np.zeros(1, np.int64))

    def sum(self, vector: np.ndarray) -> np.ndarray:
        """Add over all ranks in one allreduce."""
        try:
            summed = self._hvd.allreduce(np.ascontiguousarray(vector, np.int64), op=self._hvd.Sum, name="sum")
        except Exception as exc:
            raise CommError(f"the sum over ranks failed; another rank is probably gone: {_short(exc)}") from exc
        return np.asarray(memoryview(summed))  # numpy() would copy: the sum may be large

    def broadcast(self, data: bytes) -> bytes:
        """Send rank 0's bytes to all."""
        return self.gather(data if self.rank == 0 else b"")[0]

    def gather(self, data: bytes) -> list[bytes]:
        """Gather bytes of any length: the lengths first, then all bytes in one go."""
        hvd = self._hvd
        try:
            sizes = hvd.allgather(np.array([len(data)], np.int64), name="gather.sizes").numpy()
            joined = hvd.allgather(np.frombuffer(data, np.uint8), name="gather.bytes").numpy() if sizes.any() else b""
        except Exception as exc:
            raise CommError(f"gathering from all ranks failed; another rank is probably gone: {_short(exc)}") from exc
        ends = np.cumsum(sizes)
        return [bytes(joined[end - size : end]) for end, size in zip(ends.tolist(), sizes.tolist(), strict=True)]

    def alltoall(self, parts: list[np.ndarray]) -> list[np.ndarray]:
        """Send the parts in as many alltoalls with uneven splits as the largest part needs; all ranks know how many.

        TensorFlow copies what it sends, and keeps the room of its largest tensors for later ones: they are kept small.
        """
        dtype, inner = parts[0].dtype, parts[0].shape[1:]
        row_bytes = max(1, dtype.itemsize * int(np.prod(inner, dtype=np.int64)))
        most = max(1, ROUND_BYTES // (row_bytes * self.size))
        kind = f"i{dtype.itemsize}" if dtype.kind == "u" else dtype  # Horovod takes few unsigned types
        try:
            lengths = self._hvd.allgather(np.array([[len(part) for part in parts]], np.int64), name="alltoall.sizes").numpy()
            here = lengths[:, self.rank]
            found = np.split(np.empty((int(here.sum()), *inner), dtype), np.cumsum(here)[:-1])
            for at in range(0, int(lengths.max()), most):
                pieces = [part[at : at + most] for part in parts]
                splits = np.array([len(piece) for piece in pieces], np.int32)
                received, sizes = self._hvd.alltoall(joined(pieces).view(kind), splits=splits, name="alltoall")
                ends = np.cumsum(sizes.numpy())[:-1]
                for into, piece in zip(found, np.split(received.numpy().view(dtype), ends), strict=True):
                    into[at : at + most] = piece
        except Exception as exc:
            raise CommError(f"exchanging rows between ranks failed; another rank is probably gone: {_short(exc)}") from exc
        return found

    def counter(self) -> Counter | None:
        """Make an MPI window; None under Gloo, and where any rank cannot add to it.

        Open MPI has no one-sided operations between nodes over TCP once threads are allowed, as Horovod wants them.
        """
        if self.name != "mpi":
            return None
        # A rank draws from another thread than the one in which Horovod calls MPI.
        made = _in_time(_Window, PROBE_S) if self._hvd.mpi_threads_supported() else None
        probed = _in_time(made.probe, PROBE_S) if made else None
        said = self.gather(b"" if probed is None else str(probed).encode())
        return made if sorted(said) == sorted(str(rank).encode() for rank in range(self.size)) else None

    def on_new_hosts(self, call: Callable[[], None]) -> None:
        """Listen to the elastic launcher, on every rank: which one it tells may change."""
        from horovod.common.elastic import notification_manager
        from horovod.runner.elastic.worker import HostUpdateResult

        class Listener:
            def on_hosts_updated(self, _timestamp: int, result: int) -> None:
                if result & HostUpdateResult.added:
                    call()

        for other in list(notification_manager._listeners):  # of earlier rounds; it has no other way to name them
            notification_manager.remove_listener(other)
        notification_manager.init()
        notification_manager.register_listener(Listener())

    def abort(self, code: int) -> None:
        """End the world: MPI ends all ranks; under Gloo the launcher does, when it sees this one go."""
        sys.stdout.flush()
        sys.stderr.flush()
        if self.name == "mpi":
            _mpi().COMM_WORLD.Abort(code)
        os._exit(code)

    def close(self) -> None:
        """Shut Horovod down."""
        self._hvd.shutdown()


class _Window(Counter):
    """A counter in a window of rank 0's memory that the others add to without its help."""

    name = "mpi window"

    def __init__(self) -> None:
        self._mpi = _mpi()
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
        given, found = np.array([count], np.int64), np.zeros(1, np.int64)
        try:
            self._window.Lock(0, self._mpi.LOCK_SHARED)
            self._window.Fetch_and_op(given, found, 0, place, self._mpi.SUM)
            self._window.Unlock(0)
        except self._mpi.Exception as exc:
            raise CommError(f"rank 0, which hands out the chunks, does not answer; it is probably gone: {_short(exc)}") from exc
        return int(found[0])

    def close(self) -> None:
        self._window.Free()


def _mpi() -> Any:
    """Load mpi4py beside Horovod, which has initialised MPI and will finalise it."""
    import mpi4py

    mpi4py.rc.initialize = mpi4py.rc.finalize = False
    from mpi4py import MPI

    return MPI


def _in_time(work: Callable[[], Any], limit_s: float) -> Any:
    """Return what some work gives; None where it fails, or takes longer."""
    found: list[Any] = []

    def call() -> None:
        with contextlib.suppress(Exception):  # whatever it is, there is another way
            found.append(work())

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(limit_s)
    return found[0] if found else None


def _short(exc: Exception) -> str:
    return " ".join(str(exc).split())[:200]
