"""When an endpoint is asked, and asked again: the pace, the waits between tries, and the circuit that ends them all."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable

__all__ = ["Circuit", "Pace", "backoff_s"]

FIRST_S = 0.1
LONGEST_S = 5.0


def backoff_s(tries: int, label: str) -> float:
    """Return how long to wait after so many tries that failed: twice as long each time, less up to a half.

    What it is less by is drawn from the label of the request, so that requests that failed together do not come back
    together, and a run does what it did before.

    Args:
      tries: 1 or more.
      label: of the request.

    >>> [0.5 <= backoff_s(n, "chunk 3") / w <= 1 for n, w in ((1, 0.1), (2, 0.2), (5, 1.6), (9, 5.0), (5000, 5.0))]
    [True, True, True, True, True]
    >>> backoff_s(3, "chunk 3") == backoff_s(3, "chunk 3") != backoff_s(3, "chunk 4")
    True
    """
    drawn = int.from_bytes(hashlib.sha256(f"{label} {tries}".encode()).digest()[:8], "little") / 2**64
    return min(FIRST_S * 2.0 ** min(tries - 1, 16), LONGEST_S) * (1 - drawn / 2)


class Circuit:
    """Closed while requests are answered. Once it opens, no request of this rank waits or begins any more.

    Attributes:
      reason: why it is open; empty while it is closed.
    """

    def __init__(self) -> None:
        self.reason = ""
        self._opened = threading.Event()

    @property
    def is_open(self) -> bool:
        """Whether it is."""
        return self._opened.is_set()

    def open(self, reason: str) -> None:
        """Open it; the first reason stands."""
        self.reason = self.reason or reason
        self._opened.set()

    def wait(self, duration_s: float) -> None:
        """Wait, but not beyond the moment in which it opens."""
        if duration_s > 0:
            self._opened.wait(duration_s)


class Pace:
    """Hands out moments at which a request may begin, evenly.

    Args:
      rate: requests a second; None is no bound.
      clock: seconds.
    """

    def __init__(self, rate: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval_s = 1 / rate if rate else 0.0
        self._clock = clock
        self._next = 0.0
        self._lock = threading.Lock()

    def wait_s(self) -> float:
        """Take the next moment, and return how long it is until then.

        >>> pace = Pace(2.0, lambda: 100.0)
        >>> [pace.wait_s() for _ in range(3)]
        [0.0, 0.5, 1.0]
        """
        if not self._interval_s:
            return 0.0
        with self._lock:
            now = self._clock()
            moment = max(now, self._next)
            self._next = moment + self._interval_s
            return moment - now
