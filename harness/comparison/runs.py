"""What is compared, as the user names it: a run folder, a baseline, or the results of an evaluation in Python."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harness.comparison.baselines import default_folder, names, read
from harness.errors import UsageError, nearest
from harness.folder.question_file import as_read
from harness.results.evidence import Evidence
from harness.results.results import Results

__all__ = ["Run", "evidence_of", "folder_of", "name_of"]

Run = Path | Results


def evidence_of(run: Run, baselines: Path | None = None) -> Evidence:
    """Return what comparisons need of a run.

    Args:
      run: a folder, the name of a baseline, or results.
      baselines: folder of the baselines that have names; default: `baselines.default_folder`.
    Raises: RunFolderError: a folder holds no finished run. UsageError: there is a folder and a baseline of that name, or
      neither; or of the results nothing but the values is there.
    """
    path = folder_of(run)
    if path is not None:
        return _read(path, baselines if baselines is not None else default_folder())
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


def _read(path: Path, baselines: Path) -> Evidence:
    is_name = path.name == str(path)
    known = names(baselines) if is_name else []
    if path.name in known and path.exists():
        raise UsageError(
            f"{path} is a run folder and a baseline in {baselines}: name the folder by its whole path, or the "
            f"baseline as {baselines / path}.zip"
        )
    if path.name in known:
        return read(baselines / f"{path}.zip")
    if path.suffix == ".zip" and path.is_file():
        return read(path)
    if known and not path.exists():
        raise UsageError(f"{path}: no run folder, and no baseline in {baselines}: {nearest(path.name, known)}")
    return Evidence.read(path)


def folder_of(run: Run) -> Path | None:
    """Return the run folder; None of results that were not written to one."""
    return run.folder if isinstance(run, Results) else run


def name_of(run: Run) -> str:
    """Return what a run is called in messages and documents."""
    path = folder_of(run)
    return "results" if path is None else str(path)
