"""A segment: the sums of some finished chunks as one file with a checksum. NumPy and the standard library.

    magic, length of the header, header (JSON), arrays as they lie in memory, SHA-256 of all before

The header says whose the segment is, and names the arrays; the first array are the certificate's lines, so that they
can be had without the rest. Where the run writes predictions the second are the SHA-256 of their parts, one a line.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from harness.folder.regular_files import open_regular
from harness.sums.sums import LINE, Sums

__all__ = ["Name", "Origin", "Torn", "pack", "read_lines", "read_segment"]

MAGIC_OF_ANY = b"harness journal "
MAGIC = MAGIC_OF_ANY + b"4\n"
FORGED = (KeyError, TypeError, ValueError, IndexError, OverflowError, AttributeError, RecursionError)
DIGEST_BYTES = 32
PARTS = "parts"
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
        fields = NAME.fullmatch(text)
        return cls(*(int(part) for part in fields.groups())) if fields else None


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


def pack(sums: Sums, origin: Origin, parts: np.ndarray | None = None) -> Iterator[bytes | memoryview]:
    """Return a segment's file, piece by piece.

    Args:
      parts: SHA-256 of the predictions of each line's chunk, uint8 [n, 32]; None where none are written.
    """
    keys, arrays = sums.pack()
    if parts is not None:
        arrays = {"lines": arrays["lines"], PARTS: parts, **arrays}
    header = {
        "origin": asdict(origin),
        "keys": keys,
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


def read_lines(path: Path) -> tuple[Origin, np.ndarray, np.ndarray | None]:
    """Check a segment's file and return whose it is, its lines and its `parts`, see `pack`, without holding the rest in memory.

    Raises: Torn: the file is not whole, not what was written, or not there.
    """
    try:
        with open_regular(path) as stream:
            header = _header(stream)
            _check(stream)
            stream.seek(header.start)
            lines = _lines(*header.read(stream, header.arrays[0]))
            return header.origin, lines, _parts(header, stream, len(lines))
    except OSError as exc:
        raise Torn(f"cannot be read: {exc.strerror}") from exc


def read_segment(path: Path) -> tuple[Origin, Sums]:
    """Check a segment's file and return whose it is, and its sums.

    Raises: Torn: the file is not whole, not what was written, or not there.
    """
    try:
        with open_regular(path) as stream:
            header = _header(stream)
            _check(stream)
            stream.seek(header.start)
            arrays = dict(header.read(stream, spec) for spec in header.arrays)
    except OSError as exc:
        raise Torn(f"cannot be read: {exc.strerror}") from exc
    try:
        _lines("lines", arrays["lines"])
        return header.origin, Sums.unpack(header.keys, arrays)
    except FORGED as exc:
        raise Torn(f"does not hold what a rank writes: {type(exc).__name__}: {exc}") from exc


def _lines(name: str, array: np.ndarray) -> np.ndarray:
    if name != "lines" or array.dtype != np.int64 or array.ndim != 2 or array.shape[1] != LINE:
        raise Torn(
            f"does not hold what a rank writes: expected lines int64 [n, {LINE}], found {name} {array.dtype} {array.shape}"
        )
    return array


def _parts(header: _Header, stream: IO[bytes], lines: int) -> np.ndarray | None:
    """Read the second array where it holds the SHA-256 of parts; None where it is another."""
    if len(header.arrays) < 2 or not isinstance(header.arrays[1], list) or header.arrays[1][:1] != [PARTS]:
        return None
    _, array = header.read(stream, header.arrays[1])
    if array.dtype != np.uint8 or array.shape != (lines, DIGEST_BYTES):
        wanted = f"{PARTS} uint8 [{lines}, {DIGEST_BYTES}]"
        raise Torn(f"does not hold what a rank writes: expected {wanted}, found {array.dtype} {array.shape}")
    return array


@dataclass(frozen=True)
class _Header:
    origin: Origin
    keys: list[str]
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
        if not (isinstance(keys, list) and all(isinstance(key, str) for key in keys)):
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
