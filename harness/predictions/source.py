"""Predictions written earlier, as a source: outputs and features from the parts that `harness predict` left."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from harness.data import Feature, Place, Records, Source
from harness.errors import DataError, JobError
from harness.plan.plan import File, Plan
from harness.predictions.manifest import MANIFEST, Manifest, Part, read_manifest
from harness.predictions.prediction_files import decode

__all__ = ["OUTPUT", "PredictionSource"]

OUTPUT = "\0output "  # marks outputs among the features; no feature of a user has such a name


class PredictionSource(Source):
    """The examples of a folder of predictions.

    Args:
      folder: where the parts lie.
      manifest: what they hold.

    Attributes:
      plan: of the run that predicted; where that filtered or skipped examples, one of the parts, a chunk each, with the ids
        that the manifest says are in them.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.plan, self._parts = _plan_of(manifest)
        self.files = self.plan.files
        self.manifest = manifest
        self._folder = folder
        self._columns = manifest.columns
        # Runs of one chunk are asked for one after the other: its part is read once.
        self._held: tuple[int, dict[str, np.ndarray]] | None = None

    @classmethod
    def open(cls, folder: Path) -> PredictionSource:
        """Open finished predictions.

        Raises: JobError: there are none. DataError: a part is not there.
        """
        manifest = read_manifest(folder)
        place = folder / "predictions" if (folder / "predictions").is_dir() else folder
        for part in manifest.parts:
            if not (place / part.file).exists():
                raise DataError(f"{place / part.file}: the manifest names it, and it is not there; write the predictions again")
        kept, wanted = sum(part.examples for part in manifest.parts), manifest.left_out.get("kept", manifest.plan.examples)
        if kept != wanted:
            raise DataError(
                f"{place}: expected {wanted} examples, found {kept} in the manifest's parts; write the predictions again"
            )
        if not kept:
            raise JobError(f"{place}: no example was predicted: {_counts_text(manifest.left_out)}")
        return cls(place, manifest)

    def select(self, wanted: Mapping[str, Feature], *, skip: bool = False) -> Source:
        """Return the source itself; no record of a part is bad, whatever the job says of those of its data."""
        return self

    def lies_in(self, number: int) -> Place:
        """The manifest: it has the SHA-256 of every part."""
        del number
        return Place((str(self._folder / MANIFEST),))

    def known_content(self, chunk: int) -> int | None:
        """Return that of the data that were predicted: what is read here is what was written then, by its SHA-256."""
        return self._parts[chunk].content_hash or 0

    @property
    def without_content(self) -> str:
        """Examples that were left out are not in the parts; manifests of earlier versions have no content hashes."""
        if self.manifest.left_out:
            return "the predictions hold only the examples that were kept"
        if any(part.content_hash is None for part in self._parts):
            return "the predictions were written without content hashes"
        return ""

    @property
    def outputs(self) -> dict[str, Feature]:
        """The outputs by name."""
        return {c.source: Feature(c.dtype, c.shape) for c in self._columns if c.kind == "output"}

    def features(self) -> dict[str, Feature]:
        """Return the features, and the outputs under marked names."""
        features = {}
        for column in self._columns:
            if column.kind != "id":
                if None in column.shape:
                    raise JobError(
                        f"{self._folder}: {column.kind} '{column.source}' is {Feature(column.dtype, column.shape)}: its "
                        "size differs from example to example, so that it cannot be "
                        "evaluated from files; leave it out of predictions.outputs"
                    )
                features[_prefix(column.kind) + column.source] = Feature(column.dtype, column.shape)
        return features

    def read(self, start: int, stop: int, size: int) -> Iterator[Records]:
        """Read examples, a part at a time, checking its hash."""
        plan = self.plan
        while start < stop:
            index = int(np.searchsorted(plan.bounds, start, side="right")) - 1
            chunk = plan[index]
            end = min(stop, chunk.stop)
            arrays = self._part(index)
            for at in range(start - chunk.start, end - chunk.start, size):
                cut = slice(at, min(at + size, end - chunk.start))
                raw = {_prefix(c.kind) + c.source: arrays[c.name][cut] for c in self._columns if c.kind != "id"}
                yield Records(arrays["id"][cut], raw)
            start = end

    def parse(self, raw: Mapping[str, Any], wanted: Mapping[str, Feature]) -> dict[str, Any]:
        """Return the wanted columns; there is nothing to parse."""
        return {name: raw[name] for name in wanted}

    def _part(self, index: int) -> dict[str, np.ndarray]:
        held = self._held
        if held is not None and held[0] == index:
            return held[1]
        part = self._parts[index]
        path = self._folder / part.file
        try:
            data = path.read_bytes()
        except OSError as exc:
            raise DataError(f"{path}: cannot be read: {exc.strerror}") from exc
        if hashlib.sha256(data).hexdigest() != part.sha256:
            raise DataError(
                f"{path}: expected {part.bytes} bytes with SHA-256 {part.sha256[:12]}..., found {len(data)} other bytes; "
                "the part was changed or cut off after it was written: write the predictions again"
            )
        arrays = decode(self.manifest.format, self._columns, data, str(path))
        self._held = (index, arrays)
        return arrays


def _plan_of(manifest: Manifest) -> tuple[Plan, tuple[Part, ...]]:
    """Return the plan of what was predicted, and the parts that are its chunks."""
    if not manifest.left_out:
        return manifest.plan, manifest.parts
    parts = tuple(part for part in manifest.parts if part.examples)
    files = tuple(File(part.file, part.bytes, part.examples, divisible=False) for part in parts)
    hashes = np.array([part.id_hash for part in parts], np.int64)
    return replace(manifest.plan, files=files, chosen=None, hashes=hashes), parts


def _counts_text(left_out: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {left_out[name]}" for name in ("read", "kept", "filtered", "skipped") if name in left_out)


def _prefix(kind: str) -> str:
    return OUTPUT if kind == "output" else ""
