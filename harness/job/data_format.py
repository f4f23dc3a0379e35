"""The format of data that a job does not name: by the ending of the first file, or by what a folder holds. Opens no file."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["EXTENSIONS", "format_of"]

EXTENSIONS = {
    ".npz": "npz", ".npy": "npy", ".tfrecord": "tfrecord", ".tfrecords": "tfrecord", ".parquet": "parquet", ".csv": "csv",
    ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl",
}  # fmt: skip
PREPARED = "dataset_info.json"  # what TensorFlow Datasets write beside the files of a dataset


def format_of(path: str, folder: Path = Path(".")) -> str | None:
    """Return the format of a file, a glob or a folder; None where it cannot be told.

    A local folder is a prepared dataset, or images in a folder a class.

    Args:
      path: as a job names it.
      folder: that relative paths are taken from.

    >>> format_of("val-*.csv.gz"), format_of("s3://bucket/val.npz"), format_of("val-00000-of-00010")
    ('csv', 'npz', None)
    """
    kind = EXTENSIONS.get(Path(path.removesuffix(".gz")).suffix)
    if kind or "://" in path:
        return kind
    place = folder / path.partition("#")[0]
    if os.path.isfile(place / PREPARED):  # False too where no file can have such a path
        return "tfds"
    try:
        with os.scandir(place) as entries:
            return "images" if any(entry.is_dir() for entry in entries) else None
    except (OSError, ValueError):
        return None
