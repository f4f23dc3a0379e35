"""What the storage of this machine gives to plain reading of a job's files, past the cache of the operating system."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence

__all__ = ["LEAST_BYTES", "storage_bytes_s"]

LEAST_BYTES = 16 << 20  # of data: fewer hold nobody up
BLOCK = 4 << 20
STREAMS = 4
SECONDS = 2.0


def storage_bytes_s(paths: Sequence[str], *, seconds: float = SECONDS, least_bytes: int = LEAST_BYTES) -> float | None:
    """Read files for a while, several blocks at a time; return bytes per second.

    What the cache holds of them is given up first, so that the storage is measured and not the memory.

    Args:
      paths: local files; URLs and what cannot be read are left out.
      least_bytes: None is returned of fewer.
    """
    blocks = [(path, at) for path in paths if os.path.isfile(path) for at in range(0, os.path.getsize(path), BLOCK)]
    if sum(os.path.getsize(path) for path in {path for path, _ in blocks}) < least_bytes:
        return None
    reads = _Reads(blocks, time.monotonic() + seconds)
    start = time.monotonic()
    threads = [threading.Thread(target=reads.work, daemon=True) for _ in range(STREAMS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return reads.size_bytes / max(time.monotonic() - start, 1e-9) or None


class _Reads:
    """Blocks that threads share out among them, until all are read or time is up."""

    def __init__(self, blocks: Sequence[tuple[str, int]], deadline: float) -> None:
        self.size_bytes = 0
        self._blocks, self._deadline, self._lock = iter(blocks), deadline, threading.Lock()

    def work(self) -> None:
        """Read blocks."""
        while time.monotonic() < self._deadline:
            with self._lock:
                block = next(self._blocks, None)
            if block is None:
                return
            size_bytes = _read(*block)
            with self._lock:
                self.size_bytes += size_bytes


def _read(path: str, at: int) -> int:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return 0
    try:
        os.posix_fadvise(descriptor, at, BLOCK, os.POSIX_FADV_DONTNEED)
        return len(os.pread(descriptor, BLOCK, at))
    except OSError:
        return 0
    finally:
        os.close(descriptor)
