"""The five most common jobs, each against what a user would write without the harness; in wall and in processor time.

    python -m benchmarks.jobs harness|peer JOB FOLDER THREADS

is one leg, in a process of its own, because threads and op determinism are global to TensorFlow.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.environment import CORES
from benchmarks.job_cases import JOBS
from benchmarks.turns import median_ratio
from benchmarks.worker import Worker, compare, serve, take_turns

__all__ = ["Measured", "add_arguments", "answer", "measure", "table"]

LEGS = ("harness", "peer")
BESIDE = {
    "images": "keras evaluate over tf.data",
    "table": "pandas, keras predict, scikit-learn",
    "text": "keras evaluate over tf.data",
    "segmentation": "keras evaluate, MeanIoU",
    "embeddings": "keras predict, scikit-learn's neighbours",
}


@dataclass(frozen=True)
class Measured:
    """Raw seconds of each round by leg, in processor seconds too; values by leg and metric."""

    job: str
    examples: int
    seconds: Mapping[str, Sequence[float]]
    cpu_seconds: Mapping[str, Sequence[float]]
    results: Mapping[str, Mapping[str, float]]

    @property
    def ratio(self) -> float:
        """How many times as fast the harness is: the median over the rounds."""
        return median_ratio(self.seconds["peer"], self.seconds["harness"])

    @property
    def cpu_ratio(self) -> float:
        """The same in processor time: what to look at where the machine is not idle."""
        return median_ratio(self.cpu_seconds["peer"], self.cpu_seconds["harness"])

    def document(self) -> dict[str, Any]:
        """Return everything as JSON can hold it."""
        return {**asdict(self), "ratio": self.ratio, "cpu_ratio": self.cpu_ratio}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what can be asked."""
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=list(JOBS))
    parser.add_argument("--examples", type=int, help="default: a second or two of the job")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=CORES)


def answer(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """Measure the jobs.

    Returns: raw values and a table.
    """
    measured = [
        measure(job, options.folder, examples=options.examples, rounds=options.rounds, threads=options.threads)
        for job in options.jobs
    ]
    return {"threads": options.threads, "jobs": [job.document() for job in measured]}, table(measured)


def measure(name: str, root: Path, *, rounds: int, threads: int, examples: int | None = None) -> Measured:
    """Measure a job, the legs turn by turn.

    Raises: RuntimeError: a leg failed, or the two report unlike values.
    """
    job = JOBS[name]
    examples = examples if examples and name != "images" else job.examples
    folder = job.folder(root, examples)
    workers = [Worker(leg, ["benchmarks.jobs", leg, name, str(folder), str(threads)]) for leg in LEGS]
    turns = take_turns(workers, rounds=rounds, warmups=1)
    compare(turns.results)
    return Measured(name, examples, turns.seconds, turns.cpu_seconds, turns.results)


def table(measured: Sequence[Measured]) -> str:
    """Write rates and ratios as lines of a Markdown table."""
    lines = [
        "| job | peer | harness, examples/s | peer, examples/s | harness / peer | in processor time |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for job in measured:
        rates = " | ".join(f"{job.examples / statistics.median(job.seconds[leg]):,.0f}" for leg in LEGS)
        lines.append(f"| {job.job} | {BESIDE[job.job]} | {rates} | {job.ratio:.2f} | {job.cpu_ratio:.2f} |")
    return "\n".join(lines)


def main(leg: str, name: str, folder: str, threads: str) -> None:
    """Build a leg, and serve."""
    if leg == "harness":
        from benchmarks.one_rank import one_rank

        serve(one_rank(JOBS[name].job(Path(folder)), int(threads)))
    else:
        from benchmarks.job_peers import PEERS

        serve(PEERS[name](JOBS[name], Path(folder), int(threads)))


if __name__ == "__main__":
    main(*sys.argv[1:])
