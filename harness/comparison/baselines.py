"""Baselines that have names: what comparisons need of a run, in one small file that can be committed. No predictions, no code.

The file is a ZIP whose members are stored as they are in the run folder, with fixed dates, and an index with their digests: the
same run gives the same bytes. A file that is torn or was edited is refused by name.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import RunFolderError, UsageError, nearest
from harness.folder.output_file import write_output
from harness.folder.question_file import question_of
from harness.folder.regular_files import read_regular
from harness.folder.run_folder import RunFolder
from harness.names.variables import BASELINES
from harness.results.evidence import Evidence, read_arrays
from harness.results.run_document import check_compared, parsed

__all__ = ["FOLDER", "default_folder", "file_of", "names", "read", "remove", "save"]

FOLDER = "baselines"
VERSION = 1
INDEX = "baseline.json"
DATA = "data_keys.json"
METRICS, QUESTION = "metrics.json", "question.json"
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
LONGEST_NAME = 150  # file systems take 255, with the ending and what is behind a name while its file is written
DATE = (1980, 1, 1, 0, 0, 0)  # the first that a ZIP can hold


def default_folder() -> Path:
    """Return the folder of baselines where no option names one."""
    return Path(BASELINES.get() or FOLDER)


def file_of(name: str, folder: Path) -> Path:
    """Return the file of a baseline, whether or not it is there.

    Raises: UsageError: it cannot be a name.
    """
    if not NAME.fullmatch(name):
        raise UsageError(f"baseline {name!r}: expected letters, digits, '.', '_' and '-', and no '.' or '-' in front")
    if len(name) > LONGEST_NAME:
        raise UsageError(f"baseline {name[:20]}...: a name of {len(name)} letters is too long: expected at most {LONGEST_NAME}")
    return folder / f"{name}.zip"


def names(folder: Path) -> list[str]:
    """Return the names of the baselines in a folder, in alphabetical order."""
    return sorted(path.stem for path in folder.glob("*.zip") if NAME.fullmatch(path.stem))


def save(run: Path, name: str, folder: Path) -> Path:
    """Keep a finished run as a baseline, in place of one of the same name.

    Raises: UsageError: it cannot be a name. RunFolderError: there is no finished run, or no file can be written.
    """
    file, evidence = file_of(name, folder), Evidence.read(run)
    place = RunFolder(run)
    kept = (place.metrics_json, place.question_json, place.replicates_npz, place.slice_replicates_npz)
    members = {path.name: read_regular(path) for path in kept if path.exists()}
    members[DATA] = _dumped(evidence.data)
    write_output(file, _packed(members))
    return file


def read(file: Path) -> Evidence:
    """Read a baseline.

    Raises: UsageError: there is none. RunFolderError: the file is torn, was edited, or is none of a baseline.
    """
    _check_there(file)
    members = _unpacked(file)
    if missing := [name for name in (METRICS, QUESTION, DATA) if name not in members]:
        raise RunFolderError(f"{file}: not what `harness baseline set` writes: {missing[0]} is missing")
    document, asked, data = (parsed(members[name], f"{file}: {name}") for name in (METRICS, QUESTION, DATA))
    drawn = [
        read_arrays(io.BytesIO(members[name]), f"{file}: {name}") if name in members else {}
        for name in ("replicates.npz", "slice_replicates.npz")
    ]
    question, _ = question_of(asked, f"{file}: {QUESTION}")
    return Evidence(check_compared(document, f"{file}: {METRICS}"), question, data, drawn[0], drawn[1]).checked(str(file))


def remove(name: str, folder: Path) -> Path:
    """Delete a baseline.

    Raises: UsageError: there is none of that name.
    """
    file = file_of(name, folder)
    _check_there(file)
    file.unlink()
    return file


def _check_there(file: Path) -> None:
    """Raise UsageError where a baseline is not there; names those that are."""
    if not file.exists():
        others = names(file.parent)
        hint = nearest(file.stem, others) if others else "there is none yet, harness baseline set NAME RUN makes one"
        raise UsageError(f"{file.parent}: no baseline '{file.stem}': {hint}")


def _packed(members: Mapping[str, bytes]) -> bytes:
    """Return a ZIP of files, the index in front."""
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in members.items()}
    index = _dumped({"schema_version": VERSION, "sha256": digests})
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in [(INDEX, index), *sorted(members.items())]:
            archive.writestr(zipfile.ZipInfo(name, DATE), content)  # stored: what compresses differs between versions of zlib
    return buffer.getvalue()


def _unpacked(file: Path) -> dict[str, bytes]:
    """Return the files of a ZIP, held against its index.

    Raises: RunFolderError: see `read`.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(read_regular(file))) as archive:
            if packed := [entry.filename for entry in archive.infolist() if entry.compress_type != zipfile.ZIP_STORED]:
                raise ValueError(f"{packed[0]} is compressed")
            members = {entry.filename: archive.read(entry) for entry in archive.infolist()}
        index = json.loads(members.pop(INDEX, b"null"))
    except (OSError, ValueError, RuntimeError, RecursionError, zipfile.BadZipFile, EOFError) as exc:
        raise RunFolderError(f"{file}: torn, or no baseline: {exc}") from exc
    if not isinstance(index, dict) or index.get("schema_version") != VERSION or not isinstance(index.get("sha256"), dict):
        raise RunFolderError(f"{file}: no baseline of version {VERSION}: {INDEX} is missing or says otherwise")
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in members.items()}
    if edited := sorted(name for name in {*digests, *index["sha256"]} if digests.get(name) != index["sha256"].get(name)):
        raise RunFolderError(f"{file}: {', '.join(edited)}: not what `harness baseline set` wrote; set it again from its run")
    return members


def _dumped(document: Any) -> bytes:
    return (json.dumps(document, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()
