"""The loop: every chunk of this rank through the compiled step. No I/O, no collectives."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from harness.plan.plan import Chunk
from harness.ranks.share import Share
from harness.sums.accumulator import Accumulator

if TYPE_CHECKING:
    from harness.step.step import Call

__all__ = ["ChunkStep", "evaluate"]


class ChunkStep(Protocol):
    """Evaluates what comes next in the feed: one chunk, or a few."""

    def run(self, most: int | None = None) -> Call:
        """Return what they add, at most so many; no batches where nothing is left."""


def evaluate(
    share: Share,
    step: ChunkStep,
    accumulator: Accumulator,
    progress: Callable[[Chunk], None],
    border: Callable[[], None] = lambda: None,
) -> None:
    """Evaluate the chunks of a share in the order in which the feed delivers them.

    Args:
      share: of this rank, as the feed was opened with.
      step: evaluates a chunk or a few each call.
      accumulator: what is added to.
      progress: called before each call with the chunk that comes next, or the last one.
      border: called after each call, when no chunk is under way.
    """
    while True:
        most = share.most()
        if (chunk := share.under_way) is not None:
            progress(chunk)
        # The feed says when it is empty: what it holds beyond the share is counted, so that the certificate tells.
        call = step.run(most)
        if not len(call.batches):
            return
        accumulator.add(call.sums, len(call.batches))
        share.finish(int(call.batches[-1, 0]))
        border()
