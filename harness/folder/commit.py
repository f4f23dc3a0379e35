"""When a rank commits what it has finished: early, then so seldom that it costs under one percent, and when asked to stop.

Where ranks are many they take turns, and commit more seldom: see `file_rate.py`.

The loop calls `border` after each call of the compiled step; another thread may call `keep` while a chunk is under way.
Nothing here is in the graph, and only what matches the plan is committed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np

from harness.folder.file_rate import Turn
from harness.sums.accumulator import Accumulator
from harness.sums.sums import Sums

__all__ = ["Committer", "Pace"]

COST_SHARE = 0.01  # of the run that commits may take
FIRST_S = 0.5
MOST_S = 10.0  # between commits where they cost nothing: what a crash can lose
GROWTH = 0.05  # until then, of the time since the start
NO_TURN = Turn()


class Pace:
    """Says when something that costs time is due again.

    Args:
      first_s: when it is due for the first time.
      most_s: how long it may stay undone where it costs nothing.
      clock: seconds.
      turn: of this rank: it waits so long in any case.
    """

    def __init__(self, first_s: float, most_s: float, clock: Callable[[], float] = time.monotonic, turn: Turn = NO_TURN) -> None:
        self._clock = clock
        self._start = clock()
        self._first_s = first_s
        self._most_s = most_s
        self._every_s = turn.every_s
        self._due = self._start + first_s + turn.first_s

    @property
    def due(self) -> bool:
        """Whether it is time."""
        return self._clock() >= self._due

    def took(self, cost_s: float) -> None:
        """Take note that it has been done."""
        now = self._clock()
        wait_s = min(self._most_s, GROWTH * (now - self._start))
        self._due = now + max(cost_s / COST_SHARE, wait_s, self._first_s, self._every_s)


class Committer:
    """Commits what a rank adds up.

    Args:
      accumulator: of this rank.
      matches: says whether lines of the certificate, int64 [n, 8], are whole chunks of the plan.
      write: takes the sums of a segment, and leaves them as they are.
      turn: of this rank.
      first_s, most_s: of the pace.
      clock: seconds.
    """

    def __init__(
        self,
        accumulator: Accumulator,
        matches: Callable[[np.ndarray], bool],
        write: Callable[[Sums], None],
        *,
        turn: Turn = NO_TURN,
        first_s: float = FIRST_S,
        most_s: float = MOST_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._accumulator = accumulator
        self._matches = matches
        self._write = write
        self._clock = clock
        self._pace = Pace(first_s, most_s, clock, turn)
        self._settling = Pace(0.0, 0.0, clock)
        self._lock = threading.Lock()  # commits come from one place at a time
        self._hurry = threading.Event()
        self._at_border = threading.Event()
        self._wrong = False
        self._finished = False
        self.commits = 0
        self.cost_s = 0.0

    def border(self) -> None:
        """Commit where it is due. Called by the loop between chunks. Does not return once the rank was asked to stop."""
        with self._lock:
            begun = self._clock()
            if self._hurry.is_set() or self._pace.due:
                self._accumulator.settle()
                self._commit(begun)
            elif self._accumulator.has_grid and self._settling.due:
                self._accumulator.settle()
                self._settling.took(self._clock() - begun)
        if self._hurry.is_set():
            self._at_border.set()
            threading.Event().wait()  # the thread that asked ends the process

    def finish(self) -> None:
        """Commit the rest of the rank's share."""
        with self._lock:
            begun = self._clock()
            self._accumulator.settle()
            self._commit(begun)
            self._finished = True
        self._at_border.set()

    def keep(self, wait_s: float | None) -> None:
        """Commit what is finished, from another thread, and let the loop go no further. For a rank that is to end.

        Args:
          wait_s: how long to wait for the chunk under way, once what can be committed without it is: whoever asked may not
            have the patience. None is as long as it takes.
        """
        self._hurry.set()
        limit_s = -1 if wait_s is None else max(wait_s, 0.1)
        # In the end the lock is not given back: the loop stays where it is.
        if wait_s is not None:
            if not self._lock.acquire(timeout=limit_s):
                return
            self._commit(self._clock())
            if self._accumulator.settled or self._finished:
                return
            self._lock.release()
        self._at_border.wait(wait_s)
        if self._lock.acquire(timeout=limit_s):
            self._commit(self._clock())  # what waits for its grid is evaluated again

    def _commit(self, begun: float) -> None:
        """Write what is pending. The lock is held, and the work for it began then."""
        with self._accumulator.lock:
            pending = self._accumulator.pending
            if not len(pending.lines) or self._wrong:
                return
            # What the plan does not say must not outlive this attempt: the run ends as INVALID, and can be repeated.
            self._wrong = not self._matches(pending.lines)
            if self._wrong:
                return
            self._write(pending)
            self._accumulator.keep()
        cost_s = self._clock() - begun
        self.commits += 1
        self.cost_s += cost_s
        self._pace.took(cost_s)
