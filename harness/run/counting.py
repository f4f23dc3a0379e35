"""Files are counted by all ranks: each goes through its share of the pieces, rank 0 puts together what they found.

The last rank hashes the models meanwhile. Who goes through what depends on sizes alone; what is found does not depend on it.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from harness.data import storage
from harness.data.counting import FilePass, FilePiece, combine, nothing_moved, pieces_of, scan_pieces
from harness.errors import DataError, HarnessError, ModelError
from harness.job.job import Job
from harness.models import files as model_files
from harness.names.status_line import StatusLine
from harness.prepare.opened import Given, ModelDigests, Opened, Surveyed, model_digests, open_counted
from harness.ranks.comm import Comm
from harness.ranks.schedule import deal
from harness.run.consensus import from_rank_0, together
from harness.watch.counting_progress import CountingProgress

__all__ = ["Counted", "count"]


@dataclass(frozen=True)
class Counted:
    """What a job names, with all that had to be read for it: on rank 0, which opens it for all.

    Attributes:
      surveyed: with all counts; None on the other ranks.
      digests: of the models, or why there are none.
    """

    surveyed: Surveyed | None = None
    digests: ModelDigests | HarnessError = field(default_factory=ModelDigests)

    def open(self, job: Job, handed: Given | None = None) -> Opened:
        """Open the data and cut the plan; see `open_counted`."""
        assert self.surveyed is not None  # this is called on rank 0
        return open_counted(job, self.surveyed, self._model_digests, handed)

    def _model_digests(self) -> ModelDigests:
        if isinstance(self.digests, HarnessError):
            raise self.digests
        return self.digests


@dataclass(frozen=True)
class _Work:
    """What has to be read before the plan can be cut."""

    pieces: tuple[FilePiece, ...]
    models: dict[str, str | None]
    model_bytes: int


@dataclass(frozen=True)
class _Findings:
    """What a rank found: in each of its pieces, and of the models on the last rank; errors in their places."""

    parts: Sequence[Any]
    digests: ModelDigests | HarnessError | None


def count(comm: Comm, job: Job, find: Callable[[], Surveyed], line: StatusLine | None = None) -> Counted:
    """Count what a job names, on all ranks. A collective.

    Args:
      find: looks at models and data; called on rank 0.
      line: where rank 0 shows progress; None where it shows none.
    Returns: on rank 0 what was found, nothing on the others.
    Raises: Told: see `together`; of files that are not what they should be the first in the order of the job is named.
    """
    surveyed = together(comm, lambda: find() if comm.rank == 0 else None)
    work = from_rank_0(comm, lambda: _work_of(surveyed))
    shares = deal([piece.size_bytes for piece in work.pieces], comm.size, work.model_bytes)
    findings = together(comm, lambda: _read(comm, job, work, shares, line))
    every = _to_rank_0(comm, findings)
    return together(comm, lambda: _put_together(surveyed, work, shares, every) if surveyed else Counted())


def _work_of(surveyed: Surveyed | None) -> _Work:
    assert surveyed is not None  # this is called on rank 0
    sizes = [model_files.size_bytes(path) for path in surveyed.models.values() if path is not None]
    return _Work(tuple(pieces_of(surveyed.counts)), surveyed.models, sum(sizes))


def _read(comm: Comm, job: Job, work: _Work, shares: Sequence[Sequence[int]], line: StatusLine | None) -> _Findings:
    """Go through this rank's share."""
    mine = [work.pieces[number] for number in shares[comm.rank]]
    files = len({piece.number for piece in work.pieces})
    total = sum(piece.size_bytes for piece in mine)
    progress = CountingProgress(total, files, comm.size, line) if comm.rank == 0 and line and mine else None
    with ThreadPoolExecutor(1) as other:
        digests = other.submit(_digests, comm, job, work.models) if comm.rank == comm.size - 1 else None
        parts = scan_pieces(mine, progress.move if progress else nothing_moved, lambda way: _see(comm, way))
        return _Findings(parts, digests.result() if digests else None)


def _digests(comm: Comm, job: Job, models: dict[str, str | None]) -> ModelDigests | HarnessError:
    try:
        for name, path in models.items():
            if path is not None and job.named_models[name].endpoint is None and not model_files.is_there(path):
                raise ModelError(
                    f"{path}: rank {comm.rank} on {comm.host} does not see the model that rank 0 sees; "
                    "copy it there, or read it from a shared file system"
                )
        return model_digests(job, models, comm.size)
    except HarnessError as exc:
        return exc


def _see(comm: Comm, way: FilePass) -> None:
    """See that a file is here what it is for rank 0.

    Raises: DataError: it is not.
    """
    if comm.rank == 0:
        return
    here = f"rank {comm.rank} on {comm.host}"
    try:
        size = storage.size_bytes(way.path)
    except DataError as exc:
        raise DataError(
            f"{exc}: {here} does not see the file that rank 0 sees; copy the data there, or read them from a shared file system"
        ) from exc
    if size != way.size_bytes:
        raise DataError(
            f"{way.path} has {size} bytes for {here} and {way.size_bytes} for rank 0: its copy is another, or somebody writes "
            "to it; copy the data anew, or read them from a shared file system"
        )


def _to_rank_0(comm: Comm, findings: _Findings) -> list[_Findings]:
    """Return on rank 0 what every rank found, by rank; nothing on the others, which have no use for it."""
    if comm.size == 1:
        return [findings]
    nothing = np.zeros(0, np.uint8)
    own = np.frombuffer(pickle.dumps(findings), np.uint8)
    arrived = [data.tobytes() for data in comm.alltoall([own, *[nothing] * (comm.size - 1)])]
    # Each is pickled by a rank of the same job, and read by nobody else.
    return [pickle.loads(raw) for raw in arrived] if comm.rank == 0 else []


def _put_together(surveyed: Surveyed, work: _Work, shares: Sequence[Sequence[int]], every: Sequence[_Findings]) -> Counted:
    parts: list[Any] = [None] * len(work.pieces)
    for share, findings in zip(shares, every, strict=True):
        for number, part in zip(share, findings.parts, strict=True):
            parts[number] = part
    counts = combine(surveyed.counts, work.pieces, parts)
    digests = every[-1].digests
    assert digests is not None  # the last rank makes them
    return Counted(replace(surveyed, counts=tuple(counts)), digests)
