"""The chunks of one rank, and who owns them: the reader draws them here, and the loop says here which are done."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

from harness.plan.plan import Chunk

__all__ = ["FixedShare", "Share"]


class Share(ABC):
    """What one rank evaluates. The reader may be another thread than the loop's.

    Attributes:
      draws: how often chunks were asked for elsewhere.
      waited_s: for them, with nothing to do.
    """

    def __init__(self, chunks: Sequence[Chunk] = ()) -> None:
        self.draws = 0
        self.waited_s = 0.0
        self._changed = threading.Condition()
        self._chunks: list[Chunk] = []
        self._places: dict[int, int] = {}  # of the chunks in that list
        self._done = 0  # so many of them
        self._add(chunks)

    @property
    def chunks(self) -> Sequence[Chunk]:
        """The chunks that are known so far, in the order in which they are evaluated."""
        with self._changed:
            return tuple(self._chunks)

    @property
    def unfinished(self) -> Sequence[Chunk]:
        """Those of them that are not done."""
        with self._changed:
            return tuple(self._chunks[self._done :])

    @property
    def under_way(self) -> Chunk | None:
        """The first that is not done, or the last one; None before any is known."""
        with self._changed:
            return self._chunks[min(self._done, len(self._chunks) - 1)] if self._chunks else None

    @abstractmethod
    def draw(self, *, ahead: bool) -> Iterator[Chunk]:
        """Return the chunks one by one.

        Args:
          ahead: whether another thread than the loop's goes through them, ahead of the loop.
        """

    def most(self) -> int | None:
        """Return how many chunks one call of the step may be asked for; None is any number."""
        return None

    def finish(self, chunk: int) -> None:
        """Take note that a chunk is done, and those before it: the reader keeps their order."""
        with self._changed:
            if chunk in self._places:
                self._done = self._places[chunk] + 1

    def close(self) -> None:
        """Draw no more, and let whoever waits to draw go."""
        return None

    def _add(self, chunks: Sequence[Chunk]) -> None:
        for chunk in chunks:
            self._places[chunk.index] = len(self._chunks)
            self._chunks.append(chunk)


class FixedShare(Share):
    """Chunks that are known beforehand; they may be drawn several times.

    >>> share = FixedShare([Chunk(4, 0, 2), Chunk(5, 2, 3)])
    >>> [chunk.index for chunk in share.draw(ahead=False)]
    [4, 5]
    >>> share.finish(4)
    >>> share.under_way
    Chunk(index=5, start=2, stop=3)
    """

    def draw(self, *, ahead: bool) -> Iterator[Chunk]:
        """Return all chunks; none of them is done any longer."""
        del ahead
        with self._changed:
            self._done = 0
        return iter(self.chunks)
