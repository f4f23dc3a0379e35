"""Tickets: chunks that ranks draw from a counter while they evaluate, so that a slow rank gets fewer.

The counter counts places in an order that all ranks know: costly chunks first, so that what comes last is small. A rank
draws some at a time, ahead of need, but never holds more than a part of its fair share of what is left: so what is drawn
at a time shrinks towards the end, down to the chunk under way and one that is read meanwhile, and nobody is late by more.
`Draws` is that rule, without threads and clocks; `Tickets` puts it between the counter, the reader and the loop.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np

from harness.plan.plan import Chunk, Plan
from harness.ranks.comm import Counter
from harness.ranks.share import Share

__all__ = ["Draws", "Tickets"]

SHARE = 8  # a rank holds at most this part of its fair share of what is left: one that is so much slower is no straggler
MOST_S = 5.0  # of its own work that a rank holds at most, and
LEAST_S = 0.1  # at least. At the end of the run it is late by no more than that,
LEAST_CHUNKS = 2  # or by these: the one under way, and the one that is read meanwhile
MEMORY_S = 1.0  # a rank's speed is that of about the last second
ROUNDING = 1e-9
PATIENCE = 8.0  # times the longest call. After that what is held is taken for lost, and more is drawn: the certificate tells
PATIENCE_S = 5.0


class Draws:
    """How much one rank draws, and when.

    Args:
      ends: sums of the costs of the chunks in the order in which they are drawn, from 0 on, float64 [chunks + 1].
      size: ranks.
    """

    def __init__(self, ends: np.ndarray, size: int) -> None:
        self._ends = ends
        self._chunks = len(ends) - 1
        self._size = size
        self._place = 0  # that this rank would have got next, as far as it knows
        self._held: list[tuple[float, float]] = []  # of what it has drawn: cost, and sum of the costs up to there
        self._done = 0  # so many of them
        self._cost = self._time_s = 0.0  # done, and in which time, both fading
        self._warm = False  # the first call takes longer, whatever it does

    @property
    def held(self) -> int:
        """How many chunks are drawn and not done."""
        return len(self._held) - self._done

    def number(self) -> int:
        """Return how many chunks to draw now; 0 is none for the time being."""
        most = self._most()
        held = self._sum(len(self._held)) - self._sum(self._done)
        if self.held and held > most / 2 * (1 + ROUNDING):
            return 0
        until = self._ends[self._place] + (most - held) * (1 + ROUNDING)
        return max(1, int(np.searchsorted(self._ends, until, side="right")) - 1 - self._place)

    def saw(self, place: int) -> None:
        """Take note of where the counter stands."""
        self._place = min(place, self._chunks)

    def drew(self, start: int, number: int) -> range:
        """Take note of what the counter gave; return the places, none where nothing is left."""
        self.saw(start + number)
        places = range(min(start, self._place), self._place)
        for place in places:
            cost = float(self._ends[place + 1] - self._ends[place])
            self._held.append((cost, self._sum(len(self._held)) + cost))
        return places

    def did(self, done: int, elapsed_s: float) -> None:
        """Take note that so many of the chunks drawn are done, and how long the last of them took."""
        if self._warm:
            fade = math.exp(-elapsed_s / MEMORY_S)
            self._cost = self._cost * fade + self._sum(done) - self._sum(self._done)
            self._time_s = self._time_s * fade + elapsed_s
        self._warm = True
        self._done = done

    def _sum(self, count: int) -> float:
        return self._held[count - 1][1] if count else 0.0

    def _most(self) -> float:
        """Return the cost of what this rank may hold now; little before its speed is known."""
        if not self._chunks:
            return 0.0
        next_ = min(self._place, self._chunks - 1)
        least = LEAST_CHUNKS * float(self._ends[next_ + 1] - self._ends[next_])
        if not self._time_s:
            return least  # of a rank that nobody knows yet
        share, speed = float(self._ends[-1] - self._ends[self._place]) / (SHARE * self._size), self._cost / self._time_s
        return max(min(share, MOST_S * speed), least, LEAST_S * speed)


class Tickets(Share):
    """A share that grows while the rank evaluates: whoever reads draws from the counter.

    Args:
      plan: all chunks.
      left: numbers of the chunks that are to be shared out, ascending.
      size: ranks.
      counter: that they share.
      clock: seconds.
    """

    def __init__(
        self, plan: Plan, left: np.ndarray, size: int, counter: Counter, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        costs = plan.costs[left]
        order = np.argsort(-costs, kind="stable")
        self._plan = plan
        self._order = left[order]
        self._rule = Draws(np.concatenate([[0.0], np.cumsum(costs[order])]), size)
        self._counter = counter
        self._clock = clock
        self._drawing = threading.Lock()  # held while the counter is asked; the loop goes on meanwhile
        self._handed = 0  # so many chunks to the reader
        self._ahead = True
        self._over = False
        self._since: float | None = None  # when the last call ended
        self._longest_s = 0.0

    def draw(self, *, ahead: bool) -> Iterator[Chunk]:
        """Hand out chunks, drawing as long as there is something."""
        self._ahead = ahead
        return self._hand_out()

    def _hand_out(self) -> Iterator[Chunk]:
        while True:
            while self._handed < len(self._chunks):
                self._handed += 1
                yield self._chunks[self._handed - 1]
            lost = self._ahead and not self._wait()  # no longer than until `close`
            self._ask(lost=lost)
            if self._over and self._handed == len(self._chunks):
                return

    def close(self) -> None:
        """Draw no more, and let whoever waits to draw go."""
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def most(self) -> int:
        """Return how many chunks one call may be asked for: where they are read ahead, so few that the reader never runs dry."""
        if not self._ahead and not self._rule.held:
            self._ask()
        with self._changed:
            return max(1, (self._rule.held + 1) // 2 if self._ahead else self._rule.held)

    def finish(self, chunk: int) -> None:
        """Take note that a chunk is done, and those before it, and of the time that took."""
        with self._changed:
            super().finish(chunk)
            now = self._clock()
            if self._since is not None and chunk in self._places:
                elapsed_s = now - self._since
                self._rule.did(self._done, elapsed_s)
                self._longest_s = max(self._longest_s, elapsed_s)
            self._since = now
            self._changed.notify_all()

    def _wait(self) -> bool:
        """Return when there is room for more; False where what is held seems to be lost."""
        with self._changed:
            while not self._over and not self._rule.number():
                patience_s = max(PATIENCE * self._longest_s, PATIENCE_S) if self._longest_s else None
                if not self._changed.wait(patience_s):
                    return False
            return True

    def _ask(self, *, lost: bool = False) -> None:
        with self._drawing:
            with self._changed:
                if self._since is None:
                    self._since = self._clock()
                number = self._rule.number() or int(lost)
                idle, begun = not self._rule.held, self._clock()
            if self._over or not number:
                return
            if number > 1:  # since this rank drew last, others have drawn: how many it may have depends on what is left now
                place = self._counter.take(0)
                with self._changed:
                    self._rule.saw(place)
                    number = self._rule.number() or 1
            start = self._counter.take(number)
            with self._changed:
                self.draws += 1
                self.waited_s += self._clock() - begun if idle else 0.0
                places = self._rule.drew(start, number)
                self._over = not places
                self._add([self._plan[int(self._order[place])] for place in places])
