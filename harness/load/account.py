"""What became of the queries of a load test: how many came, were answered, failed, and when. Its size does not grow with them.

A query is counted once: as answered, as failed, or as not sent, because it had waited too long. Latencies are those of answers,
from the moment in which LoadGen handed the query over. Knows no clock, no LoadGen and no endpoint.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from harness.bench.loadgen import Scenario
from harness.exact.latency_histogram import LatencyHistogram, LatencyTimeline
from harness.load.request import LatencyBound
from harness.results.slice_latency import SliceLatency

__all__ = ["LoadAccount", "Measured"]

MOST_REASONS = 20
TICKS = 10  # of a second, in which what comes and goes is counted


class LoadAccount:
    """Counts queries, from several threads.

    Args:
      bounds: on latencies.

    Attributes:
      queries, answered, failed, unsent: how many came, and what became of them.
      examples: of the queries that were answered.
      reasons: why queries failed, how many of each.
      late: answered, but not within a bound, by the bound's name.
      versions: examples by the version that answered.
      slice_latency: latencies by slice.
    """

    def __init__(self, bounds: Sequence[LatencyBound] = ()) -> None:
        self.queries = self.answered = self.failed = self.unsent = self.examples = 0
        self.reasons: Counter[str] = Counter()
        self.versions: Counter[str] = Counter()
        self.late: Counter[str] = Counter({bound.name: 0 for bound in bounds})
        self.latency, self.timeline = LatencyHistogram(), LatencyTimeline()
        self.slice_latency = SliceLatency()
        self.last_came_s = self.last_ended_s = 0.0
        self._bounds = bounds
        self._came: Counter[int] = Counter()  # by tick
        self._ended: Counter[int] = Counter()
        self._answered: Counter[int] = Counter()
        self._lock = threading.Lock()

    def come(self, moment_s: float) -> None:
        """Count a query that came, at a moment since the beginning."""
        with self._lock:
            self.queries += 1
            self.last_came_s = max(self.last_came_s, moment_s)
            self._came[int(moment_s * TICKS)] += 1

    def answer(self, moment_s: float, latency_s: float, examples: int, version: str) -> None:
        """Count an answer that came at a moment."""
        with self._lock:
            self.answered += 1
            self.examples += examples
            self.versions[version] += examples
            self._answered[int(moment_s * TICKS)] += 1
            self.latency.add(latency_s)
            self.timeline.add(moment_s, latency_s)
            for bound in self._bounds:
                self.late[bound.name] += latency_s > bound.seconds
            self._end(moment_s)

    def fail(self, moment_s: float, reason: str) -> None:
        """Count a query that failed at a moment."""
        with self._lock:
            self.failed += 1
            self.reasons[reason if reason in self.reasons or len(self.reasons) < MOST_REASONS else "other reasons"] += 1
            self._end(moment_s)

    def leave(self) -> None:
        """Count a query that was never sent, because it had waited too long: it does not count as served."""
        with self._lock:
            self.unsent += 1

    def _end(self, moment_s: float) -> None:
        self.last_ended_s = max(self.last_ended_s, moment_s)
        self._ended[int(moment_s * TICKS)] += 1

    @property
    def left(self) -> int:
        """How many queries have no end yet."""
        return self.queries - self.answered - self.failed - self.unsent

    @property
    def unanswered(self) -> int:
        """How many queries had no answer."""
        return self.failed + self.unsent

    @property
    def later_half(self) -> tuple[int, int]:
        """How many queries came, and how many ended, in the later half of the time that queries came in.

        >>> account = LoadAccount()
        >>> for second in range(10):
        ...     account.come(second)
        ...     account.answer(2 * second + 0.5, second + 0.5, 1, "1")
        >>> account.later_half
        (5, 3)
        """
        return self._later(self._came), self._later(self._ended)

    @property
    def answered_later(self) -> int:
        """How many queries were answered in the later half of the time that queries came in."""
        return self._later(self._answered)

    def _later(self, counts: Counter[int]) -> int:
        """Add up counts by tick over that half."""
        last = int(self.last_came_s * TICKS)
        return sum(count for tick, count in counts.items() if last // 2 <= tick <= last)

    @property
    def most_answered(self) -> int:
        """How many queries were answered, at most, in any stretch of time as long as the later half."""
        last, most, now = int(self.last_came_s * TICKS), 0, 0
        length = last - last // 2 + 1
        for tick in range(int(self.last_ended_s * TICKS) + 1):
            now += self._answered[tick] - self._answered[tick - length]
            most = max(most, now)
        return most

    @property
    def waiting_at_last(self) -> int:
        """How many queries had no end yet when the last one came."""
        last = int(self.last_came_s * TICKS)
        return self.queries - sum(count for tick, count in self._ended.items() if tick <= last)


@dataclass(frozen=True)
class Measured:
    """What a performance test measured.

    Attributes:
      account: what became of the queries.
      loadgen: what LoadGen says.
      busy: cores that this process kept busy.
    """

    account: LoadAccount
    loadgen: Scenario
    busy: float
