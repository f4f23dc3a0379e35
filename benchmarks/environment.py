"""What a measurement was taken on."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

__all__ = ["CORES", "environment"]

CORES = len(os.sched_getaffinity(0))

PACKAGES = ("tensorflow", "keras", "numpy", "horovod", "mpi4py", "openmpi")


def environment() -> dict[str, Any]:
    """Return the machine, its load and the versions."""
    return {
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": CORES,
        "load": os.getloadavg(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
