"""What ranks ask of the run folder's file system in a second, whatever their number."""

import itertools

import pytest

from harness.folder.file_rate import BEATS, COMMITS, LOOKS, STOPS

ALONE = 6  # rank 0's beat, its look for the request to stop; rank 1's look at that beat
LEAST_S = {BEATS: 1.0, STOPS: 0.5, LOOKS: 0.5, COMMITS: 0.5}


@pytest.mark.parametrize("size", [1, 2, 5, 17, 100, 512, 4096, 100_000])
def test_all_ranks_together_stay_under_fifty_operations_a_second(size):
    rates = [rate.operations * size / rate.turn(0, size, least_s).every_s for rate, least_s in LEAST_S.items()]
    assert ALONE + sum(rates) < 50


@pytest.mark.parametrize("rate", LEAST_S)
def test_ranks_take_turns(rate):
    """Within one period each of them does it once, and no two at a time."""
    turns = [rate.turn(rank, 1000) for rank in range(1000)]
    assert turns[0].first_s == 0 and turns[-1].first_s < turns[0].every_s
    gaps = [after.first_s - before.first_s for before, after in itertools.pairwise(turns)]
    assert min(gaps) == pytest.approx(rate.operations / rate.per_second)


def test_few_ranks_do_it_as_often_as_one():
    assert [rate.turn(0, 2, least_s).every_s for rate, least_s in LEAST_S.items()][:3] == [1.0, 0.5, 0.5]
    assert COMMITS.turn(0, 1, 0.5).every_s == 0.5
