"""Heartbeats: each rank tells how it stands; from that come the progress line and the answer to slow or stuck.

A thread of each rank tells it to rank 0 in notices, every second or a few, and leaves it in the run folder, more seldom. It
watches too: itself, and others by a `Roster`. Rank 0 watches all, rank 1 watches rank 0.
"""

from __future__ import annotations

import faulthandler
import sys
import threading
import time
from collections.abc import Callable, Sequence

from harness.folder.file_rate import STOPS
from harness.folder.run_folder import RunFolder
from harness.ranks.notices import NoNotices, Notices
from harness.watch.beat import Beat
from harness.watch.beat_file import PERIOD_S, BeatFile
from harness.watch.neighbours import Neighbours
from harness.watch.roster import Roster, notice_period_s
from harness.watch.stack_dump import StackAnswers
from harness.watch.vitals import VitalSigns

__all__ = ["Heartbeat"]

STACK_FIRST_S = 3.0  # a stuck rank that still can names itself, with its stack, before another names it
RANK_0_FIRST_S = 10.0  # a rank that stands still because rank 0 does lets that be named, which hands out the chunks
LEAVING_LOOK_S = 0.1


class Heartbeat:
    """The thread that beats and watches.

    Args:
      folder: run folder.
      rank, size: of this process.
      stall_timeout_s: after how long without progress a busy rank is stuck; 0 is never.
      on_stall: called from the thread, once for a rank that is stuck, with its beat and a message; returns whether to watch on.
      on_beats: called every second on rank 0 with what is known of all ranks.
      notices: that ranks send each other.
    Attributes:
      beat: of this rank.
      signs: measure how it fares; to be set before the start.
      on_beat: called every second with it, and a last time at the end; to be set before the start.
      neighbours: the other ranks of this machine; to be set before the start.
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
        notices: Notices | None = None,
    ) -> None:
        self.beat = Beat(rank)
        self.signs = VitalSigns()
        self.neighbours = Neighbours()
        self.on_beat: Callable[[Beat], None] = lambda beat: None
        self._size = size
        self._timeout_s = stall_timeout_s
        self._on_stall = on_stall
        self._on_beats = on_beats
        self._notices = notices or NoNotices()
        self._roster = Roster(folder, rank, size, self._notices, stall_timeout_s=stall_timeout_s)
        self._file = BeatFile(folder, rank, size)
        self._notice_due_s = time.monotonic() + notice_period_s(size) * rank / size
        self._stacks = StackAnswers(folder, rank, size, self._notices)
        self._given_up: set[int] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    @property
    def asked(self) -> str | None:
        """Why rank 0 says that all ranks are to stop; an empty text where a person asks, None where nobody does."""
        heard = self._notices.heard().get(0)
        return Beat.from_notice(heard.notice, 0).asked if heard else None

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def move(self, phase: str | None = None, where: str | None = None) -> None:
        """Show progress."""
        if phase is not None:
            self.beat.phase = phase
            self.signs.enter(phase)
        if where is not None:
            self.beat.where = where
        self.beat.moves += 1

    def ask_to_stop(self, why: str) -> None:
        """Tell all ranks, on rank 0, that they are to stop."""
        if self.beat.rank == 0:
            self.beat.asked = why
            self._tell(at_once=True)

    def stop(self) -> None:
        """End the thread after a last beat."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def wait_for_others(self, deadline: float | None) -> None:
        """Wait, once this rank has stopped, until all ranks have committed or are done: rank 0 knows, and tells.

        Args:
          deadline: by the monotonic clock, to wait no longer.
        """
        if self._notices.heard():
            look_s = notice_period_s(self._size, LEAVING_LOOK_S)
        else:
            look_s = STOPS.turn(self.beat.rank, self._size, LEAVING_LOOK_S).every_s
        while not self._may_leave():
            left_s = look_s if deadline is None else min(look_s, deadline - time.monotonic())
            if left_s <= 0:
                break
            time.sleep(left_s)
            self._tell(at_once=False)  # again: what was told may have got lost
        if self.beat.rank == 0 and self._size > 1:
            self.beat.left = True
            self._tell(at_once=True)
            self._file.write(self.beat)

    def _may_leave(self) -> bool:
        if self._size == 1:
            return True
        beats = self._roster.look()
        return all(beat.over for beat in beats) if self.beat.rank == 0 else beats[0].left or beats[0].phase == "done"

    def _run(self) -> None:
        while not self._stop.wait(PERIOD_S):
            now = time.monotonic()
            self._stacks.serve(self.beat)
            told = now >= self._notice_due_s
            if told or self._file.due:
                self.beat.vitals = self.signs.measure(self.beat.examples).to_json()
            if told:
                self._tell(at_once=False)
                self._notice_due_s = now + notice_period_s(self._size) - PERIOD_S / 2
            self._file.write_in_turn(self.beat)
            self.on_beat(self.beat)
            self._judge()
        self.beat.vitals = self.signs.measure(self.beat.examples).to_json()
        self.on_beat(self.beat)
        self._tell(at_once=True)
        if self._file.often or not self._notices.heard():
            self._file.write(self.beat)
        if self.beat.rank == 0:
            self._on_beats([self.beat, *self._roster.look()])

    def _tell(self, *, at_once: bool) -> None:
        self._notices.publish(self.beat.to_notice(), at_once=at_once)

    def _judge(self) -> None:
        others = self._roster.look() if self.beat.rank <= 1 else []
        beats = [self.beat, *others]
        if self.beat.rank == 0:
            self._on_beats(beats)
        for beat in (beat for beat in beats if beat.rank not in self._given_up):
            idle_s = self._roster.idle_s(beat)
            here = beat.rank == self.beat.rank
            patience_s = 0.0 if here else STACK_FIRST_S + self._roster.delay_s(beat.rank)
            if here and self._rank_0_stands_still(others, idle_s):
                patience_s = STACK_FIRST_S + self._roster.delay_s(0) + RANK_0_FIRST_S
            if self._timeout_s and beat.busy and idle_s > self._timeout_s + patience_s:
                if here:
                    faulthandler.dump_traceback(file=sys.stderr, all_threads=True)
                self._given_up.add(beat.rank)
                message = f"{beat} has made no progress for {idle_s:.0f} s (--stall-timeout {self._timeout_s:g})"
                if not self._on_stall(beat, message):
                    self._stop.set()
                    return

    def _rank_0_stands_still(self, others: Sequence[Beat], idle_s: float) -> bool:
        """Say whether rank 0 is silent, or has not moved for as long as this rank."""
        if self.beat.rank == 0:
            return False
        if heard := self._notices.heard().get(0):
            return time.monotonic() - heard.time_s > 2 * notice_period_s(self._size) + PERIOD_S
        return bool(others) and self._roster.idle_s(others[0]) >= idle_s - 2 * PERIOD_S
