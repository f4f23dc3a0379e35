"""The data: one file per format, one small contract for all of them.

A source knows its files and how many examples each holds, reads any run of examples on the host, and parses what it
read in the graph. Ids come from where a record was found, never from what was asked for: a reader that is off by one
record hands out the wrong ids, and the certificate sees it.
"""

from __future__ import annotations

import enum
import glob
import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from harness.data import storage
from harness.errors import JobError
from harness.plan.plan import Chunk, File

__all__ = ["BAD", "ID", "KEEP", "SERIALIZED", "Feature", "Kind", "Place", "Records", "Source", "digest", "expand", "open_source"]

SERIALIZED = "serialized"  # the raw tensor that holds whole records
ID = "\0id"  # the array of ids among a source's arrays, cut as they are; no feature of a user has this name
BAD = "\0bad"  # bool [n] among the raw tensors: records that are skipped; what else they hold is made up
KEEP = "\0keep"  # bool [B] among the parsed features: what the job's filter says
IN_MEMORY = 1 << 28  # bytes of archives that are loaded as a whole; larger ones are mapped, where they are not compressed
FOLDERS = ("images", "tfds")  # formats whose files may be folders


class Kind(enum.Enum):
    """How the values of a feature lie in a record."""

    FIXED = "fixed"
    VARIABLE = "variable"  # padded up to the shape
    SEQUENCE = "sequence"  # a feature list of a SequenceExample
    SPARSE = "sparse"  # keys: of the positions in each dimension, then of the values
    RAGGED = "ragged"  # keys: of the values, and of the row lengths
    IMAGE = "image"  # encoded; decoded and resized to the shape


@dataclass(frozen=True)
class Feature:
    """Dtype (a NumPy name, or "string") and shape of one feature of one example; None is a size that is not known.

    `kind`, `pad` and `keys` say how it is laid out in a record, where that is not simply its values.
    """

    dtype: str
    shape: tuple[int | None, ...]
    kind: Kind = Kind.FIXED
    pad: int | float | str | None = None
    keys: tuple[str, ...] = ()

    def __str__(self) -> str:
        image = "image, " if self.kind is Kind.IMAGE else ""
        return f"{image}{self.dtype} [{', '.join('?' if d is None else str(d) for d in self.shape)}]"


@dataclass(frozen=True)
class Records:
    """Some examples as they were read: ids int64 [n], and raw tensors [n, ...] by name.

    `words` stand for what each record holds, uint64 [n], where the format has a checksum of its own; see `content.py`.
    """

    ids: np.ndarray
    raw: Mapping[str, np.ndarray]
    words: np.ndarray | None = None

    def cut(self, start: int, stop: int | None) -> Records:
        """Return examples [start, stop) of these."""
        words = None if self.words is None else self.words[start:stop]
        return Records(self.ids[start:stop], {name: array[start:stop] for name, array in self.raw.items()}, words)


@dataclass(frozen=True)
class Place:
    """What a file of the plan lies in: paths and URLs, or the members of a folder that are looked at as one.

    Both empty: nobody can tell without reading whether it is the same as before.
    """

    paths: tuple[str, ...] = ()
    members: Sequence[str] = ()


class Source(ABC):
    """The examples of a job, in one format.

    Attributes:
      files: with their example counts.
      mapped: whether `arrays` lie in files, and tensors can be made of them without a copy.
    """

    files: tuple[File, ...]
    mapped: ClassVar[bool] = False

    @property
    def arrays(self) -> Mapping[str, np.ndarray] | None:
        """All examples and their ids under `ID`, where they are in memory anyway or mapped into it: [examples, ...] by name."""
        return None

    def advise(self, done: Iterable[Chunk], soon: Iterable[Chunk]) -> None:
        """Learn which chunks of `arrays` are done with, and which are cut into batches now; for arrays that are mapped."""
        del done, soon

    def check(self) -> None:
        """See that what was cut out of `arrays` was in the files: before it counts, for arrays that are mapped.

        Raises: DataError: a file has become shorter, or could not be read; names it.
        """
        return None

    @property
    def counted(self) -> tuple[str, ...]:
        """The files that had to be gone through beforehand, to be counted or cut; what that found is kept in a cache."""
        return ()

    @property
    def drawn(self) -> np.ndarray | None:
        """Ids of the examples, where they are a part of what the files hold; ascending, int64 [n]."""
        return None

    @property
    def flat(self) -> bool:
        """Whether records are serialized, and their values flat lists that take the shape that is asked for."""
        return False

    @property
    def text(self) -> bool:
        """Whether values are text, which is turned into the dtype that is asked for as it is read."""
        return False

    @abstractmethod
    def features(self) -> dict[str, Feature]:
        """Say which features there are, from the first records or the file's own metadata."""

    @abstractmethod
    def read(self, start: int, stop: int, size: int) -> Iterator[Records]:
        """Read examples [start, stop), `size` at a time.

        Raises: DataError: a record is corrupt or cut off; names file, record and byte offset.
        """

    @abstractmethod
    def parse(self, raw: Mapping[str, Any], wanted: Mapping[str, Feature]) -> dict[str, Any]:
        """Turn raw tensors [B, ...] into features [B, ...], in the graph."""

    def select(self, wanted: Mapping[str, Feature], *, skip: bool = False) -> Source:
        """Return a source of the same examples that reads no more than some features.

        Args:
          wanted: what will be parsed.
          skip: mark bad records under `BAD` in the raw tensors, rather than raise.
        """
        del wanted
        if skip:
            raise JobError("data.on_bad_record: skip: this format has no records of their own that could be skipped")
        return self

    def explain(self, start: int, stop: int, wanted: Mapping[str, Feature]) -> str | None:
        """Find the first of some examples that cannot be parsed; say where it is and why, None where all can."""
        return None

    def reads(self, wanted: Mapping[str, Feature]) -> frozenset[str]:
        """Name the raw tensors that some features are parsed from."""
        return frozenset(wanted)

    def lies_in(self, number: int) -> Place:
        """Say what a file lies in."""
        return Place((self.files[number].path,))

    def known_content(self, chunk: int) -> int | None:
        """Return the content hash of a chunk, a signed 64-bit integer, where it is known without reading; else None."""
        del chunk
        return None

    @property
    def without_content(self) -> str:
        """Why what is read has no content hash; empty where it has one."""
        return ""


def expand(patterns: Sequence[str], resolved: Sequence[str], *, folders: bool = False) -> list[str]:
    """Expand globs to files, each glob's in sorted order.

    Args:
      patterns: as the job has them, for messages.
      resolved: the same as paths that can be opened.
      folders: whether a folder will do.
    Raises: JobError: no such file, or a glob that matches nothing.
    """
    paths: list[str] = []
    for pattern, path in zip(patterns, resolved, strict=True):
        looked = path if storage.is_url(path) else os.path.abspath(path)
        if glob.has_magic(path) and (storage.is_url(path) or not os.path.exists(path)):
            found = storage.find(path)
            if not found:
                raise JobError(f"data.files: '{pattern}' matches nothing (looked for {looked})")
            paths += found
        elif not storage.exists(path):
            raise JobError(f"data.files: no such file: {pattern} (looked for {looked})")
        elif storage.is_folder(path) and not folders:
            raise JobError(f"data.files: {pattern} is a folder, expected files or a glob such as {pattern}/*")
        else:
            paths.append(path)
    twice = {path for path in paths if paths.count(path) > 1} if len(set(paths)) < len(paths) else set()
    if twice:
        raise JobError(f"data.files: named more than once: {', '.join(sorted(twice))}")
    return paths


def open_source(kind: str, paths: Sequence[str], *, target: str = "", folder: Path = Path(".")) -> Source:
    """Open the files of a job: count their examples, and index what has to be.

    Args:
      kind: the format.
      paths: files, or folders where the format has them.
      target, folder: of the user's own reader: package.module:function, and where it is looked for first.
    Raises: DataError: a file is not what its format says.
    """
    # One import a format: what it loads is loaded where it is used.
    if kind == "npz":
        from harness.data.npy import open_mapped
        from harness.data.npz import NpzSource

        if sum(storage.size_bytes(path) for path in paths) > IN_MEMORY and (mapped := open_mapped(paths)):
            return mapped
        return NpzSource.open(paths)
    if kind == "npy":
        from harness.data.npy import NpySource

        return NpySource.open(paths)
    if kind == "parquet":
        from harness.data.parquet import ParquetSource

        return ParquetSource.open(paths)
    if kind in ("csv", "tsv"):
        from harness.data.csv import CsvSource

        return CsvSource.open(paths, delimiter="," if kind == "csv" else "\t")
    if kind == "jsonl":
        from harness.data.jsonl import JsonlSource

        return JsonlSource.open(paths)
    if kind == "images":
        from harness.data.images import open_images

        return open_images(paths)
    if kind == "tfds":
        from harness.data.tfds import open_tfds

        return open_tfds(paths)
    if kind == "memory":
        raise JobError("data.format: memory is what harness.evaluate(model, data) is given in Python; a job file names files")
    if kind == "python":
        from harness.data.own import OwnSource

        return OwnSource.open(target, folder)
    from harness.data.tfrecord import TFRecordSource

    return TFRecordSource.open(paths)


def digest(files: Sequence[File]) -> str:
    """Return the SHA-256 of the ordered base names, sizes and example counts, in hexadecimal."""
    lines = "".join(f"{os.path.basename(f.path)}\0{f.size_bytes}\0{f.examples}\n" for f in files)
    return hashlib.sha256(lines.encode()).hexdigest()
