"""The journal: what has been finished, on disk, so that nothing is lost and nothing counted twice.

Each rank leaves immutable segments, named by attempt, rank and number. `unite` says which of them can be added up; what
a segment is stands in `segment.py`, when one is written in `commit.py`.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.errors import HarnessError, RunFolderError
from harness.folder.run_folder import write_atomically
from harness.folder.segment import Name, Origin, Torn, pack, read_lines, read_segment
from harness.plan.plan import Plan
from harness.sums.sums import Layouts, Sums

__all__ = ["Found", "Journal", "United", "add_up", "find", "load", "plan_digest", "unite"]

FAN_IN = 16  # so many segments of a rank become one: files and bytes stay few however long a run is


@dataclass(frozen=True)
class Found:
    """A segment that is whole: its name, whose it is, and its lines, int64 [n, 8].

    Where it has predictions, also the SHA-256 of the part of each line's chunk, uint8 [n, 32].
    """

    name: str
    origin: Origin
    lines: np.ndarray
    parts: np.ndarray | None = None


@dataclass(frozen=True)
class United:
    """What earlier attempts have finished.

    Attributes:
      kept: names of the segments to add up; no chunk is in two of them.
      done: chunks they hold, ascending, int64 [n].
      warnings: what was left out, and why.
    """

    kept: tuple[str, ...]
    done: np.ndarray
    warnings: tuple[str, ...] = ()


def plan_digest(plan: Plan) -> str:
    """Return a digest of the chunks."""
    return hashlib.sha256(plan.bounds.tobytes()).hexdigest()


def find(folder: Path) -> tuple[list[Found], list[str]]:
    """Return the segments in a folder that are whole, by name, and a warning about each that is not.

    Files under way, which begin with a dot, are none of them.
    """
    whole: list[Found] = []
    torn: list[str] = []
    for path in sorted(folder.glob("*.segment")):
        if Name.parse(path.name) is None:
            continue
        try:
            whole.append(Found(path.name, *read_lines(path)))
        except Torn as exc:
            torn.append(f"{path} {exc}: its chunks are evaluated again")
    return whole, torn


def unite(segments: Sequence[Found], plan: Plan) -> United:
    """Choose segments that can be added up: no chunk twice, as many chunks as can easily be had.

    A sum cannot be taken apart: of two segments that share a chunk one goes whole, and its other chunks are evaluated
    again. The one with more chunks stays; of equals the one whose name comes first. Their order on disk, the ranks and
    the time play no part, so every rank and every later attempt chooses alike.
    """
    sizes = np.diff(plan.bounds)
    done = np.zeros(len(plan), bool)
    kept: list[str] = []
    warnings: list[str] = []
    for segment in sorted(segments, key=lambda candidate: (-len(candidate.lines), candidate.name)):
        chunks, counts = segment.lines[:, 0], segment.lines[:, 1]
        outside = bool(len(chunks)) and bool(chunks.min() < 0 or chunks.max() >= len(plan))
        if outside or len(np.unique(chunks)) != len(chunks) or (counts != sizes[chunks]).any():
            warnings.append(f"{segment.name} does not hold whole chunks of the plan: they are evaluated again")
        elif done[chunks].any():
            if not done[chunks].all():
                again = int((~done[chunks]).sum())
                warnings.append(f"{segment.name} overlaps with another segment: {again} of its chunks are evaluated again")
        else:
            done[chunks] = True
            kept.append(segment.name)
    return United(tuple(sorted(kept)), np.flatnonzero(done), tuple(warnings))


def load(folder: Path, names: Iterable[str], origin: Origin) -> list[Sums]:
    """Read segments that are to be added up.

    Raises: RunFolderError: one belongs to something else. HarnessError: one has changed since it was chosen.
    """
    loaded = []
    for name in names:
        try:
            owner, sums = read_segment(folder / name)
        except Torn as exc:
            raise HarnessError(
                f"{folder / name} {exc}, and was whole when this attempt began; start again with --resume"
            ) from exc
        other = owner.differences(origin)
        if other:
            raise RunFolderError(
                f"{folder / name} cannot be resumed: what it holds was computed with another {' and another '.join(other)}; "
                "resume with what the run began with, or choose another folder with -o"
            )
        loaded.append(sums)
    return loaded


def add_up(folder: Path, names: Sequence[str], layouts: Layouts, digest: str) -> Sums:
    """Add up the segments of a finished run, at least one, whatever the software that reads them.

    Args:
      layouts: of the sums.
      digest: of the question they answer, which holds the layouts.
    Raises: RunFolderError: one is not whole, is of something else than the others, or does not have these layouts.
    """
    total: Sums | None = None
    first: Origin | None = None
    for name in names:
        try:
            origin, sums = read_segment(folder / name)
            if origin.layout != digest:
                raise ValueError("its sums are of another question than that of this run")
            if others := origin.differences(first or origin):
                raise ValueError(f"it is of another {' and another '.join(others)} than the others")
            sums.check(layouts)
        except (Torn, ValueError) as exc:
            raise RunFolderError(f"{folder / name}: {exc}") from exc
        first = first or origin
        if total is None:
            total = sums
        else:
            total.add(sums)
        total.carry(layouts)
    if total is None:
        raise RunFolderError(f"{folder}: expected at least one segment to add up")
    return total


class Journal:
    """Writes the segments of one rank in one attempt.

    Args:
      folder: of the journal.
      origin: what the sums belong to.
      attempt, rank: whose.
      check: called before each write; raises where this attempt may write no more.
      parts: returns the SHA-256 of what this rank predicted of some chunks, uint8 [n, 32]; None where it writes no predictions.
    """

    def __init__(
        self,
        folder: Path,
        origin: Origin,
        attempt: int,
        rank: int,
        check: Callable[[], None] = lambda: None,
        parts: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> None:
        self._folder = folder
        self._origin = origin
        self._attempt = attempt
        self._rank = rank
        self._check = check
        self._parts = parts
        self._next = 1
        self._levels: list[list[str]] = [[]]  # names of the segments that have been joined so many times
        self._patience = rank % FAN_IN  # so many more before the first are joined: ranks do not join all at once

    @property
    def names(self) -> list[str]:
        """The segments that this rank has written, and not joined to others."""
        return sorted(name for level in self._levels for name in level)

    def write(self, sums: Sums) -> None:
        """Commit sums as a segment; when this returns, it outlives the machine.

        Raises: HarnessError: it cannot be written; what was committed before is as it was.
        """
        self._check()
        self._levels[0].append(self._put(sums))
        level = 0
        while len(self._levels[level]) >= FAN_IN + self._patience:
            self._join(level)
            self._patience = 0
            level += 1

    def _put(self, sums: Sums) -> str:
        name = str(Name(self._attempt, self._rank, self._next))
        parts = None if self._parts is None else self._parts(sums.chunks)
        try:
            write_atomically(self._folder / name, pack(sums, self._origin, parts))
        except RunFolderError as exc:
            # Not the command's fault once work has begun.
            raise HarnessError(f"{exc}; what was finished before is kept, --resume goes on from there") from exc
        self._next += 1
        return name

    def _join(self, level: int) -> None:
        """Write the segments of a level as one, then take them away. Where a crash leaves both, `unite` takes the larger."""
        old = self._levels[level]
        joined, *others = load(self._folder, old, self._origin)
        for sums in others:
            joined.add(sums)
        name = self._put(joined)
        self._levels[level] = []
        if level + 1 == len(self._levels):
            self._levels.append([])
        self._levels[level + 1].append(name)
        for path in [self._folder / name for name in old]:
            with contextlib.suppress(OSError):
                path.unlink()
