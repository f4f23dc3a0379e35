"""Whether 95 % intervals hold what they say: simulate data whose truth is known, and count how often they cover it.

The intervals are those of a run (`harness.results.files.interval_choice`). A simulation is a seed: no TensorFlow, no files.
"""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import TypeVar

import numpy as np

from benchmarks.populations import CASES, Case, Sample
from harness.results.interval_choice import interval_of
from harness.results.intervals import interval

__all__ = ["Coverage", "coverage", "in_processes", "outside", "table"]

Counts = TypeVar("Counts")
LEVEL = 0.95
NORMAL = 1.959963984540054  # standard deviations to both sides


@dataclass(frozen=True)
class Coverage:
    """How many of the simulations' intervals cover the truth, by kind of interval.

    Attributes:
      case: number of the case.
      simulations: how many there were; without: how many of them gave no interval.
      reported: of those that a run reports.
      percentile, basic: of the bootstrap, whatever is reported; normal: value -+ 1.96 standard errors of the bootstrap.
    """

    case: int
    simulations: int = 0
    without: int = 0
    reported: int = 0
    percentile: int = 0
    basic: int = 0
    normal: int = 0

    def __add__(self, other: Coverage) -> Coverage:
        names = ("simulations", "without", "reported", "percentile", "basic", "normal")
        return replace(self, **{name: getattr(self, name) + getattr(other, name) for name in names})

    @property
    def about(self) -> Case:
        """Return what was simulated."""
        return CASES[self.case]

    def share(self, kind: str) -> float:
        """Return the share of one kind; of those that are reported, among the simulations that have one."""
        covered: int = getattr(self, kind)
        intervals = self.simulations - self.without if kind == "reported" else self.simulations
        return covered / intervals if intervals else math.nan


def coverage(simulations: int, first: int = 0, cases: Sequence[int] = tuple(range(len(CASES)))) -> list[Coverage]:
    """Count how often intervals cover the truth.

    Args:
      simulations: how many; each has data and multiplicities of its own. Of a case that takes long one of `every`.
      first: number of the first.
      cases: which of `populations.CASES`.
    """
    counts = {place: Coverage(place) for place in cases}
    for number in range(first, first + simulations):
        for place in cases:
            if number % CASES[place].every == 0:
                sample = CASES[place].simulate(number, np.random.default_rng([number, place]))
                counts[place] += _covered(place, sample)
    return list(counts.values())


def in_processes(count: Callable[[int, int], list[Counts]], simulations: int) -> list[Counts]:
    """Count with one process a core.

    Args:
      count: counts so many simulations from one on: a result for each case, and results of one case add up.
    """
    size = max(1, math.ceil(simulations / 40))
    starts = range(0, simulations, size)
    sizes = [min(size, simulations - start) for start in starts]
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        blocks = list(pool.map(count, sizes, starts))
    return [reduce(operator.add, same) for same in zip(*blocks, strict=True)]


def _covered(place: int, sample: Sample) -> Coverage:
    """Return what one simulation counts for."""
    truth = CASES[place].truth
    if sample.value is None:
        return Coverage(place, 1, 1)
    reported = interval_of(sample.value, sample.replicates, LEVEL, sample.evidence)
    ends = [(reported.low, reported.high)]
    raw = interval(sample.value, sample.replicates, LEVEL)
    half = None if raw.standard_error is None else NORMAL * raw.standard_error
    ends += [(raw.low, raw.high), (raw.basic_low, raw.basic_high)]
    ends += [(None, None) if half is None else (sample.value - half, sample.value + half)]
    hits = [low is not None and high is not None and low <= truth <= high for low, high in ends]
    return Coverage(place, 1, reported.low is None, *hits)


def outside(found: Sequence[Coverage]) -> list[str]:
    """Name the cases whose reported intervals cover more or less than is expected of them, by more than chance."""
    names = []
    for each in found:
        case, share = each.about, each.share("reported")
        if math.isnan(share):
            continue
        chance = 3 * math.sqrt(0.95 * 0.05 / (each.simulations - each.without))
        if not case.least - chance <= share <= case.most + chance:
            names.append(f"{case.metric} of {case.data}: {share:.2%}")
    return names


def table(found: Sequence[Coverage]) -> str:
    """Write the shares as lines of a Markdown table."""
    lines = [
        "| metric | data | truth | simulations | reported | none | percentile | basic | normal |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for each in found:
        percent = partial("{:.1%}".format)
        shares = [each.share("reported"), each.without / each.simulations, *map(each.share, ("percentile", "basic", "normal"))]
        cells = [each.about.metric, each.about.data, f"{each.about.truth:.4f}", f"{each.simulations:,}", *map(percent, shares)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
