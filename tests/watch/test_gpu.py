"""The GPU of a rank, by a stand-in for NVML: no machine of the tests has one."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from harness.watch.gpu import Gpu, GpuReading


class NVMLError(Exception):
    """As in pynvml."""


def driver(count=4, gone=()):
    def look(device):
        if device in gone:
            raise NVMLError
        return device

    def init():
        if not count:
            raise NVMLError

    return SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=init,
        nvmlDeviceGetCount=lambda: count,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetHandleByUUID=lambda name: name,
        nvmlDeviceGetUtilizationRates=lambda device: SimpleNamespace(gpu=look(device) and 70 + len(str(device))),
        nvmlDeviceGetMemoryInfo=lambda device: SimpleNamespace(used=5, total=9),
    )


@pytest.mark.parametrize(
    "local_rank, visible, device",
    [(1, None, 1), (5, None, 1), (0, "2,3", 2), (1, "2,3", 3), (3, "2", 2), (1, "GPU-a,GPU-b", "GPU-b"), (0, " 3", 3)],
)
def test_a_rank_takes_the_gpus_that_it_is_shown_in_turn(monkeypatch, local_rank, visible, device):
    monkeypatch.setitem(sys.modules, "pynvml", driver())
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    gpu = Gpu.of_rank(local_rank, visible)
    assert gpu.read() == GpuReading(70 + len(str(device)), 5, 9)


def test_without_package_driver_or_gpu_there_is_none(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", driver(0))
    assert Gpu.of_rank(0) is None
    monkeypatch.setitem(sys.modules, "pynvml", driver())
    assert Gpu.of_rank(0, "") is None
    assert Gpu.of_rank(0, "GPU-a").read() is not None
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert Gpu.of_rank(0) is None


def test_one_that_no_longer_answers_says_nothing(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", driver(gone={2}))
    assert Gpu.of_rank(2, "0,1,2").read() is None
