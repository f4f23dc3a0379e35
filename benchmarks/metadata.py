"""What a world of any size asks of a shared file system's metadata in a second, while its loop runs. Reading of data apart.

The harness's own writers, watchers and journals do their real operations on files in a folder of this machine, where they
are counted; only the time is made up, so that hours pass in seconds. Nothing is synced to the disk: that is no metadata.
"""

from __future__ import annotations

import heapq
import math
import os
import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.file_operations import FileOperations

__all__ = ["Asked", "Counted", "count", "table"]

CHUNK_S = 300.0  # ranks commit between chunks
PERIODS = 20  # of commits: a rank joins its segments after 16 to 31, so a sixteenth of the ranks joins in each of the last few
WINDOW_S = 60


@dataclass(frozen=True)
class Asked:
    """Operations a second for one purpose: on average, and in the busiest minute."""

    purpose: str
    mean: float
    busiest: float


@dataclass(frozen=True)
class Counted:
    """What a world asks for.

    Attributes:
      ranks: of the world.
      asked: by purpose.
      beats_alone: what heartbeats ask for where datagrams do not get through.
    """

    ranks: int
    asked: tuple[Asked, ...]
    beats_alone: Asked

    @property
    def all(self) -> Asked:
        """For all purposes; as if their busiest minutes were the same."""
        return Asked("all", sum(part.mean for part in self.asked), sum(part.busiest for part in self.asked))

    @property
    def all_alone(self) -> Asked:
        """The same where datagrams do not get through."""
        beats, alone = self.asked[0], self.beats_alone
        return Asked(
            "all, without datagrams", self.all.mean - beats.mean + alone.mean, self.all.busiest - beats.busiest + alone.busiest
        )

    def document(self) -> dict[str, Any]:
        """Return everything as JSON can hold it."""
        return asdict(self)


class Clock:
    """The time of a simulated world."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class Action:
    """Something that a rank does again and again."""

    first_s: float
    every_s: float
    do: Callable[[], None]


def count(ranks: int) -> Counted:
    """Count what a world of so many ranks asks for."""
    purposes: dict[str, Callable[[Any], tuple[float, float]]] = {
        "heartbeats": lambda folder: _beats(folder, ranks, notices=True),
        "requests to stop": lambda folder: _stops(folder, ranks),
        "journal": lambda folder: _commits(folder, ranks),
        "without datagrams": lambda folder: _beats(folder, ranks, notices=False),
    }
    asked = []
    for purpose, simulate in purposes.items():
        with _folder() as folder:
            asked.append(Asked(purpose, *simulate(folder)))
    return Counted(ranks, tuple(asked[:-1]), asked[-1])


@contextmanager
def _folder() -> Iterator[Any]:
    from harness.folder.run_folder import RunFolder

    fsync = os.fsync
    with tempfile.TemporaryDirectory(prefix="harness-metadata-") as name:
        folder = RunFolder(Path(name))
        for path in (folder.progress, folder.journal, folder.attempts):
            path.mkdir()
        os.fsync = lambda descriptor: None  # type: ignore[assignment]
        try:
            yield folder
        finally:
            os.fsync = fsync


def _played(folder: Any, clock: Clock, actions: list[Action], until_s: float) -> tuple[float, float]:
    """Let a world act for so long; return operations a second on average, and in the busiest minute."""
    queue = [(action.first_s, number) for number, action in enumerate(actions)]
    heapq.heapify(queue)
    counts = np.zeros(math.ceil(until_s / WINDOW_S) + 1)
    with FileOperations(folder.path) as operations:
        while queue[0][0] < until_s:
            clock.now, number = queue[0]
            before = operations.total
            actions[number].do()
            counts[int(clock.now / WINDOW_S)] += operations.total - before
            heapq.heapreplace(queue, (clock.now + actions[number].every_s, number))
    return float(counts.sum() / until_s), float(counts.max() / WINDOW_S)


def _beats(folder: Any, ranks: int, *, notices: bool) -> tuple[float, float]:
    """Every rank leaves its beat in its turn; ranks 0 and 1 watch, and rank 0 leaves what it knows of all."""
    from harness.ranks.notices import Heard, NoNotices
    from harness.watch.beat import Beat
    from harness.watch.beat_file import PERIOD_S, BeatFile, turn
    from harness.watch.ranks_file import Attempted, RanksFile
    from harness.watch.roster import Roster
    from harness.watch.stack_dump import StackAnswers

    class AllHeard(NoNotices):
        def __init__(self, others: range) -> None:
            self._heard = {rank: Heard(Beat(rank).to_notice(), math.inf) for rank in others}

        def heard(self) -> Any:
            return self._heard

    clock = Clock()
    everyone = RanksFile(folder, ranks, Attempted(1, 0, 0), clock)
    requests = StackAnswers(folder, 0, ranks, NoNotices())
    actions = [
        Action(0.0, PERIOD_S, lambda: everyone.write_in_turn([Beat(0)])),
        Action(0.0, PERIOD_S, lambda: requests.serve(Beat(0))),
    ]
    for rank in range(ranks):
        file, beat, when = BeatFile(folder, rank, ranks, clock), Beat(rank), turn(rank, ranks)
        actions.append(Action(when.first_s, when.every_s, lambda file=file, beat=beat: file.write_in_turn(beat)))  # type: ignore[misc]
    for rank, others in ((0, range(1, ranks)), (1, range(1))):
        if rank < ranks > 1:
            roster = Roster(folder, rank, ranks, AllHeard(others) if notices else NoNotices(), clock)
            actions.append(Action(0.0, PERIOD_S, lambda roster=roster: roster.look()))  # type: ignore[misc]
    return _played(folder, clock, actions, max(600.0, 2 * turn(ranks - 1, ranks).every_s))


def _stops(folder: Any, ranks: int) -> tuple[float, float]:
    """Every rank looks in its turn whether it is asked to stop."""
    from harness.watch.interrupt import stop_turn

    turns = [stop_turn(rank, ranks) for rank in range(ranks)]
    actions = [Action(turn.first_s, turn.every_s, lambda: folder.asked_to_stop(1)) for turn in turns]
    return _played(folder, Clock(), actions, max(600.0, 2 * turns[-1].every_s))


def _commits(folder: Any, ranks: int) -> tuple[float, float]:
    """Every rank commits between chunks when that is due."""
    from harness.folder.attempts import begin
    from harness.folder.commit import MOST_S, Committer
    from harness.folder.file_rate import COMMITS
    from harness.folder.journal import Journal
    from harness.folder.segment import Origin
    from harness.sums.accumulator import Accumulator
    from harness.sums.grid import GridLayout
    from harness.sums.layout import Counted as Count
    from harness.sums.layout import Layout
    from harness.sums.sums import Layouts, Sums

    state = Layout((), (Count(("m", "n"), 3),))
    layouts = Layouts(state, GridLayout((), (Count(("m", "n"), 1),), (), (), state), {})
    origin = Origin(*"abcdef")
    attempt = begin(folder, (), 0, ranks)
    draws = random.Random(5)
    clock = Clock()
    period_s = max(MOST_S, COMMITS.turn(0, ranks).every_s)
    chunk_s = min(CHUNK_S, period_s / 4)
    chunks = iter(range(1 << 62))

    def rank_of(rank: int) -> Callable[[], None]:
        accumulator = Accumulator(layouts, None)
        journal = Journal(folder.journal, origin, attempt.number, rank, lambda: attempt.check(folder))
        turn = COMMITS.turn(rank, ranks)
        committer = Committer(accumulator, lambda lines: True, journal.write, turn=turn, clock=clock)

        def chunk() -> None:
            sums = Sums.zero(layouts)
            lines = np.array([[next(chunks), 1, 0, 1, 0, 0, 0, 0]])
            accumulator.add(Sums(lines, sums.state, sums.grid, sums.rows), 1)
            committer.border()

        return chunk

    actions = [Action(draws.uniform(0, chunk_s), chunk_s, rank_of(rank)) for rank in range(ranks)]
    return _played(folder, clock, actions, PERIODS * period_s)


def table(worlds: list[Counted]) -> str:
    """Write operations a second as lines of a Markdown table: the mean, and the busiest minute."""
    rows = {world.ranks: (*world.asked, world.all, world.all_alone) for world in worlds}
    names = [part.purpose for part in rows[worlds[0].ranks]]
    lines = [
        "metadata operations a second of all ranks while the loop runs: mean (busiest minute)",
        "",
        f"| ranks | {' | '.join(names)} |",
        f"| ---: |{' ---: |' * len(names)}",
    ]
    for ranks, parts in rows.items():
        lines.append(f"| {ranks:,} | {' | '.join(f'{part.mean:.1f} ({part.busiest:.1f})' for part in parts)} |")
    return "\n".join(lines)
