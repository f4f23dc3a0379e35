"""The door of Python: what fails on one rank is raised on all of them, and nobody's process is ended."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TypeVar

from harness.errors import HarnessError
from harness.ranks.comm import Comm
from harness.run.door import Door
from harness.watch.failure import Ended, Told, say
from harness.watch.notebook_bar import NotebookBar

__all__ = ["PythonDoor", "own_errors"]

T = TypeVar("T")
AFTERWARDS = {"waiting": "adding up", "writing": "computing the values"}  # by the phase of the passage


@contextlib.contextmanager
def own_errors() -> Iterator[None]:
    """Raise the failure itself, where it has been told to all ranks."""
    try:
        yield
    except Told as exc:
        assert exc.__cause__ is not None
        raise exc.__cause__ from exc.__cause__.__cause__


class PythonDoor(Door):
    """The door of Python: what fails on one rank is raised on all of them, and nobody's process is ended.

    Args:
      comm: of the ranks.
      bar: shows how far this rank is.
    """

    def __init__(self, comm: Comm, bar: NotebookBar) -> None:
        super().__init__(comm)
        self.bar = bar

    def move(self, phase: str | None = None, where: str | None = None) -> None:
        """Show what comes after the examples."""
        if phase in AFTERWARDS:
            self.bar.say(AFTERWARDS[phase])

    def progress(self, examples: int, chunks: int, part: str) -> None:
        """Show how many examples are done."""
        self.bar.move(examples)

    def together(self, work: Callable[[], T]) -> T:
        """Do something on every rank; where it fails on one, all raise."""
        return work() if self.comm.size == 1 else super().together(work)

    def alone(self, work: Callable[[], None]) -> None:
        """Do this rank's work; say at once what fails, the other ranks hear of it when they have done theirs."""

        def telling() -> None:
            try:
                work()
            except HarnessError as exc:
                say(self.comm, str(exc))
                raise Told(Ended.of(exc, self.comm.rank)) from exc

        self.together(work if self.comm.size == 1 else telling)

    def conclude(self, work: Callable[[], T]) -> T | None:
        """Do on rank 0 what is done last; where it fails, all raise."""
        return self.together(lambda: super(PythonDoor, self).conclude(work))
