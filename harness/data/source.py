"""The contract of a format of data: a source, what it reads, and what it says of its features.

A source knows its files and how many examples each holds, reads any run of examples on the host, and parses what it
read in the graph. Ids come from where a record was found, never from what was asked for: a reader that is off by one
record hands out the wrong ids, and the certificate sees it.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from harness.data.counting import FileCount
from harness.errors import JobError
from harness.plan.drawn import Drawn
from harness.plan.plan import Chunk, File

__all__ = ["ALIGNED", "BAD", "ID", "KEEP", "SERIALIZED", "Feature", "Kind", "Origin", "Place", "Records", "Source"]

SERIALIZED = "serialized"  # the raw tensor that holds whole records
ALIGNED = 64  # bytes: where TensorFlow takes an array as it lies, and does not copy it
ID = "\0id"  # the array of ids among a source's arrays, cut as they are; no feature of a user has this name
BAD = "\0bad"  # bool [n] among the raw tensors: records that are skipped; what else they hold is made up
KEEP = "\0keep"  # bool [B] among the parsed features: what the job's filter says


@dataclass(frozen=True)
class Origin:
    """Where the examples of a job come from.

    Attributes:
      paths: files, or folders where the format has them.
      target, folder: of the user's own reader: package.module:function, and where it is looked for first.
      counts: of the files that have to be gone through; None where nobody has looked yet.
    """

    paths: Sequence[str]
    target: str = ""
    folder: Path = Path(".")
    counts: Sequence[FileCount] | None = None


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

    @property
    def leads(self) -> Mapping[str, np.ndarray]:
        """Of each of the mapped `arrays` that is not aligned, its bytes from the last aligned one before it on: uint8 [bytes]."""
        return {}

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
    def class_names(self) -> tuple[str, ...] | None:
        """Names of the classes of `label` in the order of their numbers, where the format has them; else None."""
        return None

    @property
    def drawn(self) -> Drawn | None:
        """Ids of the examples, where they are a part of what the files hold."""
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

    def begins(self, ids: np.ndarray) -> np.ndarray:
        """Return of each of some examples, int64 [n], the one that reading begins with to find it: int64 [n]."""
        return ids

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
