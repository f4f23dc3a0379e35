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
from harness.results.run_document import check_compared, finished, read_mapping

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
        document = check_compared(finished(folder), str(folder.metrics_json))
        question, _ = read_question(folder)
        return cls(
            document,
            question,
            data_keys(read_mapping(folder.resolved_job_json), str(folder.resolved_job_json)),
            _kept(folder.replicates_npz),
            _kept(folder.slice_replicates_npz),
            _speed(read_json(folder.run_json)),
        ).checked(str(path))

    def checked(self, where: str) -> Evidence:
        """Return it, unless arrays of replicates are none of this run: slices are matched with their rows by position.

        Args:
          where: what it was read from.
        Raises: RunFolderError: an array has another type or shape than a run writes.
        """
        drawn = self.question.bootstrap.replicates if self.question.bootstrap else 0
        slices = len(self.document.get("slices") or ())
        for file, arrays, shape in (
            ("replicates.npz", self.replicates, (drawn,)),
            ("slice_replicates.npz", self.slice_replicates, (slices, drawn)),
        ):
            for name, array in arrays.items():
                if array.dtype != np.float64 or array.shape != shape:
                    raise RunFolderError(
                        f"{where}: {file}: not what a run writes: {name}: expected float64 {list(shape)}, "
                        f"found {array.dtype} {list(array.shape)}"
                    )
        return self


def data_keys(job: Mapping[str, Any] | None, where: str = "") -> dict[str, Any]:
    """Return what a job says of which examples are evaluated.

    Args:
      job: the keys of resolved_job.json; None where there is no such file.
      where: what they were read from.
    Raises: RunFolderError: they are none of a job.

    >>> data_keys({"data": {"files": "x.npz", "limit": 10}})["limit"]
    10
    """
    data = {} if job is None else job.get("data") or {}
    if not isinstance(data, Mapping):
        raise RunFolderError(f"{where}: not what a run writes: data: expected an object")
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
    attempts = run.get("attempts") if isinstance(run, dict) else None
    last = attempts[-1] if isinstance(attempts, list) and attempts else None
    speed = last.get("examples_per_s") if isinstance(last, dict) else None
    return float(speed) if isinstance(speed, int | float) else None
