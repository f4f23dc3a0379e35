"""The Slurm jobs of trials that nobody waits for any more: left alone they would run beside the bench that goes on."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

__all__ = ["end_left_over", "job_of"]

ENDING_S = 60.0
POLL_S = 0.5
NUMBER = re.compile(r"^(\d+)$", re.MULTILINE)


def job_of(output: str) -> str | None:
    """Return the number of the job that `harness submit` said; None where it said none.

    >>> job_of("17\\nharness: job 17 is submitted"), job_of("harness: error: no such partition")
    ('17', None)
    """
    match = NUMBER.search(output)
    return match[1] if match else None


def end_left_over(output: Path) -> None:
    """Cancel the job of a trial that did not come to its end, and wait until Slurm has ended it; nothing where there is none.

    Args:
      output: what `harness submit` printed.
    """
    try:
        job = job_of(output.read_text(errors="replace"))
    except OSError:
        return
    if job is None:
        return
    _said(["scancel", job])
    begun = time.monotonic()
    while job in _said(["squeue", "--noheader", "--format=%A", f"--jobs={job}"]).split() and time.monotonic() - begun < ENDING_S:
        time.sleep(POLL_S)


def _said(argv: list[str]) -> str:
    """Return what a command prints; nothing where it is not there or knows no such job."""
    try:
        return subprocess.run(argv, capture_output=True, text=True, timeout=ENDING_S, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
