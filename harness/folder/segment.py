"""A segment: what some finished chunks add up to, as one file with a checksum. NumPy and the standard library.

    magic, length of the header, header (JSON), arrays as they lie in memory, SHA-256 of all before

The header says whose the segment is, and names the arrays; the first array are the certificate's lines, so that they
can be had without the rest.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from harness.sums.grid import GridState
from harness.sums.rows import RowTable

__all__ = ["Name", "Origin", "Segment", "Torn", "merge", "pack", "read_lines", "read_segment"]

MAGIC_OF_ANY = b"harness journal "
MAGIC = MAGIC_OF_ANY + b"3\n"
LINE = 7  # numbers of a chunk, see `Segment.lines`
FORGED = (KeyError, TypeError, ValueError, IndexError, OverflowError, AttributeError, RecursionError)
DIGEST_BYTES = 32
BLOCK_BYTES = 1 << 20
NAME = re.compile(r"(\d{4,})-(\d{5,})-(\d{6,})\.segment")


class Torn(Exception):
    """A segment is not whole, or not what was written."""


@dataclass(frozen=True, order=True)
class Name:
    """Name of a segment: attempt, rank, and number within them."""

    attempt: int
    rank: int
    number: int

    def __str__(self) -> str:
        return f"{self.attempt:04d}-{self.rank:05d}-{self.number:06d}.segment"

    @classmethod
    def parse(cls, text: str) -> Name | None:
        """Read a file's name; None where it is no segment's.

        >>> Name.parse("0002-00001-000007.segment")
        Name(attempt=2, rank=1, number=7)
        """
        found = NAME.fullmatch(text)
        return cls(*(int(part) for part in found.groups())) if found else None


@dataclass(frozen=True)
class Origin:
    """What sums belong to: they can be added up only where all of it agrees.

    Attributes:
      job, data, model: digests.
      plan: digest of the chunks.
      layout: digest of the columns of state, grid and rows.
      software: versions of what computes.
    """

    job: str
    data: str
    model: str
    plan: str
    layout: str
    software: str

    def differences(self, other: Origin) -> list[str]:
        """Name what is not the same.

        >>> Origin("a", "b", "c", "d", "e", "tf 1").differences(Origin("a", "b", "x", "d", "e", "tf 2"))
        ['model', 'software (tf 1, here tf 2)']
        """
        mine, theirs = asdict(self), asdict(other)
        return [
            f"software ({mine[name]}, here {theirs[name]})" if name == "software" else name
            for name in mine
            if mine[name] != theirs[name]
        ]


@dataclass(frozen=True)
class Segment:
    """Sums of some finished chunks.

    Attributes:
      lines: one per chunk, int64 [n, 7]: chunk, count, id hash, kept, filtered, skipped, content hash; ascending.
      state: int64 [layout.size].
      grid: of the same chunks; None where the job has no grid.
      rows: by row metric; slices are numbered by the keys of the grid.
    """

    lines: np.ndarray
    state: np.ndarray
    grid: GridState | None = None
    rows: Mapping[str, RowTable] = field(default_factory=dict)

    @property
    def chunks(self) -> np.ndarray:
        """Numbers of the chunks, int64 [n]."""
        return self.lines[:, 0]


def merge(segments: Sequence[Segment]) -> Segment:
    """Add segments up; at least one. Slices become those of all of them, the first one's first.

    >>> def one(chunk): return Segment(np.array([[chunk, 2, 7]]), np.array([chunk, 1]))
    >>> both = merge([one(5), one(3)])
    >>> both.lines.tolist(), both.state.tolist()
    ([[3, 2, 7], [5, 2, 7]], [8, 2])
    """
    lines = np.concatenate([segment.lines for segment in segments])
    lines = lines[np.argsort(lines[:, 0], kind="stable")]
    state = _sum([segment.state for segment in segments])
    keys = list(dict.fromkeys(key for segment in segments if segment.grid for key in segment.grid.keys))
    grids = [segment.grid.placed(keys) for segment in segments if segment.grid]
    grid = grids[0].unflat(_sum([each.flat() for each in grids])) if grids else None
    rows = {
        key: RowTable.concat([_renumbered(s.rows[key], s.grid, keys) for s in segments if key in s.rows])
        for key in dict.fromkeys(key for segment in segments for key in segment.rows)
    }
    return Segment(lines, state, grid, rows)


def _sum(vectors: Sequence[np.ndarray]) -> np.ndarray:
    total = vectors[0].astype(np.int64)
    for vector in vectors[1:]:
        total += vector
    return total


def _renumbered(table: RowTable, grid: GridState | None, keys: Sequence[str]) -> RowTable:
    """Number the slices of rows as `keys` are."""
    if grid is None:
        return table
    where = {key: number for number, key in enumerate(keys, start=1)}
    numbers = np.array([0, *(where[key] for key in grid.keys), -1], np.int64)  # the last keeps -1 what it is
    return replace(table, slices=numbers[table.slices])


def pack(segment: Segment, origin: Origin) -> Iterator[bytes | memoryview]:
    """Return a segment's file, piece by piece."""
    arrays = {"lines": segment.lines, "state": segment.state}
    if segment.grid is not None:
        arrays |= {f"grid.{name}": getattr(segment.grid, name) for name in ("dense", "buckets", "weighted")}
    for key, table in segment.rows.items():
        arrays |= {f"rows.{key}\n{name}": column for name, column in table.to_arrays().items()}
    header = {
        "origin": asdict(origin),
        "keys": None if segment.grid is None else list(segment.grid.keys),
        "arrays": [[name, array.dtype.str, list(array.shape)] for name, array in arrays.items()],
    }
    text = json.dumps(header).encode()
    total = hashlib.sha256()
    pieces: list[bytes | memoryview] = [MAGIC, len(text).to_bytes(8, "little"), text, *map(_raw, arrays.values())]
    for piece in pieces:
        total.update(piece)
        yield piece
    yield total.digest()


def _raw(array: np.ndarray) -> memoryview:
    """Return the bytes of an array, not copied where they lie in order."""
    data: Any = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return memoryview(data)


def read_lines(path: Path) -> tuple[Origin, np.ndarray]:
    """Check a segment's file and return whose it is and its lines, without holding the rest in memory.

    Raises: Torn: the file is not whole, not what was written, or not there.
    """
    try:
        with path.open("rb") as stream:
            header = _header(stream)
            _check(stream)
            stream.seek(header.start)
            return header.origin, _lines(*header.read(stream, header.arrays[0]))
    except OSError as exc:
        raise Torn(f"cannot be read: {exc.strerror}") from exc


def read_segment(path: Path) -> tuple[Origin, Segment]:
    """Check a segment's file and return it, and whose it is.

    Raises: Torn: the file is not whole, not what was written, or not there.
    """
    try:
        with path.open("rb") as stream:
            header = _header(stream)
            _check(stream)
            stream.seek(header.start)
            arrays = dict(header.read(stream, spec) for spec in header.arrays)
    except OSError as exc:
        raise Torn(f"cannot be read: {exc.strerror}") from exc
    try:
        return header.origin, _segment(header, arrays)
    except FORGED as exc:
        raise Torn(f"does not hold what a rank writes: {type(exc).__name__}: {exc}") from exc


def _segment(header: _Header, arrays: Mapping[str, np.ndarray]) -> Segment:
    grid = None
    if header.keys is not None:
        grid = GridState(tuple(header.keys), *(arrays[f"grid.{name}"] for name in ("dense", "buckets", "weighted")))
    tables: dict[str, dict[str, np.ndarray]] = {}
    for name, array in arrays.items():
        if name.startswith("rows."):
            key, _, column = name.removeprefix("rows.").rpartition("\n")
            tables.setdefault(key, {})[column] = array
    rows = {key: RowTable.from_arrays(columns) for key, columns in tables.items()}
    return Segment(_lines("lines", arrays["lines"]), arrays["state"], grid, rows)


def _lines(name: str, array: np.ndarray) -> np.ndarray:
    if name != "lines" or array.dtype != np.int64 or array.ndim != 2 or array.shape[1] != LINE:
        raise Torn(
            f"does not hold what a rank writes: expected lines int64 [n, {LINE}], found {name} {array.dtype} {array.shape}"
        )
    return array


@dataclass(frozen=True)
class _Header:
    origin: Origin
    keys: list[str] | None
    arrays: list[Any]
    start: int  # where the arrays begin

    def read(self, stream: IO[bytes], spec: Any) -> tuple[str, np.ndarray]:
        """Read the array that comes next.

        Raises: Torn: it is not there, or what is said of it cannot be.
        """
        try:
            name, dtype, shape = spec
            size = math.prod(int(length) for length in shape) * np.dtype(dtype).itemsize
            if min(shape, default=0) < 0 or size > os.fstat(stream.fileno()).st_size:
                raise ValueError(f"{name} {shape} does not fit into the file")
            return str(name), np.frombuffer(stream.read(size), dtype).reshape(shape).copy()
        except FORGED as exc:
            raise Torn(f"does not hold what a rank writes: {type(exc).__name__}: {exc}") from exc


def _header(stream: IO[bytes]) -> _Header:
    magic = stream.read(len(MAGIC))
    if magic != MAGIC:
        other = magic.startswith(MAGIC_OF_ANY)
        raise Torn("was written by another version of the harness" if other else "is not a segment")
    size = int.from_bytes(stream.read(8), "little")
    try:
        raw = json.loads(stream.read(min(size, os.fstat(stream.fileno()).st_size)))
        origin, keys, arrays = Origin(**raw["origin"]), raw["keys"], raw["arrays"]
        if not all(isinstance(value, str) for value in asdict(origin).values()) or not isinstance(arrays, list) or not arrays:
            raise ValueError("no origin or no arrays")
        if keys is not None and not (isinstance(keys, list) and all(isinstance(key, str) for key in keys)):
            raise ValueError("keys are no texts")
        return _Header(origin, keys, arrays, stream.tell())
    except FORGED as exc:
        raise Torn("has a torn header") from exc


def _check(stream: IO[bytes]) -> None:
    """Compare the checksum."""
    stream.seek(0, 2)
    left = stream.tell() - DIGEST_BYTES
    stream.seek(0)
    total = hashlib.sha256()
    while left > 0:
        piece = stream.read(min(left, BLOCK_BYTES))
        total.update(piece)
        left -= len(piece)
    if stream.read() != total.digest():
        raise Torn("does not match its checksum")
