"""Looks at runs again and again, and shows what it sees: live on a terminal, as plain lines elsewhere, or as JSON lines.

What is looked at is a `Target`: a run folder, a job of Slurm, or the same on another machine. What it shows of itself is `Shown`.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, Protocol

from harness.folder.run_folder import RunFolder
from harness.results.terminal import console_for, show
from harness.watch import screen
from harness.watch.run_view import RunView, look

__all__ = ["FolderTarget", "Pace", "Shown", "ShownRun", "Target", "watch", "worst"]

PLAIN_EVERY_S = 10.0  # where lines stay
MILD = (0, 4, 5)  # exit codes: done, can go on, inconclusive


class Shown(Protocol):
    """Something that was looked at."""

    @property
    def over(self) -> bool:
        """Whether it will not change any more."""

    @property
    def exit_code(self) -> int | None:
        """As the contract has it; None while it goes on."""

    def document(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""

    def lines(self, width: int, height: int) -> list[str]:
        """Return it in at most so many lines of at most so many letters."""

    def summary(self) -> None:
        """Print what it came to, once it is over."""


class Target(Protocol):
    """Something that can be looked at."""

    def look(self) -> Sequence[Shown]:
        """Look at it."""


@dataclass(frozen=True)
class ShownRun:
    """A run that was looked at.

    Attributes:
      view: what was seen.
      folder: of the run; None where it is on another machine.
    """

    view: RunView
    folder: RunFolder | None = None

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.view.over

    @property
    def exit_code(self) -> int | None:
        """Of the run."""
        return self.view.exit_code

    def document(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return self.view.document()

    def lines(self, width: int, height: int) -> list[str]:
        """Return it as text."""
        return screen.lines(self.view, width, height)

    def summary(self) -> None:
        """Print the result of a run that is done."""
        if self.view.state == "done" and self.folder is not None:
            show(self.folder, console_for(1))


@dataclass(frozen=True)
class FolderTarget:
    """A run folder."""

    folder: RunFolder
    name: str

    def look(self) -> Sequence[Shown]:
        """Look at it.

        Raises: RunFolderError: it is none.
        """
        return [ShownRun(look(self.folder, self.name), self.folder)]


@dataclass(frozen=True)
class Pace:
    """How it is watched.

    Attributes:
      every_s: the time from one look to the next; None is a second on a terminal, and ten elsewhere.
      once: look once.
      as_json: write JSON lines.
      out: where to.
      sleep: waits.
    """

    every_s: float | None = None
    once: bool = False
    as_json: bool = False
    out: IO[str] = field(default_factory=lambda: sys.stdout)
    sleep: Callable[[float], None] = time.sleep


def worst(codes: Sequence[int]) -> int:
    """Return the exit code for several runs: what can go on is less than a failure.

    >>> worst([0, 4]), worst([4, 1]), worst([])
    (4, 1, 0)
    """
    return max(codes, key=lambda code: (code not in MILD, code), default=0)


def watch(targets: Sequence[Target], pace: Pace) -> int:
    """Watch until everything is over; return the exit code of what has ended, the worst of them.

    Raises: HarnessError: what cannot be looked at.
    """
    live = None
    if not (pace.once or pace.as_json) and pace.out.isatty():
        from rich.console import Console
        from rich.live import Live

        live = Live(console=Console(file=pace.out, highlight=False), auto_refresh=False, transient=True)
    every_s = pace.every_s or (1.0 if live is not None or pace.as_json else PLAIN_EVERY_S)
    try:
        if live is not None:
            live.start()
        while True:
            shown = [item for target in targets for item in target.look()]
            over = bool(shown) and all(item.over for item in shown)
            if pace.as_json:
                _write(pace.out, [json.dumps(item.document()) for item in shown])
            elif live is not None:
                _draw(live, shown)
            if over or pace.once:
                break
            if live is None and not pace.as_json:
                _write(pace.out, _text(shown))
            pace.sleep(every_s)
    except KeyboardInterrupt:
        return 0  # the watching is ended, not the run
    finally:
        if live is not None:
            live.stop()
    if not pace.as_json:
        _write(pace.out, _text(shown))
        for item in shown:
            item.summary()
    return worst([item.exit_code or 0 for item in shown if item.over])


def _text(shown: Sequence[Shown]) -> list[str]:
    """Return what was seen as lines for the size of this terminal; elsewhere nothing is left out for its height."""
    columns, rows = shutil.get_terminal_size((100, 24))
    share = max((rows - 1) // max(len(shown), 1), 6)
    return [line for item in shown for line in item.lines(columns, share)]


def _draw(live: Any, shown: Sequence[Shown]) -> None:
    from rich.text import Text

    live.update(Text("\n".join(_text(shown)), no_wrap=True, overflow="crop"), refresh=True)


def _write(out: IO[str], lines: Sequence[str]) -> None:
    for line in lines:
        out.write(f"{line}\n")
    out.flush()
