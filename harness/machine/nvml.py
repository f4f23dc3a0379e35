"""Energy of NVIDIA's GPUs, by NVML: the counter of each GPU where it has one (Volta and later), else samples of its power.

Needs the package nvidia-ml-py (`pynvml`) and NVIDIA's driver. GPUs are told apart by UUID, whoever sees them under which number.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.errors import NoReading
from harness.machine.energy import Kind, Method

__all__ = ["Gpu", "Gpus", "SampledGpu", "find_gpus"]

NOT_INSTALLED = "nvidia-ml-py is not installed: pip install 'exact-harness[energy]'"
LONGEST_GAP_S = 10  # between two samples of the power; what was used in a longer one is not known


@dataclass(frozen=True)
class Gpu:
    """One GPU whose energy is counted by itself.

    Attributes:
      device: its UUID.
    """

    device: str
    handle: Any
    library: Any
    kind: Kind = Kind.GPU
    method: Method = Method.COUNTER
    range_uj: int | None = None

    def read(self) -> int:
        """Return the count since the driver was loaded, in microjoules; the counter has steps of a millijoule.

        Raises: NoReading: it cannot be read.
        """
        return 1000 * _ask(self.library, self.library.nvmlDeviceGetTotalEnergyConsumption, self.handle)


@dataclass
class SampledGpu:
    """One GPU that only tells its power: what it used is added up of samples, as if the power changed evenly in between.

    Attributes:
      device: its UUID.
      clock_ns: goes forward only.
    """

    device: str
    handle: Any
    library: Any
    clock_ns: Callable[[], int] = time.monotonic_ns
    kind: Kind = Kind.GPU
    method: Method = Method.POWER
    range_uj: int | None = None
    _last: tuple[int, int] | None = None
    _twice_pj: int = field(default=0)  # milliwatts times nanoseconds are picojoules

    def read(self) -> int:
        """Take a sample; return what was used since the first one, in microjoules.

        Raises: NoReading: it cannot be read, or was not for too long.
        """
        power_mw, now_ns = _ask(self.library, self.library.nvmlDeviceGetPowerUsage, self.handle), self.clock_ns()
        if self._last is not None:
            before_mw, before_ns = self._last
            if now_ns - before_ns > LONGEST_GAP_S * 1_000_000_000:
                raise NoReading(f"it tells its power only, which nobody asked for during {(now_ns - before_ns) / 1e9:.0f} s")
            self._twice_pj += (before_mw + power_mw) * (now_ns - before_ns)
        self._last = power_mw, now_ns
        return self._twice_pj // 2_000_000


@dataclass(frozen=True)
class Gpus:
    """The GPUs of this machine that this process sees, in the order of NVML, which is that of the PCI bus.

    Attributes:
      counters: one a GPU.
      names: of their models.
      library: NVML; None where there is none.
      reason: why there are none.
    """

    counters: Sequence[Gpu | SampledGpu] = ()
    names: Sequence[str] = ()
    library: Any = None
    reason: str = ""

    def used(self, ordinals: Sequence[int], visible: str | None, order: str, pid: int) -> list[str]:
        """Return the UUIDs of the GPUs that a process computes on.

        Args:
          ordinals: of its GPUs, as CUDA numbers those that it sees.
          visible, order: CUDA_VISIBLE_DEVICES, None where it is not set, and CUDA_DEVICE_ORDER.
          pid: of the process.
        Raises: NoReading: nobody can tell.
        """
        if not ordinals:
            return []
        if self.reason:
            raise NoReading(self.reason)
        entries = [text.strip() for text in visible.split(",")] if visible else [str(n) for n in range(len(self.counters))]
        # CUDA numbers the fastest first, unless told otherwise: among equals that is the order of the bus.
        ordered = order == "PCI_BUS_ID" or len(set(self.names)) == 1
        uuids = [self._of_entry(entries[n], ordered=ordered) if n < len(entries) else None for n in ordinals]
        found = [uuid for uuid in uuids if uuid is not None]
        if len(found) < len(ordinals):
            found = self._of_process(pid)
        if len(found) != len(ordinals):
            raise NoReading("which of this machine's GPUs it is cannot be told; set CUDA_DEVICE_ORDER=PCI_BUS_ID")
        return sorted(set(found))

    def _of_entry(self, entry: str, *, ordered: bool) -> str | None:
        """Return the UUID that an entry of CUDA_VISIBLE_DEVICES stands for.

        Raises: NoReading: it is a part of a GPU.
        """
        if entry.startswith("MIG-"):
            raise NoReading("it is a part of a GPU (MIG), and NVML counts whole ones only")
        uuids = [counter.device for counter in self.counters]
        if entry.isdigit():
            return uuids[int(entry)] if ordered and int(entry) < len(uuids) else None
        matching = [uuid for uuid in uuids if entry and uuid.startswith(entry)]
        return matching[0] if len(matching) == 1 else None

    def _of_process(self, pid: int) -> list[str]:
        """Return the GPUs on which a process is at work, as NVML knows it: in a container it has another number there."""
        found = []
        for counter in self.counters:
            try:
                processes = _ask(self.library, self.library.nvmlDeviceGetComputeRunningProcesses, counter.handle)
            except NoReading:
                return []
            if pid in [process.pid for process in processes]:
                found.append(counter.device)
        return found


def find_gpus(clock_ns: Callable[[], int] = time.monotonic_ns) -> Gpus:
    """Find the GPUs of this machine."""
    try:
        import pynvml
    except ImportError:
        return Gpus(reason=NOT_INSTALLED)
    try:
        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        uuids = [_text(pynvml.nvmlDeviceGetUUID(handle)) for handle in handles]
        names = [_text(pynvml.nvmlDeviceGetName(handle)) for handle in handles]
    except pynvml.NVMLError as exc:
        return Gpus(reason=f"NVML: {exc}")
    counters = [_counter(pynvml, uuid, handle, clock_ns) for uuid, handle in zip(uuids, handles, strict=True)]
    return Gpus(counters, names, pynvml)


def _counter(library: Any, uuid: str, handle: Any, clock_ns: Callable[[], int]) -> Gpu | SampledGpu:
    """Return what counts a GPU's energy: by its power only where NVML says that it has no counter."""
    try:
        library.nvmlDeviceGetTotalEnergyConsumption(handle)
    except library.NVMLError as exc:
        if getattr(exc, "value", None) == library.NVML_ERROR_NOT_SUPPORTED:
            return SampledGpu(uuid, handle, library, clock_ns)
    return Gpu(uuid, handle, library)


def _text(raw: str | bytes) -> str:
    return raw.decode() if isinstance(raw, bytes) else raw


def _ask(library: Any, call: Callable[[Any], Any], handle: Any) -> Any:
    """Ask NVML of a GPU.

    Raises: NoReading: it does not answer.
    """
    try:
        return call(handle)
    except library.NVMLError as exc:
        raise NoReading(f"NVML: {exc}") from exc
