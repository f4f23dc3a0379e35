"""What a door to the passage hands in: where a run keeps what it has finished, what a failure does, and who looks on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from harness.folder.attempts import Attempt
from harness.folder.commit import Committer
from harness.folder.run_folder import RunFolder
from harness.ranks.comm import Comm
from harness.ranks.schedule import Assigned
from harness.run.consensus import together
from harness.sums.reduction import Reduced
from harness.watch.time_split import Watched

if TYPE_CHECKING:
    from harness.step.build import Built

__all__ = ["Door", "Home"]

T = TypeVar("T")


@dataclass(frozen=True)
class Home:
    """Where a run keeps what it has finished.

    Attributes:
      folder: of the run.
      attempt: at it.
      same_data: whether the user gave their word that the data are those of earlier attempts.
    """

    folder: RunFolder
    attempt: Attempt
    same_data: bool = False


class Door:
    """What a door adds to the passage. This one adds nothing; doors override what they need.

    Args:
      comm: of the ranks.
    Attributes:
      rests: whether Horovod may be shut down while ranks evaluate: nobody else uses it.
    """

    rests = False

    def __init__(self, comm: Comm) -> None:
        self.comm = comm

    def together(self, work: Callable[[], T]) -> T:
        """Do something on every rank before ranks work alone; where it fails on one, all end."""
        return together(self.comm, work)

    def alone(self, work: Callable[[], None]) -> None:
        """Do this rank's work, for which it waits for nobody. What a failure does is the door's policy."""
        work()

    def conclude(self, work: Callable[[], T]) -> T | None:
        """Do on rank 0 what is done last; the others get nothing, and wait elsewhere."""
        return work() if self.comm.rank == 0 else None

    def move(self, phase: str | None = None, where: str | None = None) -> None:
        """Take note of a sign of progress."""

    def begin(self, text: str) -> None:
        """Take note of what is done before the first example."""

    def progress(self, examples: int, chunks: int, part: str) -> None:
        """Take note of what is evaluated: examples of this rank and of earlier attempts' share, and chunks.

        Args:
          part: what most of the time goes into.
        """

    def attach(self, step: Watched, earlier: int) -> None:
        """Take note of where the account of the loop's time is kept.

        Args:
          earlier: examples of this rank's part of what earlier attempts have finished.
        """

    def guard(self, committer: Committer) -> None:
        """Take note of what has to be committed before this rank is ended."""

    def border(self, committer: Committer) -> None:
        """Do what is due between two calls of the step."""

    def shared_out(self, assigned: Assigned) -> None:
        """Take note of how chunks come to ranks."""

    def failing(self, committer: Committer) -> None:
        """Do what is to be done before a failure of this rank ends it."""

    def concluded(self, built: Built, assigned: Assigned, reduced: Reduced) -> None:
        """Do what is due on all ranks once the result is written. A collective, where it is anything."""

    def finish(self, examples: int) -> None:
        """Take note that all is evaluated; rank 0 alone."""
