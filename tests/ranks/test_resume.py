"""Resume as a user meets it: real launchers and signals, refusals, a disk that fills up, a run that is done."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.folder.run_folder import RunFolder, read_json
from tests.comparison.documents import judged, read_by_comparisons
from tests.conftest import ROOT
from tests.ranks.forks import Forks, World

pytestmark = pytest.mark.ranks

LIMIT_S = 120
EXAMPLES = {"worst": 9, "also": ["random"]}  # metrics.json has the SHA-256 of those that are kept
# The command line of `harness launch`, but its ranks are slow.
LAUNCH = "import sys, harness_launch.workstation as w; w._harness = lambda: sys.argv[1]; from harness import cli; cli.main(sys.argv[2:])"


@pytest.fixture(scope="module")
def job(world, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("resume")
    return world.job(folder / "job.yaml", chunk_size=8, batch_size=8, metrics=["accuracy", "cross_entropy"], examples=EXAMPLES)


@pytest.fixture(scope="module")
def quiet(forks, job) -> bytes:
    folder = job.parent / "quiet"
    alone(forks, folder, "0", "evaluate", job, "-o", folder)
    return (folder / "metrics.json").read_bytes()


def alone(
    forks: Forks, folder: Path, *argv: Any, wanted: int = 0, meanwhile: Callable[[World], None] = lambda world: None
) -> str:
    """Run one process to its end; return what it said."""
    output = folder.parent / f"{folder.name}.txt"
    output.write_text("")
    world = World(forks, 1, [str(word) for word in argv], output)
    meanwhile(world)
    assert world.wait(LIMIT_S) == {0: wanted}, world.text
    return world.text


def committed(folder: RunFolder, least: int = 1, then: Callable[[], None] = lambda: None) -> None:
    """Wait until the last attempt has committed something; then do something."""
    begun = time.monotonic()
    while True:
        number = max((int(path.stem) for path in folder.attempts.glob("????.json")), default=0)
        if number and len(list(folder.journal.glob(f"{number:04d}-*"))) >= least:
            return then()
        assert time.monotonic() - begun < LIMIT_S
        time.sleep(0.02)


def launched(job: Path, folder: Path, ranks: int, how: str, *more: str, act: Callable[[Any], None]) -> tuple[int, str]:
    """Start `harness launch`, act once something is committed, return the exit code and what was said."""
    harness = job.parent / "slow-harness"
    harness.write_text(f'#!/bin/sh\nexec {sys.executable} -m tests.ranks.slow 0.4 "$@"\n')
    harness.chmod(0o755)
    argv = [
        sys.executable,
        "-c",
        LAUNCH,
        harness,
        "launch",
        "-np",
        ranks,
        f"--{how}",
        *more,
        "--",
        "evaluate",
        job,
        "-o",
        folder,
        "--resume",
    ]
    before = len(list((folder / "attempts").glob("????.json")))
    with open(job.parent / "launch.txt", "w+") as stream:
        process = subprocess.Popen([str(word) for word in argv], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream)
        begun = time.monotonic()
        while len(list((folder / "attempts").glob("????.json"))) == before:
            assert time.monotonic() - begun < LIMIT_S and process.poll() is None, Path(stream.name).read_text()
            time.sleep(0.05)
        committed(RunFolder(folder))
        act(process)
        code = process.wait(timeout=LIMIT_S)
        return code, Path(stream.name).read_text()


def rank_pid(folder: Path, rank: int) -> int:
    return int(read_json(RunFolder(folder).heartbeat(rank))["pid"])


def test_signals_and_kills_through_the_launcher(job, quiet, tmp_path):
    """One run, five attempts; none of them starts from nothing."""
    folder = tmp_path / "run"
    # Slurm's signal before the limit, sent to the launcher
    code, text = launched(job, folder, 3, "gloo", act=lambda process: process.send_signal(signal.SIGUSR1))
    assert code == 4, text
    assert "interrupted by SIGTERM; what was finished is kept, --resume goes on from there" in text
    assert read_json(folder / "status.json")["state"] == "interrupted"
    # one rank alone
    code, text = launched(job, folder, 2, "mpi", act=lambda process: os.kill(rank_pid(folder, 1), signal.SIGTERM))
    assert code == 4, text
    # the file, where no signal can be sent
    code, text = launched(job, folder, 2, "gloo", act=lambda process: (folder / "stop").touch())
    assert code == 4, text
    assert f"interrupted by the file {folder / 'stop'}" in text
    # the kernel's signal, and the launcher goes on by itself
    code, text = launched(
        job, folder, 2, "mpi", "--restarts", "1", act=lambda process: os.kill(rank_pid(folder, 1), signal.SIGKILL)
    )
    assert code == 0, text
    assert "rank 1 on " in text and "was killed by signal 9 (SIGKILL)" in text and "restart 1 of 1, with --resume" in text
    assert (folder / "metrics.json").read_bytes() == quiet
    never_ended = job.parent / "quiet"
    assert read_by_comparisons(folder) == read_by_comparisons(never_ended)
    rules = [{"accuracy": {"at_least": 0.3}}, {"certificate": {"skipped_at_most": 0}}]
    assert judged(folder, rules) == judged(never_ended, rules)
    attempts = read_json(folder / "run.json")["attempts"]
    assert [attempt["size"] for attempt in attempts] == [3, 2, 2, 2, 2]
    resumed = [attempt["chunks_resumed"] for attempt in attempts]
    assert resumed == sorted(set(resumed)) and resumed[0] == 0


def test_a_run_is_resumed_only_when_asked_and_only_as_what_it_was(forks, job, quiet, world, tmp_path):
    folder = tmp_path / "run"
    text = alone(
        forks, folder, "0.3", "evaluate", job, "-o", folder, wanted=4,
        meanwhile=lambda world: committed(RunFolder(folder), 2, lambda: world.kill(0, signal.SIGTERM)),
    )  # fmt: skip
    assert "interrupted by SIGTERM" in text
    text = alone(forks, folder, "0", "evaluate", job, "-o", folder, wanted=2)
    assert "holds a run that is not finished" in text and "nothing of it is lost: --resume goes on from there" in text
    other = world.job(tmp_path / "other.yaml", chunk_size=8, batch_size=8, metrics=["accuracy"])
    text = alone(forks, folder, "0", "evaluate", other, "-o", folder, "--resume", wanted=2)
    assert "holds the run of another job: its job differs" in text
    # a torn segment loses its own chunks alone
    torn = sorted((folder / "journal").glob("*.segment"))[0]
    torn.write_bytes(torn.read_bytes()[:-1])
    text = alone(forks, folder, "0", "evaluate", job, "-o", folder, "--resume")
    assert f"warning: {torn} does not match its checksum: its chunks are evaluated again" in text
    assert (folder / "metrics.json").read_bytes() == quiet
    text = alone(forks, folder, "0", "evaluate", job, "-o", folder, "--resume")
    assert "this run is done already, nothing was evaluated" in text
    assert len(list((folder / "attempts").glob("????.json"))) == 2
    assert "verified: every one of 203 examples counted once" in alone(forks, folder, "0", "verify", folder)


def test_a_resumed_run_keeps_the_model_version_and_files_it_began_with(forks, job, quiet, world, tmp_path):
    versions, data, folder = tmp_path / "versions", tmp_path / "data", tmp_path / "run"
    shutil.copytree(world.folder / "classifier", versions / "1")
    data.mkdir()
    shutil.copy(world.folder / "a.tfrecord", data)
    mine = world.job(
        tmp_path / "job.yaml", model=str(versions), chunk_size=8, batch_size=8, data={"files": [str(data / "*.tfrecord")]}
    )
    alone(
        forks, folder, "0.3", "evaluate", mine, "-o", folder, wanted=4,
        meanwhile=lambda world: committed(RunFolder(folder), 1, (folder / "stop").touch),
    )  # fmt: skip
    shutil.copytree(world.folder / "logits", versions / "2")
    shutil.copy(world.folder / "e.tfrecord", data)
    alone(forks, folder, "0", "evaluate", mine, "-o", folder, "--resume")
    assert read_json(folder / "run.json")["model"]["path"] == str(versions / "1")
    assert json.loads((folder / "metrics.json").read_text())["certificate"]["examples"] == 77


def test_a_second_live_attempt_is_refused(forks, job, quiet, tmp_path):
    folder = tmp_path / "run"

    def second(world: World) -> None:
        committed(RunFolder(folder))
        text = alone(forks, tmp_path / "second", "0", "evaluate", job, "-o", folder, "--resume", wanted=2)
        assert f"another attempt is at work here, pid {world.pids[0]} on " in text

    alone(forks, folder, "0.6", "evaluate", job, "-o", folder, meanwhile=second)
    assert (folder / "metrics.json").read_bytes() == quiet
    assert not (folder / "lock").exists()


@pytest.mark.parametrize("when", ["journal", "parts", "results"])
def test_a_disk_that_fills_up_while_ranks_work(when, forks, job, quiet, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", disk], capture_output=True, check=False).returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        folder, filler = disk / "run", disk / "filler"

        def fill(world: World) -> None:
            committed(RunFolder(folder), 2)
            with filler.open("wb", buffering=0) as stream:
                try:
                    while True:
                        stream.write(b"x" * 4096)
                except OSError:
                    return

        does = "predict" if when == "parts" else "evaluate"
        if when != "results":
            text = alone(forks, tmp_path / "out", "0.2", does, job, "-o", folder, wanted=1, meanwhile=fill)
            assert "No space left on device; make room" in text
            assert "--resume goes on from there" in text or when == "parts"
            assert len(list((folder / "journal").glob("*.segment"))) >= 2
        else:
            text = alone(forks, tmp_path / "out", "0", "evaluate", job, "-o", folder, meanwhile=lambda world: None)
            for name in ("metrics.json", "metrics.csv"):
                (folder / name).unlink()
            with filler.open("wb", buffering=0) as stream, pytest.raises(OSError, match="No space"):
                while True:
                    stream.write(b"x" * 4096)
            os.truncate(filler, filler.stat().st_size - 4096)  # enough to begin, not to end
            text = alone(forks, tmp_path / "out", "0", "evaluate", job, "-o", folder, "--resume", wanted=1)
            assert "No space left on device" in text
            assert not (folder / "metrics.json").exists()
        status = read_json(folder / "status.json")
        assert (status["state"], status["exit_code"]) == ("failed", 1)
        assert (folder / "failure.json").exists()
        filler.unlink()
        alone(forks, tmp_path / "out", "0", does, job, "-o", folder, "--resume")
        assert read_json(folder / "status.json")["state"] == "done"
        assert (folder / "metrics.json").read_bytes() == quiet
    finally:
        subprocess.run(["umount", disk], check=True)


def test_all_ranks_end_with_the_code_of_the_gate_also_where_the_run_is_done(forks, job, tmp_path):
    folder, output, left = RunFolder(tmp_path / "run"), tmp_path / "output.txt", tmp_path / "left.json"
    for bound, verdict, code in ((0.99, "FAIL", 1), (0.65, "INCONCLUSIVE", 5), (0.5, "PASS", 0)):
        left.unlink(missing_ok=True)
        words = ["0", "evaluate", str(job), "-o", str(folder.path), "--set", f"gate=[{{accuracy: {{at_least: {bound}}}}}]"]
        world = World(forks, 2, words, output, more={"HARNESS_STATUS": str(left)})
        assert world.wait(LIMIT_S) == {0: code, 1: code}, world.text
        # Rank 0 has said it all, and what it left does not let a launcher start the run again.
        assert world.text.endswith(f"{verdict}: run\n") and world.text.count(f"{verdict}: run\n") == 1, world.text
        assert read_json(left)["exit_code"] == code and (code == 0 or read_json(left)["state"] == "done")
        assert read_json(folder.gate_json)["verdict"] == verdict
    assert world.text.count("nothing was evaluated") == 2 and len(read_json(folder.run_json)["attempts"]) == 1
