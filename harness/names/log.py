"""What a process says on stderr: lines for people, or with `--log json` one JSON object an event and nothing else.

Standard error is one for the process, and so is `LOG`. Events are written to it directly. In JSON all else that is written
to file descriptor 2, by libraries in C++ too, becomes events of its own: see `captured_output.py`.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from harness.names.captured_output import Capture
from harness.names.events import Event, Level
from harness.names.texts import printable
from harness.names.variables import LOG_FORMAT

__all__ = ["JSON", "LOG", "TEXT", "Log", "Place", "records", "wants_json"]

TEXT, JSON = "text", "json"
LOGGING = ("evaluate", "predict", "launch")  # the commands that log
MOST_BYTES = 4000  # of a line: what a pipe takes whole is 4,096
PREFIXES = {Level.INFO: "", Level.WARNING: "warning: ", Level.ERROR: "error: "}


@dataclass(frozen=True)
class Place:
    """Where in a run this process is; None is not known, or not yet.

    Attributes:
      attempt: of the run.
      phase: of this rank, as its beats have it.
      chunk: that it works on, or worked on last.
    """

    attempt: int | None = None
    phase: str | None = None
    chunk: int | None = None


def wants_json(args: Sequence[str], environ: Mapping[str, str] | None = None) -> bool:
    """Whether a command line asks for JSON: looked at before it is parsed, for what is wrong with it is logged too.

    >>> wants_json(["evaluate", "job.yaml", "--log", "json"], {}), wants_json(["evaluate", "--log=json", "job.yaml"], {})
    (True, True)
    >>> [wants_json(args, {"HARNESS_LOG": "json"}) for args in (["evaluate", "job.yaml"], ["show", "runs/job"])]
    [True, False]
    """
    if not any(word in LOGGING for word in args):
        return False
    values = [after for word, after in itertools.pairwise(args) if word == "--log"]
    values += [word.partition("=")[2] for word in args if word.startswith("--log=")]
    return (values[-1] if values else LOG_FORMAT.get(environ)) == JSON


class Log:
    """Writes events. Any thread may.

    Args:
      host: of this process.
    Attributes:
      rank: of this process; None is no rank, a launcher say.
      place: returns where this process is.
    """

    def __init__(self, host: str | None = None) -> None:
        self.rank: int | None = None
        self.place: Callable[[], Place] = Place
        self._host = socket.gethostname() if host is None else host
        self._capture: Capture | None = None

    @property
    def is_json(self) -> bool:
        """Whether events are written as JSON."""
        return self._capture is not None

    def begin_json(self, rank: int | None) -> None:
        """Write JSON from now on, here and in processes that are started. To be called before there are threads."""
        os.environ[LOG_FORMAT.name] = JSON
        self.rank = rank
        if self._capture is None:
            self._capture = Capture(lambda line: b"".join(self._records(Event.OUTPUT, line)))

    def end(self) -> None:
        """Let all that is written be seen, before the process ends."""
        if self._capture is not None:
            self._capture.close()

    def say(self, event: Event, message: str, *, text: str | None = None) -> None:
        """Log an event, for people too.

        Args:
          message: what happened.
          text: the line for people, where it is not the message behind the level.
        """
        if self._capture is None:
            print(f"harness: {PREFIXES[event.level]}{message}" if text is None else text, file=sys.stderr, flush=True)
        else:
            self._write(event, message)

    def note(self, event: Event, message: str) -> None:
        """Log an event that lines for people leave out."""
        if self._capture is not None:
            self._write(event, message)

    def _write(self, event: Event, message: str) -> None:
        if self._capture is not None:
            for line in self._records(event, message):
                self._capture.write(line)

    def _records(self, event: Event, message: str) -> Iterator[bytes]:
        place = self.place()
        fields = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": str(event.level),
            "event": event.kind,
            "attempt": place.attempt,
            "rank": self.rank,
            "host": self._host,
            "phase": place.phase,
            "chunk": place.chunk,
        }
        yield from records(fields, message)


def records(fields: Mapping[str, Any], message: str, most_bytes: int = MOST_BYTES) -> Iterator[bytes]:
    """Return an event as lines of JSON: one, or where the message is long several that have a `part`, from 1 on.

    >>> list(records({"event": "output"}, "abc"))
    [b'{"event": "output", "message": "abc"}\\n']
    >>> [json.loads(line) for line in records({}, "abcde", most_bytes=3)]
    [{'message': 'abc', 'part': 1}, {'message': 'de', 'part': 2}]
    """
    text = "\n".join(printable(line) for line in message.split("\n"))
    parts = list(_cut(text, max(most_bytes - len(json.dumps(fields)) if fields else most_bytes, 1)))
    for number, part in enumerate(parts, 1):
        more = {"part": number} if len(parts) > 1 else {}
        with contextlib.suppress(ValueError):
            yield json.dumps({**fields, "message": part, **more}).encode() + b"\n"


def _cut(text: str, most_bytes: int) -> Iterator[str]:
    """Cut a text where what JSON makes of it would become too long; an empty text is one piece."""
    start = size = 0
    for index, letter in enumerate(text):
        width = len(json.dumps(letter)) - 2
        if size + width > most_bytes and index > start:
            yield text[start:index]
            start, size = index, 0
        size += width
    yield text[start:]


LOG = Log()
