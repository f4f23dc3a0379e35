"""Energy counters, and what is added up of them: exact integers of microjoules, divided by phase.

A counter goes up as its device uses energy. Some begin again at zero when they are full. What cannot be read is not a number:
the device has a reason instead, for all of the time, because a part would be taken for the whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from harness.errors import NoReading

__all__ = ["EnergyCounter", "Kind", "Measured", "Method", "Tally", "joules"]

MOST_W = 1000  # that one processor package takes: a full counter cannot pass unseen before it could have filled at this power


class Kind(StrEnum):
    """What a counter counts the energy of."""

    PACKAGE = "package"  # a processor: cores, caches, what else is in it
    MEMORY = "memory"  # the memory of a processor
    GPU = "gpu"


class Method(StrEnum):
    """How energy is known."""

    COUNTER = "counter"  # the device counts it
    POWER = "power samples"  # its power was asked for now and then, and is taken to change evenly in between


class EnergyCounter(Protocol):
    """One device that tells its energy."""

    @property
    def device(self) -> str:
        """Its name: of a GPU the UUID, else unique on the machine."""

    @property
    def kind(self) -> Kind:
        """What it counts the energy of."""

    @property
    def method(self) -> Method:
        """How it counts."""

    @property
    def range_uj(self) -> int | None:
        """At which count, in microjoules, it begins again; None where it does not."""

    def read(self) -> int:
        """Return the count, in microjoules.

        Raises: NoReading: it cannot be read, and why.
        """


@dataclass(frozen=True)
class Measured:
    """What one device used.

    Attributes:
      device, kind, method: see `EnergyCounter`.
      phases_uj: microjoules by phase, in the order of the phases.
      reason: why there is no number; `phases_uj` is empty then.
    """

    device: str
    kind: Kind
    method: Method
    phases_uj: Mapping[str, int] = field(default_factory=dict)
    reason: str = ""

    @property
    def total_uj(self) -> int | None:
        """All of it, in microjoules; None where there is no number."""
        return None if self.reason else sum(self.phases_uj.values())


@dataclass
class Tally:
    """Adds up one counter.

    Attributes:
      counter: that is read.
      phases_uj: microjoules by phase so far.
      reason: why it is not read any more.
    """

    counter: EnergyCounter
    phases_uj: dict[str, int] = field(default_factory=dict)
    reason: str = ""
    _last_uj: int | None = None
    _last_ns: int = 0

    def add(self, phase: str, now_ns: int) -> None:
        """Count what was used since the last call as that of a phase; the first call sets the beginning.

        Args:
          now_ns: by a clock that only goes forward.
        """
        if self.reason:
            return
        try:
            count_uj = self.counter.read()
            used_uj = 0 if self._last_uj is None else self._used(self._last_uj, count_uj, now_ns - self._last_ns)
        except NoReading as exc:
            self.reason = str(exc)
            return
        self.phases_uj[phase] = self.phases_uj.get(phase, 0) + used_uj
        self._last_uj, self._last_ns = count_uj, now_ns

    def _used(self, before_uj: int, count_uj: int, elapsed_ns: int) -> int:
        """Return what was used between two readings, in microjoules.

        Raises: NoReading: the two do not tell.
        """
        range_uj = self.counter.range_uj
        if range_uj is None:
            if count_uj < before_uj:
                raise NoReading(f"its counter went back, from {before_uj} to {count_uj} microjoules: the device was set back")
            return count_uj - before_uj
        # joules / watts = seconds
        if elapsed_ns * MOST_W > range_uj * 1000:
            raise NoReading(
                f"its counter begins again at {range_uj} microjoules, and was not read for {elapsed_ns / 1e9:.0f} s: how often "
                "it began again is not known"
            )
        return (count_uj - before_uj) % range_uj

    def measured(self) -> Measured:
        """Return what is known so far."""
        counter = self.counter
        phases = {} if self.reason else dict(self.phases_uj)
        return Measured(counter.device, counter.kind, counter.method, phases, self.reason)


def joules(microjoules: int | None) -> float | None:
    """Return joules, rounded once to the nearest float64.

    >>> joules(1_500_000), joules(None)
    (1.5, None)
    """
    return None if microjoules is None else microjoules / 1_000_000
