"""The index of very many records: seconds from the cache to a plan on every rank, and what a node's ranks hold in memory.

The files are sparse: they have the size of so many records, and take no room. What a pass would find in them is put into the
cache by the code that thins out a pass; all that follows is what a run does. `measure` starts

    horovodrun -np 2 python -m benchmarks.indexing OUT.json FOLDER RECORDS...
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.launched import measured_by_ranks, run_silently

__all__ = ["Indexing", "Memory", "add_arguments", "answer", "measure", "table"]

FILES = 16
RECORD_BYTES = 1016  # a kilobyte, and its frame
BLOCK = 1 << 20  # records whose offsets are thinned out at a time
SHARES = (None, 0.1)  # of the examples, that are drawn
LONG_AGO = 10**9


@dataclass(frozen=True)
class Memory:
    """What a rank holds, in bytes.

    Attributes:
      own: anonymous memory, more than before.
      peak: of resident memory, more than before.
      index, index_share: resident pages of the mapped index; and where each page is divided among those who map it.
    """

    own: int
    peak: int
    index: int
    index_share: int


@dataclass(frozen=True)
class Indexing:
    """What it took to open a job on all ranks.

    Attributes:
      records: of all files.
      share: of the examples, that was drawn; None is all.
      chunks: of the plan.
      index_bytes: on disk.
      elapsed_s: of the slowest rank, from the cache to the plan and its share of it.
      cpu_s: processor seconds of the busiest rank.
      ranks: what each holds.
    """

    records: int
    share: float | None
    chunks: int
    index_bytes: int
    elapsed_s: float
    cpu_s: float
    ranks: Sequence[Memory]

    def document(self) -> dict[str, Any]:
        """Return everything as JSON can hold it."""
        return asdict(self)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what can be asked."""
    parser.add_argument("--records", type=int, nargs="+", default=[10**7, 10**8, 10**9], help="of sparse files")
    parser.add_argument("--ranks", type=int, default=2)


def answer(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """Measure some numbers of records.

    Returns: raw values and a table.
    """
    openings = measure(options.folder, records=options.records, ranks=options.ranks)
    return {"ranks": options.ranks, "openings": [one.document() for one in openings]}, table(openings)


def measure(folder: Path, *, records: Sequence[int], ranks: int) -> list[Indexing]:
    """Write the files, start the ranks, and read what they measured."""
    place = folder / "indexing"
    place.mkdir(parents=True, exist_ok=True)
    environment = {"HARNESS_CACHE": str(place / "cache")}
    run_silently([sys.executable, "-m", "benchmarks.indexing", "prepare", str(place), *map(str, records)], **environment)
    documents = measured_by_ranks("indexing", place / "indexing.json", ranks, place, *records, **environment)
    return [Indexing(**{**document, "ranks": [Memory(**rank) for rank in document["ranks"]]}) for document in documents]


def table(indexings: Sequence[Indexing]) -> str:
    """Return a table in Markdown; of ranks the largest."""
    lines = [
        "| records | drawn | chunks | opened, s | processor, s | index on disk, MB | resident in a rank, MB | in the whole node, MB "
        "| a rank's own, MB more | peak, MB more |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for found in indexings:
        drawn = "all" if found.share is None else f"{found.share:g}"
        sizes = [
            found.index_bytes,
            max(rank.index for rank in found.ranks),
            sum(rank.index_share for rank in found.ranks),
            max(rank.own for rank in found.ranks),
            max(rank.peak for rank in found.ranks),
        ]
        figures = " | ".join(f"{size / 1e6:.1f}" for size in sizes)
        lines.append(
            f"| {found.records:,} | {drawn} | {found.chunks:,} | {found.elapsed_s:.2f} | {found.cpu_s:.2f} | {figures} |"
        )
    return "\n".join(lines)


def _paths(folder: Path, records: int) -> list[Path]:
    return [folder / f"{records}-{number:02}.tfrecord" for number in range(FILES)]


def _prepare(folder: Path, records: int) -> None:
    """Write sparse files, and what a pass over them would find."""
    from harness.data.pass_cache import Entry
    from harness.data.record_index import RecordIndex
    from harness.data.tfrecord_index import TFRecordPass

    size = records // FILES * RECORD_BYTES
    numbers = RecordIndex.of(_offsets(records // FILES)).pack()
    for path in _paths(folder, records):
        with open(path, "wb") as stream:
            stream.truncate(size)
        os.utime(path, (LONG_AGO, LONG_AGO))
        Entry.of(str(path), TFRecordPass(str(path), size).kind).store(numbers)


def _offsets(records: int) -> Iterator[np.ndarray]:
    """Yield where records begin, and the end, as a pass does."""
    for first in range(0, records + 1, BLOCK):
        yield np.arange(first, min(first + BLOCK, records + 1), dtype=np.int64) * RECORD_BYTES


def _sizes(name: str, ending: str = "") -> dict[str, int]:
    """Return the bytes of each kind that Linux says of this process; of files with an ending, where one is named."""
    sizes = dict.fromkeys(("Rss", "Pss", "Size"), 0)
    counted = not ending
    for line in Path(f"/proc/self/{name}").read_text().splitlines():
        words = line.split()
        if words[-1] == "kB" and counted:
            sizes[words[0][:-1]] = sizes.get(words[0][:-1], 0) + int(words[1]) * 1024
        elif ending and "-" in words[0]:
            counted = words[-1].endswith(ending)
    return sizes


def _opened(comm: Any, job: Any) -> Any:
    """Open a job as a run does."""
    from harness.prepare.opened import survey
    from harness.run.counting import count
    from harness.run.opening import open_on_all

    counted = count(comm, job, lambda: survey(job))
    return open_on_all(comm, lambda: counted.open(job))


def _open(comm: Any, folder: Path, records: int, share: float | None) -> Indexing:
    """Open a job and share it out, and look at this process before and after."""
    from harness.job.job import Job
    from harness.ranks.exchange import gather
    from harness.ranks.schedule import assign

    files = [str(path) for path in _paths(folder, records)]
    data = {"files": files, "format": "tfrecord", **({} if share is None else {"sample": share})}
    job = Job.from_dict({"model": {"python": "math:sqrt"}, "metrics": ["accuracy"], "data": data})
    gc.collect()  # what an earlier job has mapped
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = _sizes("smaps_rollup")
    comm.barrier()
    start, cpu_start = time.perf_counter(), time.process_time()
    plan = (opened := _opened(comm, job)).plan
    assigned = assign(comm, plan, np.arange(len(plan)), None)
    elapsed_s, cpu_s = time.perf_counter() - start, time.process_time() - cpu_start
    comm.barrier()  # pages are shared when all have mapped them
    after, index, peak = _sizes("smaps_rollup"), _sizes("smaps", ".index"), _sizes("status")["VmHWM"]
    own = after["Anonymous"] - before["Anonymous"]
    memory = Memory(own, peak - before["Rss"], index["Rss"], index["Pss"])
    times_s, cpu_times_s, ranks = zip(*gather(comm, (elapsed_s, cpu_s, memory)), strict=True)
    assigned.share.close()
    if assigned.counter is not None:
        assigned.counter.close()
    del opened  # mapped until here
    return Indexing(records, share, len(plan), index["Size"], max(times_s), max(cpu_times_s), ranks)


def _worker(out: Path, folder: Path, records: Sequence[int]) -> None:
    from harness.ranks.comm import World
    from harness.run.consensus import connect

    comm = connect(World.from_environment())
    _open(comm, folder, records[0], None)  # brings in what is loaded late
    found = [_open(comm, folder, count, share) for share in SHARES for count in records]
    if comm.rank == 0:
        out.write_text(json.dumps([indexing.document() for indexing in found]))
    comm.close()


if __name__ == "__main__":
    if sys.argv[1] == "prepare":
        for count_ in sys.argv[3:]:
            _prepare(Path(sys.argv[2]), int(count_))
    else:
        _worker(Path(sys.argv[1]), Path(sys.argv[2]), [int(count_) for count_ in sys.argv[3:]])
