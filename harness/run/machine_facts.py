"""What is there on a machine: Python, packages, Horovod, MPI, GPUs, memory. Asks other processes; loads no TensorFlow here.

Facts are gathered here and judged by `doctor.py`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import psutil

__all__ = ["Facts", "Probe", "gather"]

DISTRIBUTION = "exact-harness"  # what pip knows the harness as
PROBE_TIMEOUT_S = 120
PROBE = """
import json, tensorflow as tf
answer = {"gpus": len(tf.config.list_physical_devices("GPU"))}
try:
    import horovod.tensorflow as hvd
    answer.update(mpi=bool(hvd.mpi_built()), gloo=bool(hvd.gloo_built()), nccl=bool(hvd.nccl_built()))
except Exception as exc:
    answer["error"] = f"{type(exc).__name__}: {' '.join(str(exc).split())[:300]}"
print(json.dumps(answer))
"""
LIBRARY = """
import mpi4py
mpi4py.rc.initialize = mpi4py.rc.finalize = False
from mpi4py import MPI
print(MPI.Get_library_version().split(",")[0].strip())
"""


@dataclass(frozen=True)
class Probe:
    """What TensorFlow and Horovod said of themselves in a process of their own; `error` where Horovod cannot be loaded."""

    gpus: int = 0
    mpi: bool = False
    gloo: bool = False
    nccl: bool = False
    error: str = ""


@dataclass(frozen=True)
class Facts:
    """What was gathered of a machine."""

    python: tuple[int, int, int]
    versions: Mapping[str, str | None]  # distribution to version, None where it is not installed
    pins: Mapping[str, str]  # what this harness was made with
    probe: Probe
    horovodrun: str | None
    mpirun: str | None  # first line of `mpirun --version`
    mpi_library: str | None  # what mpi4py was built against
    gpu_devices: int
    cores: int
    memory_bytes: int
    disk_bytes: int
    root: bool
    environ: Mapping[str, str] = field(default_factory=dict)

    @property
    def ranks(self) -> bool:
        """Whether several ranks can be started."""
        return not self.probe.error and (self.probe.mpi or self.probe.gloo) and self.horovodrun is not None


def gather(gpu_devices: int) -> Facts:
    """Look at this machine."""
    names = (DISTRIBUTION, "tensorflow", "keras", "numpy", "horovod", "mpi4py", "setuptools")
    here = Path(sys.executable).parent
    path = f"{here}:{os.environ.get('PATH', '')}"
    mpirun = shutil.which("mpirun", path=path)
    versions = {name: _version(name) for name in names}
    return Facts(
        python=sys.version_info[:3],
        versions=versions,
        pins=_pins(),
        probe=_probe() if versions["tensorflow"] else Probe(error="TensorFlow is missing"),
        horovodrun=shutil.which("horovodrun", path=path),
        mpirun=_first_line([mpirun, "--version"]) if mpirun else None,
        mpi_library=_first_line([sys.executable, "-c", LIBRARY]) if versions["mpi4py"] else None,
        gpu_devices=gpu_devices,
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=_memory(),
        disk_bytes=shutil.disk_usage(".").free,
        root=os.geteuid() == 0,
        environ=dict(os.environ),
    )


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _pins() -> dict[str, str]:
    """Return the versions that the installed harness asks for."""
    try:
        requirements = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        requirements = []
    pairs = [text.split(";")[0].strip().partition("==") for text in requirements]
    return {name.lower(): version for name, sign, version in pairs if sign}


def _probe() -> Probe:
    env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    try:
        done = subprocess.run(
            [sys.executable, "-c", PROBE], env=env, capture_output=True, text=True, timeout=PROBE_TIMEOUT_S, check=False
        )
        return Probe(**json.loads(done.stdout.strip().split("\n")[-1]))
    except subprocess.TimeoutExpired:
        return Probe(error=f"loading TensorFlow and Horovod took more than {PROBE_TIMEOUT_S} s")
    except ValueError:
        lines = done.stderr.strip().split("\n")
        return Probe(error=f"the process ended with {done.returncode}: {lines[-1][:300]}")


def _first_line(argv: list[str]) -> str | None:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip().split("\n")[0] or None if done.returncode == 0 else None


def _memory() -> int:
    """Return the bytes that can be used: of the machine, and of the control group where that is less."""
    free = psutil.virtual_memory().available
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
    except (OSError, ValueError):
        return free  # no control groups, or of the older kind
    return free if limit == "max" else min(free, int(limit) - used)
