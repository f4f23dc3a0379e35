"""Predictions as a folder of parts: one per chunk, named by it, committed by rename, listed in a manifest.

A part depends on job, data and model alone, so it does not matter which rank writes it, or how often. `_SUCCESS` is there
once the manifest is, and the manifest once every part is. Names with an underscore are skipped by readers of datasets.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from harness.data import ID
from harness.errors import HarnessError, RunFolderError
from harness.exact.splitmix import hash_ids
from harness.folder.run_folder import RunFolder, write_atomically
from harness.job.specs import PredictionsSpec
from harness.plan.plan import Plan
from harness.predictions.manifest import MANIFEST, SUCCESS, Manifest, Part, part_name
from harness.predictions.part_check import changed_part, committed
from harness.predictions.prediction_files import Column, decode, encode
from harness.ranks.comm import Comm

__all__ = ["Call", "PartWriter", "Writing", "clear", "collect", "commit", "digest"]


def digest(spec: PredictionsSpec) -> str:
    """Return the SHA-256 of what is written of each example, in hexadecimal."""
    return hashlib.sha256(spec.model_dump_json().encode()).hexdigest()


def clear(folder: Path, kind: str, keep: Iterable[int] = ()) -> None:
    """Make the folder ready: nothing in it but the parts of chunks that earlier attempts have finished.

    Raises: RunFolderError: it cannot be written.
    """
    kept = {part_name(chunk, kind) for chunk in keep}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # _SUCCESS goes first: what says that all is there must not outlive any of it.
        for path in sorted(folder.iterdir(), key=lambda path: path.name != SUCCESS):
            if path.name not in kept and path.is_file() and path.name.startswith((".part-", "part-", "_", "._")):
                path.unlink()
    except OSError as exc:
        raise RunFolderError(f"{folder}: cannot be written: {exc.strerror}; choose another folder with -o") from exc


class Call(Protocol):
    """What one call of a step returns; see `step.Call`."""

    @property
    def batches(self) -> np.ndarray:
        """One line a batch, int64 [batches, ...], the chunk first."""

    @property
    def columns(self) -> Mapping[str, Sequence[np.ndarray]]:
        """By name, one array [count, ...] a batch."""


class PartWriter:
    """Writes the parts of the chunks that one rank evaluates.

    Args:
      folder: of the predictions.
      kind: parquet, tfrecord or jsonl.
      columns: what is written.
    Attributes:
      kind, columns: see above.
      parts: that it has written, by chunk.
    """

    def __init__(self, folder: Path, kind: str, columns: Sequence[Column]) -> None:
        self._folder = folder
        self.kind = kind
        self.columns = columns
        self.parts: dict[int, Part] = {}

    def write(self, call: Call) -> list[Part]:
        """Commit a part for every chunk of a call; when this returns, they outlive the machine.

        Raises: HarnessError: one cannot be written.
        """
        parts = []
        chunks = call.batches[:, 0]
        starts = np.flatnonzero(np.diff(chunks, prepend=-1))
        for start, stop in zip(starts.tolist(), [*starts[1:].tolist(), len(chunks)], strict=True):
            batches = [call.columns[ID if column.kind == "id" else column.name][start:stop] for column in self.columns]
            parts.append(self._put(int(chunks[start]), batches))
        return parts

    def digests(self, chunks: np.ndarray) -> np.ndarray:
        """Return the SHA-256 of the parts of some chunks that it has written, uint8 [n, 32]."""
        joined = b"".join(bytes.fromhex(self.parts[chunk].sha256) for chunk in chunks.tolist())
        return np.frombuffer(joined, np.uint8).reshape(-1, hashlib.sha256().digest_size)

    def _put(self, chunk: int, batches: list[Sequence[np.ndarray]]) -> Part:
        data = encode(self.kind, self.columns, batches)
        name = part_name(chunk, self.kind)
        try:
            write_atomically(self._folder / name, data)
        except RunFolderError as exc:
            raise HarnessError(str(exc)) from exc  # a disk that is full by now is no wrong command
        shapes = {}
        for column, arrays in zip(self.columns, batches, strict=True):
            if None in column.shape:
                inner = {tuple(array.shape[1:]) for array in arrays}
                shapes[column.name] = inner.pop() if len(inner) == 1 else None
        count, sha256 = sum(len(ids) for ids in batches[0]), hashlib.sha256(data).hexdigest()
        part = Part(chunk, name, count, len(data), sha256, _id_hash(batches[0]), shapes)
        self.parts[chunk] = part
        return part


class Writing:
    """A step that commits the predictions of its chunks before anybody learns what they add up to."""

    def __init__(self, step: Any, writer: PartWriter) -> None:
        self._step = step
        self._writer = writer

    def run(self, most: int | None = None) -> Any:
        """Return what the chunks add, at most so many, their parts committed."""
        call = self._step.run(most)
        if len(call.batches):
            self._writer.write(call)
        return call


def collect(comm: Comm, writer: PartWriter, folder: RunFolder, plan: Plan, kept: Sequence[str]) -> Manifest:
    """Put together what all ranks wrote, and what earlier attempts left. A collective of two gathers.

    Args:
      kept: names of the segments that earlier attempts left, and which name what they wrote.
    Returns: the manifest, without digests.
    Raises: HarnessError: a part that an earlier attempt wrote is gone, or was changed since this one began.
    """
    place, kind, columns = folder.predictions, writer.kind, writer.columns
    parts = _gather(comm, writer.parts.values())
    missing = [chunk for chunk in range(len(plan)) if chunk not in parts]
    parts |= _gather(comm, [_read_part(place, plan, chunk, kind, columns) for chunk in missing[comm.rank :: comm.size]])
    # One that was changed before this attempt began was evaluated again; in a round of an elastic run it is noticed here.
    if comm.rank == 0 and (change := changed_part(place, parts, committed(folder, kept))):
        raise HarnessError(
            f"{change}; it was changed after it was committed: start again with --resume, which evaluates it again"
        )
    columns = [_with_shape(column, parts.values()) for column in columns]
    return Manifest(kind, tuple(columns), plan, {}, tuple(parts[chunk] for chunk in range(len(plan))))


def _gather(comm: Comm, parts: Iterable[Part]) -> dict[int, Part]:
    """Return the parts of all ranks by chunk."""
    documents = comm.gather(json.dumps([asdict(part) for part in parts]).encode())
    return {raw["chunk"]: Part(**raw) for document in documents for raw in json.loads(document)}


def _with_shape(column: Column, parts: Iterable[Part]) -> Column:
    """Give a column the inner shape that it has in all parts; as it is where they differ."""
    shapes = {
        None if shape is None else tuple(shape) for part in parts for name, shape in part.shapes.items() if name == column.name
    }
    shape = shapes.pop() if len(shapes) == 1 else None
    return column if shape is None else replace(column, shape=shape)


def _read_part(folder: Path, plan: Plan, chunk: int, kind: str, columns: Sequence[Column]) -> Part:
    """Look at a part that an earlier attempt wrote."""
    path = folder / part_name(chunk, kind)
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise HarnessError(
            f"{path}: an earlier attempt wrote the predictions of chunk {chunk} ({plan.describe(plan[chunk])}), and they cannot "
            f"be read: {exc.strerror}; start again with --resume, which evaluates them again"
        ) from exc
    unsized = [column for column in columns if column.kind == "id" or None in column.shape]
    arrays = decode(kind, unsized, data, str(path))
    shapes = {column.name: tuple(arrays[column.name].shape[1:]) for column in unsized if column.kind != "id"}
    sha256 = hashlib.sha256(data).hexdigest()
    return Part(chunk, path.name, len(arrays["id"]), len(data), sha256, _id_hash([arrays["id"]]), shapes)


def _id_hash(ids: Sequence[np.ndarray]) -> int:
    """Return the sum of the hashes of some ids, mod 2^64, as a signed 64-bit integer."""
    return int(hash_ids(np.concatenate([np.zeros(0, np.int64), *ids])).sum(dtype=np.uint64).astype(np.int64))


def commit(folder: Path, manifest: Manifest) -> None:
    """Write the manifest, then `_SUCCESS`."""
    write_atomically(folder / MANIFEST, manifest.to_json())
    write_atomically(folder / SUCCESS, b"")
