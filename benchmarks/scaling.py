"""Scaling over ranks: strong (the same examples), weak (as many for each rank), and crowded (more ranks than cores).

A rank has one thread. Rounds take turns, A B A B; a ratio is formed within a round. Crowded runs are for the bytes:
their speed says nothing. What the machine gives at most is measured beside: bare loops, one on a core, and one on each core
at the same time, which share its memory and its clock.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.cases import CASES
from benchmarks.launched import Run, job_of, launch
from benchmarks.turns import forth_and_back, median_ratio
from benchmarks.worker import loop_worker

__all__ = ["EXAMPLES", "Scaling", "add_arguments", "answer", "measure", "table"]

# About twenty seconds for one thread: the first call of the step, in which every rank compiles, does not get shorter.
EXAMPLES = {"convnet": 480_000, "transformer": 48_000, "mobilenet-96": 10_000, "wide-embedding": 4_000_000}
PASSES_S = 4.0  # of bare loops at the same time, at least


@dataclass(frozen=True)
class Scaling:
    """Runs of one case, by round: on one rank, on as many as there are cores, and on those with more examples.

    And how many times as fast bare loops are on all cores as on one.
    """

    case: str
    alone: list[Run]
    strong: list[Run]
    weak: list[Run]
    crowded: list[Run]
    bare: list[float]

    @property
    def speedup(self) -> float:
        """How many times as fast the loop is on all ranks as on one: the median over the rounds."""
        return median_ratio([run.loop_s for run in self.alone], [run.loop_s for run in self.strong])

    @property
    def most(self) -> float:
        """How many times as fast bare loops are on all cores as on one: the median over the rounds."""
        return statistics.median(self.bare)

    @property
    def weak_efficiency(self) -> float:
        """The time of one rank over that of all ranks with as many examples each."""
        return median_ratio([run.loop_s for run in self.alone], [run.loop_s for run in self.weak])

    @property
    def alike(self) -> bool:
        """Whether all runs over the same examples wrote the same metrics.json."""
        return len({run.digest for run in (*self.alone, *self.strong, *self.crowded)}) == 1

    def document(self) -> dict[str, Any]:
        """Return everything as JSON can hold it."""
        runs = {name: [run.document() for run in getattr(self, name)] for name in ("alone", "strong", "weak", "crowded")}
        return {
            "case": self.case, **runs, "bare": self.bare, "speedup": self.speedup, "most": self.most,
            "weak_efficiency": self.weak_efficiency, "alike": self.alike,
        }  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what can be asked."""
    parser.add_argument("--cases", nargs="+", choices=EXAMPLES, default=["convnet", "transformer"])
    parser.add_argument("--examples", type=int, help="default: about twenty seconds of the case")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--crowded", type=int, nargs="*", default=[4, 16], help="more ranks than cores, for the bytes")


def answer(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """Measure the cases.

    Returns: raw values and a table.
    """
    sizes = {"rounds": options.rounds, "crowded": options.crowded}
    found = [measure(case, options.folder, examples=options.examples or EXAMPLES[case], **sizes) for case in options.cases]
    return {"cases": [one.document() for one in found]}, table(found)


def measure(case: str, folder: Path, *, examples: int, rounds: int, crowded: Sequence[int]) -> Scaling:
    """Measure a case.

    Raises: RuntimeError: a run failed, or wrote other bytes.
    """
    cores = sorted(os.sched_getaffinity(0))
    found = Scaling(case, [], [], [], [], [])
    job, more = job_of(case, folder, examples), job_of(case, folder, examples * len(cores))
    place = folder / "scaling"
    turns = [
        lambda: found.alone.append(launch(job, place, 1, cores=str(cores[0]))),
        lambda: found.strong.append(launch(job, place, len(cores))),
        lambda: found.weak.append(launch(more, place, len(cores))),
        lambda: found.bare.append(_bare(case, folder, cores)),
    ]
    for _, turn in forth_and_back(turns, rounds):
        turn()
    found.crowded.extend(launch(job, place, ranks) for ranks in crowded)
    if not found.alike:
        raise RuntimeError(f"{case}: metrics.json differs between numbers of ranks")
    return found


def _bare(case: str, folder: Path, cores: Sequence[int]) -> float:
    """Return how many times as fast bare loops of one thread are on all cores as on one: the median over some passes."""
    workers = [loop_worker("bare-cut", CASES[case], folder, 1, core=core) for core in cores]
    try:
        ratios, spent_s = [], 0.0
        for worker in workers:
            worker.measure()
        while spent_s < PASSES_S:
            alone_s = [worker.measure()[0] for worker in workers]
            for worker in workers:
                worker.begin()
            together_s = [worker.end()[0] for worker in workers]
            ratios.append(sum(1 / b for b in together_s) * statistics.mean(alone_s))
            spent_s += max(together_s)
        return statistics.median(ratios)
    finally:
        for worker in workers:
            worker.close()


def table(found: Sequence[Scaling]) -> str:
    """Write speed-ups and efficiencies as lines of a Markdown table."""
    lines = [
        "| case | ranks | speed-up of the loop | of bare loops | weak efficiency | crowded, the same bytes |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for one in found:
        crowded = ", ".join(str(run.ranks) for run in one.crowded) or "-"
        numbers = f"{one.strong[0].ranks} | {one.speedup:.2f} | {one.most:.2f} | {one.weak_efficiency:.2f}"
        lines.append(f"| {one.case} | {numbers} | {crowded} ranks |")
    return "\n".join([*lines, "", *_split(found)])


def _split(found: Sequence[Scaling]) -> list[str]:
    """Write what the time of the slowest rank went into, part by part."""
    parts = list(dict.fromkeys(part for one in found for rank in one.alone[0].split_s for part in rank))
    lines = [f"| seconds, median | ranks | {' | '.join(parts)} |", f"| --- | ---: |{' ---: |' * len(parts)}"]
    for one in found:
        for runs in (one.alone, one.strong, one.weak):
            medians = [
                statistics.median(max(rank.get(part, 0.0) for rank in run.split_s) for run in runs) for part in parts
            ]  # fmt: skip
            name = f"{one.case}, {runs[0].examples:,} examples"
            lines.append(f"| {name} | {runs[0].ranks} | {' | '.join(f'{seconds:.2f}' for seconds in medians)} |")
    return lines
