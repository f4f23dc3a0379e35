"""The monitor that a job asks for: looked at before any work, opened by all ranks together, told of by the heartbeat."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from functools import partial
from pathlib import Path
from typing import Any

from harness.errors import JobError
from harness.folder.run_folder import RunFolder, read_json
from harness.job.job import Job
from harness.machine.energy import joules
from harness.machine.meter import Meter
from harness.prepare.opened import Opened
from harness.run.consensus import together
from harness.run.record import Process
from harness.version import __version__
from harness.watch.failure import Told
from harness.watch.monitor import Monitor, NoMonitor, Subject
from harness.watch.monitor_metrics import Whole
from harness.watch.monitor_pages import MISSING, HttpPage, check_writable
from harness.watch.node_beats import NodeBeats
from harness.watch.ranks_file import Attempted

__all__ = ["check_monitor", "check_monitored_places", "last_rate", "open_monitor"]

LOOKED_AT = 100  # runs that lie beside this one
DIGITS = 12  # of a digest


def check_monitor(job: Job) -> None:
    """See that Prometheus can be told what a job asks for.

    Raises: JobError: what writes its format is not installed.
    """
    if job.monitor is not None and importlib.util.find_spec("prometheus_client") is None:
        raise JobError(f"monitor: {MISSING}")


def check_monitored_places(job: Job, *, first_of_node: bool) -> None:
    """See, on the machine that evaluates, that the folder can be written to and the port had: before a run is begun.

    Raises: UsageError: they cannot.
    """
    if job.monitor is None or not first_of_node:
        return
    if job.monitor.port is not None:
        HttpPage(job.monitor.address, job.monitor.port, list).close()
    if (folder := _text_folder(job)) is not None:
        check_writable(folder)


def _text_folder(job: Job) -> Path | None:
    textfile = job.monitor.textfile if job.monitor else None
    return Path(job.resolve(textfile)).absolute() if textfile else None


def last_rate(job: Job, folder: RunFolder, size: int) -> float | None:
    """Return how many examples a second the last run of a job evaluated, among those that lie beside a run; on rank 0.

    Args:
      folder: of the run, which may hold an earlier one.
      size: ranks; a run on another number is passed over.
    """
    newest: tuple[float, float] | None = None
    with contextlib.suppress(OSError):
        names = sorted(os.listdir(folder.path.parent))[:LOOKED_AT] if job.monitor is not None else []
        for name in {*names, folder.path.name} if names else ():
            if (rate := _rate(RunFolder(folder.path.parent / name), job.digest, size)) and (newest is None or rate > newest):
                newest = rate
    return newest[1] if newest else None


def _rate(folder: RunFolder, digest: str, size: int) -> tuple[float, float] | None:
    """Return when a run was done, and its rate; None of another job, or of no run."""
    try:
        time_s = folder.metrics_json.stat().st_mtime
        metrics: Any = read_json(folder.metrics_json)
        run: Any = read_json(folder.run_json)
        attempt = run["attempts"][-1]
        if metrics["digests"]["job"] != digest or attempt["size"] != size:
            return None
        return time_s, float(attempt["examples_per_s"])
    except (OSError, KeyError, IndexError, TypeError, ValueError):
        return None


def open_monitor(
    process: Process,
    job: Job,
    opened: Opened,
    subject: tuple[RunFolder, Attempted],
    *,
    stall_timeout_s: float,
    last: float | None,
) -> NoMonitor:
    """Open the monitor of a job. A collective.

    Args:
      process: this rank.
      subject: the run folder, and what the attempt is at.
      stall_timeout_s: see `Heartbeat`.
      last: see `last_rate`.
    Raises: Told: a rank cannot.
    """
    if job.monitor is None:
        return NoMonitor()
    spec, comm = job.monitor, process.comm
    folder, attempted = subject
    whole = Whole(
        attempt=attempted.attempt,
        ranks=comm.size,
        examples=attempted.examples,
        chunks=attempted.chunks,
        earlier_chunks=attempted.earlier_chunks,
        name=job.name,
        model=Path(opened.model_path).name,
        job_digest=job.digest[:DIGITS],
        version=__version__,
        last_examples_per_s=last,
    )
    monitored = Subject(folder.path, stall_timeout_s, whole, partial(_joules, process.timer.meter))
    text_folder = _text_folder(job)
    node = NodeBeats.meet(comm)
    monitors: list[Monitor] = []

    def work() -> None:
        monitors.append(Monitor.open(node, monitored, comm.rank, spec, text_folder))

    try:
        together(comm, work)
    except Told:
        for monitor in monitors:
            monitor.close(forget=True)
        raise
    return monitors[0]


def _joules(meter: Meter | None) -> dict[str, float]:
    """Return by device what was used so far; what cannot be read is left out."""
    devices = meter.readings().devices if meter is not None else ()
    return {device.device: used for device in devices if (used := joules(device.total_uj)) is not None}
