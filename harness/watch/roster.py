"""What a rank knows of the ranks that it watches: by their notices, and of those that are silent by their files.

Files are read in turns, as many a second as are written: see `harness/folder/file_rate.py`. Clocks are never compared: a
watcher times how long it has seen no change.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from harness.folder.run_folder import RunFolder
from harness.ranks.notices import Notices
from harness.watch.beat import Beat, read_beat
from harness.watch.beat_file import PERIOD_S, turn

__all__ = ["Roster", "notice_period_s"]

SILENT_S = 10.0  # without a notice: a few that were lost
NOTICES_PER_S = 500.0  # that rank 0 answers, in four percent of a core


def notice_period_s(size: int, least_s: float = PERIOD_S) -> float:
    """Return the time between two notices of each of so many ranks.

    >>> notice_period_s(100), notice_period_s(4096)
    (1.0, 8.192)
    """
    return max(least_s, size / NOTICES_PER_S)


class Roster:
    """The newest beat of each rank that is watched: rank 0 watches all others, each other rank watches rank 0.

    Args:
      folder: run folder.
      rank, size: of this process.
      notices: that ranks send.
      clock: seconds, the monotonic clock by which notices came.
      stall_timeout_s: after which a rank is stuck that does not move; 0 is never. Files are looked at before that.
    """

    def __init__(
        self, folder: RunFolder, rank: int, size: int, notices: Notices,
        clock: Callable[[], float] = time.monotonic, *, stall_timeout_s: float = 0.0,
    ) -> None:  # fmt: skip
        self._silent_s = max(min(SILENT_S, stall_timeout_s / 2 or SILENT_S), 2 * notice_period_s(size))
        self._folder = folder
        self._notices = notices
        self._clock = clock
        self._watched = range(1, size) if rank == 0 else range(1)
        self._file_period_s = turn(1 if rank == 0 else 0, size).every_s
        self._notice_period_s = notice_period_s(size)
        self._beats = {other: Beat(other, host="?", pid=0) for other in self._watched}
        self._times: dict[int, float] = {}  # of the notices that are known
        self._silent = set(self._watched)
        self._next = 0
        self._since: dict[int, tuple[tuple[int, str], float]] = {}

    def look(self) -> list[Beat]:
        """Return the beats of the ranks that are watched, by rank."""
        now = self._clock()
        for other, heard in self._notices.heard().items():
            if heard.time_s != self._times.get(other):
                self._times[other] = heard.time_s
                self._learn(Beat.from_notice(heard.notice, other))
        silent = [other for other in self._watched if now - self._times.get(other, -math.inf) > self._silent_s]
        self._silent = set(silent)
        for _ in range(min(len(silent), math.ceil(len(silent) * PERIOD_S / self._file_period_s))):
            self._next = (self._next + 1) % len(silent)
            other = silent[self._next]
            self._learn(read_beat(self._folder.heartbeat(other), other))
        return [self._beats[other] for other in self._watched]

    def idle_s(self, beat: Beat) -> float:
        """Take note of a beat; return for how many seconds it has been the same."""
        state, now = (beat.moves, beat.phase), self._clock()
        known = self._since.get(beat.rank)
        if known is None or known[0] != state:
            self._since[beat.rank] = (state, now)
            return 0.0
        return now - known[1]

    def delay_s(self, rank: int) -> float:
        """Return how old what is known of another rank may be.

        A rank that is silent among others that are heard is waited for no longer than they are: it is probably gone.
        """
        by_files = rank in self._silent and 2 * len(self._silent) > len(self._watched)
        return 2 * (self._file_period_s if by_files else self._notice_period_s)

    def _learn(self, beat: Beat) -> None:
        """Take a beat, unless it is an older one: a file may lie behind a notice."""
        if beat.rank in self._beats and beat.moves >= self._beats[beat.rank].moves:
            self._beats[beat.rank] = beat
