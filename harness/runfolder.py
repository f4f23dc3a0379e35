"""The run folder: every file name in it, and how files appear there: whole, by rename, or not at all."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import RunFolderError

__all__ = ["RunFolder", "read_json", "write_atomically", "write_status"]


URL = re.compile(r"(.*/)?[A-Za-z][A-Za-z0-9+]+:/")  # a Path has lost the second slash


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader sees the old one or the new one, whole, also after a crash."""
    temporary = path.with_name(f".{path.name}.{os.uname().nodename}.{os.getpid()}")
    try:
        with temporary.open("wb") as stream:
            stream.write(content.encode() if isinstance(content, str) else content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as exc:
        temporary.unlink(missing_ok=True)
        raise RunFolderError(f"{path}: cannot be written: {exc.strerror}; make room or choose another folder with -o") from exc


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
    def progress(self) -> Path:
        """Folder of the ranks' heartbeats."""
        return self.path / "progress"

    def heartbeat(self, rank: int) -> Path:
        """A rank's heartbeat."""
        return self.progress / f"rank-{rank:05d}.json"

    def table_csv(self, metric: str) -> Path:
        """A metric that is a table."""
        safe = "".join(c if c.isalnum() or c in "-_.=," else "_" for c in metric)
        return self.path / f"{safe}.csv"

    def claim(self, digests: dict[str, str]) -> bool:
        """Make the folder this job's, or find that it is.

        Returns: whether the run in it is done.
        Raises: RunFolderError: it holds another job's run, or something else, or cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            known = self.path.is_dir() and self.job_json.exists()
            if not known and any(not entry.name.startswith((".", "slurm-")) for entry in self.path.iterdir()):
                raise RunFolderError(f"{self.path}: not a run folder, and not empty; choose another with -o")
        except OSError as exc:
            raise RunFolderError(f"{self.path}: cannot be used as run folder: {exc.strerror}; choose another with -o") from exc
        if known:
            held = read_json(self.job_json) or {}
            other = [name for name, value in digests.items() if held.get(name) != value]
            # An attempt that failed before it had results has nothing to lose: its job may be mended and run again.
            failed = (read_json(self.status_json) or {}).get("state") == "failed" and not self.metrics_json.exists()
            if other and not failed:
                raise RunFolderError(
                    f"{self.path}: holds the run of another job: its {' and '.join(other)} differ{'s' * (len(other) == 1)} "
                    "from this one's; choose another folder with -o, or remove that one"
                )
            if self.metrics_json.exists():
                return True
        write_atomically(self.job_json, json.dumps(digests, indent=1, sort_keys=True) + "\n")
        try:
            shutil.rmtree(self.progress, ignore_errors=True)
            self.progress.mkdir(exist_ok=True)
            self.failure_json.unlink(missing_ok=True)
        except OSError as exc:
            raise RunFolderError(f"{self.path}: cannot be written: {exc.strerror}") from exc
        return False

    def set_status(self, state: str, exit_code: int | None, **more: Any) -> None:
        """Record the state of this attempt, for launchers that lose exit codes."""
        write_status(self.status_json, state, exit_code, **more)

    def record_failure(self, text: str, **more: Any) -> bool:
        """Write what failed, unless another rank was first; return whether this rank was."""
        temporary = self.path / f".failure.{os.uname().nodename}.{os.getpid()}"
        try:
            temporary.write_text(json.dumps({"message": text, "time": time.time(), **more}, indent=1, sort_keys=True) + "\n")
            os.link(temporary, self.failure_json)
        except OSError:
            return False  # another rank was first, or the folder is what failed: the message is on stderr anyway
        finally:
            temporary.unlink(missing_ok=True)
        return True


def read_json(path: Path) -> Any:
    """Read a JSON file, None where there is none or it is torn."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def write_status(path: Path, state: str, exit_code: int | None, **more: Any) -> None:
    """Write a status file."""
    write_atomically(path, json.dumps({"state": state, "exit_code": exit_code, **more}, indent=1, sort_keys=True) + "\n")
