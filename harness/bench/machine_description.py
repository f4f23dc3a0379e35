"""What a bench was done on: processors, memory, GPUs, MPI, networks, file systems, limits, versions. Asks this machine alone.

What a machine does not tell is null. Nothing here fails a bench.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

__all__ = ["describe", "file_system"]

PACKAGES = ("exact-harness", "tensorflow", "keras", "numpy", "horovod", "mpi4py", "openmpi")
QUERY_S = 30
CPU = Path("/sys/devices/system/cpu")
CGROUP = Path("/sys/fs/cgroup")
GPU_FIELDS = "name,memory.total,driver_version,clocks.max.sm,power.limit"
CONTAINERS = {"/.dockerenv": "docker", "/run/.containerenv": "podman"}


def describe(data: str | None, runs: Path) -> dict[str, Any]:
    """Describe this machine.

    Args:
      data: a file of the data, or a URL; None where there is none.
      runs: where run folders lie.
    """
    return {
        "cpu": _cpu(),
        "memory_bytes": psutil.virtual_memory().total,
        "numa_nodes": _numa_nodes(),
        "gpus": _gpus(),
        "mpi": _first_line(["mpirun", "--version"]),
        "variables": _variables(),
        "interconnect": _interconnect(),
        "file_systems": {"data": None if data is None else file_system(data), "runs": file_system(str(runs))},
        "limits": {"cpu_max": _text(CGROUP / "cpu.max"), "memory_max": _text(CGROUP / "memory.max")},
        "container": _container(),
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "load": list(os.getloadavg()),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
    }


def _cpu() -> dict[str, Any]:
    text = _text(Path("/proc/cpuinfo")) or ""
    model = re.search(r"^model name\s*:\s*(.*)$", text, re.MULTILINE)
    frequency = CPU / "cpu0" / "cpufreq"
    now = psutil.cpu_freq()
    return {
        "model": model[1] if model else platform.processor() or None,
        "cores": psutil.cpu_count(logical=False),
        "threads": psutil.cpu_count(),
        "allowed": len(os.sched_getaffinity(0)),
        "governor": _text(frequency / "scaling_governor"),
        "mhz": round(now.current) if now else None,
        "most_mhz": round(now.max) if now and now.max else None,
    }


def _numa_nodes() -> int | None:
    nodes = len(list(Path("/sys/devices/system/node").glob("node[0-9]*")))
    return nodes or None


def _gpus() -> list[dict[str, str]]:
    """Return what nvidia-smi says of each GPU."""
    lines = _lines(["nvidia-smi", f"--query-gpu={GPU_FIELDS}", "--format=csv,noheader"])
    return [dict(zip(GPU_FIELDS.split(","), (cell.strip() for cell in line.split(",")), strict=False)) for line in lines]


def _variables() -> dict[str, str]:
    """Return what the environment says of threads and devices, and of how ranks talk."""
    names = re.compile(
        r"HARNESS_THREADS|OMP_NUM_THREADS|TF_(ENABLE|XLA)_.*|CUDA_VISIBLE_DEVICES|OMPI_MCA_(pml|btl|mtl|coll).*|UCX_.*|NCCL_.*|HOROVOD_(CPU_OPERATIONS|GPU_.*|MPI_.*)|FI_PROVIDER"
    )
    return {name: value for name, value in sorted(os.environ.items()) if names.fullmatch(name)}


def _interconnect() -> list[dict[str, Any]]:
    """Return the network interfaces that are up, and the InfiniBand devices."""
    found: list[dict[str, Any]] = []
    for name, stats in sorted(psutil.net_if_stats().items()):
        if stats.isup and name != "lo":
            found.append({"name": name, "megabits_per_s": stats.speed or None})
    for device in sorted(Path("/sys/class/infiniband").glob("*")):
        found.append({"name": device.name, "rate": _text(device / "ports" / "1" / "rate")})
    return found


def file_system(path: str) -> dict[str, Any]:
    """Return the file system that a path lies on: of the longest mount point above it.

    Args:
      path: of a file that need not be there; or a URL.
    """
    if "://" in path:
        return {"type": path.partition("://")[0], "mount": None, "size_bytes": None}
    place = os.path.realpath(path)
    while not os.path.exists(place):
        place = os.path.dirname(place)
    mounts = [line.split() for line in (_text(Path("/proc/mounts")) or "").splitlines()]
    above = [mount for mount in mounts if len(mount) > 2 and (place == mount[1] or place.startswith(mount[1].rstrip("/") + "/"))]
    own = max(above, key=lambda mount: len(mount[1]), default=None)
    return {
        "type": own[2] if own else None,
        "mount": own[1] if own else None,
        "size_bytes": shutil.disk_usage(place).total,
    }


def _container() -> str | None:
    for name in ("APPTAINER_NAME", "SINGULARITY_NAME", "KUBERNETES_SERVICE_HOST"):
        if os.environ.get(name):
            return name.partition("_")[0].lower()
    return next((kind for marker, kind in CONTAINERS.items() if os.path.exists(marker)), None)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _text(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None


def _lines(argv: Sequence[str]) -> list[str]:
    path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"
    program = shutil.which(argv[0], path=path)
    if program is None:
        return []
    try:
        done = subprocess.run([program, *argv[1:]], capture_output=True, text=True, timeout=QUERY_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.strip().splitlines() if done.returncode == 0 else []


def _first_line(argv: Sequence[str]) -> str | None:
    return next(iter(_lines(argv)), None)
