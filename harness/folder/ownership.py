"""Whose run a folder holds: claimed for a job, told from another job's key by key, made free for a new run.

Of a job only the keys that can change a value count.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.errors import JobError, RunFolderError
from harness.folder.attempts import retire
from harness.folder.run_folder import RunFolder, read_json, write_atomically
from harness.job.job import Job

__all__ = ["claim", "default_folder", "differences", "erase", "owned"]

SHOWN = 5  # keys named in a message
VALUE_CHARACTERS = 60
ABSENT = object()


def owned(folder: RunFolder, digests: Mapping[str, str], job: Job) -> bool:
    """See whose run a folder holds; it is made where it is not there.

    Args:
      folder: of the run.
      digests: of the job, its data and its model.
      job: that wants it.
    Returns: whether this very run is in it, and done.
    Raises: RunFolderError: it holds another job's run, or something else, or cannot be written.
    """
    path = folder.path
    # What another process, or one that was killed, has begun with.
    begun = (folder.lock.name, folder.attempts.name, folder.resolved_job_json.name)
    try:
        path.mkdir(parents=True, exist_ok=True)
        known = path.is_dir() and folder.job_json.exists()
        if not known and any(not entry.name.startswith((".", "slurm-")) and entry.name not in begun for entry in path.iterdir()):
            raise RunFolderError(f"{path}: not a run folder, and not empty; choose another with -o")
    except OSError as exc:
        raise RunFolderError(f"{path}: cannot be used as run folder: {exc.strerror}; choose another with -o") from exc
    if not known:
        return False
    recorded = _object(folder.job_json)
    other = [name for name in sorted({*digests, *recorded}) if recorded.get(name) != digests.get(name)]
    if other and not _has_nothing_to_lose(folder):
        raise RunFolderError(
            f"{path}: holds the run of another job: its {' and '.join(other)} differ{'s' * (len(other) == 1)} from this "
            f"one's{_shown(differences(folder, job))}; choose another folder with -o, or begin anew with --overwrite"
        )
    return not other and folder.metrics_json.exists()


def claim(folder: RunFolder, digests: Mapping[str, str], job: Job) -> None:
    """Make a folder this job's; whoever does holds its lock."""
    if _object(folder.job_json) == dict(digests):
        return
    write_atomically(folder.resolved_job_json, json.dumps(job.resolved, indent=1, sort_keys=True) + "\n")
    write_atomically(folder.job_json, json.dumps(dict(digests), indent=1, sort_keys=True) + "\n")


def default_folder(job: Job, *, resume: bool = False) -> tuple[Path, str]:
    """Choose the run folder of a job that is given none: runs/NAME, or where that holds another job's run runs/NAME-2.

    Ranks that look while rank 0 makes the folder its own choose the same one.

    Args:
      job: whose run it is.
      resume: whether a run is to be gone on with: then no new folder is begun.
    Returns: the folder; and what to say of it, nothing where it is the first.
    """
    first = job.output_folder.absolute()
    if job.output is not None or "://" in str(job.output_folder):
        return first, ""
    number, path = 1, first
    while _is_of_another_job(RunFolder(path), job):
        number += 1
        path = first.with_name(f"{first.name}-{number}")
    if path == first or (resume and not RunFolder(path).job_json.exists()):
        return first, ""
    why = _shown(differences(RunFolder(first), job)) or ": another job"
    return path, f"{first} holds the run of another job{why}; this one goes to {path}"


def differences(folder: RunFolder, job: Job) -> list[str]:
    """Name the keys in which the job whose run a folder holds differs from another, with both values."""
    try:
        theirs = Job.from_dict(read_json(folder.resolved_job_json)).keys_of_values
    except JobError:
        return []  # an older harness left no keys, or it knew others
    first, second = (dict(_leaves(keys)) for keys in (theirs, job.keys_of_values))
    names = [*first, *(name for name in second if name not in first)]
    return [
        f"{name} is {_text(first.get(name, ABSENT))} there and {_text(second.get(name, ABSENT))} here"
        for name in names
        if first.get(name, ABSENT) != second.get(name, ABSENT)
    ]


def erase(folder: RunFolder) -> None:
    """Take away the run that a folder holds; whoever does holds its lock, which stays.

    What has been finished goes first, what says whose it was last: half a run is never taken for one, and can be erased
    again. The numbers of attempts stay, so that one that comes back to life finds that a later one has begun.

    Raises: RunFolderError: there is something in it that is no part of a run, or that cannot be taken away.
    """
    inside = {
        folder.journal: r".*\.segment|\..*", folder.progress: r"rank-\d+\.json|ranks\.json|\..*",
        folder.attempts: r"\d+(\.usage-\d+)?\.json|\..*", folder.predictions: r"part-\d+\..*|_manifest\.json|\..*",
    }  # fmt: skip
    files = [
        folder.gate_json, folder.metrics_json, *_tables(folder), folder.metrics_csv, folder.replicates_npz,
        folder.slice_replicates_npz, folder.examples_parquet, folder.run_json, folder.plan_json, folder.question_json,
        folder.data_json, folder.failure_json, folder.stop, folder.meet, folder.status_json, folder.resolved_job_json,
        folder.job_json, folder.report_html, folder.path / "limits.json", folder.path / "parity.json",
    ]  # fmt: skip
    kept = {folder.lock, *files}
    try:
        foreign = [
            str(entry.relative_to(folder.path))
            for entry in sorted(folder.path.iterdir())
            if not entry.name.startswith((".", "slurm-"))
            and (entry.is_dir() and not entry.is_symlink() if entry in kept else entry not in inside)
        ]
        foreign += [
            str(entry.relative_to(folder.path))
            for part, names in inside.items()
            if part.is_dir() and not part.is_symlink()
            for entry in sorted(part.iterdir())
            if not re.fullmatch(names, entry.name) or (entry.is_dir() and not entry.name.startswith("."))
        ]
        if foreign:
            raise RunFolderError(
                f"{folder.path}: holds {', '.join(foreign[:SHOWN])} beside a run, and is not overwritten; "
                "move that away, or choose another folder with -o"
            )
        for part in (folder.journal, folder.predictions, folder.progress):
            if part.is_symlink():
                part.unlink()
            elif part.is_dir():
                shutil.rmtree(part)
        retire(folder)
        for path in files:
            path.unlink(missing_ok=True)
    except OSError as exc:
        raise RunFolderError(f"{exc.filename}: cannot be taken away: {exc.strerror}; choose another folder with -o") from exc


def _tables(folder: RunFolder) -> list[Path]:
    """Return the files of metrics that are tables; where that is not known, what those of all metrics would be called."""
    metrics = _object(folder.metrics_json).get("metrics")
    if isinstance(metrics, dict):
        values = {key: entry.get("value") for key, entry in metrics.items() if isinstance(entry, dict)}
        keys = [key for key, value in values.items() if isinstance(value, dict) and "columns" in value]
    else:
        asked = _object(folder.question_json).get("question")
        listed = asked.get("metrics") if isinstance(asked, dict) else None
        keys = [str(entry["key"]) for entry in listed or [] if isinstance(entry, dict) and "key" in entry]
    return [folder.table_csv(key) for key in keys]


def _object(path: Path) -> dict[str, Any]:
    """Read a JSON object, an empty one where there is none."""
    document = read_json(path)
    return document if isinstance(document, dict) else {}


def _has_nothing_to_lose(folder: RunFolder) -> bool:
    """Say whether an attempt failed before it had results: its job may be mended and run again."""
    failed = _object(folder.status_json).get("state") == "failed" and not folder.metrics_json.exists()
    return failed and not folder.has_segments


def _is_of_another_job(folder: RunFolder, job: Job) -> bool:
    recorded = read_json(folder.job_json)
    return isinstance(recorded, dict) and recorded.get("job") != job.digest and not _has_nothing_to_lose(folder)


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of nested keys, by dotted name.

    >>> list(_leaves({"batch_size": 8, "metrics": [{"top_k": {"k": 2}}]}))
    [('batch_size', 8), ('metrics.0.top_k.k', 2)]
    """
    if isinstance(value, Mapping) and value:
        parts = [(f"{name}.{key}" if name else str(key), inner) for key, inner in value.items()]
    elif isinstance(value, list) and value:
        parts = [(f"{name}.{number}", inner) for number, inner in enumerate(value)]
    else:
        yield name, value
        return
    for inner_name, inner in parts:
        yield from _leaves(inner, inner_name)


def _shown(differing: list[str]) -> str:
    more = f"; and {len(differing) - SHOWN} more" if len(differing) > SHOWN else ""
    return f" ({'; '.join(differing[:SHOWN])}{more})" if differing else ""


def _text(value: Any) -> str:
    if value is ABSENT:
        return "not given"
    text = json.dumps(value)
    return text if len(text) <= VALUE_CHARACTERS else f"{text[:VALUE_CHARACTERS]}..."
