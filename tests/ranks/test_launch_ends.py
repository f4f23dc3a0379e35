"""Whole jobs under `harness launch` over MPI: what they give, how long they live on when one of their ranks has died or they are
asked to stop, and what is left of them then."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.folder.run_folder import RunFolder, read_json
from harness.watch.monitor import text_file
from harness.watch.watching import FolderTarget, Pace, watch
from tests.conftest import LIMIT_S, ROOT, start
from tests.ranks.test_resume import LAUNCH

pytestmark = pytest.mark.ranks

END_S = 4.0


class Launched:
    """`harness launch -np 2 --mpi` of ranks that take a while for each chunk."""

    def __init__(self, job: Path, folder: Path, *words: str, slow_s: float = 0.3, how: str = "--mpi") -> None:
        self.folder, self._output = RunFolder(folder), folder.parent / "output.txt"
        harness = folder.parent / "slow-harness"
        harness.write_text(f'#!/bin/sh\nexec {sys.executable} -m tests.ranks.slow {slow_s} "$@"\n')
        harness.chmod(0o755)
        argv = [sys.executable, "-c", LAUNCH, harness, "launch", "-np", "2", how, "--", "evaluate", job, "-o", folder, *words]
        with self._output.open("wb") as stream:
            self.process = subprocess.Popen(
                [str(word) for word in argv], cwd=ROOT, env={**os.environ, "HARNESS_THREADS": "1"},
                stdin=subprocess.DEVNULL, stdout=stream, stderr=stream,
            )  # fmt: skip

    @property
    def text(self) -> str:
        return self._output.read_text(errors="replace")

    def until(self, true: Callable[[], object]) -> None:
        begun = time.monotonic()
        while not true():
            assert time.monotonic() - begun < LIMIT_S and self.process.poll() is None, self.text
            time.sleep(0.01)

    def until_committed(self) -> None:
        self.until(lambda: all(list(self.folder.journal.glob(f"0001-{rank:05d}-*.segment")) for rank in range(2)))

    def signal(self, rank: int, number: int) -> None:
        os.kill(read_json(self.folder.heartbeat(rank))["pid"], number)

    def end(self) -> float:
        """Wait for its end; return how long that took."""
        begun = time.monotonic()
        try:
            self.process.wait(LIMIT_S)
        finally:
            if self.process.poll() is None:
                self.process.terminate()
                self.process.wait(30)
        return time.monotonic() - begun

    def family(self) -> list[str]:
        """Return the command lines of the processes that the launch has started and that still run."""
        mine = f"{self.folder.path}".encode()
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            try:
                words, state = (path / "cmdline").read_bytes(), (path / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if mine in words and state not in "ZX" and int(path.name) != os.getpid():
                found.append(words.replace(b"\0", b" ").decode())
        return found


@pytest.fixture(scope="module")
def job(world, tmp_path_factory) -> Path:
    return world.job(
        tmp_path_factory.mktemp("ends") / "job.yaml",
        chunk_size=8,
        batch_size=8,
        metrics=["accuracy", {"roc_auc": {"positive": 1}}],
    )


def test_horovodrun_starts_the_harness_as_launch_does(job, tmp_path):
    """The same bytes, and each rank in its place."""
    ways = {
        "launch": ["harness", "launch", "-np", "2", "--mpi", "--"],
        "mpi": ["horovodrun", "-np", "2", "--mpi", "harness"],
        "gloo": ["horovodrun", "-np", "2", "--gloo", "harness"],
    }
    for name, words in ways.items():
        environ = {"HARNESS_THREADS": "1", "HARNESS_TEST_HOROVODRUN": "asks"}  # horovodrun as it is
        done = start([*words, "evaluate", job, "-o", tmp_path / name], tmp_path, environ)
        assert done.code == 0, done.text
        (attempt,) = read_json(tmp_path / name / "run.json")["attempts"]
        assert [rank["rank"] for rank in attempt["ranks"]] == [0, 1]
    assert len({(tmp_path / name / "metrics.json").read_bytes() for name in ways}) == 1


@pytest.mark.parametrize("number, code", [(signal.SIGKILL, 1), (signal.SIGTERM, 4)])
@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_dies_or_is_asked_to_stop_ends_the_job(rank, number, code, job, tmp_path):
    """Whoever looks at the run folder, or at Prometheus, learns which of the two it was."""
    run = Launched(job, tmp_path / "run", "--set", f"monitor.textfile={tmp_path}")
    run.until_committed()
    run.signal(rank, number)
    seconds = run.end()
    assert (run.process.returncode, run.family()) == (code, []), run.text
    assert seconds < END_S, run.text
    assert "Traceback" not in run.text
    killed = number == signal.SIGKILL
    assert ("was killed by signal 9 (SIGKILL)" in run.text) is killed, run.text
    assert ("interrupted by" in run.text) is not killed, run.text
    assert read_json(run.folder.status_json)["state"] == ("failed" if killed else "interrupted")
    assert text_file(tmp_path, run.folder.path, 0).exists() is killed
    out = io.StringIO()
    assert watch([FolderTarget(run.folder, "run")], Pace(once=True, out=out)) == code
    assert (f"rank {rank} on " in out.getvalue()) is killed, out.getvalue()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_to_the_launcher_ends_the_job(number, job, tmp_path):
    run = Launched(job, tmp_path / "run")
    run.until_committed()
    run.process.send_signal(number)
    seconds = run.end()
    assert (run.process.returncode, run.family()) == (4, []), run.text
    assert seconds < END_S, run.text
    assert "what was finished is kept, --resume goes on from there" in run.text
    assert read_json(run.folder.status_json)["state"] == "interrupted"


def test_a_signal_before_there_are_ranks_ends_the_job(job, tmp_path):
    """mpirun has nobody yet to hand it on to: it is sent anew."""
    run = Launched(job, tmp_path / "run")
    run.until(lambda: "+ mpirun" in run.text)
    run.process.send_signal(signal.SIGTERM)
    seconds = run.end()
    assert (run.process.returncode, run.family()) == (4, []), run.text
    assert seconds < 10, run.text


@pytest.mark.parametrize("rest", [2, 1, 0])
def test_a_signal_near_the_end_leaves_no_launcher_behind(rest, job, tmp_path):
    """It comes when so many chunks are not committed; nothing is lost, and the exit code says what there is."""
    run = Launched(job, tmp_path / "run", slow_s=0.1)
    last = 22 - rest
    run.until(lambda: _chunks(run.folder) >= last or run.folder.metrics_json.exists())
    run.process.send_signal(signal.SIGTERM)
    seconds = run.end()
    done = run.folder.metrics_json.exists()
    assert (run.process.returncode, run.family()) == (0 if done else 4, []), run.text
    assert read_json(run.folder.status_json)["state"] == ("done" if done else "interrupted"), run.text
    assert seconds < END_S, run.text


def _chunks(folder: RunFolder) -> int:
    beats = [read_json(folder.heartbeat(rank)) or {} for rank in range(2)]
    return sum(beat.get("chunks", 0) for beat in beats)
