"""What each process of a run has finished and committed, written down as it happens: it outlives a SIGKILL.

A line is `chunks TIME COUNT` when the loop has added chunks, `commit TIME SECONDS` when a segment has been written.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SPARE_S = 0.5  # of a process that is not alone on its cores, between two statements


def plant(folder: Path) -> None:
    """Have this process, and those that it forks, keep a log in a folder."""
    from harness.folder.journal import Journal
    from harness.sums.accumulator import Accumulator

    folder.mkdir(parents=True, exist_ok=True)
    add, write = Accumulator.add, Journal.write

    def logged_add(self: Any, sums: Any, batches: int) -> None:
        before = self.chunks
        add(self, sums, batches)
        _append(folder, f"chunks {time.monotonic()} {self.chunks - before}")

    def logged_write(self: Any, sums: Any) -> None:
        begun = time.monotonic()
        write(self, sums)
        _append(folder, f"commit {time.monotonic()} {time.monotonic() - begun}")

    Accumulator.add = logged_add  # type: ignore[method-assign]
    Journal.write = logged_write  # type: ignore[method-assign]


def _append(folder: Path, line: str) -> None:
    descriptor = os.open(folder / f"{os.uname().nodename}-{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.write(descriptor, f"{line}\n".encode())
    os.close(descriptor)


@dataclass(frozen=True)
class WorkLog:
    """What a process wrote down, in its order: kind, when, and how many chunks or seconds."""

    events: tuple[tuple[str, float, float], ...]

    @classmethod
    def read(cls, path: Path) -> WorkLog:
        """Read a log."""
        lines = [line.split() for line in path.read_text().splitlines()]
        return cls(tuple((kind, float(at), float(number)) for kind, at, number in lines))

    @property
    def finished(self) -> int:
        """How many chunks were finished."""
        return _count(self.events)

    @property
    def lost(self) -> int:
        """How many were finished after the last commit."""
        last = max((place for place, event in enumerate(self.events) if event[0] == "commit"), default=-1)
        return _count(self.events[last + 1 :])

    @property
    def overdue(self) -> int:
        """How often the loop came to a border where a commit was due, and there was none.

        A slow harness commits whenever it has computed as long as the last commit took.

        >>> log = [("chunks", 1.0, 1), ("commit", 1.1, 0.1), ("chunks", 1.2, 1), ("chunks", 2.0, 1), ("chunks", 3.0, 1)]
        >>> WorkLog(tuple(log)).overdue, WorkLog((*log, ("commit", 3.1, 0.1))).overdue
        (2, 1)
        """
        # From the chunk before it: a committer counts what it does beside writing too.
        pairs = zip(self.events, self.events[1:], strict=False)
        longest_s = max((after[1] - before[1] for before, after in pairs if after[0] == "commit"), default=0.0)
        since = self.events[0][1] if self.events else 0.0
        missed = 0
        for event, after in zip(self.events, (*self.events[1:], None), strict=True):
            if event[0] == "commit":
                since = event[1]
            elif event[1] > since + longest_s + SPARE_S and (after is None or after[0] != "commit"):
                missed += 1
        return missed


def _count(events: Sequence[tuple[str, float, float]]) -> int:
    return int(sum(number for kind, _, number in events if kind == "chunks"))


def read_all(folder: Path) -> list[WorkLog]:
    """Return the logs of all processes."""
    return [WorkLog.read(path) for path in sorted(folder.iterdir())]
