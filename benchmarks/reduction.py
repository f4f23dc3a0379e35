"""The final sum: the harness's collective against a bare MPI_Allreduce of the same bytes, turn by turn between the same ranks.

    horovodrun -np 2 python -m benchmarks.reduction OUT.json ROUNDS BYTES...

is what `measure` starts.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.launched import Run, job_of, launch, measured_by_ranks
from benchmarks.turns import forth_and_back, median_ratio, timed

__all__ = ["Reduction", "add_arguments", "answer", "few_and_many", "measure", "table"]

SIZES = (8 << 10, 128 << 10, 1 << 20, 8 << 20, 32 << 20)
FEW: list[Any] = ["accuracy", "cross_entropy", "precision", "recall", "confusion_matrix"]
MANY = 50


@dataclass(frozen=True)
class Reduction:
    """Seconds by size in bytes, of the slower rank: the harness's sum, and MPI's own."""

    ours: Mapping[int, Sequence[float]]
    bare: Mapping[int, Sequence[float]]

    def ratio(self, size: int) -> float:
        """How many times as long the harness takes: the median over the rounds."""
        return median_ratio(self.ours[size], self.bare[size])

    def document(self) -> dict[str, Any]:
        """Return everything as JSON can hold it."""
        return {**asdict(self), "ratio": {size: self.ratio(size) for size in self.ours}}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what can be asked."""
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--launches", type=int, default=3, help="runs with 5 and with 50 metrics")


def answer(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """Measure the final sum, and whole runs with few and many metrics.

    Returns: raw values and a table.
    """
    found = measure(options.folder, ranks=options.ranks, rounds=options.rounds)
    runs = few_and_many(options.folder, ranks=options.ranks, rounds=options.launches)
    document = {"reduction": found.document(), **{name: [run.document() for run in some] for name, some in runs.items()}}
    # As JSON has it: a page is made of what was written.
    return json.loads(json.dumps(document)), table(found)


def measure(folder: Path, *, ranks: int, rounds: int, sizes: Sequence[int] = SIZES) -> Reduction:
    """Start the ranks and read what they measured of vectors of so many bytes, multiples of 8."""
    raw = measured_by_ranks("reduction", folder / "reduction.json", ranks, rounds, *sizes)
    return Reduction(*({int(size): values for size, values in raw[name].items()} for name in ("ours", "bare")))


def few_and_many(folder: Path, *, ranks: int, rounds: int) -> dict[str, list[Run]]:
    """Run the smallest model with 5 metrics and with 50."""
    many = [*FEW, *({"top_k": {"k": k, "name": f"top_{k}"}} for k in range(1, 10))]
    many += [{"f_beta": {"beta": b / 8, "name": f"f_{b}"}} for b in range(1, MANY - len(many) + 1)]
    found: dict[str, list[Run]] = {"few": [], "many": []}
    for _, (name, metrics) in forth_and_back([("few", FEW), ("many", many)], rounds):
        found[name].append(launch(job_of("dense-64-128-10", folder, 20_000, metrics), folder / "reduction", ranks))
    return found


def table(found: Reduction) -> str:
    """Write times and ratios as lines of a Markdown table."""
    lines = ["| bytes | harness, ms | MPI_Allreduce, ms | harness / MPI |", "| ---: | ---: | ---: | ---: |"]
    for size in found.ours:
        ours, bare = (statistics.median(values[size]) * 1e3 for values in (found.ours, found.bare))
        lines.append(f"| {size:,} | {ours:.2f} | {bare:.2f} | {found.ratio(size):.2f} |")
    return "\n".join(lines)


def main(out: str, rounds: str, *sizes: str) -> None:
    """Be one of the ranks."""
    from harness.ranks.horovod_comm import HorovodComm

    comm = HorovodComm()
    from mpi4py import MPI

    world = MPI.COMM_WORLD
    ours: dict[int, list[float]] = {int(size): [] for size in sizes}
    bare: dict[int, list[float]] = {int(size): [] for size in sizes}
    for size in ours:
        vector = np.arange(size // 8, dtype=np.int64)
        into = np.empty_like(vector)

        def by_mpi(vector: np.ndarray = vector, into: np.ndarray = into) -> np.ndarray:
            world.Allreduce(vector, into)
            return into

        def by_harness(vector: np.ndarray = vector) -> np.ndarray:
            return comm.sum(vector)

        assert np.array_equal(by_harness(), by_mpi())
        for _, (sum_, kept) in forth_and_back([(by_harness, ours), (by_mpi, bare)], int(rounds)):
            world.Barrier()
            kept[size].append(world.allreduce(timed(sum_)[0], MPI.MAX))
    if comm.rank == 0:
        Path(out).write_text(json.dumps({"ours": ours, "bare": bare}))
    comm.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
