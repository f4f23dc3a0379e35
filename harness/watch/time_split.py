"""What the loop's time goes into: every so often a call of the compiled step is traced, and its trace says.

A clock in the compiled step is not to be had: TensorFlow refuses one under op determinism, and whatever has a state would
make batches wait for each other. A trace costs some milliseconds, and no more than a hundredth of the loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

__all__ = ["AFTER_S", "Part", "Span", "Watched", "divide"]

AFTER_S = 2.0  # in the loop before the first trace: 20 ms are a hundredth of that
COST_SHARE = 0.01  # of the loop's time
TRACED_CHUNKS = 4  # in a call that is traced, at most: a long trace takes long to read


class Part(StrEnum):
    """What a rank does in its loop."""

    OTHER = "other"  # between calls of the step: commits, tickets, predictions that are written
    COMPILING = "compiling"  # the first call of the step, in which TensorFlow compiles and allocates what it needs
    READING = "reading"  # in the step, with nothing else under way: a batch is waited for, or cut
    PREDICTING = "predicting"
    METRICS = "metrics"  # forming terms and adding them


@dataclass(frozen=True)
class Span:
    """An operation that ran: from start to end, in nanoseconds of any clock, and the part it belongs to, if to any."""

    start: int
    end: int
    part: Part | None


def divide(spans: Sequence[Span]) -> dict[Part, float]:
    """Divide the time from the first start to the last end.

    What belongs to two parts at the same time counts half for each.

    >>> divide([Span(0, 10, None), Span(2, 6, Part.PREDICTING), Span(4, 8, Part.METRICS)])
    {<Part.READING: 'reading'>: 0.4, <Part.PREDICTING: 'predicting'>: 0.3, <Part.METRICS: 'metrics'>: 0.3}
    """
    times = np.unique([time for span in spans for time in (span.start, span.end)])
    lengths = np.diff(times)
    active = {}
    for part in (Part.PREDICTING, Part.METRICS):
        change = np.zeros(len(times), np.int64)
        own = [span for span in spans if span.part is part]
        np.add.at(change, np.searchsorted(times, [span.start for span in own]), 1)
        np.add.at(change, np.searchsorted(times, [span.end for span in own]), -1)
        active[part] = np.cumsum(change)[:-1] > 0
    beside = np.maximum(sum(flags.astype(np.int64) for flags in active.values()), 1)
    busy = {part: float((lengths * flags / beside).sum()) for part, flags in active.items()}
    total = float(lengths.sum())
    shares = {Part.READING: total - sum(busy.values()), **busy}
    return {part: round(share / total, 9) for part, share in shares.items()} if total else {}


class Watched:
    """Runs a step and keeps account of the time in it.

    Attributes:
      first_s: in the first call of the step.
      inside_s: in the later ones.
      traces: how many calls were traced.

    Args:
      step: see `loop.ChunkStep`.
      trace: calls a function; returns what that returned, and what ran meanwhile; see `tf_trace.trace`.
      after_s: in the loop before the first trace.
    """

    def __init__(
        self, step: Any, trace: Callable[[Callable[[], Any]], tuple[Any, Sequence[Span]]], after_s: float = AFTER_S
    ) -> None:
        self.first_s: float | None = None
        self.inside_s = 0.0
        self.traces = 0
        self._step = step
        self._trace = trace
        self._due_s = after_s
        self._shares: dict[Part, float] = {}

    def run(self, most: int | None = None) -> Any:
        """Run the step; trace it where that is due."""
        start = time.monotonic()
        if self.first_s is not None and self.inside_s >= self._due_s:
            chunks = TRACED_CHUNKS if most is None else min(most, TRACED_CHUNKS)
            inside: list[float] = []

            def timed() -> Any:
                begun = time.monotonic()
                call = self._step.run(chunks)
                inside.append(time.monotonic() - begun)
                return call

            call, spans = self._trace(timed)
            shares = divide(spans)
            if shares and len(call.batches):  # at the end there may be nothing left to evaluate
                self.traces += 1
                for part, share in shares.items():
                    self._shares[part] = self._shares.get(part, 0.0) + share
            cost_s = time.monotonic() - start - sum(inside)
            self._due_s = self.inside_s + cost_s / COST_SHARE
        else:
            call = self._step.run(most)
        spent_s = time.monotonic() - start
        if self.first_s is None:
            self.first_s = spent_s
        else:
            self.inside_s += spent_s
        return call

    def parts(self, loop_s: float) -> Mapping[str, float]:
        """Divide the seconds of the loop; without shares, `inside`, where no call was traced."""
        first_s = self.first_s or 0.0
        shares = {
            str(Part.OTHER): round(max(0.0, loop_s - first_s - self.inside_s), 6), str(Part.COMPILING): round(first_s, 6),
        }  # fmt: skip
        if not self.traces:
            return {**shares, "inside": round(self.inside_s, 6)}
        return shares | {str(part): round(self.inside_s * share / self.traces, 6) for part, share in self._shares.items()}
