"""The run folder: every file name in it, and how files appear there: whole, by rename, or not at all."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import RunFolderError
from harness.folder.regular_files import read_regular
from harness.names.scratch import scratch_name

__all__ = ["RunFolder", "read_json", "write_atomically", "write_first_status", "write_status"]

FULL = (errno.ENOSPC, errno.EDQUOT)
URL = re.compile(r"(.*/)?[A-Za-z][A-Za-z0-9+]+:/")  # a Path has lost the second slash


def write_atomically(path: Path, content: str | bytes | Iterable[bytes | memoryview]) -> None:
    """Write a file, given whole or in pieces, so that a reader sees the old one or the new one, also after a crash."""
    if isinstance(content, str | bytes):
        content = [content.encode() if isinstance(content, str) else content]
    temporary = scratch_name(path)
    try:
        with temporary.open("wb") as stream:
            for piece in content:
                stream.write(piece)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as exc:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        remedy = "choose a shorter name" if exc.errno == errno.ENAMETOOLONG else "make room or choose another folder with -o"
        raise RunFolderError(f"{path}: cannot be written: {exc.strerror}; {remedy}") from exc


@dataclass(frozen=True)
class RunFolder:
    """One run's folder."""

    path: Path

    def __post_init__(self) -> None:
        if URL.match(str(self.path)):
            raise RunFolderError(
                f"{self.path}: a run folder lies on a local or shared file system: what is finished is committed by rename, "
                "which object stores do not have; choose a folder with -o, and copy it to the store when the run is done"
            )

    @property
    def metrics_json(self) -> Path:
        """The result; there once the run is done."""
        return self.path / "metrics.json"

    @property
    def metrics_csv(self) -> Path:
        """The same in long form."""
        return self.path / "metrics.csv"

    @property
    def replicates_npz(self) -> Path:
        """The values by bootstrap replicate, float64, one array per metric."""
        return self.path / "replicates.npz"

    @property
    def slice_replicates_npz(self) -> Path:
        """The same of slices, in the order of metrics.json: one array [slices, replicates] per metric, NaN for null."""
        return self.path / "slice_replicates.npz"

    @property
    def gate_json(self) -> Path:
        """What the gate of the job came to last."""
        return self.path / "gate.json"

    @property
    def examples_parquet(self) -> Path:
        """The examples that are kept to be looked at, where the job asks for some."""
        return self.path / "examples.parquet"

    @property
    def predictions(self) -> Path:
        """Folder of what `harness predict` writes."""
        return self.path / "predictions"

    @property
    def run_json(self) -> Path:
        """How it ran."""
        return self.path / "run.json"

    @property
    def status_json(self) -> Path:
        """State and exit code of the last attempt."""
        return self.path / "status.json"

    @property
    def failure_json(self) -> Path:
        """What the first rank to fail had to say; written once an attempt."""
        return self.path / "failure.json"

    @property
    def job_json(self) -> Path:
        """The digests of the job whose run this is."""
        return self.path / "job.json"

    @property
    def report_html(self) -> Path:
        """The page that people look at, where the job asks for it."""
        return self.path / "report.html"

    @property
    def resolved_job_json(self) -> Path:
        """That job's keys, but those at their defaults."""
        return self.path / "resolved_job.json"

    @property
    def data_json(self) -> Path:
        """Which files were read, as each host saw them, and how: what tells other data under the same names."""
        return self.path / "data.json"

    @property
    def progress(self) -> Path:
        """Folder of the ranks' heartbeats."""
        return self.path / "progress"

    @property
    def journal(self) -> Path:
        """Folder of the segments that ranks have committed."""
        return self.path / "journal"

    @property
    def attempts(self) -> Path:
        """Folder of the records of attempts."""
        return self.path / "attempts"

    @property
    def plan_json(self) -> Path:
        """Model and files that the run began with, and how they are cut into chunks."""
        return self.path / "plan.json"

    @property
    def question_json(self) -> Path:
        """What is asked of the examples, and where it lies in the sums of the journal."""
        return self.path / "question.json"

    @property
    def lock(self) -> Path:
        """There while an attempt is at work."""
        return self.path / "lock"

    @property
    def stop(self) -> Path:
        """Whoever makes this file ends the attempt at the next chunk border."""
        return self.path / "stop"

    @property
    def meet(self) -> Path:
        """There when the ranks of an elastic run are to meet anew."""
        return self.path / "meet"

    def heartbeat(self, rank: int) -> Path:
        """A rank's heartbeat."""
        return self.progress / f"rank-{rank:05d}.json"

    def table_csv(self, metric: str) -> Path:
        """A metric that is a table."""
        safe = "".join(c if c.isalnum() or c in "-_.=," else "_" for c in metric)
        return self.path / f"{safe}.csv"

    @property
    def has_segments(self) -> bool:
        """Whether an attempt has committed anything."""
        return any(self.journal.glob("*.segment"))

    def clear(self) -> None:
        """Take away what the last attempt left but its journal: heartbeats, failure, the request to stop, half files."""
        try:
            shutil.rmtree(self.progress, ignore_errors=True)
            for folder in (self.progress, self.journal, self.attempts):
                folder.mkdir(exist_ok=True)
            derived = (self.gate_json, self.path / "parity.json")
            for path in (self.failure_json, self.stop, self.meet, *derived, *self.journal.glob(".*.segment.*")):
                path.unlink(missing_ok=True)
        except OSError as exc:
            raise RunFolderError(f"{self.path}: cannot be written: {exc.strerror}") from exc

    def ask_to_stop(self, attempt: int, why: str) -> None:
        """Ask all ranks of an attempt to stop, unless they are asked already."""
        temporary = scratch_name(self.stop)
        with contextlib.suppress(OSError):
            temporary.write_text(json.dumps({"attempt": attempt, "why": why}))
            with contextlib.suppress(FileExistsError):
                os.link(temporary, self.stop)
            temporary.unlink()

    def asked_to_stop(self, attempt: int) -> str | None:
        """Return why the ranks of an attempt are to stop; an empty text where a person asks, None where nobody does."""
        if not self.stop.exists():
            return None
        asked = read_json(self.stop)
        if not isinstance(asked, dict):
            return ""
        return str(asked.get("why", "")) if asked.get("attempt", attempt) == attempt else None

    def ask_to_meet(self, attempt: int) -> None:
        """Ask all ranks of an attempt to meet anew."""
        with contextlib.suppress(RunFolderError):
            write_atomically(self.meet, json.dumps({"attempt": attempt}))

    def asked_to_meet(self, attempt: int) -> bool:
        """Say whether the ranks of an attempt are to meet anew."""
        asked = read_json(self.meet) if self.meet.exists() else None
        return isinstance(asked, dict) and asked.get("attempt") == attempt

    def set_status(self, state: str, exit_code: int | None, **details: Any) -> None:
        """Record the state of this attempt, for launchers that lose exit codes."""
        write_status(self.status_json, state, exit_code, **details)

    def record_failure(self, text: str, **details: Any) -> bool:
        """Write what failed, unless another rank was first; return whether this rank was."""
        temporary = scratch_name(self.failure_json)
        try:
            temporary.write_text(json.dumps({"message": text, "time": time.time(), **details}, indent=1, sort_keys=True) + "\n")
            os.link(temporary, self.failure_json)
        except FileExistsError:
            return False
        except OSError:
            # The folder may be what failed, and the message is on stderr anyway. A name has room on a full disk too, and
            # tells the other ranks that this one has failed.
            with contextlib.suppress(OSError):
                self.failure_json.touch(exist_ok=False)
                return True
            return False
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        return True


def read_json(path: Path) -> Any:
    """Read a JSON file, None where there is none or it is torn."""
    try:
        return json.loads(read_regular(path))
    except (OSError, ValueError, RecursionError):
        return None


def write_first_status(path: Path, state: str, exit_code: int | None, **details: Any) -> None:
    """Write a status file, unless there is one: of several processes that do so at once one is the first."""
    temporary = scratch_name(path)
    write_status(temporary, state, exit_code, **details)
    try:
        os.link(temporary, path)
    except FileExistsError:
        pass
    except OSError as exc:
        raise RunFolderError(f"{path}: cannot be made: {exc.strerror}; choose another folder with -o") from exc
    finally:
        temporary.unlink(missing_ok=True)


def write_status(path: Path, state: str, exit_code: int | None, **details: Any) -> None:
    """Write a status file: on a full disk over the one that is there, so that it does not say that the run goes on."""
    text = json.dumps({"state": state, "exit_code": exit_code, **details}, indent=1, sort_keys=True) + "\n"
    try:
        write_atomically(path, text)
    except RunFolderError as exc:
        if not isinstance(exc.__cause__, OSError) or exc.__cause__.errno not in FULL or not _overwrite(path, text.encode()):
            raise


def _overwrite(path: Path, content: bytes) -> bool:
    """Write over a small file, in the room that it has; return whether that could be done."""
    try:
        descriptor = os.open(path, os.O_WRONLY)
    except OSError:
        return False
    try:
        os.pwrite(descriptor, content, 0)
        os.ftruncate(descriptor, len(content))
        os.fsync(descriptor)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
