"""The Comm over Horovod, on MPI or Gloo. Only this file imports horovod, and only `mpi.py` mpi4py."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from harness.errors import CommError
from harness.names.verbosity import is_verbose
from harness.ranks.comm import Comm, Counter, joined, summary_of
from harness.ranks.mpi import MpiWindow, begin_mpi, end_mpi, load_mpi
from harness.ranks.process_exit import exit_process, remove_generated_files

__all__ = ["HorovodComm"]

ROUND_BYTES = 16 << 20  # of what is sent at once
SUM_BYTES = 1 << 28  # of what is added up at once: it grows with the state, and a sum in one go is faster
PROBE_S = 10.0  # for a window that is made at all
STDERR = 2  # its descriptor
WAKE_S = 0.001  # between two looks whether all ranks are here


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
        # Between nodes Open MPI would try a kind of window that cannot be with threads, and say so in a paragraph: the counter
        # is in another place then, as it is without it.
        os.environ.setdefault("OMPI_MCA_osc", "^pt2pt")
        try:
            import horovod.tensorflow as hvd
        except ImportError as exc:
            raise CommError(
                f"this process is one of several ranks, but Horovod cannot be loaded: {exc}; "
                "'harness doctor' says what is missing, launch/install builds it"
            ) from exc
        self._hvd = hvd
        self._mpi = None  # where we initialised it: then Horovod can end and begin again
        try:
            if not hvd.is_initialized():  # by the script that we are called from
                self._mpi = begin_mpi() if hvd.mpi_built() else None
                hvd.init()
        except Exception as exc:
            raise CommError(f"Horovod cannot be initialised: {exc}") from exc
        self.rank, self.size = hvd.rank(), hvd.size()
        self.local_rank, self.local_size = hvd.local_rank(), hvd.local_size()
        self.name = "mpi" if hvd.mpi_enabled() else "gloo"
        if os.environ.get("HOROVOD_ELASTIC") == "1":  # what the launcher said of places when this process began may be over
            os.environ.update(HOROVOD_RANK=str(self.rank), HOROVOD_SIZE=str(self.size))
        self._warm_up()

    def _warm_up(self) -> None:
        """The first sum of a process costs ten times the later ones: kernels, connections, buffers."""
        self.sum(np.zeros(1, np.int64))

    def rest(self) -> None:
        """Shut Horovod down, where MPI stays: its thread asks all ranks every millisecond whether there is something to do.

        Where ranks have no core to spare that takes up to a tenth of what they compute with.
        """
        if self._mpi is not None:
            self.barrier()
            self._hvd.shutdown()

    def wake(self) -> None:
        """Initialise Horovod again, which takes two milliseconds when all ranks are here.

        Raises: CommError: that failed.
        """
        if self._mpi is not None and not self._hvd.is_initialized():
            try:
                # Horovod would spin until the last rank is here, beside those that still compute.
                here = self._mpi.COMM_WORLD.Ibarrier()
                while not here.Test():
                    time.sleep(WAKE_S)
                self._hvd.init()
            except Exception as exc:
                raise CommError(f"Horovod cannot be initialised again; another rank is probably gone: {summary_of(exc)}") from exc
            self._warm_up()

    def sum(self, vector: np.ndarray) -> np.ndarray:
        """Add over all ranks in one allreduce; in several where a message would be too large."""
        vector = np.ascontiguousarray(vector, np.int64)
        most = SUM_BYTES // vector.itemsize
        try:
            if len(vector) <= most:
                summed = self._hvd.allreduce(vector, op=self._hvd.Sum, name="sum")
                return np.asarray(memoryview(summed))  # numpy() would copy: the sum may be large
            total = np.empty_like(vector)
            for at in range(0, len(vector), most):
                total[at : at + most] = self._hvd.allreduce(vector[at : at + most], op=self._hvd.Sum, name="sum").numpy()
        except Exception as exc:
            raise CommError(f"the sum over ranks failed; another rank is probably gone: {summary_of(exc)}") from exc
        return total

    def broadcast(self, data: bytes) -> bytes:
        """Send rank 0's bytes to all, a piece at a time: a message layer counts bytes in 32 bits."""
        hvd, own = self._hvd, np.frombuffer(data, np.uint8)
        try:
            size = int(hvd.broadcast(np.array([len(own)], np.int64), 0, name="broadcast.size").numpy()[0])
            message = own if self.rank == 0 else np.empty(size, np.uint8)
            for at in range(0, size, ROUND_BYTES):
                piece = message[at : at + ROUND_BYTES]
                received = hvd.broadcast(piece, 0, name="broadcast.bytes")
                if self.rank:
                    piece[:] = received.numpy()
        except Exception as exc:
            raise CommError(f"hearing from rank 0 failed; another rank is probably gone: {summary_of(exc)}") from exc
        return message.tobytes()

    def gather(self, data: bytes) -> list[bytes]:
        """Gather bytes of any length: the lengths first, then all bytes in as many rounds as the longest needs."""
        hvd, own = self._hvd, np.frombuffer(data, np.uint8)
        most = max(1, ROUND_BYTES // self.size)
        try:
            sizes = hvd.allgather(np.array([len(own)], np.int64), name="gather.sizes").numpy()
            parts: list[list[np.ndarray]] = [[] for _ in range(self.size)]
            for at in range(0, int(sizes.max()), most):
                received = hvd.allgather(own[at : at + most], name="gather.bytes").numpy()
                ends = np.cumsum(np.clip(sizes - at, 0, most))
                for part, piece in zip(parts, np.split(received, ends[:-1]), strict=True):
                    part.append(piece)
        except Exception as exc:
            raise CommError(f"gathering from all ranks failed; another rank is probably gone: {summary_of(exc)}") from exc
        return [b"".join(piece.tobytes() for piece in part) for part in parts]

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
            arrived = np.split(np.empty((int(here.sum()), *inner), dtype), np.cumsum(here)[:-1])
            for at in range(0, int(lengths.max()), most):
                pieces = [part[at : at + most] for part in parts]
                splits = np.array([len(piece) for piece in pieces], np.int32)
                received, sizes = self._hvd.alltoall(joined(pieces).view(kind), splits=splits, name="alltoall")
                ends = np.cumsum(sizes.numpy())[:-1]
                for into, piece in zip(arrived, np.split(received.numpy().view(dtype), ends), strict=True):
                    into[at : at + most] = piece
        except Exception as exc:
            raise CommError(f"exchanging rows between ranks failed; another rank is probably gone: {summary_of(exc)}") from exc
        return arrived

    def counter(self) -> Counter | None:
        """Make an MPI window; None under Gloo, and where any rank cannot add to it.

        Open MPI has no one-sided operations between nodes over TCP once threads are allowed, as Horovod wants them.
        """
        if self.name != "mpi":
            return None
        # A rank draws from another thread than the one in which Horovod calls MPI.
        threads = self._hvd.mpi_threads_supported()
        window = _in_time(lambda: MpiWindow(alone=self.local_size == self.size), PROBE_S) if threads else None
        place = _in_time(window.probe, PROBE_S) if window else None
        places = self.gather(b"" if place is None else str(place).encode())
        return window if sorted(places) == sorted(str(rank).encode() for rank in range(self.size)) else None

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
        if self.name == "mpi":
            sys.stdout.flush()
            sys.stderr.flush()
            remove_generated_files()
            if not is_verbose():  # what failed has been said; MPI would add a paragraph on what an abort is
                os.dup2(os.open(os.devnull, os.O_WRONLY), STDERR)
            load_mpi().COMM_WORLD.Abort(code)
        exit_process(code)

    def close(self) -> None:
        """Shut Horovod down, and MPI where Horovod has not begun it."""
        self._hvd.shutdown()
        if self._mpi is not None:
            end_mpi()


def _in_time(work: Callable[[], Any], limit_s: float) -> Any:
    """Return what some work gives; None where it fails, or takes longer."""
    results: list[Any] = []

    def call() -> None:
        with contextlib.suppress(Exception):  # whatever it is, there is another way
            results.append(work())

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(limit_s)
    return results[0] if results else None
