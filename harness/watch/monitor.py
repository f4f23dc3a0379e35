"""The monitor of a run: each node's first rank tells Prometheus how the node's ranks fare, rank 0 of the whole run as well.

Fed by the heartbeat's thread. What fails here is said once and costs the run nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.job.monitor_spec import MonitorSpec
from harness.names.events import Event
from harness.names.log import LOG
from harness.watch.beat import Beat
from harness.watch.diagnosis import ranks_of, stragglers
from harness.watch.monitor_metrics import Node, Sample, Whole, samples
from harness.watch.monitor_pages import HttpPage, Page, TextFile
from harness.watch.node_beats import NodeBeats

__all__ = ["Monitor", "NoMonitor", "Subject", "text_file"]

WRITE_EVERY_S = 5.0
JUDGE_EVERY_S = 2.0
JUDGED_PER_S = 100.0  # ranks: to judge one takes some 20 microseconds
LOOK_AT_DISK_S = 30.0  # a look is an operation of the shared file system
STALLED_SHARE = 0.5  # of the stall timeout, at whose end the run is ended
NEVER_S = 600.0  # stands for a timeout of 0, which ends no run


@dataclass(frozen=True)
class Subject:
    """What is monitored.

    Attributes:
      folder: of the run.
      stall_timeout_s: see `Heartbeat`.
      whole: what is known of the run at its beginning.
      joules: returns what each device of this machine has used so far; none where nothing tells.
    """

    folder: Path
    stall_timeout_s: float
    whole: Whole
    joules: Callable[[], Mapping[str, float]] = dict


def text_file(folder: Path, run: Path, rank: int) -> Path:
    """Return the name of a node's file: another one for each run, and each node where several share the folder.

    >>> text_file(Path("/textfile"), Path("/runs/a"), 0).name
    'harness-704e1951db55-0.prom'
    """
    digest = hashlib.sha256(str(run).encode()).hexdigest()[:12]
    return folder / f"harness-{digest}-{rank}.prom"


class NoMonitor:
    """Tells nobody."""

    def beat(self, beat: Beat) -> None:
        """Take note of how this rank stands. Called every second, and a last time with the beat that is the last."""

    def see(self, beats: Sequence[Beat]) -> None:
        """Take note, on rank 0, of how all ranks stand."""

    def close(self, *, forget: bool = False) -> None:
        """End. What was told stays where the run has not come to its end, unless that is to be forgotten."""


class Monitor(NoMonitor):
    """Tells Prometheus.

    Args:
      node: how the ranks of this machine tell each other.
      subject: what is monitored.
      rank: of this process.
      clock, wall: seconds, monotonic and since 1970.
    """

    def __init__(
        self, node: NodeBeats, subject: Subject, rank: int,
        clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self._node = node
        self._subject = subject
        self._rank = rank
        self._clock, self._wall = clock, wall
        self._pages: list[Page] = []
        self._lock = threading.Lock()
        self._moved: dict[int, tuple[tuple[int, str], float]] = {}  # by rank, its newest sign of progress and when it came
        self._whole: Whole | None = subject.whole if rank == 0 else None
        self._begun: tuple[float, int] | None = None  # when examples of this attempt were seen first, and how many
        self._write_due_s = self._disk_due_s = clock()
        self._warned = self._ended = False
        self._judge_due_s = clock()
        self._stragglers: Mapping[int, str] | None = None

    @classmethod
    def open(cls, node: NodeBeats, subject: Subject, rank: int, spec: MonitorSpec, folder: Path | None) -> Monitor:
        """Make the monitor of this rank, and open its pages where it is the first of its node.

        Args:
          node, subject, rank: see `Monitor`.
          spec: what the job asks for.
          folder: of the text files, absolute.
        Raises: UsageError: a page cannot be opened here.
        """
        monitor = cls(node, subject, rank)
        if node.is_first:
            try:
                if spec.port is not None:
                    monitor._pages.append(HttpPage(spec.address, spec.port, monitor.page))
                if folder is not None:
                    monitor._pages.append(TextFile(text_file(folder, subject.folder, rank), monitor.page))
            except BaseException:
                monitor.close(forget=True)
                raise
        return monitor

    def beat(self, beat: Beat) -> None:
        """Take note of how this rank stands, and write what is to be written."""
        if self._ended:
            return
        self._node.tell(beat)
        if self._node.is_first:
            with self._lock:
                for known in self._node.known():
                    self._idle_s(known, self._clock())
        if beat.over:
            self.close(forget=True)
        elif self._clock() >= self._write_due_s:
            self._write_due_s = self._clock() + WRITE_EVERY_S
            self._show()

    def see(self, beats: Sequence[Beat]) -> None:
        """Take note of how all ranks stand."""
        now = self._clock()
        done = sum(beat.examples for beat in beats)
        if self._begun is None and done:
            self._begun = now, done
        rate = None
        if self._begun is not None and now > self._begun[0] and any(beat.phase == "evaluating" for beat in beats):
            rate = (done - self._begun[1]) / (now - self._begun[0])
        if now >= self._judge_due_s:
            self._judge_due_s = now + max(JUDGE_EVERY_S, len(beats) / JUDGED_PER_S)
            self._stragglers = {straggler.rank: str(straggler.cause) for straggler in stragglers(ranks_of(beats))}
        with self._lock:
            if self._whole is not None:
                self._whole = replace(self._whole, beats=tuple(beats), examples_per_s=rate, stragglers=self._stragglers)
        if now >= self._disk_due_s:
            self._disk_due_s = now + LOOK_AT_DISK_S
            self._look_at_disk()

    def page(self) -> list[Sample]:
        """Return what there is to tell now. Any thread."""
        now = self._clock()
        beats = self._node.known()
        with self._lock:
            idle_s = {beat.rank: self._idle_s(beat, now) for beat in beats}
            whole = self._whole
        timeout_s = self._subject.stall_timeout_s or NEVER_S
        return samples(
            Node(str(self._subject.folder), self._wall(), beats, idle_s, STALLED_SHARE * timeout_s, self._subject.joules(), whole)
        )

    def close(self, *, forget: bool = False) -> None:
        """End. Where the run is over its file goes; where it died it stays, and its time tells."""
        if self._ended:
            return
        self._ended = True
        for page in self._pages:
            if forget or isinstance(page, HttpPage):
                page.close()
        self._node.close()

    def _idle_s(self, beat: Beat, now: float) -> float:
        state = beat.moves, beat.phase
        known = self._moved.get(beat.rank)
        if known is None or known[0] != state:
            known = self._moved[beat.rank] = state, now
        return now - known[1]

    def _look_at_disk(self) -> None:
        with contextlib.suppress(OSError):
            usage = shutil.disk_usage(self._subject.folder)
            with self._lock:
                if self._whole is not None:
                    self._whole = replace(self._whole, free_bytes=usage.free, size_bytes=usage.total)

    def _show(self) -> None:
        for page in self._pages:
            try:
                page.show()
            except OSError as exc:
                if not self._warned:
                    self._warned = True
                    LOG.say(Event.MONITOR_WARNING, f"metrics for Prometheus cannot be written: {exc}; the run goes on")
