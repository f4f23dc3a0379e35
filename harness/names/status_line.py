"""What a command does now, and how far it is: one line of a terminal that is written over, few plain lines elsewhere.

Ranks that a launcher started have no terminal: rank 0 writes what is to be shown as marked lines, and the launcher draws them.
Knows nothing of what is done.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import IO, Any

from harness.names.events import Event
from harness.names.log import LOG
from harness.names.texts import printable
from harness.names.variables import PROGRESS

__all__ = ["RELAYED", "LoggedLines", "PlainLines", "RelayedLine", "Status", "StatusLine", "TerminalLine", "moves", "status_line"]

RELAYED = "lines"  # the value of HARNESS_PROGRESS
MARK = b"\x1eharness "  # begins a line for the launcher; no text of people begins so
ERASE = b"\r\x1b[K"
REDRAW_S = 0.25
PLAIN_EVERY_S = 30.0  # between what is begun, where lines stay
BAR = 24  # cells
WIDTH = 80  # of a terminal that does not say


@dataclass(frozen=True)
class Status:
    """What is shown.

    Attributes:
      text: what is done.
      share: how much of it, from 0 to 1; None where that is not known.
      more: what else there is to say.
    """

    text: str
    share: float | None = None
    more: str = ""

    def line(self, width: int, elapsed_s: float = 0.0, cells: str = "━─") -> str:
        """Return it as one line of at most `width` letters.

        >>> Status("evaluating", 0.5, "5 of 10 examples").line(60)
        'evaluating ━━━━━━━━━━━━────────────  50 %  5 of 10 examples'
        >>> Status("loading the model").line(60, elapsed_s=2.1)
        'loading the model  2 s'
        """
        more = f"  {self.more}" if self.more else ""
        if self.share is None:
            return f"{self.text}{more}  {elapsed_s:.0f} s"[:width]
        share = min(max(self.share, 0.0), 1.0)
        size = min(BAR, width - len(self.text) - len(more) - len("  100 %"))
        bar = f" {cells[0] * round(share * size)}{cells[1] * (size - round(share * size))}" if size > 3 else ""
        return f"{self.text}{bar} {100 * share:3.0f} %{more}"[:width]

    def for_launcher(self) -> bytes:
        """Return it as a line that a launcher draws."""
        return MARK + json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def of_rank(cls, line: bytes) -> Status | None:
        """Read what a rank wrote for its launcher; None of any other line.

        >>> Status.of_rank(Status("building").for_launcher()), Status.of_rank(b"building")
        (Status(text='building', share=None, more=''), None)
        """
        if not line.startswith(MARK):
            return None
        try:
            return cls(**json.loads(line.removeprefix(MARK)))
        except (ValueError, TypeError):
            return cls("")  # cut off: the next one is whole


class StatusLine:
    """Shows nothing: for ranks other than the first, and where nothing is to be shown. A context."""

    moves = False  # whether what is shown is written over

    def show(self, status: Status) -> None:
        """Show what is done now."""

    def say(self, text: str) -> None:
        """Write a line that stays."""

    def erase(self) -> None:
        """Make room for what is printed now."""

    def close(self) -> None:
        """Show nothing more. May be called more than once."""

    def __enter__(self) -> StatusLine:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class PlainLines(StatusLine):
    """Few lines that stay: what is begun, where that takes long."""

    def __init__(self, stream: IO[str] | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._next = clock() + PLAIN_EVERY_S

    def show(self, status: Status) -> None:
        """Write what is begun, unless something was written shortly before."""
        if status.share is None and self._clock() >= self._next:
            self.say(status.text)

    def say(self, text: str) -> None:
        """Write a line."""
        print(text, file=self._stream, flush=True)
        self._next = self._clock() + PLAIN_EVERY_S


class LoggedLines(PlainLines):
    """What is begun and how far it is, as events of the log."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock=clock)
        self._begun = ""

    def show(self, status: Status) -> None:
        """Log what is begun, once."""
        if status.share is None and status.text != self._begun:
            self._begun = status.text
            LOG.note(Event.RUN_STEP, status.text)

    def say(self, text: str) -> None:
        """Log how far it is."""
        LOG.say(Event.RUN_PROGRESS, text)


class RelayedLine(StatusLine):
    """Writes what is shown as lines for the launcher, which draws them."""

    moves = True

    def __init__(self, stream: IO[str] | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        # Python holds back what is not written when TensorFlow's import redirects it.
        self._fd = os.dup(self._stream.fileno())
        self._last: Status | None = None

    def show(self, status: Status) -> None:
        """Hand it to the launcher."""
        if status != self._last:
            self._last = status
            with contextlib.suppress(OSError):  # nobody reads any longer
                os.write(self._fd, status.for_launcher())

    def close(self) -> None:
        """Have the launcher show nothing."""
        if self._last is not None:
            self.show(Status(""))


class TerminalLine(StatusLine):
    """One line of a terminal, drawn by a thread, so that it moves while other work goes on; what others print stands above it.

    Args:
      stream: the terminal.
    """

    moves = True

    def __init__(self, stream: IO[str] | None = None) -> None:
        terminal: IO[str] = sys.stderr if stream is None else stream
        # A descriptor of its own: TensorFlow's import sends what is written to the usual one elsewhere.
        self._fd = os.dup(terminal.fileno())
        utf8 = (getattr(terminal, "encoding", None) or "").lower().replace("-", "") == "utf8"
        self._cells = "━─" if utf8 else "#."
        self._lock = threading.RLock()  # a signal handler may print while it is held
        self._status: Status | None = None
        self._since = 0.0
        self._drawn = False
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._streams: tuple[Any, Any] | None = None

    def __enter__(self) -> TerminalLine:
        self._streams = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = (_Above(stream, self.erase) for stream in self._streams)
        return self

    def show(self, status: Status) -> None:
        """Show it from now on."""
        with self._lock:
            if self._stop.is_set():
                return
            if self._status is None or self._status.text != status.text:
                self._since = time.monotonic()
            self._status = status if status.text else None
            self._draw()
            if self._thread is None:
                self._thread = threading.Thread(target=self._redraw, name="status", daemon=True)
                self._thread.start()

    def erase(self) -> None:
        """Take it away for what is printed now; it comes again by itself."""
        with self._lock:
            self._erase()

    def close(self) -> None:
        """Take it away for good."""
        with self._lock:
            self._erase()
            self._status = None
            self._stop.set()
        if self._streams is not None:
            (sys.stdout, sys.stderr), self._streams = self._streams, None

    def _redraw(self) -> None:
        while not self._stop.wait(REDRAW_S):
            with self._lock:
                self._draw()

    def _draw(self) -> None:
        if self._status is None:
            self._erase()
        elif not self._stop.is_set():
            text = self._status.line(self._width() - 1, time.monotonic() - self._since, self._cells)
            self._write(ERASE + printable(text).encode(errors="replace"))
            self._drawn = True

    def _erase(self) -> None:
        if self._drawn:
            self._write(ERASE)
            self._drawn = False

    def _width(self) -> int:
        try:
            return os.get_terminal_size(self._fd).columns or WIDTH
        except OSError:
            return WIDTH

    def _write(self, data: bytes) -> None:
        with contextlib.suppress(OSError):  # the terminal is gone
            os.write(self._fd, data)


class _Above:
    """A stream whose writes take the status line away first."""

    def __init__(self, stream: Any, erase: Callable[[], None]) -> None:
        self._stream, self._erase = stream, erase

    def write(self, text: str) -> int:
        self._erase()
        written: int = self._stream.write(text)
        return written

    def flush(self) -> None:
        # The last that is done with a stream before a process ends itself.
        self._erase()
        self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def moves(stream: Any, environ: Mapping[str, str]) -> bool:
    """Whether a line may be written over: on a terminal, but in no log of a build server."""
    return bool(stream.isatty()) and not environ.get("CI") and environ.get("TERM") != "dumb"


def status_line(rank: int, size: int, *, quiet: bool = False) -> StatusLine:
    """Return what this process shows its status with.

    Args:
      rank, size: of this process.
      quiet: show nothing.
    """
    if quiet or rank:
        return StatusLine()
    if LOG.is_json:
        return LoggedLines()
    if PROGRESS.get() == RELAYED:
        return RelayedLine()
    return TerminalLine() if size == 1 and moves(sys.stderr, os.environ) else PlainLines()
