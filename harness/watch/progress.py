"""Progress of a run for people: a bar where lines move, plain lines elsewhere. Fed with heartbeats, outside the loop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from harness.names.status_line import PlainLines, Status, StatusLine
from harness.watch.beat import Beat

__all__ = ["Progress"]

LINE_EVERY_S = 5.0
RATE_AFTER_S = 3.0  # heartbeats are up to a second old: a rate over less than a few of them says nothing


class Progress:
    """Shows what is begun, then all ranks' examples, the rate, the time left and the slowest rank.

    Two threads come here: the heartbeat's with `show`, the run's own with `begin`, `finish` and `close`.

    Args:
      total: examples of the run.
      line: where to.
      clock: seconds.
    """

    def __init__(self, total: int, line: StatusLine | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._total = total
        self._line = PlainLines() if line is None else line
        self._clock = clock
        self._lock = threading.Lock()
        self._closed = False
        self._first: dict[int, tuple[float, int]] = {}  # by rank, when examples were seen first, and how many of it
        self._next_line = clock() + LINE_EVERY_S

    def begin(self, text: str) -> None:
        """Show what is begun, as long as no example is evaluated."""
        with self._lock:
            if not self._closed and not self._first:
                self._line.show(Status(text))

    def show(self, beats: Sequence[Beat]) -> None:
        """Show what the ranks have done so far."""
        done = sum(beat.examples for beat in beats)
        with self._lock:
            if self._closed or not done:
                return
            now = self._clock()
            for beat in beats:
                self._first.setdefault(beat.rank, (now, beat.examples))
            speed = self._speed(beats, now)
            if self._line.moves:
                share = done / max(self._total, 1)
                self._line.show(Status("evaluating", share, f"{done:,} of {self._total:,} examples{speed}"))
            elif now >= self._next_line:
                self._say(done, speed)
                self._next_line = now + LINE_EVERY_S

    def finish(self, done: int) -> None:
        """Show the end of the evaluation, before anything else is printed."""
        with self._lock:
            if not self._closed and not self._line.moves:
                self._say(done, "")
        self.close()

    def close(self) -> None:
        """Show nothing more, and take the bar away."""
        with self._lock:
            self._closed = True
            self._line.close()

    def _speed(self, beats: Sequence[Beat], now: float) -> str:
        """Say how fast it goes, how long it takes, and which rank is slowest; nothing while that is too short to tell."""
        start = min(since for since, _ in self._first.values())
        done, already = sum(beat.examples for beat in beats), sum(examples for _, examples in self._first.values())
        if now - start < RATE_AFTER_S or done <= already:
            return ""
        rate = (done - already) / (now - start)
        rates = [(self._rate(beat, now), beat) for beat in beats if beat.phase == "evaluating"]
        slowest, beat = min(rates, key=lambda pair: pair[0], default=(0.0, None))
        rank = f", slowest rank {beat.rank}: {slowest:,.0f}/s, {beat.part}" if beat is not None and len(beats) > 1 else ""
        return f", {rate:,.0f}/s, {(self._total - done) / rate:,.0f} s left{rank.removesuffix(', ')}"

    def _rate(self, beat: Beat, now: float) -> float:
        since, already = self._first[beat.rank]
        return (beat.examples - already) / max(now - since, RATE_AFTER_S)

    def _say(self, done: int, more: str) -> None:
        share = 100 * done // max(self._total, 1)
        self._line.say(f"{done:,} of {self._total:,} examples ({share} %){more}")
