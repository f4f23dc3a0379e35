"""What this process has fetched from object stores and the like, and how often that had to be tried again.

Counted for who watches a run. The one thing in this room that is changed from several places: a counter of the process, like
those of the operating system. Results do not read it.
"""

from __future__ import annotations

import threading

__all__ = ["TRAFFIC", "Traffic"]


class Traffic:
    """Counts bytes and further tries; from any thread.

    >>> traffic = Traffic()
    >>> traffic.add(read_bytes=10)
    >>> traffic.add(retries=1)
    >>> traffic.read_bytes, traffic.retries
    (10, 1)
    """

    def __init__(self) -> None:
        self.read_bytes = 0
        self.retries = 0
        self._lock = threading.Lock()

    def add(self, *, read_bytes: int = 0, retries: int = 0) -> None:
        """Count what was fetched, or that something is tried again."""
        with self._lock:
            self.read_bytes += read_bytes
            self.retries += retries


TRAFFIC = Traffic()
