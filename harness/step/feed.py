"""The seam between reading and the compiled step: a feed delivers the batches of a rank's chunks.

The host side is a `Feed`: it is opened, drawn from, and says what it read. The side in the graph is its `Stream`, which
hands the batches of one call to the step. A feed is built once per rank; every batch has the same shape.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from harness.data import Feature, Source
from harness.data.content import ContentHash
from harness.plan.plan import Chunk
from harness.ranks.share import Share
from harness.step.batch import Batch, Group

__all__ = ["Feed", "Handle", "Stream"]

# Takes a batch in the graph, its number in the group and the loop's arrays, and returns the arrays.
Handle = Callable[[Batch, Any, Sequence[Any]], Sequence[Any]]


class Stream(ABC):
    """The batches of one call, in the graph.

    A call takes what `Feed.draw` returned: where the batches come from, and how many are left there, int32 [].
    """

    @property
    @abstractmethod
    def spec(self) -> tuple[Any, Any]:
        """What a call takes, as TensorFlow's type specs."""

    @property
    @abstractmethod
    def batch(self) -> Batch:
        """The specs of the tensors of a batch."""

    @abstractmethod
    def gather(
        self, origin: Any, left: Any, size: int, names: Sequence[str], handle: Handle, arrays: Sequence[Any]
    ) -> tuple[Any, Group, Sequence[Any]]:
        """Hand out the next batches, so many at most.

        Args:
          origin: where they come from.
          left: how many are left there, more than 0; in which unit is the stream's own affair.
          size: of a group, in batches.
          names: features that the group holds.
          handle: called with each batch.
          arrays: passed through `handle`.
        Returns: how many are left; the group, without outputs; the arrays.
        """


class Feed(ABC):
    """Delivers the batches of a share, a few chunks a call of the compiled step.

    Args:
      source: where the examples come from.
      wanted: features to parse.
      batch_size: examples a batch.
      content: hashes what is read.

    Attributes:
      error: what reading raised, before TensorFlow wrapped it.
      reading: the chunk that is read, or was when it raised; None where nothing is read.
      records_read: examples handed out since the feed was opened.
    """

    def __init__(
        self, source: Source, wanted: Mapping[str, Feature], batch_size: int, content: ContentHash | None = None
    ) -> None:
        self.source = source
        self.wanted = wanted
        self.batch_size = batch_size
        self.content = content or ContentHash()
        self.error: BaseException | None = None
        self.reading: Chunk | None = None
        self.records_read = 0
        self._contents: dict[int, int] = {}  # by chunk, of those that were read and not evaluated yet

    @abstractmethod
    def open(self, share: Share) -> None:
        """Begin to deliver the chunks of a share, from its first on."""

    @property
    @abstractmethod
    def stream(self) -> Stream:
        """What is delivered, as the graph sees it; of a feed that is open."""

    @abstractmethod
    def draw(self, chunks: int) -> tuple[Any, Any]:
        """Return what a call of the step takes for the next chunks, so many at most; see `Stream`."""

    def explain(self, start: int, stop: int) -> str | None:
        """Find the first of examples [start, stop) that does not parse; see `Source.explain`."""
        return self.source.explain(start, stop, self.wanted)

    @property
    def waited_s(self) -> float:
        """How long calls of the step have waited for batches inside the graph, since the feed was made."""
        return 0.0

    @property
    def waiting_s(self) -> float:
        """The same at this moment, for another thread than the one of the calls."""
        return 0.0

    def seal(self, lines: np.ndarray) -> np.ndarray:
        """Add the content hashes of the chunks that a call of the step has evaluated.

        Args:
          lines: of batches, int64 [n, 7], the chunk first.
        Returns: int64 [n, 8]: the content hash of a chunk stands in its first line, the others have 0.
        """
        contents = np.zeros([len(lines), 1], np.int64)
        chunks, first = np.unique(lines[:, 0], return_index=True)
        for chunk, line in zip(chunks.tolist(), first.tolist(), strict=True):
            contents[line] = self._contents.pop(chunk, 0)
        return np.concatenate([lines, contents], axis=1)

    def _begin(self) -> None:
        """Forget what an earlier opening has read."""
        self.error, self.reading, self.records_read = None, None, 0
        self._contents.clear()
