"""NVML as nvidia-ml-py shows it, for GPUs that are described: `pynvml` in tests."""

from __future__ import annotations

from dataclasses import dataclass, field

NVML_ERROR_NOT_SUPPORTED, NVML_ERROR_GPU_IS_LOST, NVML_ERROR_NO_PERMISSION = 3, 15, 4


class NVMLError(Exception):
    """What NVML raises; `value` is its number."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __str__(self) -> str:
        return {3: "Not Supported", 4: "Insufficient Permissions", 15: "GPU is lost"}[self.value]


@dataclass
class Process:
    pid: int


@dataclass
class FakeGpu:
    """One GPU: what its counter and its power are; an error stands for what is not answered."""

    uuid: str
    energy_mj: int | NVMLError = 0
    power_mw: int | NVMLError = 0
    name: str = "A100"
    pids: list[int] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


class FakeNvml:
    """The module."""

    NVMLError = NVMLError
    NVML_ERROR_NOT_SUPPORTED = NVML_ERROR_NOT_SUPPORTED

    def __init__(self, *gpus: FakeGpu) -> None:
        self.gpus = gpus

    def nvmlInit(self) -> None:
        """Do nothing."""

    def nvmlDeviceGetCount(self) -> int:
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> FakeGpu:
        return self.gpus[index]

    def nvmlDeviceGetUUID(self, gpu: FakeGpu) -> bytes:
        return gpu.uuid.encode()  # versions before 12 return bytes

    def nvmlDeviceGetName(self, gpu: FakeGpu) -> str:
        return gpu.name

    def nvmlDeviceGetTotalEnergyConsumption(self, gpu: FakeGpu) -> int:
        gpu.asked.append("energy")
        return self._answer(gpu.energy_mj)

    def nvmlDeviceGetPowerUsage(self, gpu: FakeGpu) -> int:
        gpu.asked.append("power")
        return self._answer(gpu.power_mw)

    def nvmlDeviceGetComputeRunningProcesses(self, gpu: FakeGpu) -> list[Process]:
        return [Process(pid) for pid in gpu.pids]

    @staticmethod
    def _answer(value: int | NVMLError) -> int:
        if isinstance(value, NVMLError):
            raise value
        return value
