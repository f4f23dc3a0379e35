"""Which files are not known to be what they were, and which chunks lie in them. Pure: looks at no file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from harness.data.identity import Identity, Inventory
from harness.plan.plan import Plan

__all__ = ["chunks_in", "doubtful_files", "files_of", "listed", "marks_of"]

NAMED = 5  # files named in a message


def _spans(plan: Plan, chunks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of the first and the last file of some chunks, int64 [n] each."""
    starts, bounds = plan.file_starts, plan.bounds
    first, last = (np.searchsorted(starts, ids, side="right") - 1 for ids in (bounds[chunks], bounds[chunks + 1] - 1))
    return first, last


def files_of(plan: Plan, chunks: Iterable[int]) -> list[int]:
    """Return the numbers of the files that some chunks lie in.

    >>> from harness.plan.plan import File
    >>> plan = Plan((File("a", 0, 3), File("b", 0, 4), File("c", 0, 1)), 2, 4)  # chunks 0..4, 4..8
    >>> files_of(plan, [0]), files_of(plan, [1]), files_of(plan, [])
    ([0, 1], [1, 2], [])
    """
    first, last = _spans(plan, np.fromiter(chunks, np.int64))
    borders = np.zeros(len(plan.files) + 1, np.int64)
    np.add.at(borders, first, 1)
    np.add.at(borders, last + 1, -1)
    numbers: list[int] = np.flatnonzero(np.cumsum(borders)).tolist()
    return numbers


def chunks_in(plan: Plan, files: Iterable[int]) -> list[int]:
    """Return the chunks that lie in some files, or reach into them.

    >>> from harness.plan.plan import File
    >>> chunks_in(Plan((File("a", 0, 3), File("b", 0, 4), File("c", 0, 1)), 2, 4), [0])
    [0]
    """
    first, last = _spans(plan, np.arange(len(plan)))
    named = np.zeros(len(plan.files) + 1, np.int64)
    named[np.fromiter(files, np.int64) + 1] = 1
    before = np.cumsum(named)  # how many of the named files come before one
    chunks: list[int] = np.flatnonzero(before[last + 1] > before[first]).tolist()
    return chunks


def marks_of(document: Any) -> list[list[tuple[Any, ...]]]:
    """Return what earlier attempts kept of the files, without their paths, one list a kind of host; none where it is torn."""
    try:
        return [[tuple(row[1:]) for row in seen["files"]] for seen in document["seen"]]
    except (TypeError, KeyError, IndexError):
        return []


def doubtful_files(inventory: Inventory, known: Sequence[Sequence[tuple[Any, ...]]], *, unseen: bool) -> dict[int, str]:
    """Name the files of the plan that are not known to be what they were.

    Args:
      inventory: what a host sees now.
      known: see `marks_of`.
      unseen: whether files that nobody can look at are doubtful too.
    Returns: by number, why.
    """
    reasons: dict[int, str] = {}
    for number, places in enumerate(inventory.numbers):
        if not places and unseen:
            reasons[number] = "nobody can look at the data to see whether they changed"
        for place in places:
            now = inventory.identities[place]
            if any(len(marks) == len(inventory.identities) and marks[place] == now.mark for marks in known):
                continue
            before = known[0][place] if known and place < len(known[0]) else None
            try:
                changes = Identity(now.path, *before).changes(now) if before else ""
            except TypeError:
                changes = ""
            earlier = [reasons[number]] if number in reasons else []
            reasons[number] = listed([*earlier, f"{now.path} is not as it was{f': {changes}' if changes else ''}"])
    return reasons


def listed(texts: Sequence[str]) -> str:
    """Return texts as one, the first few of them and how many more there are."""
    rest = f" and {len(texts) - NAMED} more files" if len(texts) > NAMED else ""
    return ", and ".join(texts[:NAMED]) + rest
