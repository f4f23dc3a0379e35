"""The targets that a job hands its run on to: looked at before any work, written by rank 0 once the result is."""

from __future__ import annotations

import sys

from harness.errors import HarnessError, JobError, UsageError
from harness.export.command import export, targets_of
from harness.export.targets import Target
from harness.folder.run_folder import RunFolder
from harness.job.job import Job

__all__ = ["check_export", "check_exported_places", "hand_on"]


def check_export(job: Job) -> list[Target]:
    """Return the targets of a job; relative places lie beside the job file.

    Raises: JobError: there is no such target, or what it needs is not installed.
    """
    try:
        return targets_of(job.export, job.folder)
    except UsageError as exc:
        raise JobError(f"export: {exc}") from exc


def check_exported_places(job: Job) -> None:
    """See that this process may write to the places of the targets.

    Raises: JobError: it may not.
    """
    targets = check_export(job)
    try:
        for target in targets:
            target.check_writable()
    except UsageError as exc:
        raise JobError(f"export: {exc}") from exc


def hand_on(folder: RunFolder, job: Job) -> None:
    """Hand on a run that is done, where the job asks for it. The result is there: what fails now is a warning."""
    if not job.export:
        return
    try:
        export([folder.path], check_export(job), print)
    except Exception as exc:  # noqa: BLE001 - no tracker may cost a result
        problem = exc if isinstance(exc, HarnessError) else f"{type(exc).__name__}: {exc}"
        targets = [Target.of(text).beside(job.folder) for text in job.export]
        again = " ".join(f"--to {target.kind}={target.place}" for target in targets)
        print(f"harness: warning: the result is written, but not handed on: {problem}\n  say it again: harness export "
              f"{folder.path} {again}", file=sys.stderr)  # fmt: skip
