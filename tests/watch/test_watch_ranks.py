"""Real ranks, one of which is slow: `harness watch --once --json` names it, with its cause, within ten seconds."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import BIN, ROOT

pytestmark = pytest.mark.ranks

NAMED_S = 10.0  # from the beginning of its loop, by the rank's own account
LIMIT_S = 300  # a bound, not a measure
JOB = {
    "model": {"python": "tests.watch.handicaps:model"},
    "data": {"python": "tests.watch.handicaps:reader", "inputs": {"x": "x"}, "label": "label"},
    "metrics": ["accuracy"],
    "batch_size": 128,
    "chunk_size": 1024,
}
# As long as the test lives: one that is ended from outside leaves nobody behind.
BURN = "import os; os.sched_setaffinity(0, {{{core}}}); test = os.getppid()\nwhile os.getppid() == test: sum(range(100_000))"


@contextlib.contextmanager
def running(folder: Path, handicap: str) -> Iterator[Path]:
    """Two ranks that evaluate until they are ended; rank 1 has the handicap."""
    (folder / "job.json").write_text(json.dumps(JOB | ({"chunk_size": 128} if handicap == "model" else {})))
    cores = sorted(os.sched_getaffinity(0))
    harness = [BIN / "harness", "evaluate", folder / "job.json", "-o", folder / "run"]
    apps: list[list[Any]] = []
    for rank in range(2):
        pinned = ["taskset", "-c", str(cores[rank])] if handicap == "processor" else []
        threads = {"threads": "4" if rank == 0 else "1", "processor": "1"}.get(handicap, "2")
        apps += [[":"]] * rank + [["-np", "1", "-x", f"HARNESS_THREADS={threads}", "-x", "HANDICAP", *pinned, *harness]]
    argv = ["mpirun", "--bind-to", "none", *(word for app in apps for word in app)]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [str(word) for word in argv], cwd=ROOT, env={**os.environ, "HANDICAP": handicap}, stdout=log, stderr=log,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        # In this session, as the burners are: Linux shares processors among sessions first, and in one of their own the ranks
        # would not feel them.
        try:
            yield folder / "run"
        finally:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()  # its ranks end with it
                process.wait(60)


def seen(run: Path) -> dict[str, Any]:
    """Return what watch says."""
    done = subprocess.run(
        [BIN / "harness", "watch", run, "--once", "--json"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return json.loads(done.stdout) if done.returncode == 0 else {}


def until(run: Path, true: Any) -> dict[str, Any]:
    end = time.monotonic() + LIMIT_S
    while not true(view := seen(run)):
        assert time.monotonic() < end, f"{json.dumps(view, indent=1)}\n{(run.parent / 'log').read_text()[-3000:]}"
        time.sleep(0.3)
    return view


def loop_s(view: dict[str, Any], rank: int) -> float:
    seconds = view["ranks"][rank]["vitals"]["seconds"]
    return sum(seconds.get(part, 0.0) for part in ("reading", "predicting", "other"))


def causes(view: dict[str, Any]) -> list[tuple[int, str]]:
    return [(slow["rank"], slow["cause"]) for slow in view.get("stragglers") or ()]


@pytest.mark.parametrize("handicap, cause", [("reader", "slow storage"), ("model", "slow device"), ("threads", "few threads")])
def test_a_slow_rank_is_named_with_its_cause(tmp_path, handicap, cause):
    with running(tmp_path, handicap) as run:
        # Where other tests keep both cores busy, their work may be what slows a rank for a moment, and is named then.
        busy = os.getloadavg()[0] > len(os.sched_getaffinity(0)) + 1
        view = until(run, lambda view: (1, cause) in causes(view) if busy else view.get("stragglers"))
        assert (1, cause) in causes(view) if busy else causes(view) == [(1, cause)], view
        assert busy or loop_s(view, 1) <= NAMED_S
        if handicap == "reader":
            looks_at_it(run)


def looks_at_it(run: Path) -> None:
    """See what a person sees, and that a rank shows its stacks; the run folder stays as it was, but for these."""
    watch = [BIN / "harness", "watch", "run"]
    text = subprocess.run([*watch, "--once"], cwd=run.parent, capture_output=True, text=True, check=True).stdout
    assert "! rank 1 on " in text and "slow storage" in text and "examples, " in text and "tests.watch.handicaps:model" in text
    stack = subprocess.run([*watch, "--stack", "1"], cwd=run.parent, capture_output=True, text=True, check=False)
    assert stack.returncode == 0, stack.stderr
    assert stack.stdout.startswith("rank 1 on ") and "handicaps.py" in stack.stdout and "in read" in stack.stdout
    assert not (run / "progress" / "stack.json").exists()
    none = subprocess.run([*watch, "--stack", "2"], cwd=run.parent, capture_output=True, text=True, check=False)
    assert (none.returncode, none.stderr) == (2, "harness: error: --stack: expected a rank from 0 to 1, found 2\n")


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="two ranks on cores of their own")
def test_other_work_on_its_processor_is_named(tmp_path):
    with running(tmp_path, "processor") as run, contextlib.ExitStack() as burners:
        until(run, lambda view: view.get("ranks") and all(loop_s(view, rank) > 1 for rank in range(2)))
        core = sorted(os.sched_getaffinity(0))[1]
        for _ in range(6):
            burner = subprocess.Popen([sys.executable, "-c", BURN.format(core=core)])
            burners.callback(burner.wait)
            burners.callback(burner.kill)
        view = until(run, lambda view: view.get("stragglers"))
    assert [(slow["rank"], slow["cause"]) for slow in view["stragglers"]] == [(1, "other work on the node")], view
