"""Seconds by phase of what a rank does; a meter that comes along divides what it measures by the same phases."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from harness.machine.meter import Meter, Phase

__all__ = ["Timer"]

METERED = {"evaluate": Phase.EVALUATING, "wait": Phase.WAITING, "reduce": Phase.FINAL}


@dataclass
class Timer:
    """Seconds by phase.

    Attributes:
      begun: by the monotonic clock.
      phases: seconds by name.
      meter: measures energy and processor time; None where nobody asks.
    """

    begun: float = field(default_factory=time.monotonic)
    phases: dict[str, float] = field(default_factory=dict)
    meter: Meter | None = None

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a phase."""
        if self.meter is not None and name in METERED:
            self.meter.mark(METERED[name])
        start = time.monotonic()
        try:
            yield
        finally:
            self.phases[name] = round(self.phases.get(name, 0.0) + time.monotonic() - start, 6)
