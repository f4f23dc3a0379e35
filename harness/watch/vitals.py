"""Vitals: what a rank tells of itself beside its beat, so that people and monitors see how it fares.

Counters go up from the beginning of the attempt; `recent` is what they gained of late. They are measured by the thread of the
heartbeat, travel in its notices, and rank 0 leaves all ranks' in one file. Nothing here enters a result.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from harness.data.traffic import TRAFFIC
from harness.watch.gpu import Gpu, GpuReading
from harness.watch.process_readings import ProcessReadings
from harness.watch.time_split import Part, Watched

__all__ = ["RECENT_S", "SECONDS", "Recent", "VitalSigns", "Vitals"]

RECENT_S = 5.0  # how far back `recent` reaches, at least, once there is so much
GPU_LOOK_S = 2.0  # between two looks at the GPU: these take longer
EVALUATING = "evaluating"
# What a rank's time goes into, in this order. Those in the middle are parts of the loop; see `time_split.py`.
SECONDS = ("starting", *(str(part) for part in (Part.COMPILING, Part.READING, Part.PREDICTING, Part.OTHER)), "waiting", "writing")


@dataclass(frozen=True)
class Recent:
    """What counters gained of late.

    Attributes:
      over_s: in how many seconds.
      examples: evaluated.
      seconds: by what they went into; those that are 0 are left out.
      cpu_s: processor seconds of this rank.
      delayed_s: that its threads were ready and had no processor, added up over them; None is not known.
      busy_s: of the processors that it may use, whoever they worked for, added up over them; None is not known.
      read_bytes, retries: of reading.
    """

    over_s: float = 0.0
    examples: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)
    cpu_s: float = 0.0
    delayed_s: float | None = None
    busy_s: float | None = None
    read_bytes: int = 0
    retries: int = 0


@dataclass(frozen=True)
class Vitals:
    """How a rank fares.

    Attributes:
      age_s: since its attempt began to be watched.
      examples: evaluated in this attempt.
      seconds: of that age, by what they went into, see `SECONDS`; those that are 0 are left out.
      call_s: for how long the call of the step that is under way has gone on; 0 where none is.
      cpu_s: processor seconds of this process, from its start on.
      delayed_s: that its threads were ready and had no processor, added up over those there are; None is not known.
      rss_bytes: memory that it holds; None is not known.
      threads: that it may use.
      cpus: processors that it may use, as in `0-3,8`.
      busy_s: how long these have worked since the machine started, whoever for; None is not known.
      read_bytes: fetched from disks, network file systems and object stores.
      retries: of requests to object stores.
      gpu_percent, gpu_bytes, gpu_total_bytes: how busy its GPU is, and its memory; None without one.
      recent: what these gained of late.
    """

    age_s: float = 0.0
    examples: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)
    call_s: float = 0.0
    cpu_s: float = 0.0
    delayed_s: float | None = None
    rss_bytes: int | None = None
    threads: int = 0
    cpus: str = ""
    busy_s: float | None = None
    read_bytes: int = 0
    retries: int = 0
    gpu_percent: int | None = None
    gpu_bytes: int | None = None
    gpu_total_bytes: int | None = None
    recent: Recent = field(default_factory=Recent)

    def to_json(self) -> dict[str, Any]:
        """Return it as it is sent: what is not known is left out."""
        document = {key: value for key, value in asdict(self).items() if value is not None}
        document["recent"] = {key: value for key, value in document["recent"].items() if value is not None}
        return document

    @classmethod
    def from_json(cls, document: Any) -> Vitals:
        """Read what a rank has sent; keys of a later version are passed over.

        >>> Vitals.from_json({"threads": 4, "odd": 1, "recent": {"over_s": 5.0}}).recent.over_s
        5.0
        """
        if not isinstance(document, Mapping):
            return cls()
        recent = document.get("recent")
        known = {key: value for key, value in document.items() if key in _names(cls) and key != "recent"}
        gains = {key: value for key, value in recent.items() if key in _names(Recent)} if isinstance(recent, Mapping) else {}
        return cls(**known, recent=Recent(**gains))

    def since(self, before: Vitals) -> Recent:
        """Return what was gained since an earlier measurement."""
        seconds = {name: round(value - before.seconds.get(name, 0.0), 3) for name, value in self.seconds.items()}
        return Recent(
            round(self.age_s - before.age_s, 3),
            self.examples - before.examples,
            {name: value for name, value in seconds.items() if value > 0},
            round(self.cpu_s - before.cpu_s, 3),
            _gain(self.delayed_s, before.delayed_s),
            _gain(self.busy_s, before.busy_s),
            self.read_bytes - before.read_bytes,
            self.retries - before.retries,
        )


class VitalSigns:
    """Measures the vitals of this process. Told of phases by the run's own thread, asked by the heartbeat's.

    Args:
      threads: that this rank may use.
      gpu: that it computes on.
      readings: of the process and the machine.
    """

    def __init__(self, threads: int = 0, gpu: Gpu | None = None, readings: ProcessReadings | None = None) -> None:
        self._threads = threads
        self._gpu = gpu
        self._readings = readings or ProcessReadings()
        self._begun = self._readings.clock()
        self._phase, self._phase_begun = "starting", self._begun
        self._phases: dict[str, float] = {}
        self._step: Watched | None = None
        self._lock = threading.Lock()
        self._kept: deque[Vitals] = deque()  # the newest that is RECENT_S old comes first
        self._earlier = 0
        self._gpu_looked: tuple[float, GpuReading | None] = (-math.inf, None)

    def attach(self, step: Watched, earlier: int) -> None:
        """Take note of where the account of the loop's time is kept.

        Args:
          earlier: examples of this rank's part of what earlier attempts have finished.
        """
        self._step, self._earlier = step, earlier

    def enter(self, phase: str) -> None:
        """Take note that a phase begins."""
        with self._lock:
            if phase == self._phase:
                return
            now = self._readings.clock()
            self._phases[self._phase] = self._phases.get(self._phase, 0.0) + now - self._phase_begun
            self._phase, self._phase_begun = phase, now

    def measure(self, examples: int = 0) -> Vitals:
        """Measure.

        Args:
          examples: that this rank answers for, those of earlier attempts among them.
        """
        now = self._readings.clock()
        busy_s, delayed_s = self._readings.busy_s, self._readings.delayed_s
        gpu = self._look_at_gpu(now)
        vitals = Vitals(
            age_s=round(now - self._begun, 3),
            examples=max(examples - self._earlier, 0),
            seconds=self._seconds(now),
            call_s=round(self._step.call_s, 3) if self._step is not None else 0.0,
            cpu_s=round(self._readings.cpu_s, 3),
            delayed_s=None if delayed_s is None else round(delayed_s, 2),
            rss_bytes=self._readings.rss_bytes,
            threads=self._threads,
            cpus=self._readings.cpus,
            busy_s=None if busy_s is None else round(busy_s, 2),
            read_bytes=TRAFFIC.read_bytes + (self._readings.read_bytes or 0),
            retries=TRAFFIC.retries,
            gpu_percent=gpu.percent if gpu else None,
            gpu_bytes=gpu.used_bytes if gpu else None,
            gpu_total_bytes=gpu.total_bytes if gpu else None,
        )
        while len(self._kept) > 1 and vitals.age_s - self._kept[1].age_s >= RECENT_S:
            self._kept.popleft()
        before = self._kept[0] if self._kept else vitals
        self._kept.append(vitals)
        return replace(vitals, recent=vitals.since(before))

    def _seconds(self, now: float) -> dict[str, float]:
        with self._lock:
            phases = {**self._phases}
            phases[self._phase] = phases.get(self._phase, 0.0) + now - self._phase_begun
        loop_s = phases.pop(EVALUATING, 0.0)
        loop = {str(Part.OTHER): loop_s} if self._step is None else self._step.so_far(loop_s)
        # The first call may begin before any chunk is known, and so before the phase.
        early_s = max(sum(loop.values()) - loop_s, 0.0)
        seconds = {**phases, "starting": max(phases.get("starting", 0.0) - early_s, 0.0), **loop}
        return {name: round(seconds[name], 3) for name in SECONDS if seconds.get(name)}

    def _look_at_gpu(self, now: float) -> GpuReading | None:
        """Return what the GPU said last, or says now where that is long ago."""
        if self._gpu is not None and now - self._gpu_looked[0] >= GPU_LOOK_S - 0.5:
            self._gpu_looked = now, self._gpu.read()
        return self._gpu_looked[1]


def _gain(now: float | None, before: float | None) -> float | None:
    """Return what a counter gained; threads that ended take theirs along."""
    return None if now is None or before is None else max(round(now - before, 2), 0.0)


def _names(kind: type) -> frozenset[str]:
    return frozenset(each.name for each in fields(kind))
