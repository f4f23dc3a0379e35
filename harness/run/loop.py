"""The loop: every chunk of this rank through the compiled step. No I/O, no collectives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from harness.plan.plan import Chunk
from harness.sums.accumulator import Accumulator

if TYPE_CHECKING:
    from harness.step.step import Call

__all__ = ["ChunkStep", "Supply", "evaluate"]


class ChunkStep(Protocol):
    """Evaluates what comes next in the pipeline: one chunk, or a few."""

    def run(self, most: int | None = None) -> Call:
        """Return what they add, at most so many; no batches where nothing is left."""


class Supply(Protocol):
    """Where chunks come from that are not known before the loop begins; see `tickets.Tickets`."""

    def most(self) -> int:
        """Return how many chunks one call may be asked for."""

    def finish(self, chunk: int) -> None:
        """Take note that a chunk is done, and those before it."""


def evaluate(
    chunks: Sequence[Chunk],
    step: ChunkStep,
    accumulator: Accumulator,
    progress: Callable[[Chunk], None],
    border: Callable[[], None] = lambda: None,
    supply: Supply | None = None,
) -> None:
    """Evaluate chunks in the order in which the pipeline delivers them.

    Args:
      chunks: of this rank, as given to the pipeline; with a supply, those drawn so far.
      step: evaluates a chunk or a few each call.
      accumulator: what is added to.
      progress: called before each call with the chunk that comes next, or the last one.
      border: called after each call, when no chunk is under way.
      supply: where chunks come from; None where all are known.
    """
    done = 0
    while True:
        most = supply.most() if supply else None
        if chunks:
            progress(chunks[min(done, len(chunks) - 1)])
        # The pipeline says when it is empty: what it holds beyond the share is counted, so that the certificate tells.
        call = step.run(most)
        if not len(call.batches):
            return
        done += len(call.sums.lines)
        accumulator.add(call.sums, len(call.batches))
        if supply:
            supply.finish(int(call.batches[-1, 0]))
        border()
