"""The certificate against what can go wrong."""

import numpy as np
import pytest

from harness.exact.splitmix import hash_ids
from harness.plan.certificate import Certificate
from harness.plan.plan import File, Plan

PLAN = Plan((File("a", 0, 7), File("b", 0, 5)), 2, 4)  # chunks 0..4, 4..8, 8..12


def line(chunk: int, *ids: int) -> list[int]:
    hashes = int(hash_ids(np.array(ids)).sum(dtype=np.uint64).astype(np.int64))
    return [chunk, len(ids), hashes, len(ids), 0, 0, hashes, sum(ids)]


BATCHES = [line(0, 0, 1), line(0, 2, 3), line(1, 4, 5), line(1, 6, 7), line(2, 8, 9), line(2, 10, 11)]


def certified(batches) -> Certificate:
    certificate = Certificate(PLAN)
    certificate.expect(PLAN[i] for i in range(len(PLAN)))
    for batch in batches:
        certificate.add(np.array([batch]))
    return certificate


def test_every_example_once_is_no_problem():
    certificate = certified(BATCHES)
    assert certificate.problems() == []
    assert certificate.examples == 12
    assert int(certificate.content_hash, 16) == sum(range(12)) and certificate.contents.tolist() == [6, 22, 38]
    assert int(certificate.id_hash, 16) == sum(int(h) for h in hash_ids(np.arange(12))) % 2**64


@pytest.mark.parametrize(
    "batches, counted, what",
    [
        (BATCHES[:4], 8, "chunk 2 (b, records 1..5) is missing"),
        (BATCHES[:3] + BATCHES[4:], 10, "chunk 1 (a, records 4..7; b, records 0..1) is incomplete: 2 of 4 examples were counted"),
        ([*BATCHES, BATCHES[0]], 14, "chunk 0 (a, records 0..4) was counted more than once: 6 examples for 4"),
        ([line(0, 1, 2), *BATCHES[1:]], 12, "chunk 0 (a, records 0..4) has 4 examples, but not the planned ones: their id hash differs"),
        ([line(0, 0, 0), *BATCHES[1:]], 12, "chunk 0 (a, records 0..4) has 4 examples, but not the planned ones: their id hash differs"),
    ],
)  # fmt: skip
def test_a_problem_names_its_chunk(batches, counted, what):
    assert certified(batches).problems() == [f"plan covers 12 examples in 3 chunks, ranks counted {counted}", what]


def test_batches_of_one_chunk_in_another_are_two_problems():
    swapped = [[2, *BATCHES[0][1:]], *BATCHES[1:4], [0, *BATCHES[4][1:]], BATCHES[5]]
    assert len(certified(swapped).problems()) == 3


def test_shares_of_ranks_add_up():
    parts = []
    for rank in range(3):
        part = Certificate(PLAN)
        part.expect([PLAN[rank]])
        part.add(np.array(BATCHES[2 * rank : 2 * rank + 2]))
        parts.append(part)
    assert all(part.problems() for part in parts)
    assert Certificate(PLAN).of(sum(part.table for part in parts)).problems() == []


def test_a_long_list_of_problems_is_cut():
    plan = Plan((File("a", 0, 100),), 1, 1)
    certificate = Certificate(plan)
    certificate.expect(plan[i] for i in range(100))
    problems = certificate.problems()
    assert len(problems) == 7
    assert problems[-1] == "and 95 more chunks"


def test_what_is_filtered_and_skipped_is_counted_apart():
    parts = [[*BATCHES[0][:3], 1, 1, 0, line(0, 1)[2], 0], [*BATCHES[1][:3], 0, 0, 2, 0, 0], *BATCHES[2:]]
    certificate = certified(parts)
    assert certificate.problems() == []
    assert certificate.left_out == {"read": 12, "kept": 9, "filtered": 1, "skipped": 2}
    rest = [1, 4, 5, 6, 7, 8, 9, 10, 11]
    assert certificate.kept_hash == f"{int(hash_ids(np.array(rest)).sum(dtype=np.uint64)):016x}"
    assert certified(BATCHES).left_out == {} and certified(BATCHES).kept_hash == certified(BATCHES).id_hash


def test_examples_that_are_neither_kept_nor_left_out_are_a_problem():
    parts = [[*BATCHES[0][:3], 1, 0, 0, 0, 0], *BATCHES[1:]]
    assert "chunk 0 (a, records 0..4) read 4 examples, but 3 were kept, filtered or skipped" in certified(parts).problems()
