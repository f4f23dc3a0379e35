"""What of a machine a process may use: cores, GPUs; and how much processor time it has used."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

__all__ = ["Allocation", "allocated_cores", "allocation", "machine_id", "processor_s"]

CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Allocation:
    """What one process may use of its machine.

    Attributes:
      machine: tells machines apart, also where several hosts, containers say, are on one of them.
      host: its name.
      cores: numbers of those on which the process may run, as the system counts them.
      limit: how many cores the scheduler gave the job on this host, or the control group allows; None where neither says.
      machine_cores: of the whole machine.
      gpu_count: how many GPUs it computes on.
      gpus: their UUIDs; empty where they are not known.
      reason: why they are not.
    """

    machine: str
    host: str
    cores: tuple[int, ...]
    limit: float | None
    machine_cores: int
    gpu_count: int = 0
    gpus: tuple[str, ...] = ()
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Allocation:
        """Read what `to_dict` returned."""
        return cls(**{**raw, "cores": tuple(raw["cores"]), "gpus": tuple(raw["gpus"])})


def allocation(environ: Mapping[str, str] = os.environ, cgroup: Path = CGROUP) -> Allocation:
    """Look at this process and its machine; of GPUs it knows nothing yet.

    Args:
      environ: of the process.
      cgroup: where control groups are shown.
    """
    given = environ.get("SLURM_CPUS_ON_NODE", "")
    limit = float(given) if given.isdigit() and int(given) else _quota(cgroup)
    cores = tuple(sorted(os.sched_getaffinity(0)))
    return Allocation(machine_id(), socket.gethostname(), cores, limit, os.cpu_count() or len(cores))


def allocated_cores(allocations: Sequence[Allocation]) -> float:
    """Return how many cores some processes of one machine may use together.

    >>> one = Allocation("m", "n1", (0, 1), None, 8)
    >>> two = Allocation("m", "n1", (1, 2), None, 8)
    >>> allocated_cores([one, two])
    3.0
    >>> allocated_cores([Allocation("m", "n1", (0, 1), 1.5, 8)])
    1.5
    >>> allocated_cores([Allocation("m", "n1", (0, 1), 4.0, 8)])  # bound to two of the four that Slurm gave the job
    4.0
    """
    cores = 0.0
    for host in dict.fromkeys(each.host for each in allocations):
        here = [each for each in allocations if each.host == host]
        limits = [each.limit for each in here if each.limit is not None]
        bound = len({core for each in here for core in each.cores})
        cores += max(limits) if limits else bound
    return min(cores, float(max(each.machine_cores for each in allocations)))


def machine_id(path: Path = Path("/proc/sys/kernel/random/boot_id")) -> str:
    """Return what tells this machine from others: the kernel's number of its last start, else the host's name."""
    try:
        return path.read_text().strip() or socket.gethostname()
    except OSError:
        return socket.gethostname()


def processor_s() -> float:
    """Return the seconds of processor time that this process, and the children it has waited for, have used."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _quota(cgroup: Path) -> float | None:
    """Return how many cores the control group allows; None where it does not say."""
    try:
        if match := re.fullmatch(r"(\d+) (\d+)\s*", (cgroup / "cpu.max").read_text()):
            return int(match[1]) / int(match[2])
    except (OSError, ZeroDivisionError):
        pass
    try:  # of the older kind
        quota, period = (int((cgroup / "cpu" / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
    except (OSError, ValueError):
        return None
    return quota / period if quota > 0 and period > 0 else None
