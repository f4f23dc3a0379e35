"""Progress in a notebook: a bar in the output of the cell, replaced by one line at the end. Elsewhere it shows nothing.

It goes through IPython's display and never to stderr, which notebooks paint red. IPython is imported only where it runs.
"""

from __future__ import annotations

import contextlib
import html
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["NotebookBar", "running_notebook"]

EVERY_S = 0.1  # each change is a message to the browser
RATE_AFTER_S = 1.0


def running_notebook() -> Any:
    """Return IPython's shell where this process is the kernel of a notebook, None elsewhere."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell if hasattr(shell, "kernel") else None  # a terminal's has none


class NotebookBar:
    """Shows how far an evaluation is. What is shown in one cell takes the place of what was shown there before.

    Args:
      shell: of the notebook; None shows nothing.
      clock: seconds.
    """

    def __init__(self, shell: Any = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._shell, self._clock = shell, clock
        self._display: Any = None
        self._cell: int | None = None
        self._begun = self._next = 0.0
        self._total, self._whose = 0, ""
        self._first: tuple[float, int] | None = None  # when examples were seen first, and how many

    @property
    def active(self) -> bool:
        """Whether there is a notebook to show it in."""
        return self._shell is not None

    @contextlib.contextmanager
    def shown(self, doing: str) -> Iterator[None]:
        """Show what is done meanwhile; where it fails, nothing is left of it."""
        self._begun = self._clock()
        self._total = 0
        self.say(doing)
        try:
            yield
        except BaseException:
            self._show("", "")
            raise

    def say(self, doing: str) -> None:
        """Show what is done, without an end in sight."""
        self._show(f"{doing} ...", "<progress></progress> ")

    def expect(self, total: int, whose: str = "") -> None:
        """Take note of how many examples are going to be evaluated, and whose they are where not all are."""
        self._total, self._whose, self._first, self._next = total, whose, None, 0.0

    def move(self, examples: int) -> None:
        """Show how many examples are done: more than at the first call."""
        now = self._clock()
        if self._first is None:
            self._first = (now, examples)
        if self._shell is None or not self._total or now < self._next:
            return
        self._next = now + EVERY_S
        since, before = self._first
        done, elapsed_s = examples - before, now - since
        text = f"{done:,} of {self._total:,} examples{self._whose}"
        if done and elapsed_s > RATE_AFTER_S:
            rate = done / elapsed_s
            text += f", {rate:,.0f}/s, {(self._total - done) / rate:,.0f} s left"
        self._show(text, f'<progress value="{done}" max="{self._total}"></progress> ')

    def finish(self, text: str) -> None:
        """Put a line in the place of the bar: what was done, and how long it took."""
        self._show(f"{text} in {self._clock() - self._begun:.1f} s", "")

    def _show(self, text: str, bar: str) -> None:
        if self._shell is None:
            return
        content = {"text/plain": text, "text/html": f"{bar}{html.escape(text)}"}
        if self._display is not None and self._cell == self._shell.execution_count:
            self._display.update(content, raw=True)
            return
        from IPython.display import display

        self._display, self._cell = display(content, raw=True, display_id=True), self._shell.execution_count
