"""One file with all that rank 0 knows of all ranks: what `harness watch` reads, from anywhere that sees the run folder.

Written by rank 0 alone and by rename, as often as ranks tell how they stand: two operations on names a second at most, and
the fewer the more ranks there are. What was heard is passed on as it came: nothing is taken apart and put together again.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from harness.folder.run_folder import RunFolder, read_json
from harness.names.scratch import scratch_name
from harness.names.urls import shown
from harness.watch.beat import Beat, beat_from
from harness.watch.beat_file import PERIOD_S
from harness.watch.roster import notice_period_s

__all__ = ["VERSION", "Attempted", "RanksFile", "Snapshot", "read_snapshot"]

NAME = "ranks.json"
VERSION = 1


@dataclass(frozen=True)
class Attempted:
    """What an attempt is at.

    Attributes:
      attempt: its number.
      examples, chunks: of the whole plan.
      earlier_chunks: of these, what earlier attempts have finished.
      model: that is evaluated, as the job names it.
    """

    attempt: int
    examples: int
    chunks: int
    earlier_chunks: int = 0
    model: str = ""


@dataclass(frozen=True)
class Snapshot:
    """What the file says.

    Attributes:
      attempted: what the attempt is at.
      time_s: when it was written, since 1970 by the clock of rank 0's machine.
      period_s: between two of them.
      beats: of all ranks, by rank.
    """

    attempted: Attempted
    time_s: float
    period_s: float
    beats: Sequence[Beat]


class RanksFile:
    """Writes the file, on rank 0.

    Args:
      folder: of the run.
      size: ranks.
      attempted: what they are at.
      clock: seconds.
    """

    def __init__(self, folder: RunFolder, size: int, attempted: Attempted, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = folder.progress / NAME
        self._attempted = replace(attempted, model=shown(attempted.model))
        self._clock = clock
        self._period_s = notice_period_s(size)
        self._due_s = clock()

    def write_in_turn(self, beats: Sequence[Beat]) -> None:
        """Write it where it is due. Called every second."""
        now = self._clock()
        if now >= self._due_s:
            self.write(beats)
            self._due_s = now + self._period_s - PERIOD_S / 2  # calls come a little early or late

    def write(self, beats: Sequence[Beat]) -> None:
        """Write it now."""
        head = {"version": VERSION, "time_s": round(time.time(), 3), "period_s": self._period_s, **asdict(self._attempted)}
        ranks = ",\n".join(beat.text or beat.to_json() for beat in beats)
        temporary = scratch_name(self._path)
        try:
            # No fsync: what a crash takes of it is worth nothing anyway.
            temporary.write_text(f'{json.dumps(head)[:-1]}, "ranks": [\n{ranks}\n]}}\n')
            os.replace(temporary, self._path)
        except OSError:
            # A full disk stops the run where results are written, not here.
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def read_snapshot(folder: RunFolder) -> Snapshot | None:
    """Read the file; None where there is none, or it is of another version."""
    document = read_json(folder.progress / NAME)
    try:
        return None if document is None else _snapshot(document)
    except (KeyError, TypeError, ValueError):
        return None


def _snapshot(document: dict[str, Any]) -> Snapshot | None:
    if document["version"] != VERSION:
        return None
    attempted = Attempted(**{name: document[name] for name in Attempted.__dataclass_fields__})
    beats = [beat_from(raw, rank) for rank, raw in enumerate(document["ranks"])]
    return Snapshot(attempted, float(document["time_s"]), float(document["period_s"]), beats)
