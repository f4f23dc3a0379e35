"""What Linux says of this process and of the processors that it may use. Elsewhere nothing is known, and nothing is made up."""

from __future__ import annotations

import contextlib
import os
import resource
import time
from collections.abc import Collection, Iterable
from pathlib import Path

__all__ = ["ProcessReadings", "busy_ticks", "named"]

IDLE = (3, 4)  # columns of a processor's line in /proc/stat: idle, and idle while something is read
GUEST = 8  # and those after it: counted among the others already


class ProcessReadings:
    """Reads counters of this process. A reading takes some 50 microseconds.

    Args:
      proc: where Linux shows them.
    Attributes:
      cpus: the processors that this process may use, as in `0-3,8`; an empty text where that is not known.
    """

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._mine: set[int] = set()
        with contextlib.suppress(AttributeError, OSError):  # not on every system
            self._mine = set(os.sched_getaffinity(0))
        self.cpus = named(self._mine)

    @property
    def cpu_s(self) -> float:
        """Processor seconds of all its threads."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return usage.ru_utime + usage.ru_stime

    @property
    def rss_bytes(self) -> int | None:
        """Memory that it holds now."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            return int((self._proc / "self" / "statm").read_text().split()[1]) * resource.getpagesize()
        return None

    @property
    def read_bytes(self) -> int | None:
        """Bytes that were fetched from disks and network file systems for it; what was in the page cache is not among them."""
        with contextlib.suppress(OSError, ValueError):
            for line in (self._proc / "self" / "io").read_text().splitlines():
                name, _, value = line.partition(":")
                if name == "read_bytes":
                    return int(value)
        return None

    @property
    def busy_s(self) -> float | None:
        """Seconds that its processors have worked, whoever for, added up over them."""
        try:
            with (self._proc / "stat").open() as lines:
                ticks = busy_ticks(lines, self._mine)
        except (OSError, ValueError):
            return None
        return ticks / os.sysconf("SC_CLK_TCK") if self._mine else None

    @staticmethod
    def clock() -> float:
        """Return seconds by the monotonic clock."""
        return time.monotonic()


def busy_ticks(lines: Iterable[str], cpus: Collection[int]) -> int:
    """Return how long some processors have worked, in the ticks of /proc/stat.

    >>> busy_ticks(["cpu  9 9", "cpu0 5 0 3 90 2 0 1 0 0 0", "cpu1 7 0 0 9 9 0 0 0 0 0", "intr 4"], {0})
    9
    """
    ticks = 0
    for line in lines:
        name, *columns = line.split()
        if not name.startswith("cpu"):
            break  # the long lines come after
        if name[3:].isdigit() and int(name[3:]) in cpus:
            ticks += sum(int(value) for column, value in enumerate(columns[:GUEST]) if column not in IDLE)
    return ticks


def named(cpus: Collection[int]) -> str:
    """Write numbers of processors as ranges, as the kernel does.

    >>> named({0, 1, 2, 8, 10, 11}), named([])
    ('0-2,8,10-11', '')
    """
    runs: list[list[int]] = []
    for cpu in sorted(cpus):
        if runs and cpu == runs[-1][-1] + 1:
            runs[-1][1:] = [cpu]
        else:
            runs.append([cpu])
    return ",".join("-".join(map(str, run)) for run in runs)
