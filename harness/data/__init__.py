"""The data: one file per format, one small contract for all of them.

A source knows its files and how many examples each holds, reads any run of examples on the host, and parses what it
read in the graph. Ids come from where a record was found, never from what was asked for: a reader that is off by one
record hands out the wrong ids, and the certificate sees it.
"""

from __future__ import annotations

import glob
import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.errors import JobError
from harness.plan import File

__all__ = ["ID", "SERIALIZED", "Feature", "Records", "Source", "digest", "expand", "open_source"]

SERIALIZED = "serialized"  # the raw tensor that holds whole records
ID = "\0id"  # the array of ids among a source's arrays, cut as they are; no feature of a user has this name


@dataclass(frozen=True)
class Feature:
    """Dtype (a NumPy name, or "string") and shape of one feature of one example; None is a size that is not known."""

    dtype: str
    shape: tuple[int | None, ...]

    def __str__(self) -> str:
        return f"{self.dtype} [{', '.join('?' if d is None else str(d) for d in self.shape)}]"


@dataclass(frozen=True)
class Records:
    """Some examples as they were read: ids int64 [n], and raw tensors [n, ...] by name."""

    ids: np.ndarray
    raw: Mapping[str, np.ndarray]


class Source(ABC):
    """The examples of a job, in one format."""

    files: tuple[File, ...]

    @property
    def arrays(self) -> Mapping[str, np.ndarray] | None:
        """All examples at once, where they are in memory anyway: [examples, ...] by feature name."""
        return None

    @abstractmethod
    def features(self) -> dict[str, Feature]:
        """Say which features there are, from the first record or the file's own metadata."""

    @abstractmethod
    def read(self, start: int, stop: int, size: int) -> Iterator[Records]:
        """Read examples [start, stop), `size` at a time.

        Raises: DataError: a record is corrupt or cut off; names file, record and byte offset.
        """

    @abstractmethod
    def parse(self, raw: Mapping[str, Any], wanted: Mapping[str, Feature]) -> dict[str, Any]:
        """Turn raw tensors [B, ...] into features [B, ...], in the graph."""

    def explain(self, start: int, stop: int, wanted: Mapping[str, Feature]) -> str | None:
        """Find the first of some examples that cannot be parsed; say where it is and why, None where all can."""
        return None


def expand(patterns: Sequence[str], resolved: Sequence[str]) -> list[str]:
    """Expand globs to files, each glob's in sorted order.

    Args:
      patterns: as the job has them, for messages.
      resolved: the same as paths that can be opened.
    Raises: JobError: no such file, or a glob that matches nothing.
    """
    paths: list[str] = []
    for pattern, path in zip(patterns, resolved, strict=True):
        if glob.has_magic(path) and not os.path.exists(path):
            found = sorted(p for p in glob.glob(path, recursive=True) if os.path.isfile(p))
            if not found:
                raise JobError(f"data.files: '{pattern}' matches nothing (looked for {os.path.abspath(path)})")
            paths += found
        elif not os.path.exists(path):
            raise JobError(f"data.files: no such file: {pattern} (looked for {os.path.abspath(path)})")
        elif os.path.isdir(path):
            raise JobError(f"data.files: {pattern} is a folder, expected files or a glob such as {pattern}/*")
        else:
            paths.append(path)
    twice = {path for path in paths if paths.count(path) > 1} if len(set(paths)) < len(paths) else set()
    if twice:
        raise JobError(f"data.files: named more than once: {', '.join(sorted(twice))}")
    return paths


def open_source(kind: str, paths: Sequence[str]) -> Source:
    """Open the files of a job: count their examples, and index what has to be.

    Raises: DataError: a file is not what its format says.
    """
    if kind == "npz":
        from harness.data.npz import NpzSource

        return NpzSource.open(paths)
    from harness.data.tfrecord import TFRecordSource

    return TFRecordSource.open(paths)


def digest(files: Sequence[File]) -> str:
    """Return the SHA-256 of the ordered base names, sizes and example counts, in hexadecimal."""
    lines = "".join(f"{os.path.basename(f.path)}\0{f.size_bytes}\0{f.examples}\n" for f in files)
    return hashlib.sha256(lines.encode()).hexdigest()
