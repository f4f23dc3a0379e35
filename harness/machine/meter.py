"""What a process measures of its machine while it works: energy and time by phase, processor time.

All of a node is measured in one place, by the process that is the first there; the others read the counters of GPUs, when their
phase changes and at no other time. Only counters that begin again, and powers, have to be read in between: a thread does.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from harness.errors import NoReading
from harness.machine.allocation import Allocation, allocation, processor_s
from harness.machine.energy import EnergyCounter, Kind, Measured, Method, Tally
from harness.machine.nvml import Gpus, find_gpus
from harness.machine.powercap import POWERCAP, find_zones

__all__ = ["Meter", "Phase", "Readings", "measure"]

PERIOD_S = 5.0  # between readings of counters that begin again
POWER_PERIOD_S = 1.0  # between samples of a power


class Phase(StrEnum):
    """What a process does."""

    LOADING = "loading"  # up to the first example: TensorFlow, data, model, compiling of the step
    EVALUATING = "evaluating"
    WAITING = "waiting"  # for others, when its own share is done
    FINAL = "final"  # adding up, values, files


@dataclass(frozen=True)
class Readings:
    """What a process has measured so far.

    Attributes:
      devices: one a counter.
      missing: of packages and memory, why there is no counter.
      phases_ns: nanoseconds by phase.
      processor_s: seconds of processor time.
    """

    devices: Sequence[Measured]
    missing: Mapping[Kind, str]
    phases_ns: Mapping[str, int]
    processor_s: float

    @property
    def elapsed_s(self) -> float:
        """Seconds since it began."""
        return sum(self.phases_ns.values()) / 1e9

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        devices = [
            {
                "device": device.device, "kind": str(device.kind), "method": str(device.method),
                "phases_uj": dict(device.phases_uj), "reason": device.reason,
            }
            for device in self.devices
        ]  # fmt: skip
        return {
            "devices": devices,
            "missing": {str(kind): reason for kind, reason in self.missing.items()},
            "phases_ns": dict(self.phases_ns),
            "processor_s": round(self.processor_s, 3),
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Readings:
        """Read what `to_dict` returned."""
        devices = [
            Measured(entry["device"], Kind(entry["kind"]), Method(entry["method"]), entry["phases_uj"], entry["reason"])
            for entry in raw["devices"]
        ]
        return cls(devices, {Kind(kind): reason for kind, reason in raw["missing"].items()}, raw["phases_ns"], raw["processor_s"])


class Meter:
    """Measures, from when it is made on.

    Args:
      counters: that are read.
      missing: see `Readings`.
      gpus: that this process sees.
      own: what it may use of its machine.
      clock_ns: goes forward only.
    Attributes:
      allocation: what the process may use; of GPUs too once `choose` was called.
      on_reading: called by the thread of `watch` after each reading.
    """

    def __init__(
        self,
        counters: Sequence[EnergyCounter] = (),
        missing: Mapping[Kind, str] | None = None,
        *,
        gpus: Gpus | None = None,
        own: Allocation | None = None,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.allocation = own or allocation()
        self.on_reading: Callable[[], None] = lambda: None
        self._gpus = gpus or Gpus(reason="nobody looked for GPUs")
        self._missing = dict(missing or {})
        self._clock_ns = clock_ns
        self._lock = threading.Lock()
        self._phase = Phase.LOADING
        self._phases_ns: dict[str, int] = {}
        self._tallies = [Tally(counter) for counter in counters]
        self._since_ns = clock_ns()
        self._processor_s = processor_s()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._take()

    def choose(self, ordinals: Sequence[int], environ: Mapping[str, str] = os.environ) -> None:
        """Find out which GPUs this process computes on.

        Args:
          ordinals: see `Gpus.used`.
          environ: of this process.
        """
        visible, order = environ.get("CUDA_VISIBLE_DEVICES"), environ.get("CUDA_DEVICE_ORDER", "")
        uuids: tuple[str, ...] = ()
        reason = ""
        try:
            uuids = tuple(self._gpus.used(ordinals, visible, order, os.getpid()))
        except NoReading as exc:
            reason = str(exc)
        self.allocation = replace(self.allocation, gpu_count=len(ordinals), gpus=uuids, reason=reason)

    def keep(self, gpus: Collection[str]) -> None:
        """Read no GPUs from now on but these, by UUID; what was read of others is forgotten."""
        with self._lock:
            self._tallies = [
                tally for tally in self._tallies if tally.counter.kind is not Kind.GPU or tally.counter.device in gpus
            ]

    def mark(self, phase: Phase) -> None:
        """Begin a phase: all since the last one belongs to that."""
        with self._lock:
            self._take()
            self._phase = phase

    def readings(self) -> Readings:
        """Read the counters, and return what is known up to now."""
        with self._lock:
            self._take()
            devices = [tally.measured() for tally in self._tallies]
            return Readings(devices, dict(self._missing), dict(self._phases_ns), processor_s() - self._processor_s)

    def watch(self) -> None:
        """Read now and then, from a thread, until `close`."""
        sampled = any(tally.counter.method is Method.POWER for tally in self._tallies)
        period_s = POWER_PERIOD_S if sampled else PERIOD_S

        def run() -> None:
            while not self._stop.wait(period_s):
                with self._lock:
                    self._take()
                self.on_reading()

        self._thread = threading.Thread(target=run, name="meter", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=PERIOD_S)

    def _take(self) -> None:
        """Count what was used and what time has passed since the last call as the phase's. The lock is held."""
        now_ns = self._clock_ns()
        self._phases_ns[self._phase] = self._phases_ns.get(self._phase, 0) + now_ns - self._since_ns
        self._since_ns = now_ns
        for tally in self._tallies:
            tally.add(self._phase, now_ns)


def measure(*, first: bool, powercap: Path | None = None, clock_ns: Callable[[], int] = time.monotonic_ns) -> Meter:
    """Return the meter of this process.

    Args:
      first: whether it is the first one on its node, which measures what belongs to the whole node.
      powercap: where the counters of processors are shown; None is where Linux shows them.
      clock_ns: goes forward only.
    """
    gpus = find_gpus(clock_ns)
    counters: list[EnergyCounter] = []
    missing: Mapping[Kind, str] = {}
    if first:
        counters, missing = find_zones(powercap or POWERCAP)
        counters += gpus.counters
    else:  # what has to be read all the time the first one reads
        counters += [counter for counter in gpus.counters if counter.method is Method.COUNTER]
    return Meter(counters, missing, gpus=gpus, clock_ns=clock_ns)
