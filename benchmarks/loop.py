"""The loop benchmark: legs take turns, A B C A B C, in one run; every raw value is kept, ratios are formed within a round."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.cases import CASES, DATA, Case, write, write_as
from benchmarks.environment import CORES
from benchmarks.legs import LEGS
from benchmarks.turns import median_ratio
from benchmarks.worker import compare, loop_worker, take_turns

__all__ = ["Measured", "add_arguments", "answer", "measure", "table"]

ARRAYS = ("bare-cut", "harness-npy")  # legs over arrays alone


@dataclass(frozen=True)
class Measured:
    """Raw seconds of each pass by leg: `warmups` first, then one value per round; results by leg and metric.

    Processor seconds are kept beside: on a machine that others use too they say what the wall clock cannot.
    """

    case: Case
    warmups: Mapping[str, Sequence[float]]
    seconds: Mapping[str, Sequence[float]]
    cpu_seconds: Mapping[str, Sequence[float]]
    results: Mapping[str, Mapping[str, float]]
    data: str = "memory"

    def rate(self, leg: str) -> float:
        """Return the median of examples per second."""
        return self.case.examples / statistics.median(self.seconds[leg])

    def spread(self, leg: str) -> float:
        """Return the distance between the quartiles over the median; 0 of a single value."""
        if len(self.seconds[leg]) < 2:
            return 0.0
        low, middle, high = statistics.quantiles(self.seconds[leg], n=4)
        return (high - low) / middle

    def ratio(self, leg: str, other: str) -> float:
        """Return the median, over rounds, of how many times as fast `leg` is as `other`."""
        return median_ratio(self.seconds[other], self.seconds[leg])

    def cpu_ratio(self, leg: str, other: str) -> float:
        """Return the same in processor time."""
        return median_ratio(self.cpu_seconds[other], self.cpu_seconds[leg])

    @property
    def limit(self) -> str:
        """The faster of the bare loops."""
        return min((leg for leg in self.seconds if leg.startswith("bare")), key=lambda leg: statistics.median(self.seconds[leg]))

    def document(self) -> dict[str, Any]:
        """Return everything as JSON can hold it."""
        against = [self.limit, *(leg for leg in self.seconds if leg.startswith("keras"))]
        return {
            **asdict(self),
            "limit": self.limit,
            "examples_per_s": {leg: self.rate(leg) for leg in self.seconds},
            "spread": {leg: self.spread(leg) for leg in self.seconds},
            "harness_over": {leg: self.ratio("harness", leg) for leg in against},
            "harness_over_cpu": {leg: self.cpu_ratio("harness", leg) for leg in against},
        }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what can be asked."""
    parser.add_argument("--cases", nargs="+", choices=CASES, help="all that the data can be had for")
    parser.add_argument("--legs", nargs="+", choices=LEGS, default=list(LEGS))
    parser.add_argument(
        "--data", choices=DATA, default="memory", help=f"where the examples lie; {', '.join(ARRAYS)} are for memory alone"
    )
    parser.add_argument("--examples", type=int, help="of each case, whole batches; default: a second or so of them")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--warmups", type=int, default=2)
    parser.add_argument("--threads", type=int, default=CORES)


def answer(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """Measure as many cases as are asked for, those that the data can be had for by default.

    Returns: raw values and a table.
    """
    found = []
    legs = [leg for leg in options.legs if leg not in ARRAYS or options.data == "memory"]
    for name in options.cases or [name for name, case in CASES.items() if case.photos == (options.data == "jpeg")]:
        case = replace(CASES[name], examples=options.examples or CASES[name].examples)
        write(case, options.folder)
        found.append(
            measure(
                case,
                legs,
                options.folder,
                rounds=options.rounds,
                warmups=options.warmups,
                threads=options.threads,
                data=options.data,
            )
        )
    return {"threads": options.threads, "data": options.data, "cases": [one.document() for one in found]}, "\n\n".join(
        table(one) for one in found
    )


def measure(
    case: Case, legs: Sequence[str], folder: Path, *, rounds: int, warmups: int, threads: int, data: str = "memory"
) -> Measured:
    """Measure a case; the examples lie in arrays or in a file, see `cases.DATA`.

    Raises: RuntimeError: a leg failed, or legs report unlike results.
    """
    write_as(case, folder, data)
    turns = take_turns([loop_worker(leg, case, folder, threads, data) for leg in legs], rounds=rounds, warmups=warmups)
    compare(turns.results)
    return Measured(case, turns.warmups, turns.seconds, turns.cpu_seconds, turns.results, data)


def table(measured: Measured) -> str:
    """Write rates, spreads and ratios as lines of a Markdown table."""
    limit = measured.limit
    lines = [
        f"| {measured.case.name}, {measured.data} | examples/s | spread | harness / leg | in processor time |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for leg in measured.seconds:
        ratio = " | " if leg == "harness" else f"{measured.ratio('harness', leg):.3f} | {measured.cpu_ratio('harness', leg):.3f}"
        name = f"{leg} (limit)" if leg == limit else leg
        lines.append(f"| {name} | {measured.rate(leg):,.0f} | {measured.spread(leg):.1%} | {ratio} |")
    return "\n".join(lines)
