"""What each process of a run has finished and committed, written down as it happens: it outlives a SIGKILL.

A line is `chunks TIME COUNT` when the loop has added chunks, `commit TIME SECONDS` when a segment has been written.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SPARE_S = 0.5  # of a process that is not alone on its cores, between two statements


def plant(folder: Path) -> None:
    """Have this process, and those that it forks, keep a log in a folder."""
    from harness.folder.journal import Journal
    from harness.run.loop import Evaluation

    folder.mkdir(parents=True, exist_ok=True)
    add, write = Evaluation.add, Journal.write

    def logged_add(self: Any, sums: Any) -> None:
        before = self.chunks
        add(self, sums)
        _append(folder, f"chunks {time.monotonic()} {self.chunks - before}")

    def logged_write(self: Any, segment: Any) -> None:
        begun = time.monotonic()
        write(self, segment)
        _append(folder, f"commit {time.monotonic()} {time.monotonic() - begun}")

    Evaluation.add = logged_add  # type: ignore[method-assign]
    Journal.write = logged_write  # type: ignore[method-assign]


def _append(folder: Path, line: str) -> None:
    descriptor = os.open(folder / f"{os.uname().nodename}-{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.write(descriptor, f"{line}\n".encode())
    os.close(descriptor)


@dataclass(frozen=True)
class WorkLog:
    """What a process wrote down.

    Attributes:
      chunks: when chunks were finished, and how many.
      last_commit: when the last segment was written; 0.0 where none was.
      longest_s: that a segment took.
    """

    chunks: tuple[tuple[float, int], ...]
    last_commit: float
    longest_s: float

    @classmethod
    def read(cls, path: Path) -> WorkLog:
        """Read a log."""
        lines = [line.split() for line in path.read_text().splitlines()]
        commits = [(float(at), float(seconds)) for kind, at, seconds in lines if kind == "commit"]
        chunks = tuple((float(at), int(count)) for kind, at, count in lines if kind == "chunks")
        return cls(chunks, max((at for at, _ in commits), default=0.0), max((seconds for _, seconds in commits), default=0.0))

    @property
    def finished(self) -> int:
        """How many chunks were finished."""
        return sum(count for _, count in self.chunks)

    @property
    def lost(self) -> int:
        """How many were finished after the last commit."""
        return sum(count for at, count in self.chunks if at > self.last_commit)

    @property
    def overdue(self) -> int:
        """How many borders came and went with a commit due: a slow harness commits whenever it has computed as long as that takes.

        >>> WorkLog(((1.0, 1), (1.1, 1), (1.4, 1), (9.0, 1)), last_commit=1.05, longest_s=0.1).overdue
        1
        """
        first = self.chunks[0][0] if self.chunks else 0.0
        due = max(self.last_commit, first) + self.longest_s + SPARE_S
        return len([at for at, _ in self.chunks if at > due])


def read_all(folder: Path) -> list[WorkLog]:
    """Return the logs of all processes."""
    return [WorkLog.read(path) for path in sorted(folder.iterdir())]
