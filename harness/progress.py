"""Progress for people: a bar on a terminal, plain lines elsewhere. Fed with heartbeats."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

from harness.heartbeat import Beat

__all__ = ["Progress"]

LINE_EVERY_S = 5.0


class Progress:
    """Shows all ranks' examples, the rate and the time left, on stderr.

    Args:
      total: examples of the run.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._bar: Any = None
        self._task: Any = None
        self._begun: float | None = None
        self._next_line = 0.0
        self._closed = False
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(
                TextColumn("evaluating"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(), console=Console(stderr=True), transient=True,
            )  # fmt: skip

    def show(self, beats: Sequence[Beat]) -> None:
        """Show what the ranks have done so far."""
        done = sum(beat.examples for beat in beats)
        if self._closed or not done:
            return
        now = time.monotonic()
        if self._begun is None:
            self._begun = now - 1.0  # the first beat with examples is up to a beat late
        rate = done / max(now - self._begun, 1e-9)
        if self._bar is not None:
            if self._task is None:
                self._bar.start()
                self._task = self._bar.add_task("", total=self._total, rate="")
            self._bar.update(self._task, completed=done, rate=f"{rate:,.0f}/s")
        elif now >= self._next_line or done == self._total:
            left_s = (self._total - done) / rate if rate else 0.0
            share = 100 * done / max(self._total, 1)
            print(
                f"{done:,} of {self._total:,} examples ({share:.0f} %), {rate:,.0f}/s, {left_s:.0f} s left",
                file=sys.stderr,
                flush=True,
            )
            self._next_line = now + LINE_EVERY_S
        if done == self._total:
            self.close()

    def close(self) -> None:
        """Take the bar away."""
        self._closed = True
        if self._bar is not None:
            self._bar.stop()
