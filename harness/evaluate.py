"""The loop: every chunk of this rank through the compiled step. No I/O, no collectives."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from harness.certificate import Certificate
from harness.plan import Chunk
from harness.rows import RowTable, thin
from harness.state import Layout

__all__ = ["ChunkStep", "Evaluation", "evaluate"]


class Sums(Protocol):
    """What one chunk adds; see `tf_step.ChunkSums`."""

    state: np.ndarray
    seen: np.ndarray
    rows: Mapping[str, RowTable]


class ChunkStep(Protocol):
    """Evaluates the chunk that comes next in the pipeline."""

    def run(self) -> Sums:
        """Return what the chunk adds."""


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
    rows: dict[str, list[RowTable]] = field(default_factory=dict)
    keep: Mapping[str, str] = field(default_factory=dict)  # which rows of a chunk a row metric needs; see `rows.thin`

    @classmethod
    def empty(cls, layout: Layout, certificate: Certificate, keep: Mapping[str, str]) -> Evaluation:
        """Start from nothing."""
        return cls(layout, certificate, np.zeros(layout.size, np.int64), threading.Lock(), keep=keep)

    def add(self, sums: Sums) -> None:
        """Add a chunk; its cells are carried first, so the sum of many cannot overflow."""
        with self.lock:
            self.state += self.layout.carry(sums.state)
            self.certificate.add(sums.seen)
            for key, part in sums.rows.items():
                self.rows.setdefault(key, []).append(thin(part, self.keep.get(key, "all")))
            self.chunks += 1
            self.batches += len(sums.seen)
            self.examples += int(sums.seen[:, 1].sum())


def evaluate(chunks: Iterable[Chunk], step: ChunkStep, evaluation: Evaluation, progress: Callable[[Chunk], None]) -> Evaluation:
    """Evaluate chunks in the order in which the pipeline delivers them.

    Args:
      chunks: this rank's share, as given to the pipeline.
      step: evaluates one chunk a call.
      evaluation: what is added to.
      progress: called before each chunk.
    Returns: the evaluation.
    """
    for chunk in chunks:
        progress(chunk)
        evaluation.add(step.run())
    # What the pipeline still holds was not asked for: counted, so that the certificate tells.
    while len((rest := step.run()).seen):
        evaluation.add(rest)
    return evaluation
