"""What a rank costs beside its work: start-up over TensorFlow's own import, memory as the data grow, `harness --help`."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import building
from benchmarks.launched import Run, job_of, launch, launched_environment
from benchmarks.turns import forth_and_back, median_ratio

__all__ = ["Footprint", "add_arguments", "answer", "measure", "table"]

CASE = "dense-64-128-10"
# Phases of a rank before its first chunk that are not TensorFlow's import.
STARTING = ("connect", "open", "build")


@dataclass(frozen=True)
class Footprint:
    """Runs over some examples and over ten times as many, by round; seconds of `harness --help`; runs by `harness launch`
    of one rank and of as many as asked; and seconds of one rank, from the command to its end, by what started it.
    """

    small: list[Run]
    large: list[Run]
    help_s: list[float]
    starts: dict[int, list[Run]]
    launches_s: dict[str, list[float]]

    @property
    def start_s(self) -> float:
        """Seconds of start-up of the slowest rank, TensorFlow's import apart: the median over the rounds."""
        return statistics.median(max(sum(rank[phase] for phase in STARTING) for rank in run.seconds) for run in self.small)

    @property
    def memory_ratio(self) -> float:
        """Peak of resident memory with ten times the examples over the peak with one: the median over the rounds."""
        return median_ratio([max(run.peak_bytes) for run in self.large], [max(run.peak_bytes) for run in self.small])

    @property
    def launch_s(self) -> float:
        """What one rank takes by `harness launch` more than by mpirun: the median over the rounds."""
        return statistics.median(a - b for a, b in zip(self.launches_s["launch"], self.launches_s["mpirun"], strict=True))

    def document(self) -> dict[str, Any]:
        """Return everything as JSON can hold it."""
        runs = {name: [run.document() for run in getattr(self, name)] for name in ("small", "large")}
        figures = {"help_s": self.help_s, "start_s": self.start_s, "memory_ratio": self.memory_ratio, "launch_s": self.launch_s}
        starts = {ranks: [starting(run) for run in some] for ranks, some in self.starts.items()}
        return {**runs, **figures, "starts": starts, "launches_s": self.launches_s}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what can be asked."""
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--examples", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3)


def answer(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """Measure start-up and memory, then jobs that grow wider.

    Returns: raw values and a table.
    """
    found = measure(options.folder, examples=options.examples, ranks=options.ranks, rounds=options.rounds)
    wide = building.measure(options.folder, rounds=options.rounds)
    document = {
        "footprint": found.document(),
        "phases": phases(found.large),
        "building": [one.document() for one in wide],
    }
    return document, f"{table(found)}\n\n{building.table(wide)}"


def measure(folder: Path, *, examples: int, ranks: int, rounds: int) -> Footprint:
    """Measure; the examples lie in TFRecord files, so that they are no part of resident memory."""
    found = Footprint([], [], [], {size: [] for size in sorted({1, ranks})}, {"launch": [], "mpirun": []})
    jobs = [(found.small, _job(folder, examples)), (found.large, _job(folder, 10 * examples))]
    for number in range(rounds):
        for kept, job in jobs[:: 1 if number % 2 == 0 else -1]:
            kept.append(launch(job, folder / "footprint", ranks))
        for size, kept in found.starts.items():
            kept.append(launch(jobs[0][1], folder / "footprint", size, starter="launch"))
        start = time.perf_counter()
        subprocess.run(["harness", "--help"], env=launched_environment(), stdout=subprocess.DEVNULL, check=True)
        found.help_s.append(time.perf_counter() - start)
    for _, starter in forth_and_back(list(found.launches_s), 3 * rounds):  # a single one differs from the next by a second
        found.launches_s[starter].append(launch(jobs[0][1], folder / "footprint", 1, starter=starter).elapsed_s)
    return found


def table(found: Footprint) -> str:
    """Write the figures as lines of a Markdown table."""
    parts = {ranks: [starting(run) for run in runs] for ranks, runs in found.starts.items()}
    names = list(next(iter(parts.values()))[0])
    medians = {name: [statistics.median(run[name] for run in runs) for runs in parts.values()] for name in names}
    return "\n".join(
        [
            "| what | median |",
            "| --- | ---: |",
            f"| start-up of a rank over TensorFlow's import, s | {found.start_s:.2f} |",
            f"| peak of resident memory, ten times the examples over one | {found.memory_ratio:.3f} |",
            f"| harness --help, s | {statistics.median(found.help_s):.2f} |",
            f"| one rank by harness launch over the same by mpirun, s | {found.launch_s:+.2f} |",
            "",
            f"| from harness launch to the first examples, s | {' | '.join(f'ranks: {ranks}' for ranks in parts)} |",
            f"| --- | {' | '.join('---:' for _ in parts)} |",
            *(f"| {name} | {' | '.join(f'{seconds:.2f}' for seconds in row)} |" for name, row in medians.items()),
            f"| all | {' | '.join(f'{sum(column):.2f}' for column in zip(*medians.values(), strict=True))} |",
        ]
    )


def _job(folder: Path, examples: int) -> dict[str, Any]:
    place = folder / "footprint"
    path = place / f"{examples}.tfrecord"
    job = job_of(CASE, folder, 1)  # writes the model
    if not path.exists():
        place.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-c", WRITE, str(path), str(examples)], env=launched_environment(), check=True)
    files = {"format": "tfrecord", "files": str(path), "inputs": {"image": "image"}, "label": "label"}
    return {**job, "data": files, "chunk_size": 4096}


WRITE = """
import sys
import numpy as np
import tensorflow as tf
path, examples = sys.argv[1], int(sys.argv[2])
rng = np.random.default_rng(3)
with tf.io.TFRecordWriter(path + ".part") as writer:
    for _ in range(examples):
        image = tf.train.Feature(float_list=tf.train.FloatList(value=rng.standard_normal(64)))
        label = tf.train.Feature(int64_list=tf.train.Int64List(value=[int(rng.integers(10))]))
        writer.write(tf.train.Example(features=tf.train.Features(feature={"image": image, "label": label})).SerializeToString())
import os
os.replace(path + ".part", path)
"""


def starting(run: Run) -> dict[str, float]:
    """Return what the seconds before the first examples are made of, of the slowest rank.

    What a launch takes beside its ranks' phases is the start of the launcher and of Python, and their end.
    """
    seconds = max(run.seconds, key=lambda rank: sum(rank[phase] for phase in ("import", *STARTING)))
    compiling = max(split["compiling"] for split in run.split_s)
    before = {phase: seconds[phase] for phase in ("import", *STARTING)}
    return {"launching": run.elapsed_s - sum(max(run.seconds, key=len).values()), **before, "compiling": compiling}


def phases(runs: Sequence[Run]) -> dict[str, float]:
    """Return the median seconds of each phase, of the slowest rank."""
    names = runs[0].seconds[0]
    return {name: statistics.median(max(rank.get(name, 0.0) for rank in run.seconds) for run in runs) for name in names}
