"""How busy the GPU of this rank is, and how full: NVML says so, through the optional package nvidia-ml-py."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

__all__ = ["Gpu", "GpuReading"]


@dataclass(frozen=True)
class GpuReading:
    """One look.

    Attributes:
      percent: of the time in which it computed, for anyone.
      used_bytes, total_bytes: of its memory.
    """

    percent: int
    used_bytes: int
    total_bytes: int


class Gpu:
    """One GPU, as NVML knows it.

    Args:
      nvml: the module `pynvml`, after its `nvmlInit`.
      device: NVML's handle.
    """

    def __init__(self, nvml: Any, device: Any) -> None:
        self._nvml = nvml
        self._device = device

    @classmethod
    def of_rank(cls, local_rank: int, visible: str | None = None) -> Gpu | None:
        """Find the GPU that a rank computes on; None where there is no package, driver or GPU.

        Args:
          local_rank: of the rank on its node. It takes the GPUs that it is shown in turn, as TensorFlow is told to.
          visible: what CUDA_VISIBLE_DEVICES says; as in the environment where it is None.
        """
        try:
            import pynvml
        except ImportError:
            return None
        visible = os.environ.get("CUDA_VISIBLE_DEVICES") if visible is None else visible
        try:
            pynvml.nvmlInit()
            names = list(range(pynvml.nvmlDeviceGetCount())) if visible is None else [name for name in visible.split(",") if name]
            if not names:
                return None
            name = str(names[local_rank % len(names)]).strip()
            by_index = name.isdigit()
            device = pynvml.nvmlDeviceGetHandleByIndex(int(name)) if by_index else pynvml.nvmlDeviceGetHandleByUUID(name)
        except pynvml.NVMLError:
            return None
        return cls(pynvml, device)

    def read(self) -> GpuReading | None:
        """Look at it; None where it does not say."""
        try:
            use = self._nvml.nvmlDeviceGetUtilizationRates(self._device)
            memory = self._nvml.nvmlDeviceGetMemoryInfo(self._device)
        except self._nvml.NVMLError:
            return None
        return GpuReading(int(use.gpu), int(memory.used), int(memory.total))
