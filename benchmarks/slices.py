"""What slices and replicates cost: the loop of one rank with and without them, turn by turn in one process."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cases import METRICS, Case

__all__ = ["QUESTIONS", "Cost", "measure", "table"]

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
        return statistics.median(b / a for a, b in zip(self.without, self.beside, strict=True))

    @property
    def cpu_ratio(self) -> float:
        """The same in processor time."""
        return statistics.median(b / a for a, b in zip(self.without_cpu, self.beside_cpu, strict=True))

    def document(self) -> dict[str, Any]:
        """Return everything as JSON can hold it."""
        return {**asdict(self), "ratio": self.ratio, "cpu_ratio": self.cpu_ratio}


def measure(name: str, case: Case, added: Mapping[str, Any], folder: Path, *, rounds: int, examples: int) -> Cost:
    """Measure one question: A B A B ..., after a pass of each that does not count."""
    legs = [_loop(case, folder, keys, examples) for keys in ({}, added)]
    for leg in legs:
        leg()
    seconds: list[list[float]] = [[], []]
    cpu: list[list[float]] = [[], []]
    for _ in range(rounds):
        for number, leg in enumerate(legs):
            start, cpu_start = time.perf_counter(), time.process_time()
            leg()
            seconds[number].append(time.perf_counter() - start)
            cpu[number].append(time.process_time() - cpu_start)
    return Cost(name, case, *seconds, *cpu)


def table(costs: list[Cost]) -> str:
    """Write ratios as lines of a Markdown table."""
    lines = ["| with | model | seconds without | ratio | in processor time |", "| --- | --- | ---: | ---: | ---: |"]
    for cost in costs:
        without = statistics.median(cost.without)
        lines.append(f"| {cost.name} | {cost.case.name} | {without:.3f} | {cost.ratio:.2f} | {cost.cpu_ratio:.2f} |")
    return "\n".join(lines)


def _loop(case: Case, folder: Path, added: Mapping[str, Any], examples: int) -> Callable[[], None]:
    """Build the step of a job over the first examples of a case; return one pass over them."""
    from harness.certificate import Certificate
    from harness.evaluate import Evaluation, evaluate
    from harness.job import Job
    from harness.metrics import make
    from harness.prepare import open_data, predictor, prepare_model
    from harness.tf_feed import Feed
    from harness.tf_grid import TFGrid
    from harness.tf_step import Step
    from harness.tf_terms import Terms

    saved, _, _ = case.files(folder)
    keys = {
        "model": str(saved),
        "data": {"files": str(_data(case, folder, examples)), "inputs": {"image": "image"}, "label": "label"},
        "metrics": METRICS,
        "batch_size": case.batch_size,
    }
    job = Job.from_dict({**keys, **added})
    metrics = make(job.metrics)
    opened = open_data(job)
    model, bindings, matched = prepare_model(job, metrics, opened)
    feed = Feed(opened.source, matched.wanted, job.batch_size, 1)
    chunks = [opened.plan[index] for index in range(len(opened.plan))]
    dataset = feed.dataset(chunks)
    grid = TFGrid(job.slices, job.bootstrap, job.batch_size) if added else None
    step = Step(predictor(model, matched), Terms(metrics, bindings), dataset, job.batch_size, grid, unpack=feed.unpack)

    def run() -> None:
        step.restart(dataset)
        evaluation = Evaluation.empty(step.layout, Certificate(opened.plan), {})
        evaluate(chunks, step, evaluation, lambda chunk: None)
        if evaluation.certificate.problems():
            raise RuntimeError("\n".join(evaluation.certificate.problems()))

    return run


def _data(case: Case, folder: Path, examples: int) -> Path:
    """Write the first examples of a case once, with features to slice by: 999 values, all of them often."""
    _, _, data = case.files(folder)
    path = folder / case.name / f"sliced-{examples}.npz"
    if not path.exists():
        with np.load(data) as archive:
            found = {name: archive[name][:examples] for name in ("image", "label")}
        writer = np.random.default_rng(3).integers(0, SLICES - 1, len(found["label"]))
        np.savez(path, **found, writer=writer, name=np.array([f"writer number {number}" for number in writer]).astype("S"))
    return path
