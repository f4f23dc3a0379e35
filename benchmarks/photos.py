"""JPEGs on one rank and on several against Keras on the same cores: whole runs, as they are launched, in turn with its passes.

Each file of the harness's job is a copy of the one that Keras reads: its loop then lasts some seconds. A rank has as many
threads as its share of the cores; Keras has them all.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.cases import CASES, METRICS, Case, write, write_as
from benchmarks.environment import CORES
from benchmarks.launched import Run, launch
from benchmarks.turns import forth_and_back, median_ratio
from benchmarks.worker import loop_worker

__all__ = ["Measured", "add_arguments", "answer", "measure", "table"]

CASE = "photos"
KERAS = "keras"


@dataclass(frozen=True)
class Measured:
    """Examples a second of each round, by what evaluated them: Keras, or a number of ranks."""

    cores: int
    examples: Mapping[str, int]
    rates: Mapping[str, Sequence[float]]

    def ratio(self, leg: str) -> float:
        """Return the median, over rounds, of how many times as fast a leg is as Keras."""
        return median_ratio(self.rates[leg], self.rates[KERAS])

    def document(self) -> dict[str, Any]:
        """Return everything as JSON can hold it."""
        return {**asdict(self), "ratio": {leg: self.ratio(leg) for leg in self.rates if leg != KERAS}}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what can be asked."""
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--copies", type=int, default=8, help="files of 2,048 images")
    parser.add_argument("--rounds", type=int, default=3)


def answer(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """Measure.

    Returns: raw values and a table.
    """
    found = measure(options.folder, ranks=options.ranks, copies=options.copies, rounds=options.rounds)
    return found.document(), table(found)


def measure(folder: Path, *, ranks: Sequence[int], copies: int, rounds: int) -> Measured:
    """Measure runs in turn with passes of Keras.

    Raises: RuntimeError: a run failed, or runs have unlike results.
    """
    case = CASES[CASE]
    job = _job(case, folder, copies)
    keras = loop_worker(KERAS, case, folder, CORES, "jpeg")
    keras.measure()  # compiles
    rates: dict[str, list[float]] = {leg: [] for leg in [KERAS, *map(_leg, ranks)]}
    digests = set()
    for _, size in forth_and_back([0, *ranks], rounds):
        if not size:
            rates[KERAS].append(case.examples / keras.measure()[0])
            continue
        run: Run = launch(job, folder / f"{CASE}-{size}", size, starter="launch")
        rates[_leg(size)].append(run.examples / run.loop_s)
        digests.add(run.digest)
    keras.close()
    if len(digests) > 1:
        raise RuntimeError(f"runs of {CASE} have {len(digests)} unlike results")
    return Measured(CORES, {KERAS: case.examples, "runs": copies * case.examples}, rates)


def table(found: Measured) -> str:
    """Write rates and ratios as lines of a Markdown table."""
    lines = ["| images, JPEG | examples/s | over keras |", "| --- | ---: | ---: |"]
    for leg, rates in found.rates.items():
        ratio = "" if leg == KERAS else f"{found.ratio(leg):.2f}"
        lines.append(f"| {leg} | {statistics.median(rates):,.0f} | {ratio} |")
    return "\n".join(lines)


def _leg(ranks: int) -> str:
    return f"{ranks} rank{'s' if ranks > 1 else ''}"


def _job(case: Case, folder: Path, copies: int) -> dict[str, Any]:
    write(case, folder)
    path = write_as(case, folder, "jpeg")
    place = folder / f"{CASE}-{copies}"
    place.mkdir(exist_ok=True)
    for number in range(copies):
        target = place / f"{number}.tfrecord"
        if not target.exists():
            shutil.copy(path, f"{target}.part")
            os.rename(f"{target}.part", target)
    saved, _, _ = case.files(folder)
    features = {"image": {"dtype": "float32", "shape": list(case.shape), "image": True}}
    files = {"files": str(place / "*.tfrecord"), "inputs": {"image": "image"}, "label": "label", "features": features}
    return {"model": str(saved), "data": files, "metrics": list(METRICS), "batch_size": case.batch_size}
