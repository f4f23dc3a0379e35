"""Take a run folder for an attempt: claim it for the job, find what earlier attempts have finished, number the new one."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from harness.errors import DataError, RunFolderError
from harness.folder.attempts import Attempt, Lock, begin
from harness.folder.journal import Found, United, find, plan_digest, unite
from harness.folder.ownership import claim as claim_folder
from harness.folder.ownership import erase, owned
from harness.folder.question_file import question_digest
from harness.folder.run_folder import RunFolder, read_json, write_atomically
from harness.folder.segment import Origin
from harness.job.job import Job
from harness.metrics.question import Question
from harness.names.events import Event
from harness.names.log import LOG
from harness.prepare.opened import Began, Opened
from harness.step import tensorflow as tf_setup

__all__ = ["Destination", "began", "claim", "origin", "to_stderr"]

SHOWN = 5  # files named in a message
Intact = Callable[[list[Found]], tuple[list[Found], list[str]]]


def to_stderr(text: str) -> None:
    """Say something beside the results."""
    LOG.say(Event.RUN_RESUMED, text, text=text)


@dataclass(frozen=True)
class Destination:
    """Where a run goes.

    Attributes:
      folder: of the run.
      lock: of the folder; none but on rank 0.
      resume: go on from what earlier attempts have finished.
      overwrite: take away the run that is there, unless an attempt is at work on it, and begin anew.
      note: tells people how much of it is done already.
    """

    folder: RunFolder
    lock: Lock | None
    resume: bool = False
    overwrite: bool = False
    note: Callable[[str], None] = to_stderr


def claim(
    destination: Destination,
    opened: Opened,
    job: Job,
    ranks: int,
    *,
    digests: Mapping[str, str] | None = None,
    clear: Callable[[tuple[int, ...]], None] = lambda done: None,
    intact: Intact = lambda segments: (segments, []),
) -> tuple[Opened, Attempt | None]:
    """Make a folder this run's, on rank 0.

    Args:
      destination: of the run; its lock is taken unless the run is done.
      opened: what is to be evaluated.
      job: that asks for it.
      ranks: how many there are.
      digests: further ones that tell this run from others.
      clear: takes away what else earlier attempts left, but that of chunks that are done.
      intact: returns the segments of which all is there that they committed, and a warning about each of the others.
    Returns: the same with the chunks that are done, and the attempt; none where the run is done already.
    Raises: RunFolderError: the folder is another's, or holds a run that nobody asked to go on from. DataError: a file that
      was evaluated has another size now.
    """
    folder, lock = destination.folder, destination.lock
    assert lock is not None
    own = {**opened.digests, **(digests or {})}
    overwrite = destination.overwrite and folder.job_json.exists()
    if not overwrite:
        _check_sizes(folder, opened)
        if owned(folder, own, job):
            return opened, None
    lock.take()
    if overwrite:
        erase(folder)
    if owned(folder, own, job):  # finished since, by another process
        lock.give_back()
        return opened, None
    claim_folder(folder, own, job)
    united = _unite(opened, destination, intact)
    folder.clear()
    done = tuple(united.done.tolist())
    clear(done)
    attempt = begin(folder, united.kept, len(united.done), ranks)
    first = {"model": opened.model_path, "models": opened.model_paths, **opened.plan.to_dict()}
    write_atomically(folder.plan_json, json.dumps(first) + "\n")
    folder.set_status("running", None, pid=os.getpid(), ranks=ranks, attempt=attempt.number)
    return replace(opened, done=done), attempt


def _check_sizes(folder: RunFolder, opened: Opened) -> None:
    """See that the data are those that a folder holds a run of.

    Raises: DataError: a file has another size.
    """
    if changes := _other_sizes(folder, opened):
        raise DataError(
            f"{'; '.join(changes[:SHOWN])}: these are other data than {folder.path} holds a run of. Nothing is lost: put back "
            "the data that were evaluated, or evaluate these in another folder with -o"
        )


def _other_sizes(folder: RunFolder, opened: Opened) -> list[str]:
    """Name the files that have another size, or number of examples, than when the run in a folder read them."""
    job_document, kept = read_json(folder.job_json), read_json(folder.plan_json)
    mine = opened.digests
    if not isinstance(job_document, dict) or any((job_document.get(name) == mine[name]) is (name == "data") for name in mine):
        return []  # the very same data, or not the same job: which the folder itself tells
    if not folder.has_segments and not folder.metrics_json.exists():
        return []  # there is nothing yet that could be wrong
    try:
        before = [(file["path"], file["size_bytes"], file["examples"]) for file in kept["files"]]
    except (KeyError, TypeError):
        return []
    now = [(file.path, file.size_bytes, file.examples) for file in opened.plan.files]
    if [path for path, *_ in before] != [path for path, *_ in now]:
        return []
    return [
        f"{path} had {size} bytes and {examples} examples, and has {new_size} and {new_examples} now"
        for (path, size, examples), (_, new_size, new_examples) in zip(before, now, strict=True)
        if (size, examples) != (new_size, new_examples)
    ]


def began(folder: RunFolder) -> Began | None:
    """Return what the run in a folder began with; None where it has left nothing to go on from."""
    raw = read_json(folder.plan_json) if folder.has_segments or folder.metrics_json.exists() else None
    return Began(raw["models"], tuple(file["path"] for file in raw["files"])) if raw else None


def origin(opened: Opened, step: Any, question: Question) -> Origin:
    """Return what the sums of a compiled step belong to."""
    layout = question_digest(question, step.layouts)
    return Origin(**opened.digests, plan=plan_digest(opened.plan), layout=layout, software=tf_setup.software())


def _unite(opened: Opened, destination: Destination, intact: Intact) -> United:
    """Say what earlier attempts have finished.

    Raises: RunFolderError: there is something, and nobody asked to go on from it; or it was of another plan.
    """
    folder = destination.folder
    segments, torn = find(folder.journal)
    if segments and not destination.resume:
        chunks = len(unite(segments, opened.plan).done)
        raise RunFolderError(
            f"{folder.path}: holds a run that is not finished, {chunks} of {len(opened.plan)} chunks; nothing of it is lost: "
            "--resume goes on from there, in Python resume=True. To begin anew say --overwrite, or choose another folder with -o"
        )
    for segment in segments:
        here = replace(segment.origin, **opened.digests, plan=plan_digest(opened.plan))
        if other := segment.origin.differences(here):
            raise RunFolderError(
                f"{folder.journal / segment.name} cannot be resumed: it is of another {' and another '.join(other)}; choose "
                "another folder with -o"
            )
    whole, damaged = intact(segments)
    united = unite(whole, opened.plan)
    for warning in [*torn, *damaged, *united.warnings]:
        LOG.say(Event.RUN_WARNING, warning)
    if destination.resume:
        done = f"{len(united.done)} of {len(opened.plan)} chunks are done already"
        destination.note(f"{done}, from {len(united.kept)} segment{'s' * (len(united.kept) != 1)}")
    return united
