"""Heartbeats: each rank leaves its progress in the run folder; from them come the progress line and the answer to slow or stuck.

A thread of each rank writes its heartbeat every second and watches: itself, and others by their files. Rank 0 watches
all, rank 1 watches rank 0. Clocks are never compared: a watcher times how long it has seen no change.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from harness.folder.run_folder import RunFolder, read_json
from harness.names.scratch import scratch_name

__all__ = ["Beat", "Heartbeat", "Watch"]

PERIOD_S = 1.0
STACK_FIRST_S = 3.0  # a stuck rank that still can names itself, with its stack, before another names it


@dataclass
class Beat:
    """What a rank says of itself."""

    rank: int
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
    phase: str = "starting"  # starting, evaluating, waiting, writing, done, interrupted
    examples: int = 0
    chunks: int = 0
    where: str = ""  # what it works on: chunk and file
    moves: int = 0  # goes up with every sign of progress

    @property
    def busy(self) -> bool:
        """Whether the rank owes progress; one that waits for others does not."""
        return self.phase not in ("waiting", "done", "interrupted")

    def __str__(self) -> str:
        where = f" ({self.where})" if self.where else ""
        return f"rank {self.rank} on {self.host}, pid {self.pid}, {self.phase}{where}"


class Watch:
    """Tells how long each rank has shown no progress, by this process's own clock."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: dict[int, tuple[tuple[int, str], float]] = {}

    def idle_s(self, beat: Beat) -> float:
        """Take note of a beat; return for how many seconds it has been the same."""
        state, now = (beat.moves, beat.phase), self._clock()
        known = self._since.get(beat.rank)
        if known is None or known[0] != state:
            self._since[beat.rank] = (state, now)
            return 0.0
        return now - known[1]


class Heartbeat:
    """The thread that beats and watches.

    Args:
      folder: run folder.
      rank, size: of this process.
      stall_timeout_s: after how long without progress a busy rank is stuck; 0 is never.
      on_stall: called from the thread, once for a rank that is stuck, with its beat and a message; returns whether to watch on.
      on_beats: called every second on rank 0 with what is known of all ranks.
    """

    def __init__(
        self,
        folder: RunFolder,
        rank: int,
        size: int,
        *,
        stall_timeout_s: float,
        on_stall: Callable[[Beat, str], bool],
        on_beats: Callable[[list[Beat]], None] = lambda beats: None,
    ) -> None:
        self.beat = Beat(rank)
        self._folder = folder
        self._size = size
        self._timeout_s = stall_timeout_s
        self._on_stall = on_stall
        self._on_beats = on_beats
        self._watch = Watch()
        self._given_up: set[int] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def move(self, phase: str | None = None, where: str | None = None) -> None:
        """Show progress."""
        if phase is not None:
            self.beat.phase = phase
        if where is not None:
            self.beat.where = where
        self.beat.moves += 1

    def stop(self) -> None:
        """End the thread after a last beat."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._stop.wait(PERIOD_S):
            self._write()
            self._judge()
        self._write()
        if self.beat.rank == 0:
            self._on_beats(self._others())

    def _write(self) -> None:
        path = self._folder.heartbeat(self.beat.rank)
        temporary = scratch_name(path)
        try:
            # No fsync: a heartbeat that a crash takes is worth nothing anyway.
            temporary.write_text(json.dumps(asdict(self.beat)))
            os.replace(temporary, path)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            return  # a full disk stops the run where results are written, not here

    def _others(self) -> list[Beat]:
        watched = range(self._size) if self.beat.rank == 0 else [0] if self.beat.rank == 1 else []
        return [self.beat if rank == self.beat.rank else read_beat(self._folder.heartbeat(rank), rank) for rank in watched]

    def _judge(self) -> None:
        beats = self._others()
        if self.beat.rank == 0:
            self._on_beats(beats)
        mine = [] if any(beat.rank == self.beat.rank for beat in beats) else [self.beat]
        for beat in (beat for beat in beats + mine if beat.rank not in self._given_up):
            idle_s = self._watch.idle_s(beat)
            here = beat.rank == self.beat.rank
            if self._timeout_s and beat.busy and idle_s > self._timeout_s + (0 if here else STACK_FIRST_S):
                if here:
                    faulthandler.dump_traceback(file=sys.stderr, all_threads=True)
                self._given_up.add(beat.rank)
                message = f"{beat} has made no progress for {idle_s:.0f} s (--stall-timeout {self._timeout_s:g})"
                if not self._on_stall(beat, message):
                    self._stop.set()
                    return


def read_beat(path: Path, rank: int) -> Beat:
    """Read a rank's heartbeat; a rank that has left none yet is starting."""
    raw = read_json(path)
    try:
        return Beat(**raw)
    except TypeError:
        return Beat(rank, host="?", pid=0)
