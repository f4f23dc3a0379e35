"""What rank 0 opens, on every rank: it is described in few bytes, and the index of its files is mapped from one file a node."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

import numpy as np

from harness.data import private_folder
from harness.data.shared_index import BLOCK_BYTES, SharedIndex, blocks, describe, folders, restore
from harness.ranks.comm import Comm
from harness.run.consensus import together

__all__ = ["open_on_all"]

T = TypeVar("T")
MAPPED_BYTES = 1 << 20  # a smaller index is sent sooner than it is written and mapped


def open_on_all(comm: Comm, work: Callable[[], T]) -> T:
    """Open something on rank 0, and have it on every rank. A collective.

    Raises: Told: see `together`.
    """
    opened = together(comm, lambda: work() if comm.rank == 0 else None)
    if comm.size == 1:
        return opened  # type: ignore[return-value]
    # This is pickled by rank 0 of the same job, and read by nobody else.
    data, arrays, index = together(comm, lambda: _described(opened) if comm.rank == 0 else (b"", [], None))
    index = SharedIndex(**json.loads(comm.broadcast(json.dumps(asdict(index)).encode() if index else b"")))
    numbers = _share(comm, index, arrays)
    data = comm.broadcast(data)
    # What has an index rank 0 restores too: its own arrays are not mapped.
    restored: Any = together(comm, lambda: opened if comm.rank == 0 and not arrays else restore(data, numbers))
    return restored


def _described(opened: Any) -> tuple[bytes, list[np.ndarray], SharedIndex | None]:
    """Describe what was opened; keep its index where it can be mapped, if it is not there."""
    data, arrays = describe(opened)
    index = SharedIndex.of(arrays)
    if index.size_bytes >= MAPPED_BYTES and index.load() is None:
        index.store(blocks(arrays), folders())
    return data, arrays, index


def _share(comm: Comm, index: SharedIndex, arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Return the numbers of an index, int64 [n], which rank 0 has as arrays.

    They are mapped from rank 0's cache; from a file of the node's own, where that is not seen there; and are in this
    rank's memory where neither can be had.
    """
    numbers: np.ndarray | None = None
    if index.size_bytes >= MAPPED_BYTES:
        numbers = index.load()
        if (mapped := _if_all_have(comm, numbers)) is not None:
            return mapped
        sent = _sent(comm, index, arrays)
        if numbers is None and comm.local_rank == 0:
            # Not in the cache: nodes that share it and only see it late would replace each other's file.
            index.store(sent, [private_folder.of_node()])
        _take_part(sent)
        comm.barrier()  # until the files are there
        numbers = index.load() if numbers is None else numbers
        if (mapped := _if_all_have(comm, numbers)) is not None:
            return mapped
    received = b"".join(_sent(comm, index, arrays))
    return np.frombuffer(received, "<i8") if numbers is None else numbers


def _if_all_have(comm: Comm, numbers: np.ndarray | None) -> np.ndarray | None:
    missing = comm.sum(np.array([numbers is None], np.int64))
    return None if missing[0] else numbers


def _sent(comm: Comm, index: SharedIndex, arrays: Sequence[np.ndarray]) -> Iterator[bytes]:
    """Yield the bytes of rank 0's arrays, a block at a time: each is a collective, which every rank takes part in."""
    own = blocks(arrays)
    for _ in range(0, index.size_bytes, BLOCK_BYTES):
        yield comm.broadcast(next(own) if comm.rank == 0 else b"")


def _take_part(sent: Iterator[bytes]) -> None:
    """Take what others are still sent."""
    for _ in sent:
        pass
