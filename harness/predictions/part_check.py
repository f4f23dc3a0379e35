"""Whether the parts of predictions on disk are those that were committed: at a resume, at its end, and when a run is verified."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from harness.errors import DataError, JobError
from harness.folder.journal import Found, find
from harness.folder.regular_files import open_regular
from harness.folder.run_folder import RunFolder
from harness.predictions.manifest import MANIFEST, Manifest, Part, part_name, read_manifest
from harness.predictions.prediction_files import SUFFIXES

__all__ = ["PartCheck", "changed_part", "committed", "verify_parts"]

MOST_THREADS = 8  # that read and hash: more are seldom faster than what a file system delivers
AT_ONCE = 1024  # files that are handed to them
BLOCK_BYTES = 1 << 20
MOST_NAMED = 5  # files that are named one by one


class PartCheck:
    """Leaves out what earlier attempts committed where its parts are not there any more as they were.

    Args:
      folder: of the predictions.
      kind: of the parts: parquet, tfrecord or jsonl.
      hashed: whether parts are read; else it is only seen whether they are there.
      moved: called at each sign of progress.
    """

    def __init__(self, folder: Path, kind: str, *, hashed: bool = True, moved: Callable[[], None] = lambda: None) -> None:
        self._folder = folder
        self._kind = kind
        self._hashed = hashed
        self._moved = moved

    def intact(self, segments: Sequence[Found]) -> tuple[list[Found], list[str]]:
        """Return the segments whose parts are whole, and a warning about each of the others.

        A sum cannot be taken apart: where one part is damaged, all chunks of its segment are evaluated again. Segments of
        earlier versions name no SHA-256: only a part that is missing or empty is noticed there.
        """
        known = {segment.name: self._digests(segment) for segment in segments}
        wanted = sorted({chunk for digests in known.values() for chunk in digests})
        held = _file_digests([self._path(chunk) for chunk in wanted], self._moved)
        whole, warnings = [], []
        for segment in segments:
            if digests := known[segment.name]:
                pairs = ((self._path(chunk), sha256) for chunk, sha256 in digests.items())
                problems = [problem for path, sha256 in pairs if (problem := _difference(path, sha256, held[path]))]
            else:
                problems = [problem for line in segment.lines if (problem := self._absence(int(line[0]), int(line[3])))]
            if problems:
                others = f", and {len(problems) - 1} more of its parts" if len(problems) > 1 else ""
                again = f"all {len(segment.lines)} chunks of {segment.name} are evaluated again"
                warnings.append(f"{problems[0]}{others}: {again}")
            else:
                whole.append(segment)
        return whole, warnings

    def _digests(self, segment: Found) -> dict[int, str]:
        return _digests_of(segment) if self._hashed else {}

    def _path(self, chunk: int) -> Path:
        return self._folder / part_name(chunk, self._kind)

    def _absence(self, chunk: int, examples: int) -> str:
        """Say that a part is not there, or empty although examples are in it; an empty text where it may be whole."""
        path = self._path(chunk)
        try:
            is_empty = path.stat().st_size == 0
        except OSError as exc:
            return f"{path} cannot be read: {exc.strerror}"
        return f"{path} is empty, expected {examples} examples" if is_empty and examples else ""


def committed(folder: RunFolder, names: Iterable[str]) -> dict[int, str]:
    """Return the SHA-256 of the parts that some segments of the journal name, in hexadecimal, by chunk."""
    wanted = set(names)
    chosen = [segment for segment in find(folder.journal)[0] if segment.name in wanted] if wanted else []
    return {chunk: sha256 for segment in chosen for chunk, sha256 in _digests_of(segment).items()}


def verify_parts(folder: RunFolder, digests: Mapping[str, Any], segments: Sequence[Found]) -> tuple[list[str], list[str]]:
    """Compare the predictions of a finished run with their manifest and with the journal.

    Args:
      digests: of job.json.
      segments: that the result was summed from.
    Returns: what is wrong, and what is proved and what is not; nothing of either where the run wrote no predictions.
    """
    place = folder.predictions
    if not place.is_dir():
        return [], [f"not verified: the predictions; there is no {place.name}"] if "predictions" in digests else []
    try:
        manifest = read_manifest(place)
    except (JobError, DataError) as exc:
        return [str(exc)], []
    problems = _manifest_problems(manifest, place, digests, segments)
    if problems:
        return problems, []
    parts = {place / part.file: part.sha256 for part in manifest.parts}
    held = _file_digests(list(parts), lambda: None)
    problems = [problem for path, sha256 in parts.items() if (problem := _difference(path, sha256, held[path]))]
    strangers = sorted(path for path in place.glob("part-*") if path not in parts)
    problems += [f"{path} is no part of these predictions: {MANIFEST} does not name it" for path in strangers]
    if len(problems) > MOST_NAMED:
        problems = [*problems[:MOST_NAMED], f"and {len(problems) - MOST_NAMED:,} more parts of the predictions"]
    count = "1 part of the predictions has" if len(parts) == 1 else f"{len(parts):,} parts of the predictions have"
    proved = f"verified: {count} the SHA-256 that {MANIFEST} names"
    return problems, [proved]


def _manifest_problems(manifest: Manifest, place: Path, digests: Mapping[str, Any], segments: Sequence[Found]) -> list[str]:
    """Say where a manifest is not of this run."""
    path, kind = place / MANIFEST, manifest.format
    if not isinstance(kind, str) or kind not in SUFFIXES:
        return [f"{path}: expected format {', '.join(SUFFIXES)}, found {kind!r}"]
    others = [name for name, value in manifest.digests.items() if name in digests and value != digests[name]]
    if others:
        return [f"{path} is of another {' and another '.join(others)}"]
    if strange := [part.file for part in manifest.parts if part.file != part_name(part.chunk, kind)]:
        return [f"{path}: expected parts named by their chunks, found {strange[0]!r}"]
    named = {part.chunk: part for part in manifest.parts}
    lines = {int(line[0]): int(line[3]) for segment in segments for line in segment.lines}
    if named.keys() != lines.keys() or len(named) != len(manifest.parts):
        return [f"{path}: expected a part for each of the {len(lines):,} chunks of the journal, found {len(manifest.parts):,}"]
    problems = [
        f"{path} says {part.file} has {part.examples} examples, the journal {lines[chunk]}"
        for chunk, part in named.items()
        if part.examples != lines[chunk]
    ]
    problems += [
        f"{path} says {named[chunk].file} has SHA-256 {_short(named[chunk].sha256)}, {segment.name} {_short(sha256)}"
        for segment in segments
        for chunk, sha256 in _digests_of(segment).items()
        if named[chunk].sha256 != sha256
    ]
    return problems[:MOST_NAMED]


def changed_part(folder: Path, parts: Mapping[int, Part], earlier: Mapping[int, str]) -> str:
    """Name the first part that is not what an earlier attempt committed; an empty text where all are."""
    for chunk, sha256 in earlier.items():
        if problem := _difference(folder / parts[chunk].file, sha256, parts[chunk].sha256):
            return problem
    return ""


def _digests_of(segment: Found) -> dict[int, str]:
    """Return the SHA-256 of a segment's parts by chunk; none where it names none."""
    if segment.parts is None:
        return {}
    return {chunk: row.tobytes().hex() for chunk, row in zip(segment.lines[:, 0].tolist(), segment.parts, strict=True)}


def _difference(path: Path, wanted: str, held: str | OSError) -> str:
    """Say how a part differs from what was written; an empty text where it does not."""
    if isinstance(held, OSError):
        return f"{path} cannot be read: {held.strerror}"
    return "" if held == wanted else f"{path}: expected SHA-256 {_short(wanted)}, found {_short(held)}"


def _short(sha256: str) -> str:
    return f"{sha256[:12]}..."


def _file_digests(paths: Sequence[Path], moved: Callable[[], None]) -> dict[Path, str | OSError]:
    """Return the SHA-256 of files, in hexadecimal, or why one cannot be read; several are read at once."""
    digests: dict[Path, str | OSError] = {}
    with ThreadPoolExecutor(min(MOST_THREADS, len(os.sched_getaffinity(0)))) as pool:
        for start in range(0, len(paths), AT_ONCE):
            some = paths[start : start + AT_ONCE]
            for path, digest in zip(some, pool.map(_file_digest, some), strict=True):
                digests[path] = digest
                moved()
    return digests


def _file_digest(path: Path) -> str | OSError:
    total = hashlib.sha256()
    try:
        with open_regular(path) as stream:
            while block := stream.read(BLOCK_BYTES):
                total.update(block)
    except OSError as exc:
        return exc
    return total.hexdigest()
