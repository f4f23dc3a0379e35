"""Scaling over ranks: strong (the same examples), weak (as many for each rank), and crowded (more ranks than cores).

A rank has one thread. Rounds take turns, A B A B; a ratio is formed within a round. Crowded runs are for the bytes:
their speed says nothing.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.launched import Run, job_of, launch

__all__ = ["Scaling", "measure", "table"]


@dataclass(frozen=True)
class Scaling:
    """Runs of one case, by round: on one rank, on as many as there are cores, and on those with more examples."""

    case: str
    alone: list[Run]
    strong: list[Run]
    weak: list[Run]
    crowded: list[Run]

    @property
    def speedup(self) -> float:
        """How many times as fast the loop is on all ranks as on one: the median over the rounds."""
        return statistics.median(a.loop_s / b.loop_s for a, b in zip(self.alone, self.strong, strict=True))

    @property
    def weak_efficiency(self) -> float:
        """The time of one rank over that of all ranks with as many examples each."""
        return statistics.median(a.loop_s / b.loop_s for a, b in zip(self.alone, self.weak, strict=True))

    @property
    def alike(self) -> bool:
        """Whether all runs over the same examples wrote the same metrics.json."""
        return len({run.digest for run in (*self.alone, *self.strong, *self.crowded)}) == 1

    def document(self) -> dict[str, Any]:
        """Return everything as JSON can hold it."""
        runs = {name: [run.document() for run in getattr(self, name)] for name in ("alone", "strong", "weak", "crowded")}
        return {"case": self.case, **runs, "speedup": self.speedup, "weak_efficiency": self.weak_efficiency, "alike": self.alike}


def measure(case: str, folder: Path, *, examples: int, rounds: int, crowded: Sequence[int]) -> Scaling:
    """Measure a case.

    Raises: RuntimeError: a run failed, or wrote other bytes.
    """
    cores = sorted(os.sched_getaffinity(0))
    found = Scaling(case, [], [], [], [])
    job, more = job_of(case, folder, examples), job_of(case, folder, examples * len(cores))
    place = folder / "scaling"
    for number in range(rounds):
        turns = [
            lambda: found.alone.append(launch(job, place, 1, cores=str(cores[0]))),
            lambda: found.strong.append(launch(job, place, len(cores))),
            lambda: found.weak.append(launch(more, place, len(cores))),
        ]
        for turn in turns if number % 2 == 0 else turns[::-1]:
            turn()
    found.crowded.extend(launch(job, place, ranks) for ranks in crowded)
    if not found.alike:
        raise RuntimeError(f"{case}: metrics.json differs between numbers of ranks")
    return found


def table(found: Sequence[Scaling]) -> str:
    """Write speed-ups and efficiencies as lines of a Markdown table."""
    lines = [
        "| case | ranks | speed-up of the loop | weak efficiency | crowded, the same bytes |",
        "| --- | ---: | ---: | ---: | --- |",
    ]
    for one in found:
        crowded = ", ".join(str(run.ranks) for run in one.crowded) or "-"
        lines.append(f"| {one.case} | {one.strong[0].ranks} | {one.speedup:.2f} | {one.weak_efficiency:.2f} | {crowded} ranks |")
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
