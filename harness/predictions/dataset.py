"""Predictions as a folder of parts: one per chunk, named by it, committed by rename, listed in a manifest.

A part depends on job, data and model alone, so it does not matter which rank writes it, or how often. `_SUCCESS` is there
once the manifest is, and the manifest once every part is. Names with an underscore are skipped by readers of datasets.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from harness.data import ID
from harness.errors import DataError, HarnessError, JobError, RunFolderError, nearest
from harness.folder.run_folder import write_atomically
from harness.job.specs import PredictionsSpec
from harness.plan.certificate import Certificate
from harness.plan.plan import Plan, hash_ids
from harness.predictions.prediction_files import SUFFIXES, Column, check_format, encode
from harness.ranks.comm import Comm

__all__ = [
    "Manifest",
    "Part",
    "PartWriter",
    "Writing",
    "choose",
    "clear",
    "collect",
    "commit",
    "digest",
    "part_name",
    "read_manifest",
]

MANIFEST, SUCCESS = "_manifest.json", "_SUCCESS"


@dataclass(frozen=True)
class Part:
    """A committed part: its chunk, file name, examples, size, SHA-256, the sum of the hashes of its ids (see `Plan.id_hash`),
    the inner shape of columns whose sizes differ, and the content hash of the chunk of the data that was predicted.
    """

    chunk: int
    file: str
    examples: int
    bytes: int
    sha256: str
    id_hash: int = 0
    shapes: Mapping[str, tuple[int, ...] | None] = field(default_factory=dict)
    content_hash: int | None = None


@dataclass(frozen=True)
class Manifest:
    """What a folder of predictions holds.

    Attributes:
      format: of the parts.
      columns: in their order; the first is the id.
      plan: that the parts are the chunks of; its files by their base names.
      digests: of job, data and model.
      parts: by chunk.
      left_out: how many examples were read, kept, filtered and skipped; empty where all were kept.
    """

    format: str
    columns: tuple[Column, ...]
    plan: Plan
    digests: Mapping[str, str]
    parts: tuple[Part, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)

    def certified(self, digests: Mapping[str, str], certificate: Certificate) -> Manifest:
        """Return the manifest with what the run has found out in the end: digests, what was left out, content hashes."""
        hashes = certificate.contents.tolist()
        parts = tuple(replace(part, content_hash=hashes[part.chunk]) for part in self.parts)
        return replace(self, digests=digests, left_out=certificate.left_out, parts=parts)

    def to_json(self) -> str:
        """Write the manifest; the same text whoever wrote the parts."""
        document = {
            "format": self.format,
            "columns": [asdict(column) for column in self.columns],
            "plan": replace(self.plan, files=tuple(replace(f, path=Path(f.path).name) for f in self.plan.files)).to_dict(),
            "digests": dict(self.digests),
            "examples": sum(part.examples for part in self.parts),
            "parts": [{key: value for key, value in asdict(part).items() if key != "shapes"} for part in self.parts],
            **({"left_out": dict(self.left_out)} if self.left_out else {}),
        }  # fmt: skip
        return json.dumps(document, indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Read what `to_json` wrote.

        Raises: ValueError, KeyError, TypeError: it is something else.
        """
        raw = json.loads(text)
        plan = Plan.from_dict(raw["plan"])
        columns = tuple(Column(**{**column, "shape": tuple(column["shape"])}) for column in raw["columns"])
        parts = tuple(Part(**part) for part in raw["parts"])
        return cls(raw["format"], columns, plan, raw["digests"], parts, raw.get("left_out", {}))


def part_name(chunk: int, kind: str) -> str:
    """Return the file name of a chunk's part.

    >>> part_name(12, "parquet")
    'part-00000012.parquet'
    """
    return f"part-{chunk:08d}.{SUFFIXES[kind]}"


def digest(spec: PredictionsSpec) -> str:
    """Return the SHA-256 of what is written of each example, in hexadecimal."""
    return hashlib.sha256(spec.model_dump_json().encode()).hexdigest()


def choose(
    spec: PredictionsSpec, outputs: Mapping[str, tuple[str, tuple[int | None, ...]]],
    features: Mapping[str, tuple[str, tuple[int | None, ...]]],
) -> tuple[Column, ...]:  # fmt: skip
    """Choose the columns: the id, outputs, features.

    Args:
      spec: of the job.
      outputs: of the model, dtype and inner shape by name.
      features: all that are written.
    Raises: JobError: there is no such output, or the format cannot keep it.

    >>> spec = PredictionsSpec(features=("label",))
    >>> [c.name for c in choose(spec, {"p": ("float32", (3,)), "label": ("int64", ())}, {"label": ("int64", ())})]
    ['id', 'label', 'p', 'feature.label']
    """
    names = sorted(outputs) if spec.outputs is None else list(spec.outputs)
    unknown = [name for name in names if name not in outputs]
    if unknown:
        raise JobError(f"predictions.outputs: the model has no output '{unknown[0]}': {nearest(unknown[0], outputs)}")
    strangers = [name for name in spec.bytes if name not in outputs and name not in features]
    if strangers:
        raise JobError(f"predictions.bytes: '{strangers[0]}' is not written: {nearest(strangers[0], [*names, *features])}")
    columns = [Column("id", "id", "id", "int64", ())]
    taken = {"id"}
    for kind, chosen in (("output", {name: outputs[name] for name in names}), ("feature", dict(features))):
        for name, (dtype, shape) in chosen.items():
            column = name if name not in taken else f"{kind}.{name}"
            taken.add(column)
            columns.append(Column(column, kind, name, dtype, tuple(shape), name not in spec.bytes))
    check_format(spec.format, columns)
    return tuple(columns)


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
    """Writes the parts of the chunks that one rank evaluates."""

    def __init__(self, folder: Path, kind: str, columns: Sequence[Column]) -> None:
        self._folder = folder
        self._kind = kind
        self._columns = columns
        self.parts: dict[int, Part] = {}

    def write(self, call: Call) -> list[Part]:
        """Commit a part for every chunk of a call; when this returns, they outlive the machine.

        Raises: HarnessError: one cannot be written.
        """
        found = []
        chunks = call.batches[:, 0]
        starts = np.flatnonzero(np.diff(chunks, prepend=-1))
        for start, stop in zip(starts.tolist(), [*starts[1:].tolist(), len(chunks)], strict=True):
            batches = [call.columns[ID if column.kind == "id" else column.name][start:stop] for column in self._columns]
            found.append(self._put(int(chunks[start]), batches))
        return found

    def _put(self, chunk: int, batches: list[Sequence[np.ndarray]]) -> Part:
        data = encode(self._kind, self._columns, batches)
        name = part_name(chunk, self._kind)
        try:
            write_atomically(self._folder / name, data)
        except RunFolderError as exc:
            raise HarnessError(str(exc)) from exc  # a disk that is full by now is no wrong command
        shapes = {}
        for column, parts in zip(self._columns, batches, strict=True):
            if None in column.shape:
                seen = {tuple(part.shape[1:]) for part in parts}
                shapes[column.name] = seen.pop() if len(seen) == 1 else None
        count, mark = sum(len(ids) for ids in batches[0]), hashlib.sha256(data).hexdigest()
        part = Part(chunk, name, count, len(data), mark, _id_hash(batches[0]), shapes)
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


def collect(comm: Comm, writer: PartWriter, folder: Path, plan: Plan, kind: str, columns: Sequence[Column]) -> Manifest:
    """Put together what all ranks wrote, and what earlier attempts left. A collective of two gathers.

    Returns: the manifest, without digests.
    Raises: HarnessError: a part that an earlier attempt wrote is gone.
    """
    said = comm.gather(json.dumps([asdict(part) for part in writer.parts.values()]).encode())
    parts = {raw["chunk"]: Part(**raw) for each in said for raw in json.loads(each)}
    missing = [chunk for chunk in range(len(plan)) if chunk not in parts]
    own = [asdict(_again(folder, plan, chunk, kind, columns)) for chunk in missing[comm.rank :: comm.size]]
    said = comm.gather(json.dumps(own).encode())
    parts |= {raw["chunk"]: Part(**raw) for each in said for raw in json.loads(each)}
    fixed = []
    for column in columns:
        shapes = {
            None if s is None else tuple(s) for part in parts.values() for name, s in part.shapes.items() if name == column.name
        }
        only = shapes.pop() if len(shapes) == 1 else None
        fixed.append(column if only is None else replace(column, shape=only))
    return Manifest(kind, tuple(fixed), plan, {}, tuple(parts[chunk] for chunk in range(len(plan))))


def _again(folder: Path, plan: Plan, chunk: int, kind: str, columns: Sequence[Column]) -> Part:
    """Look at a part that an earlier attempt wrote."""
    from harness.predictions.prediction_files import decode

    path = folder / part_name(chunk, kind)
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise HarnessError(
            f"{path}: an earlier attempt wrote the predictions of chunk {chunk} ({plan.describe(plan[chunk])}), and they cannot "
            f"be read: {exc.strerror}; begin anew in another folder with -o"
        ) from exc
    open_ = [column for column in columns if column.kind == "id" or None in column.shape]
    found = decode(kind, open_, data, str(path))
    shapes = {column.name: tuple(found[column.name].shape[1:]) for column in open_ if column.kind != "id"}
    mark = hashlib.sha256(data).hexdigest()
    return Part(chunk, path.name, len(found["id"]), len(data), mark, _id_hash([found["id"]]), shapes)


def _id_hash(ids: Sequence[np.ndarray]) -> int:
    """Return the sum of the hashes of some ids, mod 2^64, as a signed 64-bit integer."""
    return int(hash_ids(np.concatenate([np.zeros(0, np.int64), *ids])).sum(dtype=np.uint64).astype(np.int64))


def commit(folder: Path, manifest: Manifest) -> None:
    """Write the manifest, then `_SUCCESS`."""
    write_atomically(folder / MANIFEST, manifest.to_json())
    write_atomically(folder / SUCCESS, b"")


def read_manifest(folder: Path) -> Manifest:
    """Read what a finished folder of predictions holds; a run folder will do as well.

    Raises: JobError: there is none, or it is not finished. DataError: its manifest is broken.
    """
    place = folder / "predictions" if (folder / "predictions").is_dir() else folder
    if not (place / SUCCESS).exists():
        raise JobError(f"{place}: expected finished predictions, found no {SUCCESS}; harness predict writes it last")
    try:
        return Manifest.from_json((place / MANIFEST).read_text())
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise DataError(f"{place / MANIFEST}: no manifest of predictions: {exc}") from exc
