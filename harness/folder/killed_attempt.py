"""The last word on an attempt whose ranks were killed, by who started them: the ranks could leave none, or a wrong one."""

from __future__ import annotations

import contextlib
from pathlib import Path

from harness.errors import HarnessError
from harness.folder.run_folder import RunFolder, read_json

__all__ = ["KilledAttempt"]

CORRECTED = ("running", "interrupted")  # what a rank says that was killed, or that was ended because another was


class KilledAttempt:
    """Leaves that a run has failed; made before its ranks are started.

    Args:
      path: of the run folder, which need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self._folder = RunFolder(path)
        self._before = self._status()

    def record(self, message: str) -> None:
        """Say so in the run folder; not where ranks have written no status since, or one that knows better."""
        if self._status() == self._before or self._folder.metrics_json.exists():
            return
        status = read_json(self._folder.status_json)
        if isinstance(status, dict) and status.get("state") in CORRECTED:
            self._folder.record_failure(message)
            with contextlib.suppress(HarnessError):
                self._folder.set_status("failed", HarnessError.exit_code, attempt=status.get("attempt"))

    def _status(self) -> tuple[int, int] | None:
        with contextlib.suppress(OSError):
            status = self._folder.status_json.stat()
            return status.st_ino, status.st_mtime_ns
        return None
