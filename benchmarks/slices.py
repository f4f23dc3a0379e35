"""What slices and replicates cost: the loop of one rank with and without them, turn by turn in one process.

Every other round goes backwards, so that neither leg always follows the other; a pass takes a second or more, since
short ones measure the machine's other work. Processor time is what to look at where the machine is not idle.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cases import CASES, METRICS, Case, write
from benchmarks.turns import forth_and_back, median_ratio, timed

__all__ = ["QUESTIONS", "Cost", "add_arguments", "answer", "measure", "table"]

SLICES = 1000
REPLICATES = 200
# Which case, and what is added to its job.
QUESTIONS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "slices": ("dense-64-128-10", {"slices": {"by": [["writer"]], "maximum": SLICES}}),
    "named-slices": ("dense-64-128-10", {"slices": {"by": [["name"]], "maximum": SLICES}}),
    "bootstrap": ("convnet", {"bootstrap": {"replicates": REPLICATES, "seed": 17}}),
}


@dataclass(frozen=True)
class Cost:
    """Seconds of each pass, without and with; and in processor seconds."""

    name: str
    case: Case
    without: list[float]
    beside: list[float]
    without_cpu: list[float]
    beside_cpu: list[float]

    @property
    def ratio(self) -> float:
        """How much longer the loop takes: the median over the rounds of the ratio within one."""
        return median_ratio(self.beside, self.without)

    @property
    def cpu_ratios(self) -> list[float]:
        """The same in processor time, of each round, ascending."""
        return sorted(b / a for a, b in zip(self.without_cpu, self.beside_cpu, strict=True))

    @property
    def cpu_ratio(self) -> float:
        """The median of the rounds in processor time."""
        return statistics.median(self.cpu_ratios)

    def document(self) -> dict[str, Any]:
        """Return everything as JSON can hold it."""
        return {**asdict(self), "ratio": self.ratio, "cpu_ratio": self.cpu_ratio}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what can be asked."""
    parser.add_argument("--questions", nargs="+", choices=QUESTIONS, default=list(QUESTIONS))
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--threads", type=int, default=1)


def answer(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """Measure the questions one after the other, in this process.

    Returns: raw values and a table.
    """
    from harness.step import tensorflow as tf_setup

    tf_setup.import_tensorflow()
    tf_setup.set_up(0, options.threads, 0)
    costs = []
    for name in options.questions:
        case, added = QUESTIONS[name]
        write(CASES[case], options.folder)
        costs.append(measure(name, CASES[case], added, options.folder, rounds=options.rounds))
    return {"threads": options.threads, "costs": [each.document() for each in costs]}, table(costs)


def measure(name: str, case: Case, added: Mapping[str, Any], folder: Path, *, rounds: int) -> Cost:
    """Measure one question: A B B A A B ..., after a pass of each that does not count.

    Raises: RuntimeError: a pass left out examples, or the grid does not hold them all.
    """
    (bare, _), (gridded, grid) = (_loop(case, folder, keys) for keys in ({}, added))
    legs = (bare, gridded)
    for leg in legs:
        leg()
    seconds: list[list[float]] = [[], []]
    cpu: list[list[float]] = [[], []]
    for _, number in forth_and_back((0, 1), rounds):
        elapsed_s, cpu_s, _ = timed(legs[number])
        seconds[number].append(elapsed_s)
        cpu[number].append(cpu_s)
    _counted(grid, case.examples * (rounds + 1), slices=SLICES - 1 if "slices" in added else 0)
    return Cost(name, case, *seconds, *cpu)


def table(costs: list[Cost]) -> str:
    """Write ratios as lines of a Markdown table."""
    lines = [
        "| with | model | seconds without | ratio | in processor time | of all rounds |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for cost in costs:
        without, ends = statistics.median(cost.without), f"{cost.cpu_ratios[0]:.2f} to {cost.cpu_ratios[-1]:.2f}"
        lines.append(f"| {cost.name} | {cost.case.name} | {without:.3f} | {cost.ratio:.2f} | {cost.cpu_ratio:.2f} | {ends} |")
    return "\n".join(lines)


def _counted(grid: Any, examples: int, *, slices: int) -> None:
    """Make sure that the work was done: a grid that leaves examples out is fast."""
    found = grid.fetch()
    column = grid.layout.buckets[0].size  # the first column: positions by status
    by_draw = found.buckets[1:, :column].sum(axis=(0, 1)) if slices else found.buckets[0, :column].sum(axis=0)
    if len(found.keys) != slices or by_draw[0] != examples or abs(by_draw / examples - 1).max() > 0.05:
        raise RuntimeError(f"expected {slices} slices and {examples} examples, found {len(found.keys)} and {by_draw[:3]}")


def _loop(case: Case, folder: Path, added: Mapping[str, Any]) -> tuple[Callable[[], None], Any]:
    """Build the step of a job; return one pass over the case's examples, and its grid."""
    from harness.job.job import Job
    from harness.metrics import make
    from harness.plan.certificate import Certificate
    from harness.prepare.opened import open_data
    from harness.prepare.prepare import predictor, prepare_model
    from harness.ranks.share import FixedShare
    from harness.run.loop import evaluate
    from harness.step.build import make_feed
    from harness.step.step import Step
    from harness.sums.accumulator import Accumulator

    saved, _, _ = case.files(folder)
    keys = {
        "model": str(saved),
        "data": {"files": str(_data(case, folder)), "inputs": {"image": "image"}, "label": "label"},
        "metrics": METRICS,
        "batch_size": case.batch_size,
    }
    job = Job.from_dict({**keys, **added})
    metrics = make(job.metrics)
    opened = open_data(job)
    prepared = prepare_model(job, metrics, opened)
    feed = make_feed(opened.source, prepared.matched.wanted, job.batch_size, 1)
    share = FixedShare([opened.plan[index] for index in range(len(opened.plan))])
    feed.open(share)
    step = Step(predictor(prepared.model, prepared.matched), prepared.question, feed)

    def run() -> None:
        feed.open(share)
        accumulator, certificate = Accumulator(step.layouts), Certificate(opened.plan)
        evaluate(share, step, accumulator, lambda chunk: None)
        certificate.expect(share.chunks)
        certificate.add(accumulator.pending.lines)
        if certificate.problems():
            raise RuntimeError("\n".join(certificate.problems()))

    return run, step.grid


def _data(case: Case, folder: Path) -> Path:
    """Write the examples of a case once, with features to slice by: 999 values, all of them often."""
    _, _, data = case.files(folder)
    path = folder / case.name / "sliced.npz"
    if not path.exists() or path.stat().st_mtime_ns < data.stat().st_mtime_ns:
        with np.load(data) as archive:
            found = {name: archive[name] for name in ("image", "label")}
        writer = np.random.default_rng(3).integers(0, SLICES - 1, len(found["label"]))
        np.savez(path, **found, writer=writer, name=np.array([f"writer number {number}" for number in writer]).astype("S"))
    return path
