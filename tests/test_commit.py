"""When commits come, what is in them, and what another thread may ask for."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from harness.errors import HarnessError
from harness.folder.commit import Committer, Pace, unite_with
from harness.folder.segment import Segment, merge
from harness.plan.certificate import Certificate
from harness.plan.plan import File, Plan
from harness.run.loop import Evaluation
from harness.sums.grid import GridState
from harness.sums.layout import Counted, Layout
from harness.sums.rows import RowTable

PLAN = Plan((File("a", 0, 12),), 2, 4)
LAYOUT = Layout((), (Counted(("m", "n"), 3),))


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Sums:
    """What the step gives for a chunk: its number in the state, one batch a line, one row."""

    def __init__(self, chunk: int, hash_by: int = 0) -> None:
        whole = PLAN[chunk]
        self.state = np.eye(3, dtype=np.int64)[chunk]
        self.seen = np.array([[chunk, 4, PLAN.id_hash(whole) + hash_by, 4, 0, 0, chunk + 5]])
        self.rows = {"auc": RowTable(np.array([float(chunk)]), {}, np.array([whole.start]), np.zeros((1, 0), np.int64))}


def evaluation() -> Evaluation:
    return Evaluation.empty(LAYOUT, Certificate(PLAN), {})


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


def test_commits_hold_what_came_since_the_last():
    written: list[Segment] = []
    clock = Clock()
    found = evaluation()
    committer = Committer(found, written.append, first_s=1.0, most_s=1.0, clock=clock)
    committer.border()
    found.add(Sums(1))
    committer.border()
    assert written == []  # not due
    clock.now = 1.0
    committer.border()
    found.add(Sums(0))
    found.add(Sums(2))
    committer.finish()
    committer.finish()  # nothing new
    assert [segment.chunks.tolist() for segment in written] == [[1], [0, 2]]
    assert [segment.state.tolist() for segment in written] == [[0, 1, 0], [1, 0, 1]]
    assert [segment.rows["auc"].key.tolist() for segment in written] == [[1.0], [0.0, 2.0]]
    assert committer.commits == 2
    found.certificate.expect(PLAN[i] for i in range(3))
    assert found.certificate.problems() == []  # what is committed is still counted here


@pytest.mark.parametrize("uptime_s", [0.0, 1e6])  # the clock of a machine begins when it was started
@pytest.mark.parametrize("row_count", [0, 1, 100_000])
def test_rows_of_a_metric_do_not_change_how_often_a_rank_commits(row_count, uptime_s):
    """An hour of chunks that take a second; a commit takes 10 ms: at most 10 s of work are not on the disk at any time."""
    plan = Plan((File("a", 0, 4 * 3600),), 2, 4)
    found = Evaluation.empty(Layout((), (Counted(("m", "n"), 1),)), Certificate(plan), {})
    clock = Clock()
    clock.now = uptime_s
    times: list[float] = []

    def write(segment: Segment) -> None:
        assert [len(table) for table in segment.rows.values()] == [row_count * len(segment.lines)] * bool(row_count)
        clock.now += 0.01
        times.append(clock.now - uptime_s)

    # What rows there are is known by their number alone here: a store would hold gigabytes.
    rows = {"auc": Rows(row_count)} if row_count else {}
    found.rows.update(rows)  # type: ignore[arg-type]
    committer = Committer(found, write, clock=clock)
    for chunk in range(3600):
        whole = plan[chunk]
        found.certificate.add(np.array([[chunk, 4, plan.id_hash(whole), 4, 0, 0, 0]]))
        for store in rows.values():
            store.chunks += 1
        clock.now += 1.0
        committer.border()
    gaps = np.diff([0.0, *times, clock.now - uptime_s])
    assert gaps.max() <= 11.1 and committer.cost_s == pytest.approx(0.01 * len(times)) and len(times) > 300


class Rows:
    """Stands for a `RowStore` to which each chunk adds the same number of rows."""

    def __init__(self, rows_per_chunk: int) -> None:
        self.rows_per_chunk, self.chunks = rows_per_chunk, 0

    def __len__(self) -> int:
        return self.rows_per_chunk * self.chunks

    def copied(self, start: int, stop: int) -> range:
        return range(start, stop)


def test_what_a_commit_costs_is_its_look_and_its_writing():
    """The sums of a large grid take longer to fetch than to write: both keep under one percent."""
    clock = Clock()
    found = evaluation()

    def fetch() -> GridState:
        clock.now += 3.0
        return grid(found.chunks)

    def write(_segment: Segment) -> None:
        clock.now += 1.0

    committer = Committer(found, write, fetch, first_s=0.5, most_s=10.0, clock=clock)
    clock.now = 1.0
    found.add(Sums(0))
    committer.border()
    assert (committer.commits, committer.cost_s) == (1, 4.0)
    found.add(Sums(1))
    clock.now = 5.0 + 399.0
    committer.border()
    assert committer.commits == 1
    clock.now = 5.0 + 400.0
    committer.border()
    assert committer.commits == 2


def test_what_does_not_match_the_plan_is_never_committed():
    written: list[Segment] = []
    found = evaluation()
    committer = Committer(found, written.append, first_s=0.0, most_s=0.0, clock=Clock())
    found.add(Sums(0))
    committer.border()
    found.add(Sums(1, hash_by=1))
    committer.border()
    found.add(Sums(2))
    committer.finish()
    assert [segment.chunks.tolist() for segment in written] == [[0]]


def grid(n: int) -> GridState:
    """The grid after n chunks: a slice a chunk."""
    keys = tuple(f"0\x1ei{i}" for i in range(n))
    dense = np.arange(n + 1).reshape(-1, 1, 1) * n
    return GridState(keys, dense, np.zeros((n + 1, 0, 1), np.int64), np.zeros((n + 1, 0, 1, 5), np.int64))


def test_a_grid_is_committed_by_differences():
    written: list[Segment] = []
    found = evaluation()
    committer = Committer(found, written.append, lambda: grid(found.chunks), first_s=0.0, most_s=0.0, clock=Clock())
    for chunk in range(3):
        found.add(Sums(chunk))
        committer.border()
    assert len(written) == 3
    total = merge(written).grid
    assert total is not None and total.keys == grid(3).keys and total.flat().tolist() == grid(3).flat().tolist()


def test_asked_in_the_middle_of_a_chunk_what_is_finished_is_kept():
    written: list[Segment] = []
    found = evaluation()
    committer = Committer(found, written.append, first_s=100.0)
    found.add(Sums(0))
    committer.border()
    thread = threading.Thread(target=committer.keep, args=(0.0,))
    thread.start()
    thread.join(10)
    assert [segment.chunks.tolist() for segment in written] == [[0]]


def test_asked_in_the_middle_of_a_chunk_a_grid_is_kept_as_of_the_last_look():
    written: list[Segment] = []
    clock, looks = Clock(), 0
    found = evaluation()

    def fetch() -> GridState:
        nonlocal looks
        looks += 1
        clock.now += 1.0  # so dear that it is not had at every border
        return grid(found.chunks)

    committer = Committer(found, written.append, fetch, first_s=1e6, clock=clock)
    found.add(Sums(0))
    committer.border()
    found.add(Sums(1))
    committer.border()
    assert looks == 1
    committer.keep(0.0)  # no border comes
    assert [segment.chunks.tolist() for segment in written] == [[0]] and looks == 1


def test_what_was_seen_is_kept_before_the_chunk_under_way_is_waited_for():
    """A launcher may end the rank a second after it has asked."""
    clock = Clock()
    found = evaluation()
    written: list[Segment] = []
    first = threading.Event()

    def write(segment: Segment) -> None:
        written.append(segment)
        first.set()

    def fetch() -> GridState:
        clock.now += 1.0
        return grid(found.chunks)

    committer = Committer(found, write, fetch, first_s=1e6, clock=clock)
    found.add(Sums(0))
    committer.border()  # looks
    found.add(Sums(1))
    committer.border()  # too soon for another look
    asking = threading.Thread(target=committer.keep, args=(30.0,), daemon=True)
    asking.start()
    assert first.wait(10) and asking.is_alive()
    assert [segment.chunks.tolist() for segment in written] == [[0]]
    found.add(Sums(2))
    threading.Thread(target=committer.border, daemon=True).start()
    asking.join(10)
    assert not asking.is_alive()
    assert [segment.chunks.tolist() for segment in written] == [[0], [1, 2]]


def test_asked_while_a_border_is_near_it_is_waited_for_and_the_loop_goes_no_further():
    written: list[Segment] = []
    clock = Clock()
    found = evaluation()

    def fetch() -> GridState:
        clock.now += 1.0
        return grid(found.chunks)

    committer = Committer(found, written.append, fetch, first_s=1e6, clock=clock)
    passed = threading.Event()
    go, under_way = threading.Event(), threading.Event()

    def loop() -> None:
        found.add(Sums(0))
        committer.border()
        found.add(Sums(1))
        committer.border()
        under_way.set()
        go.wait(10)
        found.add(Sums(2))
        committer.border()
        passed.set()

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    assert under_way.wait(10)
    threading.Timer(0.2, go.set).start()
    committer.keep(None)
    assert [segment.chunks.tolist() for segment in written] == [[0, 1, 2]]
    assert not passed.wait(0.2)


def test_a_commit_that_fails_says_so_and_nothing_is_taken_for_committed():
    found = evaluation()
    full = [True]
    written: list[Segment] = []

    def write(segment: Segment) -> None:
        if full[0]:
            raise HarnessError("disk full")
        written.append(segment)

    committer = Committer(found, write, first_s=0.0, most_s=0.0)
    found.add(Sums(0))
    with pytest.raises(HarnessError, match="disk full"):
        committer.border()
    full[0] = False
    committer.finish()
    assert [segment.chunks.tolist() for segment in written] == [[0]]


def test_what_earlier_attempts_have_is_added_once():
    found, before = evaluation(), evaluation()
    written: list[Segment] = []
    earlier = Committer(before, written.append)
    before.add(Sums(1))
    earlier.finish()
    found.add(Sums(0))
    found.add(Sums(2))
    assert unite_with(found, None, written[0]) is None
    found.certificate.expect(PLAN[i] for i in range(3))
    assert found.certificate.problems() == []
    assert found.state.tolist() == [1, 1, 1]
    assert sorted(found.rows["auc"].take().key.tolist()) == [0.0, 1.0, 2.0]
