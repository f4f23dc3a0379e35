"""The plan: pure integers."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.exact.splitmix import hash_ids
from harness.plan.plan import File, Plan, default_chunk_size

FILES = st.lists(st.tuples(st.integers(0, 40), st.booleans()), min_size=1, max_size=8)


def plan_of(files, batch_size, chunk_size) -> Plan:
    return Plan(tuple(File(f"f{i}", 0, n, whole) for i, (n, whole) in enumerate(files)), batch_size, chunk_size)


@given(FILES, st.integers(1, 9), st.integers(1, 30))
def test_chunks_cover_every_example_once(files, batch_size, chunk_size):
    plan = plan_of(files, batch_size, chunk_size)
    ids = [i for index in range(len(plan)) for i in range(plan[index].start, plan[index].stop)]
    assert ids == list(range(sum(n for n, _ in files)))
    assert all(plan[index].start < plan[index].stop and plan[index].index == index for index in range(len(plan)))


@given(FILES, st.integers(1, 30))
def test_a_file_that_cannot_be_cut_is_one_chunk_of_its_own(files, chunk_size):
    plan = plan_of(files, 4, chunk_size)
    chunks = {(plan[i].start, plan[i].stop) for i in range(len(plan))}
    at = 0
    for count, divisible in files:
        if count and not divisible:
            assert (at, at + count) in chunks
        at += count
    assert all(stop - start <= chunk_size or (start, stop) in _whole(files) for start, stop in chunks)


def _whole(files):
    at = 0
    for count, divisible in files:
        if not divisible:
            yield (at, at + count)
        at += count


@given(FILES, st.data())
def test_an_example_is_found_in_its_file(files, data):
    plan = plan_of(files, 4, 7)
    if plan.examples:
        example = data.draw(st.integers(0, plan.examples - 1))
        everything = [(number, record) for number, (count, _) in enumerate(files) for record in range(count)]
        assert plan.locate(example) == everything[example]


def test_chunks_cross_file_borders_and_the_last_is_short():
    plan = plan_of([(5, True), (0, True), (6, True)], 2, 4)
    assert [(plan[i].start, plan[i].stop, plan[i].batches(2)) for i in range(len(plan))] == [(0, 4, 2), (4, 8, 2), (8, 11, 2)]
    assert plan.describe(plan[1]) == "f0, records 4..5; f2, records 0..3"


def test_a_description_of_many_files_is_short():
    plan = plan_of([(1, True)] * 9, 2, 100)
    assert plan.describe(plan[0]) == "f0, records 0..1; 7 files between; f8, records 0..1"


@pytest.mark.parametrize("index", [-1, 3])
def test_there_is_no_chunk_past_the_end(index):
    with pytest.raises(IndexError, match=f"chunk {index} of a plan of 3"):
        plan_of([(9, True)], 2, 3)[index]


def splitmix64(state: int) -> int:
    """The generator as its paper has it, in Python's integers."""
    z = (state + 0x9E3779B97F4A7C15) % 2**64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return z ^ (z >> 31)


def test_hash_is_splitmix64_of_the_id():
    ids = [0, 1, 2, 1000, 2**40, 2**62]
    wanted = [splitmix64(i * 0x9E3779B97F4A7C15 % 2**64) for i in ids]
    assert [int(h) for h in hash_ids(np.array(ids))] == wanted


def test_hash_of_a_chunk_is_the_sum_over_its_blocks(monkeypatch):
    monkeypatch.setattr("harness.plan.plan.HASH_BLOCK", 7)
    plan = plan_of([(50, True)], 4, 30)
    total = sum(int(h) for h in hash_ids(np.arange(30, 50))) % 2**64
    assert plan.id_hash(plan[1]) % 2**64 == total
    assert -(2**63) <= plan.id_hash(plan[1]) < 2**63


def test_hashes_of_several_chunks_are_those_of_each(monkeypatch):
    monkeypatch.setattr("harness.plan.plan.HASH_BLOCK", 7)
    plan = plan_of([(5, True), (3, False), (31, True)], 2, 4)
    alone = [sum(splitmix64(i * 0x9E3779B97F4A7C15 % 2**64) for i in range(c.start, c.stop)) % 2**64 for c in plan]
    assert [int(h) % 2**64 for h in plan.id_hashes(1, len(plan))] == alone[1:]


@pytest.mark.parametrize(
    "examples, batch_size, wanted",
    [(1, 64, 64), (597, 64, 64), (60_000, 256, 256), (10**6, 64, 61 * 64), (10**9, 64, 64 * 64)],
)
def test_default_chunk_size_is_whole_batches(examples, batch_size, wanted):
    assert default_chunk_size(examples, batch_size) == wanted


def test_what_is_told_of_a_plan_does_not_grow_with_its_chunks():
    sizes = []
    for examples in (10_000, 10_000_000):
        plan = Plan((File("a", 0, examples),), 8, 64)
        assert len(plan) == len(plan.costs) == -(-examples // 64)
        told = pickle.dumps(plan)
        assert pickle.loads(told) == plan and len(pickle.loads(told)) == len(plan)
        sizes.append(len(told))
    assert sizes[1] - sizes[0] < 10
