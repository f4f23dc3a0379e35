"""What a job costs by example and by run, told from pilot runs of two sizes. Pure.

Each repeat is a pair, one smaller and one larger run at one rank. What both take is fixed, what the larger takes more goes by
example. On a busy machine the larger may take no longer: then what an example takes is told from within the larger run, after
its first call, and the pair is marked as unsure.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Costs", "Observation", "costs_of", "example_seconds", "median_costs"]

LEAST_S = 1e-9
ROW_COPIES = 3  # of rows in memory at the end: as they were kept, sorted, and as they are exchanged
KEPT_BYTES = 256 << 20  # of freed memory that a rank keeps at most: `harness.step.allocator` says so to the C library


@dataclass(frozen=True)
class Observation:
    """One pilot run, at one rank.

    Attributes:
      examples: that it evaluated.
      start_s, loop_s, reduce_s, write_s: seconds of its parts, as in run.json.
      elapsed_s: of all of it.
      cpu_s: processor seconds of its process.
      peak_bytes: of its memory.
      row_bytes: that are kept of each example until the end; 0 where no metric keeps rows.
      draw_bytes: that the end needs of each example to resample these rows; 0 without a bootstrap of them.
      joules: None where the machine does not tell.
      later_s, later_examples: of the loop after its first call, in which TensorFlow compiles; 0 where that is all of it.
    """

    examples: int
    start_s: float
    loop_s: float
    reduce_s: float
    write_s: float
    elapsed_s: float
    cpu_s: float
    peak_bytes: int
    row_bytes: int = 0
    joules: float | None = None
    later_s: float = 0.0
    later_examples: int = 0
    draw_bytes: int = 0

    @property
    def end_bytes(self) -> int:
        """Of each example, in memory when rows are sorted and resampled."""
        return ROW_COPIES * self.row_bytes + self.draw_bytes


@dataclass(frozen=True)
class Costs:
    """What one rank that has its machine for itself takes.

    Attributes:
      start_s: until the loop begins.
      compile_s: of the loop, whatever the number of examples.
      example_s: of an example, in the loop.
      reduce_s, row_s: of the end of the loop, and of an example there (rows are sorted).
      write_s: of the results.
      fixed_busy, busy: processors that are at work, on average: outside the loop's examples, and on them.
      base_bytes: memory of a rank that evaluates `pilot_examples`, rows left out.
      end_bytes: of each example that a rank holds rows of, at the end.
      growth_bytes: memory that each doubling of the examples takes beside these.
      pilot_examples: of the smaller run.
      row_bytes: kept of each example.
      watts: of the machine; None where it does not tell.
      is_unsure: whether the larger run was not slower than the smaller, so that a pair tells little of an example.
    """

    start_s: float
    compile_s: float
    example_s: float
    reduce_s: float
    row_s: float
    write_s: float
    fixed_busy: float
    busy: float
    base_bytes: float
    end_bytes: int = 0
    growth_bytes: float = 0.0
    pilot_examples: int = 1
    row_bytes: int = 0
    watts: float | None = None
    is_unsure: bool = False

    def rank_bytes(self, examples: int) -> int:
        """Return the most memory of a rank that evaluates so many examples.

        What a loop has under way differs from call to call, and its memory is the most that it ever had: the largest of many
        draws, which grows with the logarithm of their number. Of what it frees it keeps no more than `KEPT_BYTES`.

        >>> costs = Costs(1.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 500e6, 100, 5e6, pilot_examples=1000)
        >>> costs.rank_bytes(8000) // 10**5, costs.rank_bytes(500) // 10**5
        (5158, 5000)
        """
        grown = self.growth_bytes * math.log2(max(1.0, examples / self.pilot_examples))
        return round(self.base_bytes + examples * self.end_bytes + min(grown, KEPT_BYTES))


def example_seconds(small: Observation, large: Observation) -> tuple[float, bool]:
    """Return what an example takes in the loop, seconds, and whether that is unsure.

    It is the difference of the two loops. Where the larger was not slower, it is what examples took after the larger one's first
    call; where there are none of these, all of its loop, which is the most that it can be.

    >>> small = Observation(1000, 3.0, 5.0, 0.0, 0.1, 8.1, 6.2, 1 << 29)
    >>> large = Observation(3000, 3.0, 4.5, 0.0, 0.1, 7.6, 10.2, 1 << 29, later_s=2.0, later_examples=2000)
    >>> example_seconds(small, large)
    (0.001, True)
    """
    more_s = large.loop_s - small.loop_s
    if more_s > 0:
        return max(more_s / (large.examples - small.examples), LEAST_S), False
    if large.later_examples and large.later_s > 0:
        return large.later_s / large.later_examples, True
    return max(large.loop_s / large.examples, LEAST_S), True


def costs_of(small: Observation, large: Observation) -> Costs:
    """Tell from a pair of runs what is fixed and what goes by example.

    >>> small = Observation(1000, 3.0, 1.5, 0.0, 0.1, 4.6, 6.2, 1 << 29)
    >>> large = Observation(3000, 3.0, 3.5, 0.0, 0.1, 6.6, 10.2, 1 << 29)
    >>> costs = costs_of(small, large)
    >>> round(costs.example_s, 6), round(costs.compile_s, 6), round(costs.busy, 6)
    (0.001, 0.5, 2.0)
    """
    more = large.examples - small.examples
    example_s, is_unsure = example_seconds(small, large)
    row_s = max((large.reduce_s - small.reduce_s) / more, 0.0) if large.row_bytes else 0.0
    example_cpu_s = max((large.cpu_s - small.cpu_s) / more, 0.0)
    busy = example_cpu_s / (example_s + row_s) if example_cpu_s and not is_unsure else large.cpu_s / large.elapsed_s
    fixed_s = max(small.elapsed_s - small.examples * (example_s + row_s), LEAST_S)
    fixed_cpu_s = max(small.cpu_s - small.examples * example_cpu_s, 0.0)
    doublings = math.log2(large.examples / small.examples)
    growth_bytes = max((large.peak_bytes - small.peak_bytes - more * large.end_bytes) / doublings, 0.0)
    return Costs(
        start_s=min(small.start_s, large.start_s),
        compile_s=max(small.loop_s - small.examples * example_s, 0.0),
        example_s=example_s,
        reduce_s=max(small.reduce_s - small.examples * row_s, 0.0),
        row_s=row_s,
        write_s=max(small.elapsed_s - small.start_s - small.loop_s - small.reduce_s, 0.0),
        fixed_busy=fixed_cpu_s / fixed_s,
        busy=busy,
        base_bytes=max(large.peak_bytes - large.examples * large.end_bytes - doublings * growth_bytes, 0.0),
        end_bytes=large.end_bytes,
        growth_bytes=growth_bytes,
        pilot_examples=small.examples,
        row_bytes=large.row_bytes,
        watts=large.joules / large.elapsed_s if large.joules else None,
        is_unsure=is_unsure,
    )


def median_costs(repeats: Sequence[Costs]) -> Costs:
    """Return the median of each cost over the repeats.

    >>> from dataclasses import replace
    >>> one = Costs(1.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 100)
    >>> median_costs([one, replace(one, start_s=5.0), replace(one, start_s=2.0)]).start_s
    2.0
    """
    names = [
        name
        for name in Costs.__dataclass_fields__
        if name not in ("watts", "end_bytes", "pilot_examples", "row_bytes", "is_unsure")
    ]
    medians = {name: statistics.median(getattr(costs, name) for costs in repeats) for name in names}
    watts = [costs.watts for costs in repeats if costs.watts is not None]
    return Costs(
        **medians,
        end_bytes=repeats[0].end_bytes,
        pilot_examples=repeats[0].pilot_examples,
        row_bytes=repeats[0].row_bytes,
        watts=statistics.median(watts) if watts else None,
        is_unsure=any(costs.is_unsure for costs in repeats),
    )
