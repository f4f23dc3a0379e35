"""How ranks talk: the Comm contract, the Comm of a single process, and what the environment says of the world.

Nothing here is called while examples are evaluated, but a counter's `take`: a run makes a fixed number of calls before and
after its loop.
"""

from __future__ import annotations

import os
import re
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np

from harness.ranks.process_exit import exit_process

__all__ = ["Comm", "Counter", "SingleComm", "World", "joined", "summary_of"]

# What launchers tell a process of its place: the first that is set counts.
RANK_VARIABLES = ("HOROVOD_RANK", "OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK")
SIZE_VARIABLES = ("HOROVOD_SIZE", "OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS", "PMI_SIZE")
LOCAL_RANK_VARIABLES = ("HOROVOD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "SLURM_LOCALID", "MPI_LOCALRANKID")
LOCAL_SIZE_VARIABLES = ("HOROVOD_LOCAL_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS")


@dataclass(frozen=True)
class World:
    """What the launcher's environment says, before anything is initialised."""

    rank: int
    size: int
    local_rank: int
    local_size: int

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> World:
        """Read the launcher's variables; a process that no launcher started is alone.

        >>> World.from_environment({"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"})
        World(rank=1, size=2, local_rank=0, local_size=2)
        >>> World.from_environment({})
        World(rank=0, size=1, local_rank=0, local_size=1)
        """

        def first(names: tuple[str, ...]) -> int | None:
            return next((int(environ[name]) for name in names if environ.get(name, "").isdigit()), None)

        rank, size = first(RANK_VARIABLES), first(SIZE_VARIABLES)
        if rank is None or size is None:
            return cls(0, 1, 0, 1)
        local_size = first(LOCAL_SIZE_VARIABLES) or _tasks_here(environ) or size
        return cls(rank, size, first(LOCAL_RANK_VARIABLES) or 0, local_size)


def _tasks_here(environ: Mapping[str, str]) -> int | None:
    """Return how many tasks srun started on this node: it says it of all nodes, like 2(x3),1.

    >>> _tasks_here({"SLURM_STEP_TASKS_PER_NODE": "2(x3),1", "SLURM_NODEID": "3"})
    1
    """
    tasks: list[int] = []
    for count, times in re.findall(r"(\d+)(?:\(x(\d+)\))?", environ.get("SLURM_STEP_TASKS_PER_NODE", "")):
        tasks += [int(count)] * int(times or 1)
    node = environ.get("SLURM_NODEID", "")
    return tasks[int(node)] if node.isdigit() and int(node) < len(tasks) else None


class Counter(ABC):
    """A number that all ranks add to, while the rank that holds it does something else.

    Attributes:
      name: what it is made of.
      needs_progress: whether the message layer must be kept going on the rank that holds it; see `Comm.rest`.
    """

    name: str
    needs_progress: bool = False

    @property
    def gone(self) -> Collection[int]:
        """Return the ranks that are known to be gone; on the rank that holds the number."""
        return ()

    @abstractmethod
    def take(self, count: int) -> int:
        """Add to the number; return what it was before. Any thread of any rank may call this.

        Raises: CommError: the rank that holds it is gone.
        """

    @abstractmethod
    def close(self) -> None:
        """Give it back. All ranks call this, when none of them takes any more."""


class Comm(ABC):
    """What the harness needs of a message layer. Every method but `abort` is a collective: all ranks call it."""

    rank: int
    size: int
    local_rank: int
    local_size: int
    name: str

    @property
    def host(self) -> str:
        """Name of the machine."""
        return socket.gethostname()

    @abstractmethod
    def sum(self, vector: np.ndarray) -> np.ndarray:
        """Add int64 vectors of one length over all ranks, exactly (mod 2^64)."""

    @abstractmethod
    def broadcast(self, data: bytes) -> bytes:
        """Return what rank 0 passed."""

    @abstractmethod
    def gather(self, data: bytes) -> list[bytes]:
        """Return what every rank passed, by rank, on every rank."""

    @abstractmethod
    def alltoall(self, parts: list[np.ndarray]) -> list[np.ndarray]:
        """Send `parts[r]` to rank r; return what every rank sent here, by rank.

        Args:
          parts: one array a rank, [n, ...], of lengths that may differ; dtype (a number of any width) and trailing shape
            are the same on all ranks.
        """

    def barrier(self) -> None:
        """Wait until every rank is here."""
        self.gather(b"")

    def counter(self) -> Counter | None:
        """Return a counter of the message layer's own that begins at 0, the same on all ranks; None where it has none."""
        return None

    def rest(self) -> None:
        """Take no processor time until `wake`: between the two nothing is called but `abort` and a counter's `take`."""
        return None

    def wake(self) -> None:
        """Be ready again, when every rank is here."""
        return None

    def on_new_hosts(self, call: Callable[[], None]) -> None:
        """Have `call` called, from another thread, when an elastic launcher has new hosts. No collective; only rank 0 is told."""
        return None

    @abstractmethod
    def abort(self, code: int) -> None:
        """End all ranks at once, this one with `code`. Does not return."""

    @abstractmethod
    def close(self) -> None:
        """Leave the world; nothing can be called afterwards."""


class SingleComm(Comm):
    """A world of one process."""

    rank = local_rank = 0
    size = local_size = 1
    name = "single"

    def sum(self, vector: np.ndarray) -> np.ndarray:
        """Return a copy."""
        return np.array(vector, np.int64)

    def broadcast(self, data: bytes) -> bytes:
        """Return the data."""
        return data

    def gather(self, data: bytes) -> list[bytes]:
        """Return the data."""
        return [data]

    def alltoall(self, parts: list[np.ndarray]) -> list[np.ndarray]:
        """Return the parts."""
        return list(parts)

    def abort(self, code: int) -> None:
        """End the process, without the clean-up that a stuck thread could block."""
        exit_process(code)

    def close(self) -> None:
        """Do nothing."""


def joined(parts: list[np.ndarray]) -> np.ndarray:
    """Return the parts as one array: without a copy where they are the pieces of one, as `np.split` makes them.

    >>> whole = np.arange(4)
    >>> joined(np.split(whole, [1, 1])) is whole
    True
    """
    first, base = parts[0], parts[0].base
    # Its shape too: where the array that was cut is a view itself, the base is what that one was made of.
    if (
        isinstance(base, np.ndarray)
        and base.flags.c_contiguous
        and (base.ndim, base.shape[1:], base.dtype) == (first.ndim, first.shape[1:], first.dtype)
    ):
        # An empty array may claim any address.
        starts = base.ctypes.data + np.cumsum([0, *(part.nbytes for part in parts)])
        apart = [part for part, start in zip(parts, starts, strict=False) if part.nbytes and part.ctypes.data != start]
        if starts[-1] == base.ctypes.data + base.nbytes and not apart:
            return base
    return np.concatenate(parts)


def summary_of(exc: Exception) -> str:
    """Return what an error of the message layer says, in one line that is not too long."""
    return " ".join(str(exc).split())[:200]
