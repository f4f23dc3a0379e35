"""When a rank commits what it has finished: early, then so seldom that it costs under one percent, and when asked to stop.

The loop calls `border` after each call of the compiled step; another thread may call `keep` while a chunk is under way.
Nothing here is in the graph, and only what matches the plan is committed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from harness.folder.segment import Segment, merge
from harness.plan.certificate import CONTENT, COUNT, FILTERED, HASH, KEPT, SKIPPED
from harness.run.loop import Evaluation
from harness.sums.grid import GridState

__all__ = ["Committer", "Pace", "unite_with"]

COST_SHARE = 0.01  # of the run that commits may take
FIRST_S = 0.5
MOST_S = 10.0  # between commits where they cost nothing: what a crash can lose
GROWTH = 0.05  # until then, of the time since the start


class Pace:
    """Says when something that costs time is due again.

    Args:
      first_s: when it is due for the first time.
      most_s: how long it may stay undone where it costs nothing.
      clock: seconds.
    """

    def __init__(self, first_s: float, most_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._start = clock()
        self._first_s = first_s
        self._most_s = most_s
        self._due = self._start + first_s

    @property
    def due(self) -> bool:
        """Whether it is time."""
        return self._clock() >= self._due

    def took(self, cost_s: float) -> None:
        """Take note that it has been done."""
        now = self._clock()
        wait_s = min(self._most_s, GROWTH * (now - self._start))
        self._due = now + max(cost_s / COST_SHARE, wait_s, self._first_s)


@dataclass(frozen=True)
class _Look:
    """All that has been summed up to a border."""

    state: np.ndarray
    table: np.ndarray
    rows: dict[str, int]  # how many
    grid: GridState | None


def _examples(look: _Look) -> int:
    return int(look.table[COUNT].sum())


class Committer:
    """Commits what an evaluation adds up.

    Args:
      evaluation: of this rank.
      write: takes a segment.
      fetch: returns the grid's sums, at a border only; None where there is no grid.
      first_s, most_s: of the pace.
      clock: seconds.
    """

    def __init__(
        self,
        evaluation: Evaluation,
        write: Callable[[Segment], None],
        fetch: Callable[[], GridState] | None = None,
        *,
        first_s: float = FIRST_S,
        most_s: float = MOST_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._evaluation = evaluation
        self._write = write
        self._fetch = fetch
        self._clock = clock
        self._pace = Pace(first_s, most_s, clock)
        self._glances = Pace(0.0, 0.0, clock)
        self._lock = threading.Lock()  # commits come from one place at a time
        self._hurry = threading.Event()
        self._at_border = threading.Event()
        self._wrong = False
        self._finished = False
        self._committed = _Look(np.zeros_like(evaluation.state), np.zeros_like(evaluation.certificate.table), {}, None)
        self._seen: _Look | None = None  # as of the last border at which a look was cheap, where there is a grid
        self.commits = 0
        self.cost_s = 0.0

    def border(self) -> None:
        """Commit where it is due. Called by the loop between chunks. Does not return once the rank was asked to stop."""
        with self._lock:
            if self._hurry.is_set() or self._pace.due:
                self._commit()
            elif self._fetch is not None and self._glances.due:
                start = self._clock()
                self._seen = self._look()
                self._glances.took(self._clock() - start)
        if self._hurry.is_set():
            self._at_border.set()
            threading.Event().wait()  # the thread that asked ends the process

    def finish(self) -> None:
        """Commit the rest of the rank's share."""
        with self._lock:
            self._commit()
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
            if not self._finished:
                self._commit_seen()
            if self._ready():
                return
            self._lock.release()
        self._at_border.wait(wait_s)
        if self._lock.acquire(timeout=limit_s) and not self._finished:
            self._commit_seen()

    def _commit_seen(self) -> None:
        """Commit what can be while a chunk is under way: all that is finished, or with a grid what there was at the last look."""
        if self._fetch is None:
            self._commit()
        elif self._seen is not None and _examples(self._seen) > _examples(self._committed):
            self._commit(self._seen)

    def _ready(self) -> bool:
        """Whether all that is finished can be committed at once: a grid changes while a chunk is under way."""
        if self._fetch is None or self._finished:
            return True
        return max(_examples(look) for look in (self._seen, self._committed) if look) == self._evaluation.examples

    def _look(self) -> _Look:
        evaluation = self._evaluation
        with evaluation.lock:
            return _Look(
                evaluation.state.copy(),
                evaluation.certificate.table.copy(),
                {key: len(store) for key, store in evaluation.rows.items()},
                self._fetch() if self._fetch else None,
            )

    def _commit(self, look: _Look | None = None) -> None:
        """Write what has come since the last commit, as of a look or of now. The lock is held."""
        begun = self._clock()
        look = look or self._look()
        segment = self._since(self._committed, look)
        if segment is None:
            return
        self._write(segment)
        self._committed = look
        cost_s = self._clock() - begun
        self.commits += 1
        self.cost_s += cost_s
        self._pace.took(cost_s)

    def _since(self, before: _Look, now: _Look) -> Segment | None:
        """Return what came between two looks; None where that is nothing, or not what the plan says."""
        counts = now.table[COUNT] - before.table[COUNT]
        chunks = np.flatnonzero(counts)
        if not len(chunks) or self._wrong:
            return None
        added = (now.table - before.table)[:, chunks]
        lines = np.stack([chunks, *(added[row] for row in (COUNT, HASH, KEPT, FILTERED, SKIPPED, CONTENT))], axis=1)
        # What the plan does not say must not outlive this attempt: the run ends as INVALID, and can be repeated.
        self._wrong = not self._evaluation.certificate.matches(lines)
        if self._wrong:
            return None
        rows = {
            key: self._evaluation.rows[key].copied(before.rows.get(key, 0), stop)
            for key, stop in now.rows.items()
            if before.rows.get(key, 0) < stop
        }
        grid = None if now.grid is None else _less(now.grid, before.grid)
        return Segment(lines, now.state - before.state, grid, rows)


def unite_with(evaluation: Evaluation, grid: GridState | None, before: Segment) -> GridState | None:
    """Add what earlier attempts have finished to what this one has; return the grid of both."""
    rows = {key: store.take() for key, store in evaluation.rows.items() if len(store)}
    evaluation.rows.clear()
    both = merge([Segment(np.zeros([0, before.lines.shape[1]], np.int64), evaluation.state, grid, rows), before])
    evaluation.state = both.state
    for key, table in both.rows.items():
        evaluation.add_rows(key, table)
    evaluation.certificate.add(before.lines)
    return both.grid


def _less(now: GridState, before: GridState | None) -> GridState:
    """Return what a grid has got since; slots are only ever added at the end."""
    if before is None:
        return now
    return now.unflat(now.flat() - before.placed(now.keys).flat())
