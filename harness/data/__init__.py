"""The data: the table of formats, one file each, and the contract of all of them (`source`)."""

from __future__ import annotations

import glob
import hashlib
import importlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.data import storage
from harness.data.counting import FileCount
from harness.data.source import BAD, ID, KEEP, SERIALIZED, Feature, Kind, Origin, Place, Records, Source
from harness.errors import JobError, nearest
from harness.plan.plan import File

__all__ = [
    "BAD", "FORMATS", "ID", "KEEP", "SERIALIZED", "Feature", "Format", "Kind", "Origin", "Place", "Records", "Source", "digest",
    "expand", "open_source", "survey",
]  # fmt: skip


@dataclass(frozen=True)
class Format:
    """A format of data.

    Attributes:
      opener: module:function in this room, which takes an `Origin` and returns a `Source`; imported when it is asked for.
      folders: whether a path may be a folder.
      globs: whether what the job names are files, or globs of files; else the format itself knows what the names mean.
      groups: whether several files are one in the plan, so that the plan's names cannot be opened.
      survey: module:function in this room, from an `Origin` to the files that have to be gone through; empty where none do.
    """

    opener: str
    folders: bool = False
    globs: bool = True
    groups: bool = False
    survey: str = ""


FORMATS = {
    "tfrecord": Format("tfrecord:open_tfrecord", survey="tfrecord:survey_tfrecord"),
    "parquet": Format("parquet:open_parquet"),
    "csv": Format("csv:open_csv", survey="csv:survey_csv"),
    "tsv": Format("csv:open_tsv", survey="csv:survey_csv"),
    "jsonl": Format("jsonl:open_jsonl", survey="jsonl:survey_jsonl"),
    "npz": Format("npz:open_npz"),
    "npy": Format("npy:open_npy", groups=True),
    "images": Format("images:open_images", folders=True, groups=True, survey="images:survey_images"),
    "tfds": Format("tfds:open_tfds", folders=True, globs=False, survey="tfds:survey_tfds"),
    "python": Format("own:open_own", globs=False),
    "memory": Format("memory:open_memory"),
}


def survey(kind: str, origin: Origin) -> list[FileCount]:
    """Look at the files that have to be gone through before their examples are known; none of most formats.

    Args:
      kind: the format.
    Raises: JobError: there is no such format. DataError: a file cannot be looked at.
    """
    function = _format(kind).survey
    counts: list[FileCount] = _load(function)(origin) if function else []
    return counts


def open_source(
    kind: str,
    paths: Sequence[str],
    *,
    target: str = "",
    folder: Path = Path("."),
    counts: Sequence[FileCount] | None = None,
) -> Source:
    """Open the files of a job: count their examples, and index what has to be.

    Args:
      kind: the format.
      paths, target, folder: see `Origin`.
      counts: what `survey` returned, counted since; None to count here.
    Raises: JobError: there is no such format. DataError: a file is not what its format says.
    """
    source: Source = _load(_format(kind).opener)(Origin(paths, target, folder, counts))
    return source


def _format(kind: str) -> Format:
    if kind not in FORMATS:
        raise JobError(f"data.format: unknown format '{kind}': {nearest(kind, FORMATS)}")
    return FORMATS[kind]


def _load(name: str) -> Any:
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(f"harness.data.{module}"), function)


def expand(patterns: Sequence[str], resolved: Sequence[str], *, folders: bool = False) -> list[str]:
    """Expand globs to files, each glob's in sorted order.

    Args:
      patterns: as the job has them, for messages.
      resolved: the same as paths that can be opened.
      folders: whether a folder will do.
    Raises: JobError: no such file, or a glob that matches nothing. DataError: the name of one that matches is no text.
    """
    paths: list[str] = []
    for pattern, path in zip(patterns, resolved, strict=True):
        looked = path if storage.is_url(path) else os.path.abspath(path)
        if glob.has_magic(path) and (storage.is_url(path) or not os.path.exists(path)):
            matches = storage.find(path)
            if not matches:
                raise JobError(f"data.files: '{pattern}' matches nothing (looked for {looked})")
            for match in matches:
                storage.check_name(match)
            paths += matches
        elif not storage.exists(path):
            raise JobError(f"data.files: no such file: {pattern} (looked for {looked})")
        elif storage.is_folder(path) and not folders:
            raise JobError(f"data.files: {pattern} is a folder, expected files or a glob such as {pattern}/*")
        elif not storage.is_readable_anywhere(path):
            raise JobError(
                f"data.files: {pattern} is a pipe or a device, expected a file: data are read in pieces, from several places and "
                "by several ranks; write it to a file first"
            )
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
