"""What is reported: runs as their folders hold them, and what their numbers are held against. Reads; draws nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.comparison.baselines import default_folder
from harness.comparison.baselines import names as baseline_names
from harness.comparison.command import Compared
from harness.comparison.runs import evidence_of
from harness.errors import RunFolderError, UsageError
from harness.folder.run_folder import RunFolder, read_json
from harness.results.run_document import document_of

__all__ = ["Reported", "Subject", "read"]

NO_JOURNAL = "a baseline keeps no journal, of which curves and matrices are drawn: name its run folder to see them"


@dataclass(frozen=True)
class Subject:
    """One run.

    Attributes:
      name: by which it is shown.
      folder: where it lies; None for results that no folder holds, and for baselines.
      document: metrics.json; None where the run has none.
      run: run.json, empty where there is none.
      job: the keys of the job that are not at their defaults.
      state, message: of the last attempt, and what failed.
      missing: why plots that need more than the document are not there.
    """

    name: str
    folder: RunFolder | None
    document: Mapping[str, Any] | None
    run: Mapping[str, Any] = field(default_factory=dict)
    job: Mapping[str, Any] = field(default_factory=dict)
    state: str = ""
    message: str = ""
    missing: str = ""


@dataclass(frozen=True)
class Reported:
    """All that a page is made of.

    Attributes:
      subjects: the runs, the baseline first.
      compared: the runs, or the models of one, against the first; None where there is nothing to compare.
      not_compared: why runs are not compared.
    """

    subjects: Sequence[Subject]
    compared: Compared | None = None
    not_compared: str = ""

    @property
    def finished(self) -> Sequence[tuple[Subject, Mapping[str, Any]]]:
        """The runs that have a result, each with it."""
        return [(subject, subject.document) for subject in self.subjects if subject.document is not None]


def read(paths: Sequence[Path], model: str | None = None, baselines: Path | None = None) -> Reported:
    """Read run folders, and baselines that have names.

    Args:
      paths: the baseline first.
      model: of runs with several models, the one that is compared.
      baselines: folder of the baselines that have names; default: `baselines.default_folder`.
    Raises: RunFolderError: a folder holds no run. UsageError: one stands there twice.
    """
    names = _names(paths)
    subjects = [_subject(path, name, baselines) for path, name in zip(paths, names, strict=True)]
    if any(subject.document is None for subject in subjects):
        return Reported(subjects, None, "a run has no result" if len(subjects) > 1 else "")
    document = subjects[0].document or {}
    if len(subjects) == 1 and "differences" not in document:
        return Reported(subjects)
    try:
        return Reported(subjects, Compared.of(paths, model=model, baselines=baselines))
    except RunFolderError as exc:
        return Reported(subjects, None, str(exc))
    except UsageError as exc:
        if model is not None:
            raise
        return Reported(subjects, None, str(exc))


def _subject(path: Path, name: str, baselines: Path | None) -> Subject:
    if not path.is_dir() and (path.suffix == ".zip" or baseline_names(baselines or default_folder())):
        kept = evidence_of(path, baselines).document
        return Subject(name, None, kept, state="done", missing=NO_JOURNAL)
    folder = RunFolder(path)
    document = document_of(folder)
    status, failure = (_mapping(read_json(file)) for file in (folder.status_json, folder.failure_json))
    if document is None and not status and not failure:
        raise RunFolderError(f"{path}: expected the folder of a run, with metrics.json or status.json in it")
    return Subject(
        name,
        folder,
        document,
        _mapping(read_json(folder.run_json)),
        _mapping(read_json(folder.resolved_job_json)),
        str(status.get("state", "done" if document else "")),
        "" if document else str(failure.get("message", "")),
    )


def _mapping(document: Any) -> dict[str, Any]:
    return document if isinstance(document, dict) else {}


def _names(paths: Sequence[Path]) -> list[str]:
    """Name runs by the last parts of their paths that tell them apart.

    Raises: UsageError: a run stands there twice.
    """
    parts = [path.absolute().parts for path in paths]
    for size in range(1, max(map(len, parts)) + 1):
        names = ["/".join(own[-size:]) for own in parts]
        if len(set(names)) == len(names):
            return names
    raise UsageError(f"{paths[0]}: stands there twice")
