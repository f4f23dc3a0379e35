"""Skewed files: one of 10 GB and ninety of 1 MB end within 10 % of the ideal split, by bytes, where they can be cut."""

from __future__ import annotations

import pytest

from harness.plan.plan import Chunk, File, Plan, default_chunk_size
from harness.ranks.schedule import static_share

BIG, SMALL = 10 * 2**30, 2**20
RANKS = (1, 2, 3, 4, 5, 7, 8, 12, 16)


def plan_of(big: int, small: int, at: int) -> Plan:
    """One file of `big` examples, the one with that number, among ninety of `small`."""
    files = [File(f"{number}", SMALL, small) for number in range(90)]
    files.insert(at, File("big", BIG, big))
    return Plan(tuple(files), 64, default_chunk_size(sum(file.examples for file in files), 64))


def bytes_of(plan: Plan, chunk: Chunk) -> float:
    """What a chunk takes of its files."""
    found = 0.0
    for file, first in zip(plan.files, plan.file_starts.tolist(), strict=False):
        inside = min(chunk.stop, first + file.examples) - max(chunk.start, first)
        found += max(inside, 0) * file.size_bytes / file.examples
    return found


@pytest.mark.parametrize("at", [0, 45, 90])
@pytest.mark.parametrize(
    "big, small",
    [
        (1_000_000, 100),  # examples of one size
        (100_000, 100),  # those of the big file ten times as large
        (1_000_000, 10),  # ten times as small
    ],
)
def test_shares_are_within_a_tenth_of_the_ideal(big: int, small: int, at: int) -> None:
    plan = plan_of(big, small, at)
    size = BIG + 90 * SMALL
    for ranks in RANKS:
        shares = [sum(bytes_of(plan, chunk) for chunk in static_share(plan, rank, ranks)) for rank in range(ranks)]
        assert sum(shares) == pytest.approx(size)
        assert max(shares) < 1.1 * size / ranks, f"{ranks} ranks: {[round(share * ranks / size, 3) for share in shares]}"
