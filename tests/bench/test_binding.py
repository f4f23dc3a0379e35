"""What binds is named where the figures carry it, and nowhere else. The facts are frozen: each case is a machine."""

from __future__ import annotations

from typing import Any

import pytest

from harness.bench.binding import Binding, Bound, bound_of, starting
from harness.bench.binding_sentence import sentence
from harness.bench.figures import sizes
from tests.bench.frozen import fact, repeats

# Of 8,000 examples: what each rank spends, and what the machine does at most.
CASES = {
    "reading is waited for, and is at its limit": (
        {"reading": 2.0, "predicting": 0.2, "reading_rate": 2200.0, "forward_rate": 40_000.0}, Bound.READING),
    "the model takes the time, and is at its limit": (
        {"reading": 0.2, "predicting": 2.0, "reading_rate": 40_000.0, "forward_rate": 2100.0}, Bound.MODEL),
    "the calls take the time, the model alone would not": (
        {"reading": 0.2, "predicting": 2.0, "reading_rate": 40_000.0, "forward_rate": 80_000.0}, Bound.METRICS),
    "reading is waited for, but alone does far more": (
        {"reading": 2.0, "predicting": 0.2, "reading_rate": 40_000.0, "forward_rate": 40_000.0}, Bound.CORES),
    "a limit that the run is far beyond is none": (
        {"reading": 2.0, "predicting": 0.2, "reading_rate": 500.0, "forward_rate": 40_000.0}, Bound.UNKNOWN),
    "time is spread over all": (
        {"reading": 0.5, "predicting": 0.6, "reducing": 0.3, "waiting": 0.3, "reading_rate": 9000.0, "forward_rate": 20_000.0},
        Bound.NOTHING),
    "the sum takes longest": ({"reading": 0.2, "predicting": 0.2, "reducing": 2.0, "sum_s": 1.9}, Bound.FINAL_SUM),
    "the model leads, the sum takes much too": (
        {"reading": 0.02, "predicting": 2.0, "reducing": 1.6, "forward_rate": 2050.0}, Bound.MODEL),
    "commits take the time, whatever the rank's speed": (
        {"reading": [0.2, 0.1], "predicting": [0.1, 0.1], "other": 3.0}, Bound.COMMITS),
    "ranks wait for one that compiled longer, and the sum takes the work": (
        {"reading": [0.04, 0.02], "predicting": 0.05, "waiting": [0.0, 1.5], "reducing": 0.7}, Bound.FINAL_SUM),
    "one rank is slow, the other waits for it": (
        {"reading": [3.0, 1.0], "predicting": [0.5, 0.2], "waiting": [0.0, 2.3]}, Bound.SLOW_RANK),
    "one rank is slow, and draws fewer chunks": (
        {"reading": [2.0, 2.0], "predicting": [0.2, 0.2], "share": [2000, 6000]}, Bound.SLOW_RANK),
    "ranks differ a little": (
        {"reading": [2.3, 2.0], "predicting": 0.2, "waiting": [0.0, 0.3], "reading_rate": 2200.0}, Bound.READING),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_binds_is_named(case: str) -> None:
    options, bound = CASES[case]
    (size,) = sizes(repeats(2, **options))
    binding = bound_of(size)
    assert binding.bound is bound, binding
    if bound is Bound.SLOW_RANK:
        assert (binding.rank, binding.host) == (0, "h0")


def test_a_rank_that_is_slow_once_is_not_accused() -> None:
    slow: dict[str, Any] = {"reading": [3.0, 1.0], "predicting": 0.2, "waiting": [0.0, 2.0]}
    even: dict[str, Any] = {"reading": 1.0, "predicting": 0.2, "reading_rate": 4500.0}
    (size,) = sizes([fact(2, 1, **slow), *(fact(2, repeat, **even) for repeat in range(2, 6))])
    assert bound_of(size).bound is Bound.READING
    (size,) = sizes([*(fact(2, repeat, **slow) for repeat in (1, 2)), *(fact(2, repeat, **even) for repeat in (3, 4, 5))])
    assert bound_of(size).bound is Bound.NOTHING  # three of five are too few


def test_which_rank_is_slow_has_to_be_the_same() -> None:
    trials = [fact(2, repeat, reading=[3.0, 1.0] if repeat % 2 else [1.0, 3.0], waiting=1.0) for repeat in range(1, 6)]
    (size,) = sizes(trials)
    assert bound_of(size).bound is Bound.NOTHING


def test_what_takes_most_of_the_work_in_each_repeat_is_named() -> None:
    # The calls take 53 to 72 % in each of three repeats, the final sum 25 to 46 %; no model is near its limit.
    trials = [
        fact(1, repeat, reading=0.1, predicting=predicting, reducing=reducing, forward_rate=3e6)
        for repeat, (predicting, reducing) in enumerate([(7.2, 2.5), (6.5, 3.2), (5.3, 4.6)], start=1)
    ]
    (size,) = sizes(trials)
    assert bound_of(size).bound is Bound.METRICS
    assert sentence([bound_of(size)]).startswith("The metrics bind at 1 rank: 6")


def test_that_no_part_takes_most_is_said_only_where_it_is_so() -> None:
    near, far = ({"reading": 3.0, "predicting": 0.2, "reading_rate": rate} for rate in (2800.0, 40_000.0))
    (size,) = sizes([*(fact(1, repeat, **near) for repeat in (1, 2)), *(fact(1, repeat, **far) for repeat in (3, 4))])
    assert sentence([bound_of(size)]) == (
        "Nothing binds alone at 1 rank: its repeats do not agree on what binds; "
        "in each the largest part of the work is reading, 93%."
    )
    turns = [
        {"reading": 3.0, "predicting": 0.2, "reading_rate": 2800.0},
        {"reading": 0.2, "predicting": 3.0, "forward_rate": 1e6},
    ]
    (size,) = sizes([fact(1, repeat, **turns[repeat % 2]) for repeat in (1, 2, 3, 4)])
    assert sentence([bound_of(size)]).endswith("its repeats do not agree on which part takes most of the work.")
    (size,) = sizes([fact(1, 1, reading=0.3, predicting=0.2, reducing=0.3, other=0.2, reading_rate=100.0, forward_rate=8e4)])
    assert sentence([bound_of(size)]).endswith("no part takes most of the work.")
    (size,) = sizes([fact(1, 1, reading=2.0, predicting=0.1, reading_rate=500.0)])
    assert sentence([bound_of(size)]).endswith("; in each the largest part of the work is reading, 95%.")


def test_ranks_that_wait_for_one_that_has_more_examples_are_said_to_wait() -> None:
    shares: dict[str, Any] = {"share": [7700, 100, 100, 100], "reading": [3.0, 0.04, 0.04, 0.04], "waiting": [0.0, 3.0, 3.0, 3.0]}
    (size,) = sizes([fact(4, repeat, predicting=0.001, **shares) for repeat in (1, 2, 3)])
    assert bound_of(size).bound is Bound.WAITING
    assert sentence([bound_of(size)]) == "Waiting for other ranks binds at 4 ranks: 74% of the work."


def test_too_little_work_names_nothing() -> None:
    (size,) = sizes([fact(1, repeat, share=[0]) for repeat in (1, 2)])
    assert bound_of(size).bound is Bound.UNKNOWN
    (size,) = sizes([fact(1, 1, reading=2.0, limits={})])
    assert bound_of(size).bound is Bound.UNKNOWN  # no limit was measured


def test_starting_is_said_where_it_is_most_of_the_time() -> None:
    long, short = (sizes([fact(1, 1, start=5.0, reading=seconds)])[0] for seconds in (1.0, 50.0))
    assert starting(long) == pytest.approx((5.0 + 0.1 + 0.2 + 0.3 + 0.02 + 0.5) / (5.62 + 1.1 + 0.01 + 0.5), rel=0.01)
    assert starting(short) is None


def test_the_sentence_joins_sizes_at_which_the_same_binds() -> None:
    bindings = [
        Binding(1, Bound.MODEL, 0.8, 900.0, 1000.0),
        Binding(2, Bound.READING, 0.5, 1.0e6, 2.0e6, bytes_an_example=1000.0),
        Binding(4, Bound.READING, 0.6, 1.9e6, 2.1e6, bytes_an_example=1000.0),
    ]
    assert sentence(bindings) == (
        "The model binds at 1 rank: 900 of the 1,000 examples/s that it does alone. "
        "Reading binds from 2 ranks on: 1.9 GB/s of the 2.1 GB/s that reading alone gives."
    )
    assert sentence(bindings[1:]).startswith("Reading binds at every size: 1.9 GB/s")
