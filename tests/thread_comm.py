"""A Comm over threads: several ranks in one process, for tests of what ranks do together."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

from harness.ranks.comm import Comm

__all__ = ["ThreadComm", "on_ranks"]

T = TypeVar("T")
SENT = {"uint8", "int8", "uint16", "int16", "int32", "int64", "float32", "float64", "bool"}  # by Horovod's alltoall


class ThreadComm(Comm):
    """One of several ranks, each a thread of this process."""

    name = "threads"

    def __init__(self, rank: int, size: int, barrier: threading.Barrier, board: list[Any]) -> None:
        self.rank = self.local_rank = rank
        self.size = self.local_size = size
        self._barrier = barrier
        self._board = board

    def _exchange(self, item: Any) -> list[Any]:
        self._board[self.rank] = item
        self._barrier.wait(60)
        found = list(self._board)
        self._barrier.wait(60)
        return found

    def sum(self, vector: np.ndarray) -> np.ndarray:
        """Add the vectors of all ranks."""
        return np.sum(self._exchange(np.array(vector, np.int64)), axis=0)

    def broadcast(self, data: bytes) -> bytes:
        """Return what rank 0 passed."""
        return self._exchange(data)[0]

    def gather(self, data: bytes) -> list[bytes]:
        """Return what every rank passed."""
        return self._exchange(data)

    def alltoall(self, parts: list[np.ndarray]) -> list[np.ndarray]:
        """Return what every rank has for this one; dtypes and trailing shapes must agree, as on a real message layer."""
        assert len(parts) == self.size
        found = self._exchange([part.copy() for part in parts])
        assert len({(part.dtype, part.shape[1:]) for sent in found for part in sent}) == 1
        assert {part.dtype.name for part in parts} <= SENT
        return [sent[self.rank] for sent in found]

    def abort(self, code: int) -> None:
        """Break the barrier, so that no rank waits for this one."""
        self._barrier.abort()

    def close(self) -> None:
        """Do nothing."""


def on_ranks(size: int, work: Callable[[Comm], T]) -> list[T]:
    """Run `work` on so many ranks; return what each returned, raise what the first failing one raised."""
    barrier, board = threading.Barrier(size), [None] * size

    def one(rank: int) -> T:
        comm = ThreadComm(rank, size, barrier, board)
        try:
            return work(comm)
        except BaseException:
            barrier.abort()
            raise

    with ThreadPoolExecutor(size) as pool:
        futures = [pool.submit(one, rank) for rank in range(size)]
    errors = [error for future in futures if (error := future.exception())]
    for error in errors:
        if not isinstance(error, threading.BrokenBarrierError):
            raise error
    return [future.result() for future in futures]
