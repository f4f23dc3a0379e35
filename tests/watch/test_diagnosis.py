"""Who is slow, and why: literal vitals, each cause by the signs that are its own; and who is not named though it looks slow."""

from __future__ import annotations

import pytest

from harness.watch.beat import Beat
from harness.watch.diagnosis import Cause, Rank, others_cores, stragglers
from harness.watch.vitals import Recent, Vitals


def rank(number, examples=1000, *, host="a", phase="evaluating", chunks=100, threads=4, cpus="0-3", cpu_s=10.0, busy_s=12.0,
         delayed_s=0.0, per_chunk=10, **seconds):  # fmt: skip
    """A rank over the last 5 s."""
    recent = Recent(5.0, examples, seconds or {"reading": 0.5, "predicting": 4.5}, cpu_s, delayed_s, busy_s)
    vitals = Vitals(60.0, per_chunk * chunks, {"predicting": 50.0}, threads=threads, cpus=cpus, recent=recent)
    return Rank(Beat(number, host, 7, phase, chunks=chunks), vitals)


WELL = [rank(0), rank(1), rank(2, 1100)]


@pytest.mark.parametrize(
    "slow, cause, words",
    [
        (rank(3, 300, reading=4.0, predicting=1.0, cpu_s=1.0), Cause.STORAGE, "reading takes it 13 ms an example, the others 500 µs"),
        (rank(3, 300, reading=0.2, predicting=4.8), Cause.DEVICE, "predicting takes it 16 ms an example, the others 4.5 ms"),
        (rank(3, 300, reading=0.2, predicting=1.0, other=3.8), Cause.BETWEEN, "what is neither reading nor predicting takes it 13 ms an example, the others 0 µs"),
        (rank(3, 300, threads=1), Cause.FEW_THREADS, "it has 1, the others 4"),
        # read, and all its threads are busy: it parses, and few threads are why
        (rank(3, 300, threads=1, reading=4.5, predicting=0.5, cpu_s=5.0), Cause.FEW_THREADS, "it has 1, the others 4"),
        # waits for a disk: more threads would wait too
        (rank(3, 300, threads=1, reading=4.5, predicting=0.5, cpu_s=0.5), Cause.STORAGE, "reading takes it 15 ms"),
        (
            rank(3, 300, host="b", cpu_s=4.0, busy_s=20.0, delayed_s=14.0),
            Cause.OTHER_WORK,
            "others keep 3.2 of its 4 processors busy, its threads waited 14.0 s for one in 5 s",
        ),
        # a kernel that does not count delays: full processors, and it gets less than it could use
        (rank(3, 300, host="b", cpu_s=4.0, busy_s=20.0, delayed_s=None), Cause.OTHER_WORK, "others keep 3.2 of its 4"),
        # the others' work is there, but it does not wait for a processor: its disk is slow
        (rank(3, 300, host="b", cpu_s=1.0, busy_s=20.0, reading=4.5, predicting=0.5), Cause.STORAGE, "reading takes it 15 ms"),
        (rank(3, 0, reading=5.0, cpu_s=0.0), Cause.STORAGE, "reading takes it 50 ms"),
    ],
)  # fmt: skip
def test_the_cause_is_what_the_additional_time_goes_into(slow, cause, words):
    (straggler,) = stragglers([*WELL, slow])
    assert (straggler.rank, straggler.cause) == (3, cause) and words in straggler.detail
    assert straggler.others_rate == 200.0
    assert str(straggler).startswith(f"rank 3 on {slow.beat.host} is slow (")


@pytest.mark.parametrize(
    "other",
    [
        rank(3, 800),  # a little slower
        rank(3, 0, chunks=4, per_chunk=1000),  # in the middle of a large chunk
        rank(3, 300, phase="waiting"),
        rank(3, 0, phase="starting", starting=5.0),
        rank(3, 100, compiling=4.0, predicting=1.0),  # not begun, to speak of
        rank(3, 100, predicting=1.0, reading=1.0),  # seen for two seconds only
    ],
)
def test_what_is_not_sure_is_not_said(other):
    assert stragglers([*WELL, other]) == []


def test_alone_nobody_is_slow_and_of_two_one_may_be():
    assert stragglers([rank(0, 3)]) == [] and stragglers([]) == []
    assert [slow.rank for slow in stragglers([rank(0), rank(1, 300)])] == [1]
    both = stragglers([*WELL, rank(3, 300), rank(4, 200)])
    assert [slow.rank for slow in both] == [4, 3]


def test_ranks_of_a_node_do_not_count_as_others():
    ranks = [rank(0, cpus="0-1", cpu_s=10.0, busy_s=10.0), rank(1, cpus="2-3", cpu_s=2.5, busy_s=10.0)]
    assert others_cores(ranks) == {0: 0.0, 1: 1.5}
    shared = [rank(0, cpu_s=10.0, busy_s=20.0), rank(1, cpu_s=10.0, busy_s=20.0), rank(2, host="b", cpu_s=10.0, busy_s=20.0)]
    assert others_cores(shared) == {0: 0.0, 1: 0.0, 2: 2.0}
    assert others_cores([rank(0, busy_s=None), rank(1, cpus="")]) == {}


def test_a_rank_without_vitals_is_no_straggler():
    assert stragglers([*WELL, Rank(Beat(3, "a", 7, "evaluating"))]) == []
