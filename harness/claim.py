"""Take a run folder for an attempt: claim it for the job, find what earlier attempts have finished, number the new one."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from harness import tf_setup
from harness.attempts import Attempt, Lock, begin
from harness.errors import RunFolderError
from harness.journal import United, find, plan_digest, unite
from harness.prepare import Began, Opened
from harness.runfolder import RunFolder, read_json, write_atomically
from harness.segment import Origin

__all__ = ["began", "claim", "origin"]


def claim(
    folder: RunFolder,
    opened: Opened,
    lock: Lock,
    ranks: int,
    *,
    resume: bool = False,
    marks: Mapping[str, str] | None = None,
    clear: Callable[[tuple[int, ...]], None] = lambda done: None,
) -> tuple[Opened, Attempt | None]:
    """Make a folder this run's, on rank 0.

    Args:
      folder: of the run.
      opened: what is to be evaluated.
      lock: of the folder; taken unless the run is done.
      ranks: how many there are.
      resume: go on from what earlier attempts have finished.
      marks: further digests that tell this run from others.
      clear: takes away what else earlier attempts left, but that of chunks that are done.
    Returns: the same with the chunks that are done, and the attempt; none where the run is done already.
    Raises: RunFolderError: the folder is another's, or holds a run that nobody asked to go on from.
    """
    if folder.claim({**opened.digests, **(marks or {})}):
        return opened, None
    lock.take()
    united = _unite(opened, folder, resume)
    folder.clear()
    done = tuple(united.done.tolist())
    clear(done)
    attempt = begin(folder, united.kept, len(united.done), ranks)
    first = {"model": opened.model_path, "models": opened.model_paths, **opened.plan.to_dict()}
    write_atomically(folder.plan_json, json.dumps(first) + "\n")
    folder.set_status("running", None, pid=os.getpid(), ranks=ranks, attempt=attempt.number)
    return replace(opened, done=done), attempt


def began(folder: RunFolder) -> Began | None:
    """Return what the run in a folder began with; None where it has left nothing to go on from."""
    raw = read_json(folder.plan_json) if folder.has_segments or folder.metrics_json.exists() else None
    return Began(raw["models"], tuple(file["path"] for file in raw["files"])) if raw else None


def origin(opened: Opened, step: Any) -> Origin:
    """Return what the sums of a compiled step belong to."""
    columns = (step.layout, step.grid.layout if step.grid else None, step.row_layouts)
    layout = hashlib.sha256(repr(columns).encode()).hexdigest()
    return Origin(**opened.digests, plan=plan_digest(opened.plan), layout=layout, software=tf_setup.software())


def _unite(opened: Opened, folder: RunFolder, resume: bool) -> United:
    """Say what earlier attempts have finished.

    Raises: RunFolderError: there is something, and nobody asked to go on from it; or it was of another plan.
    """
    found, torn = find(folder.journal)
    if found and not resume:
        chunks = len(unite(found, opened.plan).done)
        raise RunFolderError(
            f"{folder.path}: holds a run that is not finished, {chunks} of {len(opened.plan)} chunks; nothing of it is lost: "
            "--resume goes on from there. To begin anew choose another folder with -o, or remove this one"
        )
    for each in found:
        here = replace(each.origin, **opened.digests, plan=plan_digest(opened.plan))
        if other := each.origin.differences(here):
            raise RunFolderError(
                f"{folder.journal / each.name} cannot be resumed: it is of another {' and another '.join(other)}; choose "
                "another folder with -o"
            )
    united = unite(found, opened.plan)
    for warning in [*torn, *united.warnings]:
        print(f"harness: warning: {warning}", file=sys.stderr)
    if resume:
        print(
            f"{len(united.done)} of {len(opened.plan)} chunks are done already, from {len(united.kept)} segments", file=sys.stderr
        )
    return united
