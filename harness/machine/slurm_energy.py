"""Slurm's own account of a job step's energy, ConsumedEnergy: what its plugin measured on all nodes of the step.

A step that runs is asked for with `sstat`; where that does not know, the job with `sacct`. Most clusters measure nothing:
they answer 0 or nothing, which is no energy but no answer.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence

from harness.errors import NoReading

__all__ = ["consumed_joules", "parse", "questions"]

TIMEOUT_S = 10
NO_VALUES = (0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFE)  # Slurm's INFINITE and NO_VAL, of 32 and of 64 bits
NOT_MEASURED = "Slurm does not measure energy here (its AcctGatherEnergyType): {}"


def questions(environ: Mapping[str, str]) -> list[list[str]]:
    """Return the commands that ask for the energy of the step, or job, that a process is in; none outside of Slurm.

    >>> questions({"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0"})[0]
    ['sstat', '--noheader', '--parsable2', '--format=ConsumedEnergyRaw', '--jobs=7.0']
    >>> questions({"HOME": "/"})
    []
    """
    job, step = environ.get("SLURM_JOB_ID", ""), environ.get("SLURM_STEP_ID", "")
    if not re.fullmatch(r"\d+", job):
        return []
    wanted = ["--noheader", "--parsable2", "--format=ConsumedEnergyRaw"]
    target = f"{job}.{step}" if re.fullmatch(r"\d+", step) else f"{job}.batch"
    whole = target if re.fullmatch(r"\d+", step) else job
    return [["sstat", *wanted, f"--jobs={target}"], ["sacct", *wanted, f"--jobs={whole}"]]


def parse(text: str) -> int:
    """Return joules of what a command printed.

    >>> parse("1234\\n")
    1234

    Raises: NoReading: it is none.
    """
    lines = [line.strip().strip("|") for line in text.splitlines() if line.strip().strip("|")]
    if not lines:
        raise NoReading(NOT_MEASURED.format("no answer"))
    if not lines[0].isascii() or not lines[0].isdigit():
        raise NoReading(f"Slurm: expected joules, found {lines[0][:40]!r}")
    joules = int(lines[0])
    if joules == 0 or joules in NO_VALUES:
        raise NoReading(NOT_MEASURED.format(joules))
    return joules


def consumed_joules(environ: Mapping[str, str], commands: Sequence[Sequence[str]] | None = None) -> int:
    """Ask Slurm for the joules of the step so far.

    Args:
      environ: of a process of the step.
      commands: that are tried in turn; default: `questions`.
    Raises: NoReading: it does not say.
    """
    reason = "no Slurm job"
    for command in questions(environ) if commands is None else commands:
        program = shutil.which(command[0], path=environ.get("PATH"))
        if program is None:
            reason = f"{command[0]} is not on PATH"
            continue
        try:
            done = subprocess.run(
                [program, *command[1:]], env=dict(environ), capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
                stdin=subprocess.DEVNULL,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError) as exc:
            reason = f"{command[0]}: {type(exc).__name__}"
            continue
        try:
            if done.returncode:
                last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1][:200]
                raise NoReading(f"{command[0]} ended with {done.returncode}: {last}")
            return parse(done.stdout)
        except NoReading as exc:
            reason = str(exc)
    raise NoReading(reason)
