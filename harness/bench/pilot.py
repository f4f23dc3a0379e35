"""Pilot runs: the job at one rank, of two sizes, in processes of their own, and what each took. Loads no TensorFlow here.

The smaller size is what is asked for; the larger one is chosen so that its loop takes long enough to be told from noise.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.bench.pilot_costs import Costs, Observation, costs_of, example_seconds
from harness.bench.trials import end_with_parent
from harness.errors import HarnessError, RunFolderError
from harness.folder.run_folder import RunFolder, read_json
from harness.names.variables import THREADS

__all__ = ["Connected", "Pilot", "connect", "row_bytes", "run_pilot"]

HARNESS = (sys.executable, "-m", "harness")
LOOP_S = 2.0  # that the larger run's loop takes more than the smaller one's, where the job has so many examples
MOST = 256  # times the smaller size
UNJUDGED = ("gate=null", "report=false", "export=[]", "monitor=null")  # a part of the examples says nothing of the whole
STARTING = ("import", "connect", "open", "copy", "build", "resume")
REDUCING = ("certify", "wait", "reduce", "collect")
CONNECT = """
import json, psutil, time, tensorflow
process = psutil.Process()
start, used, held = time.monotonic(), sum(process.cpu_times()[:2]), process.memory_info().rss
import horovod.tensorflow
print(json.dumps([time.monotonic() - start, sum(process.cpu_times()[:2]) - used, process.memory_info().rss - held]))
"""


@dataclass(frozen=True)
class Pilot:
    """A job at one rank.

    Attributes:
      job: its file.
      overrides: as `--set` takes them.
      folder: where runs are kept.
      examples: that the job has.
      say: is told what is done.
    """

    job: Path
    overrides: Sequence[str]
    folder: Path
    examples: int
    say: Callable[[str], None] = lambda _: None

    def observe(self, examples: int, threads: int, name: str, *, limits: bool = False) -> Observation:
        """Run the job on its first so many examples.

        Args:
          threads: of the rank.
          name: of the run's folder.
          limits: whether the limits of the machine are measured too; processor seconds and memory then hold theirs.
        Raises: HarnessError: the run failed; with the last it said.
        """
        run = self.folder / name
        overrides = [*self.overrides, f"data.limit={examples}", *UNJUDGED]
        argv = [*HARNESS, "evaluate", str(self.job), *(word for text in overrides for word in ("--set", text))]
        argv += ["-o", str(run), "--overwrite", "-q", *(["--limits"] if limits else [])]
        environ = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ, THREADS.name: str(threads), "OMP_NUM_THREADS": str(threads)}
        output = self.folder / f"{name}.txt"
        with output.open("wb") as stream:
            process = subprocess.Popen(
                argv, env=environ, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, preexec_fn=end_with_parent
            )
            try:
                _, status, usage = os.wait4(process.pid, 0)
            except BaseException:
                process.terminate()
                process.wait()
                raise
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            words = [line for line in output.read_text(errors="replace").splitlines() if line.strip()][-3:]
            raise HarnessError(f"the pilot run of {examples:,} examples ended with {process.returncode}: {' / '.join(words)}")
        return observation(RunFolder(run), usage.ru_utime + usage.ru_stime)


def observation(folder: RunFolder, cpu_s: float) -> Observation:
    """Read what a run at one rank took.

    Args:
      cpu_s: of its process.
    Raises: RunFolderError: it left no run.json.
    """
    run = read_json(folder.run_json)
    if not isinstance(run, dict) or not run.get("attempts"):
        raise RunFolderError(f"{folder.run_json}: a pilot run left no account of itself")
    attempt, question = run["attempts"][-1], read_json(folder.question_json)
    (rank,) = attempt["ranks"]
    seconds, split_s = rank["seconds"], rank.get("split_s") or {}
    later_examples = max(0, rank["examples"] - run["plan"]["chunk_size"])
    return Observation(
        examples=run["plan"]["examples"],
        start_s=sum(seconds.get(name, 0.0) for name in STARTING),
        loop_s=seconds["evaluate"],
        reduce_s=sum(seconds.get(name, 0.0) for name in REDUCING),
        write_s=seconds.get("write", 0.0),
        elapsed_s=attempt["elapsed_s"],
        cpu_s=cpu_s,
        peak_bytes=rank["peak_bytes"],
        row_bytes=row_bytes(question),
        joules=(run.get("cost") or {}).get("joules"),
        later_s=sum(split_s.get(name, 0.0) for name in ("reading", "predicting")),
        later_examples=later_examples,
        draw_bytes=draw_bytes(question),
    )


def row_bytes(question: Any) -> int:
    """Return the bytes that the ranks keep of each example until the end: 8 a column of each row metric.

    Args:
      question: question.json, already parsed. An example is taken to make one row.

    >>> layouts = {"specs": 1, "rows": {"roc_auc": {"grouped": False, "weighted": False, "values": [["positive", "int64"]]}}}
    >>> row_bytes({"layouts": layouts})
    32
    """
    layouts = (question if isinstance(question, dict) else {}).get("layouts") or {}
    kept = 0
    for row in (layouts.get("rows") or {}).values():
        optional = sum(bool(row.get(name)) for name in ("grouped", "weighted", "clustered"))
        kept += 8 * (2 + optional + len(row["values"]) + int(layouts.get("specs", 0)))  # id and key, then these
    return kept


def draw_bytes(question: Any) -> int:
    """Return the bytes that the end needs of each row to resample it: one for each replicate, a metric at a time.

    Args:
      question: question.json, already parsed.

    >>> metrics = [{"key": "roc_auc", "options": {"bootstrap": True}}, {"key": "ap", "options": {"bootstrap": False}}]
    >>> asked = {"metrics": metrics, "bootstrap": {"replicates": 100}}
    >>> draw_bytes({"question": asked, "layouts": {"rows": {"roc_auc": {}}}})
    100
    >>> draw_bytes({"question": asked, "layouts": {"rows": {"ap": {}}}})
    0
    """
    document = question if isinstance(question, dict) else {}
    asked, rows = document.get("question") or {}, (document.get("layouts") or {}).get("rows") or {}
    drawn = any(metric["key"] in rows and metric["options"].get("bootstrap", True) for metric in asked.get("metrics") or [])
    return int(asked["bootstrap"]["replicates"]) if drawn and asked.get("bootstrap") else 0


def run_pilot(pilot: Pilot, smaller: int, threads: int, repeats: int) -> list[Costs]:
    """Run pairs of pilots; return what each pair says.

    Two runs before, which find the caches cold, are not counted; they tell how large the larger run has to be. Pairs go forth and
    back.
    """
    smaller = min(smaller, max(1, pilot.examples // 2))
    first = pilot.observe(smaller, threads, f"threads-{threads}-first", limits=True)
    second = pilot.observe(min(4 * smaller, pilot.examples), threads, f"threads-{threads}-second")
    example_s, _ = example_seconds(first, second) if second.examples > first.examples else (LOOP_S, True)
    larger = min(pilot.examples, MOST * smaller, max(2 * smaller, smaller + round(LOOP_S / example_s)))
    pairs = []
    for repeat in range(repeats):
        sizes = (smaller, larger) if repeat % 2 == 0 else (larger, smaller)
        runs = {size: pilot.observe(size, threads, f"threads-{threads}-{repeat}-{size}") for size in sizes}
        pairs.append(costs_of(runs[smaller], runs[larger]))
        pilot.say(
            f"pilot of {threads} thread{'s' if threads > 1 else ''}, {repeat + 1} of {repeats}: {smaller:,} examples in "
            f"{runs[smaller].elapsed_s:.1f} s, {larger:,} in {runs[larger].elapsed_s:.1f} s"
        )
    return pairs


@dataclass(frozen=True)
class Connected:
    """What it takes to load Horovod: seconds, processors at work, memory; `reason` where it cannot be loaded.

    Its first words with other ranks, a few tenths of a second, are not in it: they need other ranks.
    """

    seconds: float = 0.0
    busy: float = 1.0
    size_bytes: int = 0
    reason: str = ""


def connect() -> Connected:
    """Load Horovod in a process of its own, and say what that takes."""
    environ = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ}
    try:
        done = subprocess.run(
            [sys.executable, "-c", CONNECT], env=environ, capture_output=True, text=True, timeout=300, check=False
        )
        elapsed_s, cpu_s, size_bytes = json.loads(done.stdout.strip().splitlines()[-1])
    except (subprocess.TimeoutExpired, ValueError, IndexError):
        return Connected(reason="Horovod cannot be loaded here ('harness doctor' says why): what it takes to load is left out")
    return Connected(elapsed_s, cpu_s / max(elapsed_s, 1e-9), max(0, size_bytes))
