"""Standard error of a process whose lines are all to be records: what others write there is wrapped, line by line.

A child process reads it. A thread would lose the last lines of a process that crashes or is killed, which matter most. The
child ignores signals, and ends when nobody can write any more.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable

__all__ = ["Capture", "is_record"]

STDERR = 2
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
LAST_LINES_S = 2.0  # processes that were started and live on may hold it open longer
LOOK_S = 0.005
READ_BYTES = 1 << 16
LINE_BYTES = 1 << 20  # of one that does not end


def is_record(line: bytes) -> bool:
    """Say whether a line is an event already: of a rank, that its launcher relays.

    >>> is_record(b'{"event": "output", "message": "a"}'), is_record(b'{"a": 1}'), is_record(b"text")
    (True, False, False)
    """
    if not line.startswith(b"{"):
        return False
    try:
        record = json.loads(line)
    except ValueError:
        return False
    return isinstance(record, dict) and "event" in record and "message" in record


class Capture:
    """Takes file descriptor 2 of this process over. Made before there are threads.

    Args:
      wrap: returns the lines that stand for a line, which has no end.
    """

    def __init__(self, wrap: Callable[[str], bytes]) -> None:
        sys.stderr.flush()
        self._out = os.dup(STDERR)
        reads, writes = os.pipe()
        sys.stdout.flush()
        self._child = os.fork()
        if not self._child:
            os.close(writes)
            _serve(reads, self._out, wrap)
        os.close(reads)
        os.dup2(writes, STDERR)
        os.close(writes)

    def write(self, record: bytes) -> None:
        """Write a record where standard error was; where nobody reads any longer, nothing."""
        with contextlib.suppress(OSError):
            _write(self._out, record)

    def close(self) -> None:
        """Give standard error back, once all that was written there has been seen."""
        with contextlib.suppress(OSError):
            sys.stderr.flush()
        os.dup2(self._out, STDERR)
        deadline = time.monotonic() + LAST_LINES_S
        with contextlib.suppress(ChildProcessError):
            while not os.waitpid(self._child, os.WNOHANG)[0] and time.monotonic() < deadline:
                time.sleep(LOOK_S)


def _serve(reads: int, out: int, wrap: Callable[[str], bytes]) -> None:
    """Wrap lines until nobody can write any more, and end this process."""
    try:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, STDERR):  # it keeps nothing open that others wait for
            os.dup2(null, descriptor)
        rest = b""
        while data := os.read(reads, READ_BYTES):
            *lines, rest = (rest + data).split(b"\n")
            if len(rest) > LINE_BYTES:
                lines, rest = [*lines, rest], b""
            for line in lines:
                _show(out, line, wrap)
        _show(out, rest, wrap)
    finally:
        os._exit(0)


def _show(out: int, line: bytes, wrap: Callable[[str], bytes]) -> None:
    if is_record(line):
        _write(out, line + b"\n")
    elif text := line.decode(errors="backslashreplace").strip("\r"):
        _write(out, wrap(text))


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
