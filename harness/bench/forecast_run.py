"""Make a forecast: look at the job, run its pilots, measure the machine, predict. Effects are here, the model is pure."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from harness.bench.forecast import Forecast, forecast
from harness.bench.forecast_model import Machine, Size, Work
from harness.bench.pilot import Connected, Pilot, connect, run_pilot
from harness.bench.storage_probe import storage_bytes_s
from harness.errors import JobError, RunFolderError, UsageError
from harness.folder.run_folder import read_json
from harness.job.job import Job

__all__ = ["Wanted", "make_forecast", "sizes_of"]

BUSY = 0.5  # of the cores: from there on the load of others is said
MOST_PILOTS = 4  # numbers of threads that pilots are run with
MOST_RANKS = 1 << 20  # of a size: more than any machine has


@dataclass(frozen=True)
class Wanted:
    """What is asked for.

    Attributes:
      job: its file.
      ranks: sizes.
      overrides: of the job, as `--set` takes them.
      nodes_of: ranks that a node takes; None is one for each core.
      pilot: examples of the smaller pilot run.
      repeats: of the pilot.
      folder: where pilot runs are kept; None is a temporary one.
    """

    job: Path
    ranks: Sequence[int]
    overrides: Sequence[str] = ()
    nodes_of: int | None = None
    pilot: int = 2000
    repeats: int = 3
    folder: Path | None = None


def sizes_of(wanted: Wanted, cores: int) -> list[Size]:
    """Return the sizes that are asked for.

    Raises: UsageError: a number of ranks is none, or is said twice.

    >>> sizes_of(Wanted(Path("job.yaml"), (1, 8), nodes_of=4), 2)
    [Size(ranks=1, nodes_of=4), Size(ranks=8, nodes_of=4)]
    """
    sizes = set(wanted.ranks)
    if not sizes or min(sizes) < 1 or max(sizes) > MOST_RANKS or len(sizes) < len(wanted.ranks):
        listed = ", ".join(map(str, wanted.ranks))
        raise UsageError(f"--ranks: expected numbers of ranks from 1 to {MOST_RANKS:,}, each once, found {listed}")
    return [Size(ranks, wanted.nodes_of or cores) for ranks in sorted(wanted.ranks)]


def make_forecast(wanted: Wanted, say: Callable[[str], None] = lambda _: None) -> Forecast:
    """Forecast a job.

    Raises: JobError, DataError: the job or its data are wrong. UsageError: the sizes are. HarnessError: a pilot run failed.
    """
    cores = len(os.sched_getaffinity(0))
    gpus = len(list(Path("/dev").glob("nvidia[0-9]*")))
    sizes = sizes_of(wanted, min(cores, gpus or cores))
    job = Job.load(wanted.job, wanted.overrides)
    work, paths = _look(job)
    threads = _pilot_threads(sizes, cores)
    load = os.getloadavg()[0]
    with _folder(wanted.folder) as place:
        pilot = Pilot(wanted.job, wanted.overrides, Path(place), work.examples, say)
        pilots = {number: run_pilot(pilot, wanted.pilot, number, wanted.repeats) for number in threads}
        first = Path(place) / f"threads-{threads[0]}-first"
        run, limits = read_json(first / "run.json"), read_json(first / "limits.json")
    connected = connect() if sizes[-1].ranks > 1 else Connected()
    machine = Machine(
        cores,
        _memory_bytes(),
        storage_bytes_s(paths),
        connected.seconds,
        connected.busy,
        connected.size_bytes,
        1 if any("GPU" in device for device in run["attempts"][-1]["ranks"][0]["devices"]) else 0,
    )
    sum_bytes = int(limits["sum_bytes"]) if isinstance(limits, dict) else 0
    work = Work(work.examples, work.chunks, work.chunk_size, _whole_sum(sum_bytes, run, work), work.size_bytes)
    notes = [connected.reason] if connected.reason else []
    if load > BUSY * cores:
        where = f"a load of {load:.1f} on {cores} cores"
        notes.append(f"the machine did other things when the pilots began, {where}: the times are those of then")
    if len({size.threads(cores) for size in sizes}) > len(threads):
        notes.append(f"pilots ran with {', '.join(map(str, threads))} threads; sizes with others use the nearest of these")
    return forecast(pilots, sizes, work, machine, prices=(run.get("cost") or {}).get("prices"), notes=notes)


def _look(job: Job) -> tuple[Work, list[str]]:
    """Open the data of a job; return what is to be done, and the files."""
    from harness.prepare.opened import open_data

    plan = open_data(job).plan
    if plan.examples < 2:
        raise JobError(f"a forecast needs at least 2 examples to tell what an example takes, the job has {plan.examples}")
    sizes = [file.size_bytes for file in plan.files]
    whole = sum(file.examples for file in plan.files)
    is_whole = job.data.limit is None and job.data.sample is None  # else the sizes are of files that are not read whole
    known = sum(sizes) * plan.examples // whole if all(sizes) and whole and is_whole else None
    return Work(plan.examples, len(plan), plan.chunk_size, 0, known), [file.path for file in plan.files]


def _pilot_threads(sizes: Sequence[Size], cores: int) -> list[int]:
    """Return the numbers of threads that ranks of these sizes have, those of the most ranks first.

    >>> _pilot_threads([Size(1, 4), Size(2, 4), Size(4, 4)], 2)
    [1, 2]
    """
    return sorted({size.threads(cores) for size in sizes})[:MOST_PILOTS]


def _whole_sum(sum_bytes: int, run: Any, work: Work) -> int:
    """Return the bytes of the final sum of the whole job: a pilot has fewer chunks, each a line of the certificate.

    The certificate's table has 8 numbers of 8 bytes a chunk.
    """
    return max(0, sum_bytes + 64 * (work.chunks - run["plan"]["chunks"]))


def _folder(folder: Path | None) -> AbstractContextManager[Any]:
    if folder is None:
        return TemporaryDirectory(prefix="harness-forecast-")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise RunFolderError(f"{folder}: cannot be made: {exc.strerror}; choose another folder with -o") from exc
    return nullcontext(folder)


def _memory_bytes() -> int:
    """Return the memory of the machine, or of the control group where that is less."""
    whole = int(psutil.virtual_memory().total)
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
    except OSError:
        return whole
    return whole if limit == "max" else min(whole, int(limit))
