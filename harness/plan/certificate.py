"""The proof that every example was counted once. Pure integers.

Of every chunk the ranks sum how many examples went through the compiled step, and the sum of the hashes of their ids.
The plan says what both have to be. What each rank should expect is computed in shares too, so that no rank hashes all ids
by itself. Beside them stands the hash of what was read of the examples, which no plan can know.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from harness.plan.plan import Chunk, Plan

__all__ = ["Certificate"]

COUNT, HASH, EXPECTED, KEPT, FILTERED, SKIPPED, KEPT_HASH, CONTENT = range(8)
ROWS = 8
SHOWN = 5  # chunks named in a message


class Certificate:
    """Counts and hashes by chunk, int64 [8, chunks]: counted, id hash, expected id hash, of the counted ones kept, filtered,
    skipped, the id hash of those that were kept, and the content hash (see `data/content.py`). Hashes are mod 2^64.
    """

    def __init__(self, plan: Plan, table: np.ndarray | None = None) -> None:
        self._plan = plan
        self.table = np.zeros([ROWS, len(plan)], np.int64) if table is None else table.reshape(ROWS, len(plan))
        self._expected = np.zeros(len(plan), bool)

    def of(self, table: np.ndarray) -> Certificate:
        """Return the certificate of the same plan with another table."""
        return Certificate(self._plan, table)

    def add(self, seen: np.ndarray) -> None:
        """Add what a chunk's batches counted: int64 [n, 8]; see `sums.LINE`."""
        np.add.at(self.table[COUNT], seen[:, 0], seen[:, 1])
        np.add.at(self.table[HASH], seen[:, 0], seen[:, 2])
        for row, column in ((KEPT, 3), (FILTERED, 4), (SKIPPED, 5), (KEPT_HASH, 6), (CONTENT, 7)):
            np.add.at(self.table[row], seen[:, 0], seen[:, column])

    def expect(self, chunks: Iterable[Chunk]) -> None:
        """Note the hashes that the plan asks for, once for each chunk."""
        wanted = np.unique(np.array([chunk.index for chunk in chunks], np.int64))
        wanted = wanted[~self._expected[wanted]]
        for run in np.split(wanted, np.flatnonzero(np.diff(wanted) != 1) + 1):
            if len(run):
                self.table[EXPECTED, run] = self._plan.id_hashes(int(run[0]), int(run[-1]) + 1)
        self._expected[wanted] = True

    def matches(self, lines: np.ndarray) -> bool:
        """Say whether lines, int64 [n, 8] as `add` takes them, are whole chunks of the plan."""
        chunks = lines[:, 0]
        self.expect(self._plan[index] for index in chunks.tolist())
        whole = lines[:, 1] == np.diff(self._plan.bounds)[chunks]
        return bool((whole & (lines[:, 2] == self.table[EXPECTED, chunks])).all())

    @property
    def examples(self) -> int:
        """How many examples were counted."""
        return int(self.table[COUNT].sum())

    @property
    def left_out(self) -> dict[str, int]:
        """How many were read, kept, filtered and skipped; empty where all were kept."""
        kept, filtered, skipped = (int(self.table[row].sum()) for row in (KEPT, FILTERED, SKIPPED))
        if not filtered and not skipped:
            return {}
        parts = {name: count for name, count in (("filtered", filtered), ("skipped", skipped)) if count}
        return {"read": self.examples, "kept": kept, **parts}

    @property
    def kept_hash(self) -> str:
        """The sum of the id hashes of the examples that were kept, in hexadecimal: two runs with the same kept the same ones."""
        return self._total(KEPT_HASH)

    @property
    def id_hash(self) -> str:
        """The sum of all id hashes, in hexadecimal."""
        return self._total(HASH)

    @property
    def contents(self) -> np.ndarray:
        """The content hash of every chunk, int64 [chunks]."""
        hashes: np.ndarray = self.table[CONTENT]
        return hashes

    @property
    def content_hash(self) -> str:
        """The sum of the content hashes of all examples, in hexadecimal."""
        return self._total(CONTENT)

    def _total(self, row: int) -> str:
        return f"{int(self.table[row].sum(dtype=np.int64)) & (2**64 - 1):016x}"

    def problems(self) -> list[str]:
        """Say which chunks do not match the plan; empty where all do."""
        wanted = np.diff(self._plan.bounds)
        counted = self.table[COUNT]
        lines = []
        split = self.table[KEPT] + self.table[FILTERED] + self.table[SKIPPED]
        wrong = np.flatnonzero((counted != wanted) | (self.table[HASH] != self.table[EXPECTED]) | (split != counted))
        for index in wrong[:SHOWN].tolist():
            chunk = self._plan[index]
            have, want = int(counted[index]), int(wanted[index])
            if have == 0:
                what = "is missing"
            elif have < want:
                what = f"is incomplete: {have} of {want} examples were counted"
            elif have > want:
                what = f"was counted more than once: {have} examples for {want}"
            elif int(split[index]) != have:
                what = f"read {have} examples, but {int(split[index])} were kept, filtered or skipped"
            else:
                what = f"has {want} examples, but not the planned ones: their id hash differs"
            lines.append(f"chunk {index} ({self._plan.describe(chunk)}) {what}")
        if len(wrong) > SHOWN:
            lines.append(f"and {len(wrong) - SHOWN} more chunks")
        if lines:
            lines.insert(
                0,
                f"plan covers {self._plan.examples} examples in {len(self._plan)} chunks, ranks counted {self.examples}",
            )
        return lines
