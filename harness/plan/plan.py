"""The plan: which examples there are, cut into chunks. Pure integers; knows nothing of ranks, files' contents or TensorFlow.

Example ids run from 0 over the files in their order. A run of files that can be cut is cut into chunks of
`chunk_size` examples, across file borders; a file that cannot be cut is a chunk of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np

from harness.exact.splitmix import hash_ids
from harness.plan.drawn import Drawn

__all__ = ["Chunk", "File", "Plan", "default_chunk_size"]

HASH_BLOCK = 1 << 15  # ids hashed at a time: temporaries of 256 KiB stay in the cache


@dataclass(frozen=True)
class File:
    """One file of the data: its path, size in bytes, number of examples, and whether it can be read from anywhere."""

    path: str
    size_bytes: int
    examples: int
    divisible: bool = True


@dataclass(frozen=True, slots=True)  # a rank holds those that it evaluates
class Chunk:
    """A fixed run of examples, ids [start, stop)."""

    index: int
    start: int
    stop: int

    def batches(self, batch_size: int) -> int:
        """Return how many batches the chunk has."""
        return -(-(self.stop - self.start) // batch_size)


@dataclass(frozen=True)
class Plan:
    """The list of chunks of a job. Depends on the job and the data alone."""

    files: tuple[File, ...]
    batch_size: int
    chunk_size: int
    chosen: Drawn | np.ndarray | None = field(default=None, compare=False)  # ids, where only a part of the examples is drawn
    hashes: np.ndarray | None = field(default=None, compare=False)  # of each chunk, where that is all that is known of its ids

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is worked out from the fields: two numbers a chunk."""
        return {attribute.name: getattr(self, attribute.name) for attribute in fields(self)}

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` takes; JSON can hold it."""
        raw = {"files": [asdict(file) for file in self.files], "batch_size": self.batch_size, "chunk_size": self.chunk_size}
        if isinstance(self.chosen, Drawn):
            raw["drawn"] = self.chosen.to_dict()
        elif self.chosen is not None:
            raw["chosen"] = self.chosen.tolist()
        return raw if self.hashes is None else {**raw, "hashes": self.hashes.tolist()}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Plan:
        """Return the plan that `to_dict` took apart.

        >>> plan = Plan((File("a", 9, 3),), 2, 2)
        >>> Plan.from_dict(plan.to_dict()) == plan
        True
        """
        chosen, hashes = (np.array(raw[name], np.int64) if name in raw else None for name in ("chosen", "hashes"))
        drawn = Drawn.from_dict(raw["drawn"]) if "drawn" in raw else chosen
        return cls(tuple(File(**file) for file in raw["files"]), raw["batch_size"], raw["chunk_size"], drawn, hashes)

    @cached_property
    def file_starts(self) -> np.ndarray:
        """Id of the first example of each file, and the number of examples: int64 [files + 1]."""
        return np.concatenate([[0], np.cumsum([file.examples for file in self.files], dtype=np.int64)]).astype(np.int64)

    @property
    def examples(self) -> int:
        """How many examples there are."""
        return int(self.file_starts[-1])

    @cached_property
    def bounds(self) -> np.ndarray:
        """Id of the first example of each chunk, and the number of examples: int64 [chunks + 1]."""
        pieces: list[np.ndarray] = []
        start = 0  # of the run of divisible files under way
        for file, first, last in zip(self.files, self.file_starts[:-1], self.file_starts[1:], strict=True):
            if file.divisible:
                continue
            pieces.append(np.arange(start, first, self.chunk_size, dtype=np.int64))
            if file.examples:
                pieces.append(np.array([first], np.int64))
            start = int(last)
        pieces.append(np.arange(start, self.examples, self.chunk_size, dtype=np.int64))
        pieces.append(np.array([self.examples], np.int64))
        return np.concatenate(pieces)

    @cached_property
    def costs(self) -> np.ndarray:
        """What each chunk is taken to cost: its bytes; where a file's size is not known, its examples. float64 [chunks].

        >>> Plan((File("a", 40, 4), File("b", 10, 2)), 2, 2).costs.tolist()
        [20.0, 20.0, 10.0]
        """
        if any(file.examples and not file.size_bytes for file in self.files):
            return np.diff(self.bounds).astype(np.float64)
        sizes = [file.size_bytes if file.examples else 0 for file in self.files]
        ends = np.concatenate([[0], np.cumsum(sizes, dtype=np.float64)])
        starts, first = np.unique(self.file_starts, return_index=True)  # a file without examples begins where the next one does
        return np.diff(np.interp(self.bounds, starts, ends[first]))

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def __getitem__(self, index: int) -> Chunk:
        if not 0 <= index < len(self):
            raise IndexError(f"chunk {index} of a plan of {len(self)}")
        return Chunk(index, int(self.bounds[index]), int(self.bounds[index + 1]))

    def locate(self, example: int) -> tuple[int, int]:
        """Return the number of the file that holds an example, and its record number in that file.

        >>> Plan((File("a", 0, 3), File("b", 0, 0), File("c", 0, 2)), 2, 2).locate(3)
        (2, 0)
        """
        file = int(np.searchsorted(self.file_starts, example, side="right")) - 1
        return file, example - int(self.file_starts[file])

    def describe(self, chunk: Chunk) -> str:
        """Say where a chunk lies: file and records.

        >>> plan = Plan((File("a", 0, 3), File("b", 0, 4)), 2, 5)
        >>> plan.describe(plan[0])
        'a, records 0..3; b, records 0..2'
        """
        first, _ = self.locate(chunk.start)
        last, _ = self.locate(chunk.stop - 1)
        spans = []
        for number in range(first, last + 1):
            base = int(self.file_starts[number])
            start, stop = max(chunk.start, base), min(chunk.stop, int(self.file_starts[number + 1]))
            if start < stop:
                spans.append(f"{self.files[number].path}, records {start - base}..{stop - base}")
        if len(spans) > 3:
            spans[1:-1] = [f"{len(spans) - 2} files between"]
        return "; ".join(spans) + (" of those drawn" if self.chosen is not None else "")

    def id_hash(self, chunk: Chunk) -> int:
        """Return the sum of the hashes of a chunk's example ids, mod 2^64, as a signed 64-bit integer."""
        return int(self.id_hashes(chunk.index, chunk.index + 1)[0])

    def id_hashes(self, first: int, last: int) -> np.ndarray:
        """Return the sums of the hashes of the example ids of chunks [first, last), mod 2^64, int64 [last - first]."""
        if self.hashes is not None:
            return self.hashes[first:last].copy()
        bounds = self.bounds[first : last + 1]
        totals = np.zeros(last - first, np.uint64)
        for start in range(int(bounds[0]), int(bounds[-1]), HASH_BLOCK):
            stop = min(start + HASH_BLOCK, int(bounds[-1]))
            ids = np.arange(start, stop, dtype=np.int64) if self.chosen is None else self.chosen[start:stop]
            # The chunks that have ids in this block: no chunk is empty.
            among = slice(int(np.searchsorted(bounds, start, "right")) - 1, int(np.searchsorted(bounds, stop, "left")))
            totals[among] += np.add.reduceat(hash_ids(ids), np.maximum(bounds[among] - start, 0))
        return totals.astype(np.int64)


def default_chunk_size(examples: int, batch_size: int) -> int:
    """Choose a chunk size from the data alone: about 256 chunks, of 1 to 64 whole batches.

    Many chunks balance the load; whole batches waste no padding; 64 batches bound what a crash can lose.

    >>> default_chunk_size(597, 64), default_chunk_size(60_000, 256), default_chunk_size(10**9, 64)
    (64, 256, 4096)
    """
    batches = -(-examples // batch_size)
    return batch_size * min(max(batches // 256, 1), 64)
