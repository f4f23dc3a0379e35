"""Progress of counting, for people: a line that moves on a terminal, plain lines elsewhere, none where it takes a few seconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from harness.names.status_line import Status, StatusLine

__all__ = ["CountingProgress"]

LINE_EVERY_S = 5.0


class CountingProgress:
    """Shows how much of a rank's share of the files it has gone through.

    Args:
      total_bytes: of the share.
      files: of the job that are counted, by all ranks.
      ranks: how many count.
      line: where to.
      clock: seconds.
    """

    def __init__(
        self, total_bytes: int, files: int, ranks: int, line: StatusLine, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._total, self._done = total_bytes, 0
        self._files = files
        self._whose = "" if ranks == 1 else f", rank 0's share among {ranks} ranks"
        self._line = line
        self._clock = clock
        self._lock = threading.Lock()
        self._next = clock() + LINE_EVERY_S

    def move(self, size_bytes: int) -> None:
        """Add what was gone through. Any thread calls this."""
        with self._lock:
            self._done += size_bytes
            share = self._done / max(self._total, 1)
            what = f"{self._files:,} file{'s' * (self._files > 1)}{self._whose}"
            read = f"{self._done / 1e9:,.1f} of {self._total / 1e9:,.1f} GB"
            if self._line.moves:
                self._line.show(Status(f"counting {int(share * self._files):,} of {what}", share, read))
            elif self._clock() >= self._next:
                self._line.say(f"counting {what}: {read} ({int(100 * share)} %)")
                self._next = self._clock() + LINE_EVERY_S
