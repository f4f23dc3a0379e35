"""What comparisons and gates need of a finished run: its document, its question, its replicates; from a folder or in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from harness.errors import RunFolderError
from harness.folder.question_file import read_question
from harness.folder.run_folder import RunFolder, read_json
from harness.metrics.question import Question
from harness.results.terminal import finished

__all__ = ["DATA_KEYS", "Evidence", "data_keys", "read_arrays"]

DATA_KEYS = ("filter", "transform", "features", "sample", "limit", "on_bad_record", "unknown_label", "inputs")


@dataclass(frozen=True)
class Evidence:
    """A finished run, as far as others are held against it.

    Attributes:
      document: what metrics.json holds.
      question: what the run asked.
      data: the job's keys that say which examples are evaluated, and what the model reads of them.
      replicates: float64 [replicates] by number, NaN for null; empty where there are none.
      slice_replicates: float64 [slices, replicates] by number, in the order of the document's slices.
      examples_per_s: of the last attempt; None where it is not known.
    """

    document: Mapping[str, Any]
    question: Question
    data: Mapping[str, Any]
    replicates: Mapping[str, np.ndarray] = field(default_factory=dict)
    slice_replicates: Mapping[str, np.ndarray] = field(default_factory=dict)
    examples_per_s: float | None = None

    @classmethod
    def read(cls, path: Path) -> Evidence:
        """Read a run folder.

        Raises: RunFolderError: there is no finished run, or a file of it is not what a run writes.
        """
        folder = RunFolder(path)
        document = finished(folder)
        question, _ = read_question(folder)
        return cls(
            document,
            question,
            data_keys(read_json(folder.resolved_job_json)),
            _kept(folder.replicates_npz),
            _kept(folder.slice_replicates_npz),
            _speed(read_json(folder.run_json)),
        )


def data_keys(job: Any) -> dict[str, Any]:
    """Return what a job says of which examples are evaluated.

    >>> data_keys({"data": {"files": "x.npz", "limit": 10}})["limit"]
    10
    """
    data = (job.get("data") or {}) if isinstance(job, Mapping) else {}
    return {key: data.get(key) for key in DATA_KEYS}


def read_arrays(file: Path | IO[bytes], where: str) -> dict[str, np.ndarray]:
    """Return the arrays of a file of replicates.

    Args:
      where: what the file is called.
    Raises: RunFolderError: it is not what a run writes.
    """
    try:
        with np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except Exception as exc:
        raise RunFolderError(f"{where}: not what a run writes: {exc}") from exc


def _kept(path: Path) -> dict[str, np.ndarray]:
    return read_arrays(path, str(path)) if path.exists() else {}


def _speed(run: Any) -> float | None:
    attempts = (run.get("attempts") or []) if isinstance(run, dict) else []
    return float(attempts[-1]["examples_per_s"]) if attempts else None
