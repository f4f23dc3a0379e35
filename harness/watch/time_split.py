"""What the loop's time goes into: reading and predicting are told apart by how long each call waited for its batches."""

from __future__ import annotations

import time
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

__all__ = ["Part", "Watched"]


class Part(StrEnum):
    """What a rank does in its loop."""

    OTHER = "other"  # between calls of the step: commits, tickets, predictions that are written
    COMPILING = "compiling"  # the first call of the step, in which TensorFlow compiles and allocates what it needs
    READING = "reading"  # in the step: a batch is waited for
    PREDICTING = "predicting"  # the rest of it: the model, and the terms of the metrics


class Watched:
    """Runs a step and keeps account of the time in it.

    Args:
      step: see `loop.ChunkStep`.

    Attributes:
      first_s: in the first call of the step; None before it.
      inside_s: in the later ones.
      reading_s: of these, for batches.
      first_reading_s: of the first call, for batches; among the time of compiling in `parts`.
    """

    def __init__(self, step: Any) -> None:
        self.first_s: float | None = None
        self.first_reading_s = 0.0
        self.inside_s = 0.0
        self.reading_s = 0.0
        self._step = step
        self._called: float | None = None  # when the call that is under way began

    def run(self, most: int | None = None) -> Any:
        """Run the step."""
        self._called = start = time.monotonic()
        try:
            call = self._step.run(most)
        finally:
            self._called = None
        elapsed_s = time.monotonic() - start
        if self.first_s is None:
            self.first_s, self.first_reading_s = elapsed_s, min(call.reading_s, elapsed_s)
        else:
            self.inside_s += elapsed_s
            self.reading_s += min(call.reading_s, elapsed_s)
        return call

    @property
    def most(self) -> Part:
        """What most of the time so far went into: the first call apart, reading or predicting."""
        if not self.inside_s:
            return Part.COMPILING
        return Part.READING if 2 * self.reading_s > self.inside_s else Part.PREDICTING

    @property
    def call_s(self) -> float:
        """For how long the call that is under way has gone on; 0 where none is. For other threads."""
        called = self._called
        return 0.0 if called is None else time.monotonic() - called

    def so_far(self, loop_s: float) -> Mapping[str, float]:
        """Divide the seconds of a loop that goes on by part, as far as that is known at this moment. For other threads.

        Other than in `parts`, what the first call waited for batches is reading; and the call under way is among them.
        """
        call_s = self.call_s
        waited_s = min(self._step.call_waited_s(), call_s) if call_s else 0.0
        first_s, inside_s, reading_s = self.first_s, self.inside_s, self.reading_s + self.first_reading_s + waited_s
        compiling_s = (first_s or 0.0) - self.first_reading_s
        predicting_s = max(inside_s - self.reading_s, 0.0)
        if first_s is None:
            compiling_s = call_s - waited_s
        else:
            predicting_s += call_s - waited_s
        inside = {Part.COMPILING: compiling_s, Part.READING: reading_s, Part.PREDICTING: predicting_s}
        parts = {**inside, Part.OTHER: max(0.0, loop_s - sum(inside.values()))}
        return {str(part): part_s for part, part_s in parts.items()}

    def parts(self, loop_s: float) -> Mapping[str, float]:
        """Divide the seconds of the loop by part."""
        first_s = self.first_s or 0.0
        seconds = {
            Part.OTHER: max(0.0, loop_s - first_s - self.inside_s),
            Part.COMPILING: first_s,
            Part.READING: self.reading_s,
            Part.PREDICTING: self.inside_s - self.reading_s,
        }
        return {str(part): round(part_s, 6) for part, part_s in seconds.items()}
