"""JPEGs on one rank and on several against Keras on the same cores: whole runs, as they are launched, in turn with its passes.

    python -m benchmarks.photos FOLDER EXAMPLES THREADS

Both read the same file, which holds the photos of the loop several times over: a pass then lasts some seconds. A rank has as
many threads as its share of the cores; Keras has them all. What a rank takes to compile is left out, for Keras has compiled
in an earlier pass.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.cases import CASES, METRICS, write, write_as
from benchmarks.environment import CORES
from benchmarks.launched import launch
from benchmarks.legs import LEGS
from benchmarks.turns import forth_and_back, median_ratio
from benchmarks.worker import Worker, serve

__all__ = ["Measured", "add_arguments", "answer", "measure", "table"]

CASE = "photos"
KERAS = "keras"


@dataclass(frozen=True)
class Measured:
    """Examples a second of each round, by what evaluated them: Keras, or a number of ranks."""

    cores: int
    examples: int
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
    parser.add_argument("--copies", type=int, default=8, help="of 2,048 images")
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
    place, examples = _written(folder, copies), copies * CASES[CASE].examples
    keras = Worker(KERAS, ["benchmarks.photos", str(place), str(examples), str(CORES)])
    rates: dict[str, list[float]] = {leg: [] for leg in [KERAS, *map(_leg, ranks)]}
    digests = set()
    try:
        keras.measure()  # compiles
        for _, size in forth_and_back([0, *ranks], rounds):
            if size:
                run = launch(_job(place), folder / f"{CASE}-{size}", size, starter="launch")
                warm_s = max(rank["evaluate"] - split["compiling"] for rank, split in zip(run.seconds, run.split_s, strict=True))
                rates[_leg(size)].append(run.examples / warm_s)
                digests.add(run.digest)
            else:
                rates[KERAS].append(examples / keras.measure()[0])
    finally:
        keras.close()
    if len(digests) > 1:
        raise RuntimeError(f"runs of {CASE} have {len(digests)} unlike results")
    return Measured(CORES, examples, rates)


def table(found: Measured) -> str:
    """Write rates and ratios as lines of a Markdown table."""
    lines = ["| images, JPEG | examples/s | over keras |", "| --- | ---: | ---: |"]
    for leg, rates in found.rates.items():
        ratio = "" if leg == KERAS else f"{found.ratio(leg):.2f}"
        lines.append(f"| {leg} | {statistics.median(rates):,.0f} | {ratio} |")
    return "\n".join(lines)


def _leg(ranks: int) -> str:
    return f"{ranks} rank{'s' if ranks > 1 else ''}"


def _written(folder: Path, copies: int) -> Path:
    """Write the photos so many times over into one file, beside their models; return the folder."""
    case = CASES[CASE]
    write(case, folder)
    path = write_as(case, folder, "jpeg")
    place = folder / f"{CASE}-{copies}"
    target = place / CASE / path.name
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        for model in case.files(folder)[:2]:
            (target.parent / model.name).symlink_to(model.resolve())
        part = target.with_suffix(".part")
        with open(part, "wb") as stream:
            for _ in range(copies):
                stream.write(path.read_bytes())
        os.rename(part, target)
    return place


def _job(place: Path) -> dict[str, Any]:
    case = CASES[CASE]
    features = {"image": {"dtype": "float32", "shape": list(case.shape), "image": True}}
    data = {"files": str(write_as(case, place, "jpeg")), "inputs": {"image": "image"}, "label": "label", "features": features}
    return {"model": str(case.files(place)[0]), "data": data, "metrics": list(METRICS), "batch_size": case.batch_size}


def main(place: str, examples: str, threads: str) -> None:
    """Build the leg of Keras, and serve."""
    serve(LEGS[KERAS](replace(CASES[CASE], examples=int(examples)), Path(place), int(threads), "jpeg"))


if __name__ == "__main__":
    main(*sys.argv[1:])
