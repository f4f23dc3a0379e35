"""Shares of ranks."""

from hypothesis import given
from hypothesis import strategies as st

from harness.plan.plan import File, Plan
from harness.ranks.schedule import static_share


@given(st.lists(st.tuples(st.integers(0, 60), st.booleans()), min_size=1, max_size=8), st.integers(1, 20), st.integers(1, 12))
def test_every_chunk_has_one_rank(files, chunk_size, size):
    plan = Plan(tuple(File(str(i), 0, n, cut) for i, (n, cut) in enumerate(files)), 2, chunk_size)
    shares = [[chunk.index for chunk in static_share(plan, rank, size)] for rank in range(size)]
    assert [index for share in shares for index in share] == list(range(len(plan)))  # contiguous, in order


def test_more_ranks_than_chunks_leaves_some_idle():
    plan = Plan((File("a", 0, 5),), 2, 3)
    assert [len(static_share(plan, rank, 5)) for rank in range(5)] == [0, 1, 0, 0, 1]


def test_shares_are_even_in_examples_not_in_chunks():
    plan = Plan((File("whole", 0, 90, divisible=False), File("cut", 0, 90)), 2, 10)
    assert [[c.index for c in static_share(plan, rank, 2)] for rank in range(2)] == [[0], [1, 2, 3, 4, 5, 6, 7, 8, 9]]
