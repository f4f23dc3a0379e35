"""Every shell file of the repository passes ShellCheck, those that are golden files too."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import pytest

from harness.names.variables import NO_SKIP
from tests.conftest import ROOT

SHELL = re.compile(rb"#!\s*(/usr/bin/env )?(/bin/)?(ba|da|k)?sh\b|#!\s*/bin/(ba)?sh")


def shell_files() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True
    ).stdout.split(b"\0")
    found = []
    for raw in filter(None, listed):
        path = ROOT / os.fsdecode(raw)
        if not path.is_file():
            continue
        with path.open("rb") as stream:
            if path.suffix in (".sh", ".bash", ".sbatch") or SHELL.match(stream.readline(80)):
                found.append(os.fsdecode(raw))
    return sorted(found)


def test_shell_files_are_found() -> None:
    assert {".ci/run", "launch/install", "slurm/evaluate.sbatch", "slurm/sweep.sbatch", "tests/slurm/daemons.sh"} <= set(
        shell_files()
    )


@pytest.mark.parametrize("path", shell_files())
def test_shellcheck_finds_nothing(path: str) -> None:
    if shutil.which("shellcheck") is None:
        if NO_SKIP.get():  # .ci/run installs it
            pytest.fail("ShellCheck is to be run here, and is not there: apt-get install shellcheck")
        pytest.skip("no shellcheck: apt-get install shellcheck")
    # Golden scripts hold names that look like commands, in single quotes, where they are none: SC2016 asks whether that is meant.
    meant = ["--exclude=SC2016"] if "/golden/" in path else []
    done = subprocess.run(["shellcheck", *meant, path], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
