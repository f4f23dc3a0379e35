"""What keeps an eye on a run of the command line: heartbeat, progress, signals, and in an elastic run the other ranks."""

from __future__ import annotations

import contextlib
import re
from types import TracebackType
from typing import TYPE_CHECKING

from harness.errors import CommError, HarnessError, WorldChanged
from harness.folder.commit import Committer
from harness.folder.run_folder import RunFolder
from harness.names.events import Event
from harness.names.log import LOG, Place
from harness.ranks.notices import shared_notices
from harness.ranks.schedule import Assigned
from harness.run.door import Door
from harness.run.limits import Limits
from harness.run.record import Process
from harness.sums.reduction import Reduced
from harness.watch.beat import Beat
from harness.watch.beat_file import PERIOD_S, turn
from harness.watch.elastic import Stuck, Watch, is_elastic
from harness.watch.failure import Ended, report_failure
from harness.watch.gpu import Gpu
from harness.watch.heartbeat import Heartbeat
from harness.watch.interrupt import Interrupt
from harness.watch.monitor import NoMonitor
from harness.watch.neighbours import Neighbours
from harness.watch.progress import Progress
from harness.watch.ranks_file import Attempted, RanksFile
from harness.watch.time_split import Watched
from harness.watch.vitals import VitalSigns

if TYPE_CHECKING:
    from harness.step.build import Built

__all__ = ["Attended"]

CHUNK = re.compile(r"chunk (\d+)")  # what a beat says of where a rank works


class Attended(Door):
    """The door of the command line: a run that is watched, and may be interrupted. A context: what it starts ends with it.

    Made by all ranks together.

    Args:
      process: this rank.
      folder: of the run.
      attempted: what the attempt is at.
      progress: shows that of all ranks, on rank 0.
      monitor: is told how ranks fare.
      stall_timeout_s: after how long without progress a rank is stuck.
    Attributes:
      heartbeat: of this rank.
      interrupt: ends this rank when it is asked to stop; None where nobody listens.
      limits: measures what the machine can do at most, once the result is written; None where nobody asks.
    """

    rests = True

    def __init__(
        self,
        process: Process,
        folder: RunFolder,
        attempted: Attempted,
        progress: Progress,
        monitor: NoMonitor,
        *,
        stall_timeout_s: float,
    ) -> None:
        comm = process.comm
        super().__init__(comm)
        self.interrupt: Interrupt | None = None
        self.limits: Limits | None = None
        self._committer: Committer | None = None
        self._folder = folder
        self._attempted = attempted
        self._monitor = monitor
        self._progress = progress
        self._file = RanksFile(folder, comm.size, attempted)
        self._watch = Watch(comm, folder, attempted.attempt) if is_elastic() else None
        self._stuck = Stuck(comm, folder) if is_elastic() else None
        self._notices, problem = shared_notices(comm)
        period_s = turn(1, comm.size).every_s
        if problem and comm.rank == 0 and period_s > PERIOD_S:
            LOG.say(
                Event.RUN_WARNING,
                f"ranks tell how they stand in files, every {period_s:.0f} s, and so long a rank that is stuck goes unnoticed: "
                f"{problem}",
            )
        self.heartbeat = Heartbeat(
            folder,
            comm.rank,
            comm.size,
            stall_timeout_s=stall_timeout_s,
            on_stall=self._stuck or self._end_stalled,
            on_beats=self._show,
            notices=self._notices,
        )
        gpu = Gpu.of_rank(comm.local_rank) if list(process.devices) != ["CPU"] else None
        self.heartbeat.signs = VitalSigns(process.threads, gpu)
        self.heartbeat.on_beat = monitor.beat
        self.heartbeat.neighbours = Neighbours.meet(comm)

    @property
    def elastic(self) -> bool:
        """Whether ranks may come and go."""
        return self._watch is not None

    def __enter__(self) -> Attended:
        LOG.rank, LOG.place = self.comm.rank, self._place
        if self.comm.rank == 0:
            at = self._attempted
            done = f", {at.earlier_chunks} of them done already" if at.earlier_chunks else ""
            ranks = f"{self.comm.size} rank{'s' * (self.comm.size > 1)}"
            LOG.note(Event.RUN_BEGUN, f"{self._folder.path}: {at.examples} examples in {at.chunks} chunks{done}, on {ranks}")
        self.heartbeat.start()
        if self._watch is not None:
            self._watch.start()
            self.comm.on_new_hosts(self._watch.invite)
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        if self._watch is not None and self._stuck is not None:
            self._watch.close()
            if self._stuck.counter is not None:
                self._stuck.counter.close()  # where this round is given up, whoever asks it learns so
        self._progress.close()
        self.heartbeat.stop()
        self._monitor.close(forget=kind is not None and issubclass(kind, WorldChanged | CommError))
        self._notices.close()

    def move(self, phase: str | None = None, where: str | None = None) -> None:
        """Show a sign of progress."""
        entered = phase is not None and phase != self.heartbeat.beat.phase
        self.heartbeat.move(phase, where)
        if entered:
            LOG.note(Event.RANK_PHASE, f"rank {self.comm.rank} is {phase}")

    def begin(self, text: str) -> None:
        """Show what is done before the first example."""
        if self.comm.rank == 0:
            self._progress.begin(text)

    def progress(self, examples: int, chunks: int, part: str) -> None:
        """Show what is evaluated."""
        beat = self.heartbeat.beat
        beat.examples, beat.chunks, beat.part = examples, chunks, part

    def attach(self, step: Watched, earlier: int) -> None:
        """Measure how this rank fares by the account of its loop."""
        self.heartbeat.signs.attach(step, earlier)

    def guard(self, committer: Committer) -> None:
        """Have what is finished committed before this rank is ended."""
        self._committer = committer
        if self.interrupt is not None:
            self.interrupt.guard(committer)

    def border(self, committer: Committer) -> None:
        """Commit where that is due.

        Raises: WorldChanged: ranks are to meet anew.
        """
        committer.border()
        if self._watch is not None and self._watch.leaving:
            committer.finish()
            raise WorldChanged("there are new hosts")

    def failing(self, committer: Committer) -> None:
        """Commit all chunks before the one that failed."""
        with contextlib.suppress(HarnessError):
            committer.keep(0.0)

    def shared_out(self, assigned: Assigned) -> None:
        """Take note of how chunks come to ranks."""
        if self._stuck is not None:
            self._stuck.counter = assigned.counter

    def concluded(self, built: Built, assigned: Assigned, reduced: Reduced) -> None:
        """Measure the limits."""
        if self.limits is not None:
            self.move("measuring limits", "")
            self.limits.measure(built, assigned, reduced, self.move)

    def finish(self, examples: int) -> None:
        """Show that all is evaluated."""
        self._progress.finish(examples)

    def _place(self) -> Place:
        beat = self.heartbeat.beat
        chunk = CHUNK.match(beat.where)
        return Place(self._attempted.attempt, beat.phase, int(chunk[1]) if chunk else None)

    def _show(self, beats: list[Beat]) -> None:
        self._progress.show(beats)
        self._file.write_in_turn(beats)
        self._monitor.see(beats)

    def _end_stalled(self, _beat: Beat, message: str) -> bool:
        if self._committer is not None:
            self.failing(self._committer)
        text = f"{message}; the job ends. Look at that machine, or allow more time"
        report_failure(self.comm, self._folder, Ended(HarnessError.exit_code, text, self.comm.rank))
        self.comm.abort(HarnessError.exit_code)
        return False
