"""Prepared TensorFlow Datasets folders: features and splits read from their metadata, TFRecord files underneath.

Source: tensorflow_datasets, features/feature.proto and core/dataset_info.proto, as written by `tfds build`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.data import storage
from harness.data.counting import FileCount
from harness.data.source import Feature, Kind, Origin
from harness.data.tfrecord import TFRecordSource, survey_tfrecord
from harness.errors import DataError, nearest

__all__ = ["open_tfds", "survey_tfds"]

IMAGES = ("Image", "LabeledImage")


class TfdsSource(TFRecordSource):
    """Examples of prepared folders, with the features that their metadata name."""

    named: dict[str, Feature]

    def features(self) -> dict[str, Feature]:
        """Return what features.json says."""
        return dict(self.named)


def open_tfds(origin: Origin) -> TfdsSource:
    """Open one split of each folder: FOLDER#SPLIT, or FOLDER where it has one split only.

    Raises: DataError: a folder was not prepared, has no such split, or lacks shards.
    """
    prepared = _prepared(origin)
    source = TfdsSource.open(prepared.shards, origin.counts)
    for file, expected in zip(source.files, prepared.lengths, strict=True):
        if file.examples != expected:
            raise DataError(f"{file.path}: expected {expected} records, as dataset_info.json says, found {file.examples}")
    assert isinstance(source, TfdsSource)
    source.named = prepared.features
    return source


def survey_tfds(origin: Origin) -> list[FileCount]:
    """Look at the shards; see `tfrecord_index.look`.

    Raises: DataError: see `open_tfds`.
    """
    return survey_tfrecord(Origin(_prepared(origin).shards))


@dataclass(frozen=True)
class Prepared:
    """What the metadata of prepared folders say: the shards, how many records each holds, and their features."""

    shards: Sequence[str]
    lengths: Sequence[int]
    features: dict[str, Feature]


def _prepared(origin: Origin) -> Prepared:
    shards: list[str] = []
    lengths: list[int] = []
    named: dict[str, Feature] | None = None
    for path in origin.paths:
        folder, _, split = path.partition("#")
        info, features = (_json(Path(folder) / name) for name in ("dataset_info.json", "features.json"))
        declared = _features(features, folder)
        if named is not None and declared != named:
            raise DataError(f"{folder}: expected the features of {origin.paths[0]}, found others")
        named = declared
        splits = {entry["name"]: entry for entry in info.get("splits", [])}
        if not split and len(splits) == 1:
            split = next(iter(splits))
        if split not in splits:
            hint = f"no split '{split}'" if split else f"has several splits, name one: {folder}#SPLIT"
            raise DataError(f"{folder}: {hint}: {nearest(split, splits) or 'it has none'}")
        counts = [int(count) for count in splits[split].get("shardLengths", [])]
        ending = info.get("fileFormat", "tfrecord")
        if ending != "tfrecord":
            raise DataError(f"{folder}: its shards are {ending}, expected tfrecord; prepare it with file_format=tfrecord")
        name = f"{info['name']}-{split}.{ending}"
        for number, count in enumerate(counts):
            shards.append(os.path.join(folder, f"{name}-{number:05d}-of-{len(counts):05d}"))
            lengths.append(count)
    for shard in shards:
        if not storage.exists(shard):
            raise DataError(f"{shard}: no such file, though dataset_info.json names it; prepare the folder again")
    return Prepared(shards, lengths, named or {})


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; is it a prepared folder (NAME/CONFIG/VERSION)?") from None
    except (OSError, ValueError) as exc:
        raise DataError(f"{path}: cannot be read: {exc}") from exc


def _features(node: Any, folder: str, prefix: str = "") -> dict[str, Feature]:
    """Flatten features.json; nested names are joined by slashes, as in the records."""
    if "featuresDict" in node:
        nested: dict[str, Feature] = {}
        for name, inner in node["featuresDict"]["features"].items():
            nested |= _features(inner, folder, f"{prefix}/{name}" if prefix else name)
        return nested
    kind = node.get("pythonClassName", "").rpartition(".")[2]
    if "image" in node or kind in IMAGES:
        shape = _shape(node.get("image", {}))
        return {prefix: Feature("uint8", shape if len(shape) == 3 else (None, None, None), Kind.IMAGE)}
    if "classLabel" in node:
        return {prefix: Feature("int64", ())}
    if "text" in node:
        return {prefix: Feature("string", ())}
    if "tensor" in node:
        dtype = node["tensor"].get("dtype", "float32")
        if "float" in dtype:
            return {prefix: Feature("float32", _shape(node["tensor"]))}
        return {prefix: Feature("string" if dtype == "string" else "int64", _shape(node["tensor"]))}
    return {}  # sequences, video, audio: named by the job under data.features


def _shape(node: Any) -> tuple[int | None, ...]:
    sizes = [int(size) for size in node.get("shape", {}).get("dimensions", [])]
    return tuple(size if size >= 0 else None for size in sizes)
