"""Progress for people: a bar on a terminal, plain lines elsewhere. Fed with heartbeats."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import IO, Any

from harness.watch.beat import Beat

__all__ = ["Progress"]

LINE_EVERY_S = 5.0
RATE_AFTER_S = 3.0  # heartbeats are up to a second old: a rate over less than a few of them says nothing


class Progress:
    """Shows all ranks' examples, the rate and the time left.

    Two threads come here: the heartbeat's with `show`, the run's own with `finish` and `close`.

    Args:
      total: examples of the run.
      stream: where to; a bar where it is a terminal.
      clock: seconds.
    """

    def __init__(self, total: int, stream: IO[str] | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._total = total
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._lock = threading.Lock()
        self._closed = False
        self._first: tuple[float, int] | None = None  # when examples were seen first, and how many
        self._next_line = clock() + LINE_EVERY_S
        self._bar: Any = _bar(self._stream) if self._stream.isatty() else None
        self._task: Any = None

    def show(self, beats: Sequence[Beat]) -> None:
        """Show what the ranks have done so far."""
        done = sum(beat.examples for beat in beats)
        with self._lock:
            if self._closed or not done:
                return
            rate = self._rate(done)
            if self._bar is not None:
                self._move_bar(done, rate)
            elif self._clock() >= self._next_line:
                left = f", {rate:,.0f}/s, {(self._total - done) / rate:,.0f} s left" if rate else ""
                self._line(done, left)
                self._next_line = self._clock() + LINE_EVERY_S

    def finish(self, done: int) -> None:
        """Show the end of the evaluation, before anything else is printed."""
        with self._lock:
            if not self._closed and self._bar is None:
                self._line(done, "")
        self.close()

    def close(self) -> None:
        """Show nothing more, and take the bar away."""
        with self._lock:
            if not self._closed and self._bar is not None:
                self._bar.stop()
            self._closed = True

    def _rate(self, done: int) -> float | None:
        """Return examples a second since they were first seen; None while that is too short to tell."""
        now = self._clock()
        if self._first is None:
            self._first = (now, done)
        since, already = self._first
        if now - since < RATE_AFTER_S or done == already:
            return None
        return (done - already) / (now - since)

    def _move_bar(self, done: int, rate: float | None) -> None:
        if self._task is None:
            self._bar.start()
            self._task = self._bar.add_task("", total=self._total, rate="")
        self._bar.update(self._task, completed=done, rate=f"{rate:,.0f}/s" if rate else "")

    def _line(self, done: int, more: str) -> None:
        share = 100 * done // max(self._total, 1)
        print(f"{done:,} of {self._total:,} examples ({share} %){more}", file=self._stream, flush=True)


def _bar(stream: IO[str]) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    return Bar(
        TextColumn("evaluating"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(), console=Console(file=stream), transient=True,
    )  # fmt: skip
