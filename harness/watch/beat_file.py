"""A rank's beat in the run folder, written when its turn comes: so that it outlives the rank, and serves where notices do not."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable

from harness.folder.file_rate import BEATS, Turn
from harness.folder.run_folder import RunFolder
from harness.names.scratch import scratch_name
from harness.watch.beat import Beat

__all__ = ["PERIOD_S", "BeatFile", "turn"]

PERIOD_S = 1.0  # of rank 0, whose file keeps other attempts away, and of all where ranks are few


def turn(rank: int, size: int) -> Turn:
    """Return when a rank of so many writes its file.

    >>> turn(0, 300), turn(150, 300)
    (Turn(first_s=0.0, every_s=1.0), Turn(first_s=50.0, every_s=100.0))
    """
    return BEATS.turn(rank, size, PERIOD_S) if rank else Turn(0.0, PERIOD_S)


class BeatFile:
    """Writes one rank's file.

    Args:
      folder: run folder.
      rank, size: of this process.
      clock: seconds.
    """

    def __init__(self, folder: RunFolder, rank: int, size: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = folder.heartbeat(rank)
        self._clock = clock
        self._turn = turn(rank, size)
        self._due_s = clock() + self._turn.first_s

    @property
    def often(self) -> bool:
        """Whether it is written every second."""
        return self._turn.every_s <= PERIOD_S

    @property
    def due(self) -> bool:
        """Whether it is to be written now."""
        return self._clock() >= self._due_s

    def write_in_turn(self, beat: Beat) -> None:
        """Write it where it is due. Called every second."""
        if self.due:
            self.write(beat)
            self._due_s = self._clock() + self._turn.every_s - PERIOD_S / 2  # calls come a little early or late

    def write(self, beat: Beat) -> None:
        """Write it now."""
        temporary = scratch_name(self._path)
        try:
            # No fsync: a heartbeat that a crash takes is worth nothing anyway.
            temporary.write_text(beat.to_json())
            os.replace(temporary, self._path)
        except OSError:
            # A full disk stops the run where results are written, not here.
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
