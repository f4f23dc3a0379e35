"""Progress of counting, for people: a bar on a terminal, plain lines elsewhere; nothing where it takes a few seconds."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import IO, Any

__all__ = ["CountingProgress"]

LINE_EVERY_S = 5.0
BAR_AFTER_S = 1.0


class CountingProgress:
    """Shows how much of a rank's share of the files it has gone through. A context.

    Args:
      total_bytes: of the share.
      files: of the job that are counted, by all ranks.
      ranks: how many count.
      stream: where to; a bar where it is a terminal.
      clock: seconds.
    """

    def __init__(
        self, total_bytes: int, files: int, ranks: int, stream: IO[str] | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._total, self._done = total_bytes, 0
        whose = "" if ranks == 1 else f", rank 0's share among {ranks} ranks"
        self._what = f"{files:,} file{'s' * (files > 1)}{whose}"
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._lock = threading.Lock()
        self._is_terminal = self._stream.isatty()
        self._next = clock() + (BAR_AFTER_S if self._is_terminal else LINE_EVERY_S)
        self._bar: Any = None

    def move(self, size_bytes: int) -> None:
        """Add what was gone through. Any thread calls this."""
        with self._lock:
            self._done += size_bytes
            if self._bar is not None:
                self._bar.update(self._bar.task_ids[0], completed=self._done)
            elif self._clock() >= self._next:
                if self._is_terminal:
                    self._bar = _bar(self._stream, self._what, self._total)
                    self._bar.start()
                else:
                    share = 100 * self._done // max(self._total, 1)
                    print(
                        f"counting {self._what}: {self._done / 1e9:,.1f} of {self._total / 1e9:,.1f} GB ({share} %)",
                        file=self._stream,
                        flush=True,
                    )
                    self._next = self._clock() + LINE_EVERY_S

    def __enter__(self) -> CountingProgress:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        """Take the bar away."""
        with self._lock:
            if self._bar is not None:
                self._bar.stop()


def _bar(stream: IO[str], what: str, total_bytes: int) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    bar = Progress(
        TextColumn(f"counting {what}", markup=False), BarColumn(), DownloadColumn(), TimeRemainingColumn(),
        console=Console(file=stream), transient=True,
    )  # fmt: skip
    bar.add_task("", total=total_bytes)
    return bar
