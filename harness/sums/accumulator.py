"""What a rank adds up while it evaluates: what is kept, what could be committed, and what still waits for its grid.

    calls -> fresh -> (with the grid of the graph) pending -> commit -> kept

The grid stays in the graph until a border, where no chunk is under way: only there the sums of calls and their grid belong
together. Without slices and replicates every call is pending at once. Knows no files and no ranks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from harness.sums.grid import GridState
from harness.sums.sums import Layouts, Sums

__all__ = ["Accumulator"]


class Accumulator:
    """The sums of one rank. `lock` guards them: another thread may commit while the loop runs.

    Args:
      layouts: of the sums.
      take_grid: returns what the grid of the graph holds, and leaves it empty; None where the job has no grid.
    Attributes:
      pending: whole chunks that were not committed, with their grid.
      kept: what was committed, and what earlier attempts have finished.
      chunks, batches, examples: of this rank in this attempt.
    """

    def __init__(self, layouts: Layouts, take_grid: Callable[[], GridState] | None = None) -> None:
        self.layouts = layouts
        self.lock = threading.RLock()
        self.pending = Sums.zero(layouts)
        self.kept = Sums.zero(layouts)
        self.chunks = self.batches = self.examples = 0
        self._fresh = Sums.zero(layouts)
        self._take_grid = take_grid

    @property
    def has_grid(self) -> bool:
        """Whether sums become pending at a border only, and at a price."""
        return self._take_grid is not None

    @property
    def settled(self) -> bool:
        """Whether all that was added is pending or kept."""
        with self.lock:  # reading the lines joins them: what is added meanwhile would be lost
            return not len(self._fresh.lines)

    def add(self, sums: Sums, batches: int) -> None:
        """Add what a call of the step gives; it is given up.

        The state is carried each time, so that what a call adds never finds it near an overflow.
        """
        with self.lock:
            self.chunks += len(sums.lines)
            self.batches += batches
            self.examples += sums.examples
            total = self._fresh if self.has_grid else self.pending
            total.add(sums)
            total.state = self.layouts.state.carry(total.state)

    def settle(self) -> None:
        """Make everything pending. Called by the loop at a border, or at its end."""
        with self.lock:
            if self._take_grid is None or self.settled:
                return
            self._fresh.grid = self._take_grid()
            self.pending.add(self._fresh)
            self.pending.carry(self.layouts)
            self._fresh = Sums.zero(self.layouts)

    def keep(self) -> None:
        """Take note that what was pending is committed."""
        with self.lock:
            pending, self.pending = self.pending, Sums.zero(self.layouts)
            self.resume(pending)

    def resume(self, sums: Sums) -> None:
        """Add what earlier attempts have finished; it is given up."""
        with self.lock:
            self.kept.add(sums)
            self.kept.carry(self.layouts)

    def total(self) -> Sums:
        """Return everything, and hold nothing any longer: rows are many, and go as they are used."""
        with self.lock:
            self.settle()
            total, self.kept = self.kept, Sums.zero(self.layouts)
            total.add(self.pending)
            self.pending = Sums.zero(self.layouts)
            return total
