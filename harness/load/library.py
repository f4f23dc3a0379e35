"""The query library of a load test: the examples of a job as the service reads them, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.data.content import ContentHash
from harness.errors import HarnessError, UsageError
from harness.job.job import Job
from harness.models.served_model import ServedModel
from harness.prepare.opened import Opened
from harness.prepare.prepare import Prepared
from harness.ranks.schedule import static_share
from harness.ranks.share import FixedShare
from harness.step.failure import translate
from harness.step.host_slices import HostSlices
from harness.step.pipeline_feed import PipelineFeed
from harness.step.served_models import ServedModels
from harness.sums.capacity import allowed_bytes, size_text

__all__ = ["QueryLibrary", "read_library"]


@dataclass(frozen=True)
class QueryLibrary:
    """N examples that count: not filtered, not skipped.

    Attributes:
      ids: int64 [N], ascending within a file.
      tensors: [N, ...] by input of the service.
      slots: keys of the slices that they are in.
      slices: which of them each is in, int32 [N, specs]; None of a job without slices.
    """

    ids: np.ndarray
    tensors: dict[str, np.ndarray]
    slots: Sequence[str] = ()
    slices: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, places: np.ndarray) -> dict[str, np.ndarray]:
        """Return what the service reads of some examples, by their places, int64 [B]."""
        return {name: array[places] for name, array in self.tensors.items()}


def read_library(job: Job, opened: Opened, prepared: Prepared, served: ServedModel, threads: int) -> QueryLibrary:
    """Read the examples of a job.

    Args:
      threads: of the pipeline.
    Raises: DataError: they cannot be read. UsageError: they do not fit into memory, or none counts.
    """
    matched = prepared.matched
    source = opened.source.select(matched.wanted, skip=job.data.on_bad_record == "skip")
    feed = PipelineFeed(source, matched.wanted, job.batch_size, threads, ContentHash(()))
    reader = ServedModels(prepared.model, matched)
    chunks = static_share(opened.plan, 0, 1)
    try:
        feed.open(FixedShare(chunks))
        slots = HostSlices(job.slices, traced=False) if job.slices else None
        return _gathered(feed, reader, served, slots, allowed_bytes(1))
    except HarnessError:
        raise
    except Exception as exc:
        raise translate(exc, feed, opened.plan, chunks, job) from exc


def _gathered(
    feed: PipelineFeed, reader: ServedModels, served: ServedModel, slots: HostSlices | None, allowed: int
) -> QueryLibrary:
    ids: list[np.ndarray] = []
    numbers: dict[str, int] = {}
    slices: list[np.ndarray] = []
    parts: list[dict[str, np.ndarray]] = []
    size_bytes = 0
    for identities, features in feed.identified():
        ids.append(identities)
        parts.append(reader.tensors(served, features))
        if slots is not None:
            keys, places = slots.of(features)
            slices.append(np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int32)[places.T])
        size_bytes += 2 * sum(_size(array) for array in parts[-1].values())  # once more where they are put together
        if size_bytes > allowed:
            raise UsageError(
                f"the query library is kept in memory: {sum(map(len, ids)):,} examples take {size_text(size_bytes // 2)}, and "
                "more would not fit; take fewer: --set data.limit=N"
            )
    if not sum(map(len, ids)):
        raise UsageError("the query library is empty: all examples of the job are filtered or skipped")
    tensors = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return QueryLibrary(np.concatenate(ids), tensors, tuple(numbers), np.concatenate(slices) if slices else None)


def _size(array: np.ndarray) -> int:
    """Return the bytes of an array, those of its texts too."""
    return array.nbytes + (sum(map(len, array.ravel().tolist())) if array.dtype == object else 0)
