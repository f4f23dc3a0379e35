"""Slurm's ConsumedEnergy: a number where it measures, a reason where it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import NoReading
from harness.machine.slurm_energy import consumed_joules, parse


def program(folder: Path, name: str, text: str, code: int = 0) -> None:
    """A command of Slurm's that answers so."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\necho \"$@\" >> {folder}/asked\nprintf '{text}'\nexit {code}\n")
    path.chmod(0o755)


def environ(folder: Path) -> dict[str, str]:
    return {"PATH": f"{folder}:/bin:/usr/bin", "SLURM_JOB_ID": "12", "SLURM_STEP_ID": "3"}


def test_a_step_is_asked_for_while_it_runs(tmp_path):
    program(tmp_path, "sstat", "48211\n")
    assert consumed_joules(environ(tmp_path)) == 48211
    assert (tmp_path / "asked").read_text().split()[-1] == "--jobs=12.3"


def test_sacct_answers_where_sstat_does_not(tmp_path):
    program(tmp_path, "sstat", "0\n")
    program(tmp_path, "sacct", "77\n76\n")
    assert consumed_joules(environ(tmp_path)) == 77


@pytest.mark.parametrize("text, code, reason", [
    ("0\n", 0, "does not measure energy"), ("", 0, "no answer"), ("18446744073709551614\n", 0, "does not measure"),
    ("4294967294\n", 0, "does not measure"), ("1.2M\n", 0, "expected joules"), ("Slurm accounting storage is disabled\n", 1, "ended with 1: Slurm accounting"),
])  # fmt: skip
def test_what_is_no_energy_is_no_number(text, code, reason, tmp_path):
    for name in ("sstat", "sacct"):
        program(tmp_path, name, text, code)
    with pytest.raises(NoReading, match=reason):
        consumed_joules(environ(tmp_path))


def test_outside_of_slurm_nobody_is_asked(tmp_path):
    program(tmp_path, "sstat", "5\n")
    with pytest.raises(NoReading, match="no Slurm job"):
        consumed_joules({**environ(tmp_path), "SLURM_JOB_ID": "x; reboot"})
    assert not (tmp_path / "asked").exists()
    with pytest.raises(NoReading, match="sacct is not on PATH"):
        consumed_joules({"PATH": str(tmp_path / "none"), "SLURM_JOB_ID": "12"})
    with pytest.raises(NoReading):
        parse("\n")
