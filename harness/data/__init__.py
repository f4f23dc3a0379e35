"""The data: the table of formats, one file each, and the contract of all of them (`source`)."""

from __future__ import annotations

import glob
import hashlib
import importlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.data import storage
from harness.data.source import BAD, ID, KEEP, SERIALIZED, Feature, Kind, Origin, Place, Records, Source
from harness.errors import JobError, nearest
from harness.plan.plan import File

__all__ = [
    "BAD", "FORMATS", "ID", "KEEP", "SERIALIZED", "Feature", "Format", "Kind", "Place", "Records", "Source", "digest", "expand",
    "open_source",
]  # fmt: skip


@dataclass(frozen=True)
class Format:
    """A format of data.

    Attributes:
      opener: module:function in this room, which takes an `Origin` and returns a `Source`; imported when it is asked for.
      folders: whether a path may be a folder.
      globs: whether what the job names are files, or globs of files; else the format itself knows what the names mean.
      groups: whether several files are one in the plan, so that the plan's names cannot be opened.
    """

    opener: str
    folders: bool = False
    globs: bool = True
    groups: bool = False


FORMATS = {
    "tfrecord": Format("tfrecord:open_tfrecord"),
    "parquet": Format("parquet:open_parquet"),
    "csv": Format("csv:open_csv"),
    "tsv": Format("csv:open_tsv"),
    "jsonl": Format("jsonl:open_jsonl"),
    "npz": Format("npz:open_npz"),
    "npy": Format("npy:open_npy", groups=True),
    "images": Format("images:open_images", folders=True, groups=True),
    "tfds": Format("tfds:open_tfds", folders=True, globs=False),
    "python": Format("own:open_own", globs=False),
    "memory": Format("memory:open_memory"),
}


def open_source(kind: str, paths: Sequence[str], *, target: str = "", folder: Path = Path(".")) -> Source:
    """Open the files of a job: count their examples, and index what has to be.

    Args:
      kind: the format.
      paths, target, folder: see `Origin`.
    Raises: JobError: there is no such format. DataError: a file is not what its format says.
    """
    if kind not in FORMATS:
        raise JobError(f"data.format: unknown format '{kind}': {nearest(kind, FORMATS)}")
    module, _, function = FORMATS[kind].opener.partition(":")
    source: Source = getattr(importlib.import_module(f"harness.data.{module}"), function)(Origin(paths, target, folder))
    return source


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
            matches = storage.find(path)
            if not matches:
                raise JobError(f"data.files: '{pattern}' matches nothing (looked for {looked})")
            paths += matches
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


def digest(files: Sequence[File]) -> str:
    """Return the SHA-256 of the ordered base names, sizes and example counts, in hexadecimal."""
    lines = "".join(f"{os.path.basename(f.path)}\0{f.size_bytes}\0{f.examples}\n" for f in files)
    return hashlib.sha256(lines.encode()).hexdigest()
