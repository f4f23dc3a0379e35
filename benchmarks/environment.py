"""What a measurement was taken on: what `harness bench` says of a machine, as far as a page of ratios compares it."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

from harness.bench.machine_description import describe

__all__ = ["CORES", "environment"]

CORES = len(os.sched_getaffinity(0))
PACKAGES = ("tensorflow", "keras", "numpy", "horovod", "mpi4py", "openmpi")


def environment() -> dict[str, Any]:
    """Return the machine, its load and the versions."""
    machine = describe(None, Path.cwd())
    return {
        "platform": platform.platform(),
        "processor": machine["cpu"]["model"],
        "cores": machine["cpu"]["allowed"],
        "load": machine["load"],
        "python": machine["versions"]["python"],
        "versions": {name: machine["versions"][name] for name in PACKAGES},
    }
