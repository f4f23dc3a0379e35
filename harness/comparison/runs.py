"""What is compared, as the user names it: a run folder, or the results of an evaluation in Python."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harness.errors import UsageError
from harness.folder.question_file import as_read
from harness.results.evidence import Evidence
from harness.results.results import Results

__all__ = ["Run", "evidence_of", "folder_of", "name_of"]

Run = Path | Results


def evidence_of(run: Run) -> Evidence:
    """Return what comparisons need of a run.

    Raises: RunFolderError: a folder holds no finished run. UsageError: of the results nothing but the values is there.
    """
    path = folder_of(run)
    if path is not None:
        return Evidence.read(path)
    assert isinstance(run, Results)
    if run.evidence is None:
        raise UsageError(
            "these results hold neither replicates nor their question: they were pickled, or come from another rank than 0; "
            "compare on rank 0, or evaluate into a folder with output="
        )
    try:
        return replace(run.evidence, question=as_read(run.evidence.question))  # as a folder brings it back
    except ValueError as exc:
        raise UsageError(f"the question of these results cannot be written, and so not be compared: {exc}") from exc


def folder_of(run: Run) -> Path | None:
    """Return the run folder; None of results that were not written to one."""
    return run.folder if isinstance(run, Results) else run


def name_of(run: Run) -> str:
    """Return what a run is called in messages and documents."""
    path = folder_of(run)
    return "results" if path is None else str(path)
