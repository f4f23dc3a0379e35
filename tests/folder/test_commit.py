"""When commits come, what is in them, and what another thread may ask for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from harness.errors import HarnessError
from harness.exact.limbs import CELL
from harness.folder.commit import Committer, Pace
from harness.folder.file_rate import COMMITS
from harness.plan.certificate import Certificate
from harness.plan.plan import File, Plan
from harness.sums.accumulator import Accumulator
from harness.sums.grid import GridLayout, GridState
from harness.sums.layout import Counted, Layout
from harness.sums.row_store import RowStore
from harness.sums.rows import RowTable
from harness.sums.sums import Layouts, Sums

PLAN = Plan((File("a", 0, 12),), 2, 4)
STATE = Layout((), (Counted(("m", "n"), 3),))
LAYOUTS = Layouts(STATE, GridLayout((), (Counted(("m", "n"), 1),), (), (), STATE), {})


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def call(chunk: int, hash_by: int = 0) -> Sums:
    """What the step gives for a chunk: its number in the state, one row."""
    whole = PLAN[chunk]
    sums = Sums.zero(LAYOUTS)
    sums.state = np.eye(3, dtype=np.int64)[chunk]
    sums.rows["auc"] = RowStore.of(RowTable(np.array([float(chunk)]), {}, np.array([whole.start]), np.zeros((1, 0), np.int64)))
    lines = np.array([[chunk, 4, PLAN.id_hash(whole) + hash_by, 4, 0, 0, 0, chunk + 5]])
    return Sums(lines, sums.state, sums.grid, sums.rows)


class Rank:
    """An accumulator and its committer, which writes to a list."""

    def __init__(
        self, take_grid: Callable[[], GridState] | None = None, write: Callable[[Sums], None] | None = None, **pace: Any
    ) -> None:
        self.written: list[Sums] = []
        self.certificate = Certificate(PLAN)
        self.accumulator = Accumulator(LAYOUTS, take_grid)
        keep = write or (lambda sums: self.written.append(sums.copy()))
        self.committer = Committer(self.accumulator, self.certificate.matches, keep, **pace)

    def add(self, chunk: int, hash_by: int = 0) -> None:
        self.accumulator.add(call(chunk, hash_by), 1)

    @property
    def chunks(self) -> list[list[int]]:
        return [sums.chunks.tolist() for sums in self.written]

    def problems(self) -> list[str]:
        self.certificate.add(self.accumulator.total().lines)
        self.certificate.expect(PLAN[i] for i in range(3))
        return self.certificate.problems()


def test_the_pace_keeps_the_cost_under_one_percent():
    clock = Clock()
    pace = Pace(0.5, 10.0, clock)
    spent, cost_s, longest, last = 0.0, 0.2, 0.0, 0.0
    while clock.now < 3600:
        if pace.due:
            longest, last = max(longest, clock.now - last), clock.now
            clock.now += cost_s
            spent += cost_s
            pace.took(cost_s)
        clock.now += 0.05
    assert 0.009 * 3600 < spent <= 0.01 * 3600
    assert longest < 21


def test_the_first_commit_comes_early_and_cheap_ones_often():
    clock = Clock()
    pace = Pace(0.5, 10.0, clock)
    times = []
    while clock.now < 600:
        if pace.due:
            times.append(clock.now)
            pace.took(0.001)
        clock.now += 0.1
    assert times[0] == pytest.approx(0.5) and times[1] == pytest.approx(1.0, abs=0.11)
    gaps = np.diff(times)
    assert gaps.max() < 10.2 and gaps[-1] > 9.8
    assert all(gap <= max(0.7, 0.05 * at + 0.2) for gap, at in zip(gaps, times[1:], strict=True))


def test_a_rank_of_many_waits_for_its_turn():
    """However little a commit costs: rank 1,024 of 4,096 first a quarter of the period after rank 0, then once a period."""
    clock = Clock()
    turn = COMMITS.turn(1024, 4096)
    pace = Pace(0.5, 10.0, clock, turn)
    times = []
    while clock.now < 3 * turn.every_s:
        if pace.due:
            times.append(clock.now)
            pace.took(0.001)
        clock.now += 1.0
    assert times[0] == pytest.approx(0.5 + turn.every_s / 4, abs=1.0) and len(times) == 3
    assert np.diff(times) == pytest.approx(turn.every_s, abs=1.0)


def test_commits_hold_what_came_since_the_last():
    clock = Clock()
    rank = Rank(first_s=1.0, most_s=1.0, clock=clock)
    rank.committer.border()
    rank.add(1)
    rank.committer.border()
    assert rank.written == []  # not due
    clock.now = 1.0
    rank.committer.border()
    rank.add(0)
    rank.add(2)
    rank.committer.finish()
    rank.committer.finish()  # nothing new
    assert rank.chunks == [[1], [0, 2]]
    assert [sums.state.tolist() for sums in rank.written] == [[0, 1, 0], [1, 0, 1]]
    assert [sums.rows["auc"].table().key.tolist() for sums in rank.written] == [[1.0], [0.0, 2.0]]
    assert rank.committer.commits == 2
    assert rank.problems() == []  # what is committed is still counted here


@pytest.mark.parametrize("uptime_s", [0.0, 1e6])  # the clock of a machine begins when it was started
@pytest.mark.parametrize("row_count", [0, 1, 100])
def test_rows_of_a_metric_do_not_change_how_often_a_rank_commits(row_count, uptime_s):
    """An hour of chunks that take a second; a commit takes 10 ms: at most 10 s of work are not on the disk at any time."""
    plan = Plan((File("a", 0, 4 * 3600),), 2, 4)
    clock = Clock()
    clock.now = uptime_s
    times: list[float] = []

    def write(sums: Sums) -> None:
        assert [len(store) for store in sums.rows.values()] == [row_count * len(sums.lines)] * bool(row_count)
        clock.now += 0.01
        times.append(clock.now - uptime_s)

    certificate, accumulator = Certificate(plan), Accumulator(LAYOUTS)
    committer = Committer(accumulator, certificate.matches, write, clock=clock)
    for chunk in range(3600):
        sums = Sums.zero(LAYOUTS)
        if row_count:
            ids = np.arange(row_count)
            sums.rows["auc"] = RowStore.of(RowTable(ids + 0.5, {}, ids, np.zeros((row_count, 0), np.int64)))
        lines = np.array([[chunk, 4, plan.id_hash(plan[chunk]), 4, 0, 0, 0, 0]])
        accumulator.add(Sums(lines, sums.state, sums.grid, sums.rows), 1)
        clock.now += 1.0
        committer.border()
    gaps = np.diff([0.0, *times, clock.now - uptime_s])
    assert gaps.max() <= 11.1 and committer.cost_s == pytest.approx(0.01 * len(times)) and len(times) > 300


def test_what_a_commit_costs_is_taking_the_grid_and_writing():
    """The sums of a large grid take longer to take than to write: both keep under one percent."""
    clock = Clock()

    def write(_sums: Sums) -> None:
        clock.now += 1.0

    rank = Rank(lambda: graph(), write, first_s=0.5, most_s=10.0, clock=clock)
    graph = Graph(lambda: rank, clock, cost_s=3.0)
    clock.now = 1.0
    rank.add(0)
    rank.committer.border()
    assert (rank.committer.commits, rank.committer.cost_s) == (1, 4.0)
    rank.add(1)
    clock.now = 5.0 + 399.0
    rank.committer.border()
    assert rank.committer.commits == 1
    clock.now = 5.0 + 403.0
    rank.committer.border()
    assert rank.committer.commits == 2


def test_what_does_not_match_the_plan_is_never_committed():
    rank = Rank(first_s=0.0, most_s=0.0, clock=Clock())
    rank.add(0)
    rank.committer.border()
    rank.add(1, hash_by=1)
    rank.committer.border()
    rank.add(2)
    rank.committer.finish()
    assert rank.chunks == [[0]]
    assert "not the planned ones" in rank.problems()[1]


def grid(chunk: int) -> GridState:
    """What a chunk adds to the grid: a slice of its own, known from then on."""
    keys = tuple(f"0\x1ei{i}" for i in range(chunk + 1))
    dense = np.zeros((chunk + 2, 1, 1), np.int64)
    dense[[0, -1]] = chunk + 1
    return GridState(keys, dense, np.zeros((chunk + 2, 0, 1), np.int64), np.zeros((chunk + 2, 0, 1, CELL), np.int64))


class Graph:
    """The grid of the graph: adds up by chunk until it is taken, which costs a second of the clock where there is one."""

    def __init__(self, rank: Callable[[], Rank], clock: Clock | None = None, cost_s: float = 1.0) -> None:
        self.taken = 0
        self._rank, self._clock, self._cost_s, self._from = rank, clock, cost_s, 0

    def __call__(self) -> GridState:
        self.taken += 1
        if self._clock:
            self._clock.now += self._cost_s
        chunks = range(self._from, self._rank().accumulator.chunks)
        self._from = chunks.stop
        total = GridState.zero(LAYOUTS.grid, 1)
        for chunk in chunks:
            total = total.placed(grid(chunk).keys) + grid(chunk) if total.slots else grid(chunk)
        return total


def test_a_grid_is_taken_with_the_chunks_it_is_of():
    rank = Rank(lambda: graph(), first_s=0.0, most_s=0.0, clock=Clock())
    graph = Graph(lambda: rank)
    for chunk in range(3):
        rank.add(chunk)
        rank.committer.border()
    assert rank.chunks == [[0], [1], [2]]
    total = rank.accumulator.total()
    assert total.grid.keys == grid(2).keys
    assert total.grid.dense.ravel().tolist() == [6, 1, 2, 3]


def test_asked_in_the_middle_of_a_chunk_what_is_finished_is_kept():
    rank = Rank(first_s=100.0)
    rank.add(0)
    rank.committer.border()
    thread = threading.Thread(target=rank.committer.keep, args=(0.0,))
    thread.start()
    thread.join(10)
    assert rank.chunks == [[0]]


def test_asked_in_the_middle_of_a_chunk_a_grid_is_kept_as_of_the_border_where_it_was_taken():
    clock = Clock()
    rank = Rank(lambda: graph(), first_s=1e6, clock=clock)
    graph = Graph(lambda: rank, clock)  # so dear that it is not had at every border
    rank.add(0)
    rank.committer.border()
    rank.add(1)
    rank.committer.border()
    assert graph.taken == 1
    rank.committer.keep(0.0)  # no border comes
    assert rank.chunks == [[0]] and graph.taken == 1


def test_what_was_taken_is_kept_before_the_chunk_under_way_is_waited_for():
    """A launcher may end the rank a second after it has asked."""
    clock, first = Clock(), threading.Event()

    def write(sums: Sums) -> None:
        rank.written.append(sums.copy())
        first.set()

    rank = Rank(lambda: graph(), write, first_s=1e6, clock=clock)
    graph = Graph(lambda: rank, clock)
    rank.add(0)
    rank.committer.border()  # takes the grid
    rank.add(1)
    rank.committer.border()  # too soon for another time
    asking = threading.Thread(target=rank.committer.keep, args=(30.0,), daemon=True)
    asking.start()
    assert first.wait(10) and asking.is_alive()
    assert rank.chunks == [[0]]
    rank.add(2)
    threading.Thread(target=rank.committer.border, daemon=True).start()
    asking.join(10)
    assert not asking.is_alive()
    assert rank.chunks == [[0], [1, 2]]


def test_whether_all_is_settled_is_not_looked_at_while_the_loop_adds():
    """Lines are added up when they are looked at: a chunk that came meanwhile would be lost."""
    accumulator, answers = Accumulator(LAYOUTS, lambda: grid(2)), []
    looking = threading.Thread(target=lambda: answers.append(accumulator.settled), daemon=True)
    with accumulator.lock:  # as the loop has it while it adds
        looking.start()
        looking.join(0.2)
        assert looking.is_alive() and answers == []
    looking.join(10)
    assert answers == [True]


def test_asked_while_a_border_is_near_it_is_waited_for_and_the_loop_goes_no_further():
    clock = Clock()
    rank = Rank(lambda: graph(), first_s=1e6, clock=clock)
    graph = Graph(lambda: rank, clock)
    passed = threading.Event()
    go, under_way = threading.Event(), threading.Event()

    def loop() -> None:
        for chunk in range(2):
            rank.add(chunk)
            rank.committer.border()
        under_way.set()
        go.wait(10)
        rank.add(2)
        rank.committer.border()
        passed.set()

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    assert under_way.wait(10)
    threading.Timer(0.2, go.set).start()
    rank.committer.keep(None)
    assert rank.chunks == [[0, 1, 2]]
    assert not passed.wait(0.2)


def test_a_commit_that_fails_says_so_and_nothing_is_taken_for_committed():
    full, written = [True], []

    def write(sums: Sums) -> None:
        if full[0]:
            raise HarnessError("disk full")
        written.append(sums.chunks.tolist())

    rank = Rank(write=write, first_s=0.0, most_s=0.0)
    rank.add(0)
    with pytest.raises(HarnessError, match="disk full"):
        rank.committer.border()
    full[0] = False
    rank.committer.finish()
    assert written == [[0]]


def test_what_earlier_attempts_have_is_added_once():
    rank, before = Rank(), Rank()
    before.add(1)
    before.committer.finish()
    rank.accumulator.resume(before.written[0])
    rank.add(0)
    rank.add(2)
    total = rank.accumulator.total()
    assert total.state.tolist() == [1, 1, 1]
    assert sorted(total.rows["auc"].take().key.tolist()) == [0.0, 1.0, 2.0]
    rank.certificate.add(total.lines)
    rank.certificate.expect(PLAN[i] for i in range(3))
    assert rank.certificate.problems() == []
