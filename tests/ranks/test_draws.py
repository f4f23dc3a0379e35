"""Tickets: every chunk is drawn once, costly ones first; what a rank holds shrinks towards the end; large worlds simulated."""

import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.worlds import simulate
from harness.errors import CommError
from harness.plan.plan import File, Plan
from harness.ranks.comm import Counter, SingleComm
from harness.ranks.schedule import Schedule, assign
from harness.ranks.tickets import Draws, Tickets
from tests.thread_comm import on_ranks


class Here(Counter):
    """A counter of one process."""

    name = "here"

    def __init__(self) -> None:
        self.value = 0

    def take(self, count: int) -> int:
        before, self.value = self.value, self.value + count
        return before

    def close(self) -> None:
        pass


def plan_of(*sizes: int, chunk_size: int = 10) -> Plan:
    """Files of so many examples; every second one cannot be cut."""
    return Plan(tuple(File(str(i), n, n, divisible=i % 2 == 0) for i, n in enumerate(sizes)), 5, chunk_size)


def test_costly_chunks_come_first_then_those_in_the_order_of_the_plan():
    plan = plan_of(20, 35, 20, 15)
    tickets = Tickets(plan, np.arange(len(plan)), 1, Here())
    drawn = []
    for chunk in tickets.draw(ahead=True):
        drawn.append((chunk.index, chunk.stop - chunk.start))
        tickets.finish(chunk.index)
    assert drawn == [(2, 35), (5, 15), (0, 10), (1, 10), (3, 10), (4, 10)]
    assert [chunk.index for chunk in tickets.chunks] == [index for index, _ in drawn]


@given(
    st.lists(st.integers(0, 60), min_size=1, max_size=6), st.integers(1, 9), st.lists(st.floats(0.01, 9), min_size=1, max_size=9),
    st.randoms(use_true_random=False),
)  # fmt: skip
def test_every_chunk_that_is_left_is_drawn_once(sizes, chunk_size, paces, random):
    plan = plan_of(*sizes, chunk_size=chunk_size)
    left = np.array(sorted(random.sample(range(len(plan)), random.randint(0, len(plan)))), np.int64)
    counter = Here()
    clocks = [[0.0] for _ in paces]
    ranks = [Tickets(plan, left, len(paces), counter, clock=lambda clock=clock: clock[0]) for clock in clocks]
    loops = [(rank.draw(ahead=True), rank, clock, pace) for rank, clock, pace in zip(ranks, clocks, paces, strict=True)]
    while loops:
        entry = random.choice(loops)
        chunks, rank, clock, pace = entry
        if (chunk := next(chunks, None)) is None:
            loops.remove(entry)
            continue
        clock[0] += pace
        rank.finish(chunk.index)
    assert sorted(chunk.index for rank in ranks for chunk in rank.chunks) == left.tolist()


def test_what_is_drawn_shrinks_to_one_chunk_with_one_read_ahead():
    rule, place, numbers = Draws(np.arange(257.0), 2), 0, []
    while place < 256:
        if number := rule.number():
            assert number <= max(2, (256 - place) // 16)  # an eighth of a fair half of what is left
            numbers.append(number)
            place += len(rule.drew(place, number))
        else:
            rule.did(place - rule.held + 1, 0.1)
    assert numbers[:2] == [2, 1]  # of a speed that is not known yet
    assert max(numbers) > 4 and numbers[-8:] == [1] * 8


def test_a_rank_draws_again_when_half_of_what_it_holds_is_done():
    rule = Draws(np.arange(1001.0), 5)
    assert rule.number() == 2
    rule.drew(0, 2)
    assert rule.number() == 0
    rule.did(1, 9.0)  # the first call tells nothing of the speed
    assert rule.number() == 1
    rule.drew(2, 1)
    rule.did(2, 0.1)  # ten a second
    assert rule.number() == 23  # (1000 - 3) / 5 / 8, less the one that is held
    rule.drew(3, 23)
    rule.did(13, 1.0)
    assert rule.number() == 0
    rule.did(15, 0.2)
    assert rule.number() == 13
    rule.drew(26, 10)
    rule.did(27, 1200.0)  # one in a hundred seconds: of its own work it holds at most 5 seconds, and at least two chunks
    assert rule.number() == 0
    rule.did(35, 800.0)
    assert rule.number() == 1


def test_a_fast_rank_holds_a_tenth_of_a_second_of_work_until_the_end():
    rule = Draws(np.arange(1001.0), 5)
    rule.drew(940, 20)
    rule.did(20, 0.5)
    rule.drew(960, 20)
    rule.did(40, 0.02)  # a thousand a second
    assert rule.number() == 20  # all the rest, not 980 .. 1000 one by one
    assert rule.drew(980, 20) == range(980, 1000)
    assert rule.drew(1000, 1) == range(1000, 1000)


def tenths(tickets: Tickets, clock: list[float], chunks: int, *, ahead: bool = False) -> None:
    """Do the first chunks one by one, in a tenth of a second each."""
    drawn = tickets.draw(ahead=ahead)
    for _ in range(chunks):
        tickets.most()
        clock[0] += 0.1
        tickets.finish(next(drawn).index)


@pytest.mark.parametrize("taken, wanted", [(0, 15), (200, 3)])
def test_how_much_is_drawn_depends_on_what_others_have_drawn_meanwhile(taken, wanted):
    clock, counter = [0.0], Here()
    tickets = Tickets(plan_of(2560), np.arange(256), 2, counter, clock=lambda: clock[0])
    tenths(tickets, clock, 2)
    counter.take(taken)
    tenths(tickets, clock, 0)
    tickets.most()
    assert len(tickets.chunks) == 2 + wanted  # an eighth of a half of 254, or of 54


def test_one_call_is_asked_for_half_of_what_is_held_where_it_is_read_ahead():
    for ahead, wanted, then in ((True, 8, 4), (False, 15, 7)):
        clock = [0.0]
        tickets = Tickets(plan_of(2560), np.arange(256), 2, Here(), clock=lambda clock=clock: clock[0])
        tenths(tickets, clock, 2, ahead=ahead)
        next(tickets.draw(ahead=ahead))
        assert (len(tickets.chunks), tickets.most()) == (17, wanted)
        tickets.finish(tickets.chunks[9].index)
        assert tickets.most() == then


def test_drawing_ahead_waits_until_the_loop_has_done_enough():
    tickets = Tickets(plan_of(2560), np.arange(256), 2, Here())
    chunks = tickets.draw(ahead=True)
    first = [next(chunks), next(chunks)]
    drawn = threading.Event()

    def draw() -> None:
        next(chunks)
        drawn.set()

    thread = threading.Thread(target=draw, daemon=True)
    thread.start()
    assert not drawn.wait(0.2)
    tickets.finish(first[0].index)
    assert drawn.wait(30)
    thread.join()


def test_chunks_that_never_come_do_not_hold_up_the_rest(monkeypatch):
    """A reader that leaves out whole chunks: the certificate tells, after all the others."""
    monkeypatch.setattr("harness.ranks.tickets.PATIENCE_S", 0.05)
    plan = plan_of(400)
    tickets = Tickets(plan, np.arange(40), 1, Here())
    drawn = 0
    for chunk in tickets.draw(ahead=True):
        drawn += 1
        if drawn < 20:
            tickets.finish(chunk.index)  # and nothing after that
    assert drawn == 40


@pytest.mark.parametrize("size, each, slow", [(2, 128, 1), (16, 60, 1), (256, 60, 16), (4096, 60, 512)])
def test_worlds_with_ranks_that_are_four_times_slower_end_within_a_tenth_of_the_ideal(size, each, slow):
    found = simulate([0.5] * (size * each), [0.25] * slow + [1.0] * (size - slow))
    assert 0 <= found.late < 0.1
    assert found.draws < size * each


def test_ranks_that_begin_late_and_costs_that_differ():
    rng = np.random.default_rng(3)
    costs = rng.uniform(0.1, 1.0, 64 * 60).tolist()
    assert simulate(costs, rng.uniform(0.5, 2.0, 64).tolist(), rng.uniform(0, 5, 64).tolist()).late < 0.1


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0.25, 1.0), min_size=1, max_size=12), st.integers(100, 200), st.floats(0.01, 2.0))
def test_any_speeds_up_to_four_times_apart_end_within_a_tenth_of_the_ideal(speeds, each, cost):
    found = simulate([cost] * (len(speeds) * each), speeds)
    # within the last two chunks of the slowest, and what a call of a tenth of a second may hold
    assert found.late < 0.1 or found.took_s - found.ideal_s < 2 * cost / min(speeds) + 0.2


def test_a_world_of_one_has_no_tickets():
    plan = plan_of(100)
    found = assign(SingleComm(), plan, np.arange(10), Schedule.DYNAMIC)
    assert (found.schedule, found.counter, len(found.share.chunks)) == (Schedule.STATIC, None, 10)


def test_ranks_draw_over_tcp_and_share_all_chunks():
    plan = plan_of(2000, chunk_size=5)

    def work(comm):
        found = assign(comm, plan, np.arange(len(plan)), Schedule.DYNAMIC)
        assert found.schedule is Schedule.DYNAMIC and found.counter.name == "tcp"
        for chunk in found.share.draw(ahead=True):
            time.sleep(0.002)
            found.share.finish(chunk.index)
        comm.barrier()
        found.counter.close()
        return [chunk.index for chunk in found.share.chunks]

    shares = on_ranks(4, work)
    assert sorted(index for share in shares for index in share) == list(range(400))
    assert all(shares)


def test_where_a_rank_cannot_connect_all_take_fixed_shares(monkeypatch):
    plan = plan_of(100)

    def refused(self):
        if self._rank == 2:
            raise CommError("no connection")
        return connect(self)

    from harness.ranks.counter import TcpCounter

    connect = TcpCounter._connect
    monkeypatch.setattr(TcpCounter, "_connect", refused)
    found = on_ranks(3, lambda comm: assign(comm, plan, np.arange(10), None))
    assert [each.schedule for each in found] == [Schedule.STATIC] * 3
    assert {each.problem for each in found} == {f"rank 2 on {SingleComm().host}: no connection"}
    assert sorted(chunk.index for each in found for chunk in each.share.chunks) == list(range(10))
