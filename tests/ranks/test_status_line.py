"""What a person sees on a terminal, from the command to the result: one line that moves, under a launcher as well as alone."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from harness.names.status_line import ERASE
from tests.conftest import BIN, Made

BEGUN = ["importing TensorFlow", "looking at model and data", "loading the model", "building the step", "compiling"]
LAUNCHED = ["starting 2 ranks", "starting", BEGUN[0], "meeting 2 ranks", *BEGUN[1:]]


def on_a_terminal(argv: list[str | Path], cwd: Path) -> tuple[int, str]:
    """Run a command on a pseudo terminal; return its exit code and all that was written there."""
    reads, writes = os.openpty()
    environ = {name: value for name, value in os.environ.items() if name not in ("CI", "TF_CPP_MIN_LOG_LEVEL")}
    process = subprocess.Popen(
        [str(word) for word in argv], cwd=cwd, env={**environ, "TERM": "xterm"}, stdin=writes, stdout=writes, stderr=writes
    )
    os.close(writes)
    text = b""
    while True:
        try:
            part = os.read(reads, 1 << 16)
        except OSError:  # the last one has closed it
            break
        if not part:
            break
        text += part
    os.close(reads)
    return process.wait(timeout=60), text.decode()


@pytest.mark.parametrize(
    ("command", "begun"),
    [
        (["launch", "-np", "2", "--", "evaluate", "job.yaml"], LAUNCHED),
        (["evaluate", "job.yaml"], ["starting", *BEGUN]),
    ],
    ids=["launched", "alone"],
)
@pytest.mark.ranks
def test_one_line_moves_from_the_command_to_the_result(world: Made, tmp_path: Path, command: list[str], begun: list[str]) -> None:
    world.job(tmp_path / "job.yaml", metrics=["accuracy"])
    code, text = on_a_terminal([BIN / "harness", *command], tmp_path)
    assert code == 0, text
    drawn = [line.split("\r\n")[0] for line in text.split(ERASE.decode())[1:]]
    phases = [line.rpartition("  ")[0] for line in drawn if line.endswith(" s")]
    assert [phase for phase in dict.fromkeys(phases) if phase in begun] == begun
    assert set(phases) <= {*begun, ""}, text
    *_, last = text.split(ERASE.decode())
    assert "accuracy" in last and "certificate: every one of 203 examples counted once" in last
    lines = text.split(ERASE.decode())[0]
    assert lines == "" or (lines.startswith("+ mpirun ") and lines.count("\r\n") == 1)  # no word of a library
    assert "evaluating ━" not in last and "0000 00:00" not in text and "WARNING" not in text
