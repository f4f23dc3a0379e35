"""Chaos: ranks are killed, stopped, woken and asked to leave at random moments, the run is resumed at another rank count.

The result has to be that of a quiet run, byte for byte, and a kill costs the last moments of work alone. A round is one
such event. `make chaos ROUNDS=500` goes on for as long as one likes; SEED chooses other moments. Most worlds are forked from one process and talk over Gloo; every ninth is
started by mpirun, two of nine are elastic: there a rank that is killed does not end the attempt's process.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from harness.folder.run_folder import RunFolder, read_json
from harness.folder.segment import Name
from harness.run.verify import verify
from tests.comparison.documents import read_by_comparisons
from tests.conftest import LIMIT_S, ROOT
from tests.ranks import work_log
from tests.ranks.forks import Forks, World
from tests.ranks.test_elastic import Run

pytestmark = [pytest.mark.ranks, pytest.mark.timeout(0)]

ROUNDS = int(os.environ.get("ROUNDS", "25"))
SEED = int(os.environ.get("SEED", "5"))
EVENTS = ("KILL", "TERM", "USR1", "stop and continue", "stop file", "wake up late")
SLOW_S = 0.1  # that the whole world takes for a chunk
SEGMENT = 3  # chunks in one, where commits come as often as they can
CHUNKS = 40  # 77 and 76 examples by 4, and the GZIP file
METRICS = ["accuracy", {"roc_auc": {"positive": 1}}, "cross_entropy"]
EXAMPLES = {"worst": 4, "also": ["confident", "random"]}  # metrics.json has the SHA-256 of those that are kept
GRID = {"slices": [["label"]], "bootstrap": {"replicates": 10, "seed": 3}, "examples": {**EXAMPLES, "per": "slice"}}


class Mpi:
    """A world that mpirun starts; the pids of its ranks are in their heartbeats."""

    def __init__(self, size: int, argv: list[str], output: Path, folder: RunFolder) -> None:
        self._output, self._folder = output, folder
        command = ["mpirun", "-np", str(size), "--oversubscribe", sys.executable, "-m", "tests.ranks.slow", *argv]
        environ = {**os.environ, "HARNESS_THREADS": "1"}
        with output.open("ab") as stream:
            self._process = subprocess.Popen(
                command, cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream
            )
        self.size = size

    @property
    def text(self) -> str:
        return self._output.read_text()

    def codes(self) -> dict[int, int]:
        code = self._process.poll()
        return {} if code is None else dict.fromkeys(range(self.size), code)

    def kill(self, rank: int, number: int) -> None:
        beat = read_json(self._folder.heartbeat(rank))
        if beat:
            with contextlib.suppress(ProcessLookupError):
                os.kill(beat["pid"], number)

    def wait(self, limit_s: float = 90.0) -> dict[int, int]:
        self._process.wait(timeout=limit_s)
        return self.codes()


class Elastic:
    """Two ranks that horovodrun keeps going as long as one of them lives."""

    size = 2

    def __init__(self, argv: list[str], folder: RunFolder) -> None:
        slow, _, job, _, path, *more = argv
        self._run, self._folder = Run(Path(job), Path(path), *more, slow=slow), folder

    @property
    def text(self) -> str:
        return self._run.text

    def codes(self) -> dict[int, int]:
        code = self._run.code()
        return {} if code is None else dict.fromkeys(range(self.size), code)

    def kill(self, rank: int, number: int) -> None:
        if read_json(self._folder.heartbeat(rank)):
            with contextlib.suppress(ProcessLookupError):
                self._run.signal(rank, number)

    def wait(self, limit_s: float = 120.0) -> dict[int, int]:
        self._run.end(limit_s)
        return self.codes()


def chunks(folder: RunFolder, attempt: int | None = None) -> int:
    """How many segments an attempt has committed, or all; every segment of these runs is a chunk or a few."""
    names = [Name.parse(path.name) for path in folder.journal.glob("*.segment")]
    return len([name for name in names if name and attempt in (None, name.attempt)])


class Chain:
    """One run, and what is done to it until it is done."""

    def __init__(self, forks: Forks, job: Path, folder: Path, rng: random.Random) -> None:
        self.forks, self.job, self.folder, self.rng = forks, job, RunFolder(folder), rng
        self.logs = folder.with_name(f"{folder.name}-logs")
        self.attempts = self.sleepers = 0
        self.over = False
        self.sleeper: tuple[World, int] | None = None  # a rank of an earlier attempt that is stopped

    def start(self, size: int, how: str = "gloo") -> Any:
        self.attempts += 1
        output = self.folder.path.parent / f"{self.folder.path.name}-{self.attempts}.txt"
        output.touch()
        argv = [f"{SLOW_S * size:.2f}:{self.logs}", "evaluate", str(self.job), "-o", str(self.folder.path), "--resume"]
        if how == "elastic":
            return Elastic(argv, self.folder)
        return Mpi(size, argv, output, self.folder) if how == "mpi" else World(self.forks, size, argv, output)

    def round(self, size: int, event: str, how: str) -> str:
        """Start an attempt and let something happen to it; return in which phase it did."""
        before = len(list(self.folder.attempts.glob("????.json")))
        world = self.start(size, how)
        # Commits of this attempt to wait for; -1: any time from the start. Where the disk is slow there are few of them.
        aim = self.rng.choice([-1, 0, 0, 0, 0, 1, 1, 2, 4])
        self.until(world, lambda: len(list(self.folder.attempts.glob("????.json"))) > before)
        number = before + 1
        self.wake()
        begun = read_json(self.folder.attempts / f"{number:04d}.json") or {"chunks_resumed": 0}
        aim = min(aim, (CHUNKS - begun["chunks_resumed"]) // 4)  # an attempt that has little left is soon over
        if aim >= 0:
            self.until(world, lambda: chunks(self.folder, number) > aim)
        time.sleep(self.rng.uniform(0, 0.1))
        committed, over = chunks(self.folder, number), bool(world.codes()) or self.folder.metrics_json.exists()
        waiting = any((read_json(self.folder.heartbeat(r)) or {}).get("phase") in ("writing", "done") for r in range(size))
        phase = "after the last commit" if over or waiting else "between" if committed else "before the first commit"
        self.happen(world, size, event)
        return phase

    def happen(self, world: Any, size: int, event: str) -> None:
        victim = self.rng.randrange(size)
        if event == "wake up late" and (size == 1 or not isinstance(world, World)):
            event = "KILL"
        if event == "wake up late":
            victim = self.rng.randrange(1, size)  # rank 0 holds the lock: while it lives, nobody else may begin
            world.kill(victim, signal.SIGSTOP)
            for rank in range(size):
                if rank != victim:
                    world.kill(rank, signal.SIGKILL)
            world.wait(but=(victim,))
            self.over = self.folder.metrics_json.exists()
            self.sleeper = (world, victim)
            self.sleepers += 1
            return
        if event == "stop and continue":
            world.kill(victim, signal.SIGSTOP)
            time.sleep(self.rng.uniform(0.2, 1.0))
            world.kill(victim, signal.SIGCONT)
            codes = world.wait()
            assert set(codes.values()) == {0}, world.text
            return
        if event == "stop file":
            if self.folder.path.exists():
                self.folder.stop.touch()
        else:
            world.kill(victim, getattr(signal, f"SIG{event}"))
        codes = world.wait()
        wanted = {"KILL": {0, 4, 137, -9}, "TERM": {0, 4}, "USR1": {0, 4}, "stop file": {0, 4}}[event]
        # A rank that is not yet listening dies of the signal.
        assert set(codes.values()) <= wanted | {1, 3, -15, -10, 143, 138}, (event, codes, world.text)
        assert "Traceback" not in world.text, world.text

    def wake(self) -> None:
        """Let a rank of an earlier attempt go on; it ends, and what it writes comes too late."""
        if self.sleeper is None:
            return
        world, victim = self.sleeper
        self.sleeper = None
        world.kill(victim, signal.SIGCONT)
        # Over before it slept: it has nothing more to say than that.
        assert world.wait()[victim] != 0 or self.over, world.text

    def until(self, world: Any, true: Any, limit_s: float = LIMIT_S) -> None:
        begun = time.monotonic()
        while not true() and not self.folder.metrics_json.exists() and not world.codes():
            assert time.monotonic() - begun < limit_s, world.text
            time.sleep(0.01)

    def finish(self, size: int) -> None:
        """Go on quietly until the run is done."""
        self.wake()
        world = self.start(size)
        assert set(world.wait(90).values()) == {0}, world.text

    def check_what_was_lost(self) -> tuple[int, int]:
        """See that a rank that died had committed all but its last moments; return how many chunks were finished and lost."""
        logs = work_log.read_all(self.logs)
        # The border at which a process died, or was asked to go no further, is the one that may be late.
        assert all(log.overdue <= 1 for log in logs), logs
        finished, lost = sum(log.finished for log in logs), sum(log.lost for log in logs)
        # The rest of what was evaluated is in the result: nobody did it again. But a rank that woke up late may have been
        # stopped while it wrote a segment, which then comes too late.
        assert finished - CHUNKS <= lost + SEGMENT * self.sleepers, logs
        return finished, lost


def test_chaos_never_changes_a_byte(world, forks, tmp_path):
    rng = random.Random(SEED)
    jobs = {
        "plain": world.job(tmp_path / "plain.yaml", metrics=METRICS, chunk_size=4, batch_size=4, examples=EXAMPLES),
        "grid": world.job(tmp_path / "grid.yaml", metrics=METRICS, chunk_size=4, batch_size=4, **GRID),
    }
    quiet = {}
    for name, job in jobs.items():
        chain = Chain(forks, job, tmp_path / f"quiet-{name}", rng)
        chain.finish(1)
        quiet[name] = chain.folder.metrics_json.read_bytes()
    log: list[dict[str, Any]] = []
    finished = lost = chains = 0
    while len(log) < ROUNDS:
        name = "grid" if chains % 5 == 2 else "plain"
        chain = Chain(forks, jobs[name], tmp_path / f"run-{chains}", rng)
        while not chain.folder.metrics_json.exists() and len(log) < ROUNDS:
            how = {1: "elastic", 4: "mpi", 7: "elastic"}.get(len(log) % 9, "gloo")
            size = 2 if how == "elastic" else rng.choice([2, 3] if how == "mpi" else [1, 1, 1, 2, 2, 2, 3, 3, 4, 5])
            event = rng.choice(("KILL", "KILL", *EVENTS) if how == "elastic" else EVENTS)
            log.append({"job": name, "ranks": size, "how": how, "event": event})
            log[-1]["phase"] = chain.round(size, event, how)
        if not chain.folder.metrics_json.exists():
            chain.finish(rng.choice([1, 2]))
        chain.wake()
        assert chain.folder.metrics_json.read_bytes() == quiet[name], log
        assert read_by_comparisons(chain.folder.path) == read_by_comparisons(tmp_path / f"quiet-{name}"), log
        lines, good = verify(chain.folder)
        assert good, (lines, log)
        (last,) = json.loads(chain.folder.run_json.read_text())["attempts"][-1:]
        assert last["chunks_resumed"] + sum(rank["chunks"] for rank in last["ranks"]) == CHUNKS
        work = chain.check_what_was_lost()
        finished, lost, chains = finished + work[0], lost + work[1], chains + 1
    phases = Counter(entry["phase"] for entry in log)
    print(
        f"{lost} of {finished} chunks lost",
        phases,
        Counter(entry["event"] for entry in log),
        Counter(entry["how"] for entry in log),
    )
    assert phases["between"] >= 0.6 * ROUNDS or ROUNDS < 25, log
