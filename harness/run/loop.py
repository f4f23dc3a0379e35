"""The loop: every chunk of this rank through the compiled step. No I/O, no collectives."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from harness.plan.certificate import Certificate
from harness.plan.plan import Chunk
from harness.sums.layout import Layout
from harness.sums.row_store import RowStore
from harness.sums.rows import RowTable, thin

__all__ = ["ChunkStep", "Evaluation", "Supply", "evaluate"]


class Sums(Protocol):
    """What the chunks of one call add; see `tf_step.ChunkSums`."""

    state: np.ndarray
    seen: np.ndarray
    rows: Mapping[str, RowTable]


class ChunkStep(Protocol):
    """Evaluates what comes next in the pipeline: one chunk, or a few."""

    def run(self, most: int | None = None) -> Sums:
        """Return what they add, at most so many; no batches where nothing is left."""


class Supply(Protocol):
    """Where chunks come from that are not known before the loop begins; see `tickets.Tickets`."""

    def most(self) -> int:
        """Return how many chunks one call may be asked for."""

    def finish(self, chunk: int) -> None:
        """Take note that a chunk is done, and those before it."""


@dataclass
class Evaluation:
    """What a rank has summed so far. `lock` guards it: other threads may look while the loop runs."""

    layout: Layout
    certificate: Certificate
    state: np.ndarray
    lock: threading.Lock
    chunks: int = 0
    batches: int = 0
    examples: int = 0
    rows: dict[str, RowStore] = field(default_factory=dict)
    keep: Mapping[str, str] = field(default_factory=dict)  # which rows of a chunk a row metric needs; see `rows.thin`
    anonymous: Collection[str] = ()  # row metrics whose rows need no ids

    @classmethod
    def empty(
        cls, layout: Layout, certificate: Certificate, keep: Mapping[str, str], anonymous: Collection[str] = ()
    ) -> Evaluation:
        """Start from nothing."""
        return cls(layout, certificate, np.zeros(layout.size, np.int64), threading.Lock(), keep=keep, anonymous=anonymous)

    def add(self, sums: Sums) -> None:
        """Add some chunks; their cells are carried first, so the sum of many cannot overflow."""
        with self.lock:
            self.state += self.layout.carry(sums.state)
            self.certificate.add(sums.seen)
            for key, part in sums.rows.items():
                self.add_rows(key, thin(part, self.keep.get(key, "all")))
            self.chunks += len(np.unique(sums.seen[:, 0]))
            self.batches += len(sums.seen)
            self.examples += int(sums.seen[:, 1].sum())

    def add_rows(self, key: str, table: RowTable) -> None:
        """Add rows of a metric."""
        if key not in self.rows:
            self.rows[key] = RowStore(anonymous=key in self.anonymous)
        self.rows[key].append(table)


def evaluate(
    chunks: Sequence[Chunk],
    step: ChunkStep,
    evaluation: Evaluation,
    progress: Callable[[Chunk], None],
    border: Callable[[], None] = lambda: None,
    supply: Supply | None = None,
) -> Evaluation:
    """Evaluate chunks in the order in which the pipeline delivers them.

    Args:
      chunks: of this rank, as given to the pipeline; with a supply, those drawn so far.
      step: evaluates a chunk or a few each call.
      evaluation: what is added to.
      progress: called before each call with the chunk that comes next, or the last one.
      border: called after each call, when no chunk is under way.
      supply: where chunks come from; None where all are known.
    Returns: the evaluation.
    """
    done = 0
    while True:
        most = supply.most() if supply else None
        if chunks:
            progress(chunks[min(done, len(chunks) - 1)])
        # The pipeline says when it is empty: what it holds beyond the share is counted, so that the certificate tells.
        if not len((sums := step.run(most)).seen):
            return evaluation
        evaluation.add(sums)
        done += len(np.unique(sums.seen[:, 0]))
        if supply:
            supply.finish(int(sums.seen[-1, 0]))
        border()
