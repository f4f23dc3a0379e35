"""Counting files: all ranks against one of them, turn by turn between the same ranks, each on a core of its own.

    horovodrun -np 2 python -m benchmarks.counting OUT.json FOLDER ROUNDS MIB FORMAT...

is what `measure` starts.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.launched import measured_by_ranks
from benchmarks.turns import median_ratio, timed

__all__ = ["FORMATS", "Counting", "add_arguments", "answer", "measure", "table"]

RECORD = bytes(range(256)) * 4
ROW = "0.123456789," * 80 + '"a text, with a\nnewline"\n'
BLOCK = 1 << 22  # bytes written at a time


@dataclass(frozen=True)
class Counting:
    """What it took to count one file, round by round.

    Attributes:
      kind: the format.
      size_bytes: of the file.
      pieces: that it was cut into.
      one_s, all_s: seconds of one rank, and of all.
      one_cpu_s, all_cpu_s: processor seconds of the one rank, and of the busiest of all.
    """

    kind: str
    size_bytes: int
    pieces: int
    one_s: Sequence[float]
    all_s: Sequence[float]
    one_cpu_s: Sequence[float]
    all_cpu_s: Sequence[float]

    @property
    def ratio(self) -> float:
        """How many times as fast all ranks are: the median over the rounds."""
        return median_ratio(self.one_s, self.all_s)

    @property
    def cpu_ratio(self) -> float:
        """The same in processor time, of the least that a round took: other work, and the message layer's threads, only add."""
        return min(self.one_cpu_s) / min(self.all_cpu_s)

    def document(self) -> dict[str, Any]:
        """Return everything as JSON can hold it."""
        return {**asdict(self), "ratio": self.ratio, "cpu_ratio": self.cpu_ratio}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what can be asked."""
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS))
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--mib", type=int, default=1024, help="size of the file")
    parser.add_argument("--rounds", type=int, default=5)


def answer(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """Measure the formats.

    Returns: raw values and a table.
    """
    found = measure(options.folder, ranks=options.ranks, rounds=options.rounds, mib=options.mib, kinds=options.formats)
    return {"ranks": options.ranks, "formats": [one.document() for one in found]}, table(found)


def measure(folder: Path, *, ranks: int, rounds: int, mib: int, kinds: Sequence[str]) -> list[Counting]:
    """Write the files, start the ranks, and read what they measured."""
    folder.mkdir(parents=True, exist_ok=True)
    for kind in kinds:
        _write(kind, folder, mib)
    found = measured_by_ranks("counting", folder / "counting.json", ranks, folder, rounds, mib, *kinds)
    return [Counting(**document) for document in found]


def table(countings: Sequence[Counting]) -> str:
    """Return a table in Markdown."""
    lines = [
        "| format | GiB | pieces | one rank, s | all ranks, s | all / one | in processor time |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for counting in countings:
        one_s, all_s = statistics.median(counting.one_s), statistics.median(counting.all_s)
        lines.append(
            f"| {counting.kind} | {counting.size_bytes / 2**30:.1f} | {counting.pieces} | {one_s:.2f} | {all_s:.2f} | "
            f"{counting.ratio:.2f} | {counting.cpu_ratio:.2f} |"
        )
    return "\n".join(lines)


def _write(kind: str, folder: Path, mib: int) -> Path:
    path = folder / f"counting-{mib}.{kind}"
    if path.exists():
        return path
    head, unit = FORMATS[kind]()
    block = unit * (BLOCK // len(unit))
    scratch = path.with_name(f".{path.name}")
    with open(scratch, "wb") as stream:
        stream.write(head)
        while stream.tell() < mib << 20:
            stream.write(block)
    scratch.rename(path)
    return path


def _tfrecord() -> tuple[bytes, bytes]:
    from harness.data.tfrecord_framing import frame

    return b"", frame(RECORD)


def _csv() -> tuple[bytes, bytes]:
    return (",".join(f"x{number}" for number in range(81)) + "\n").encode(), ROW.encode()


def _jsonl() -> tuple[bytes, bytes]:
    return b"", (json.dumps({"x": [0.123456789] * 80}) + "\n").encode()


# Bytes at the beginning, and those that are repeated.
FORMATS: Mapping[str, Callable[[], tuple[bytes, bytes]]] = {"tfrecord": _tfrecord, "csv": _csv, "jsonl": _jsonl}


def _worker(out: Path, folder: Path, rounds: int, mib: int, kinds: Sequence[str]) -> None:
    """Count on one rank, then on all, so many times; rank 0 writes down what that took."""
    from harness.job.job import Job
    from harness.prepare.opened import survey
    from harness.ranks.comm import SingleComm, World
    from harness.ranks.exchange import gather
    from harness.run.consensus import connect
    from harness.run.counting import count

    comm = connect(World.from_environment())
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[comm.local_rank % len(cores)]})
    cache, model = folder / "counting-cache", folder / "counting.tflite"
    if comm.rank == 0:
        model.write_bytes(b"")
    os.environ["HARNESS_CACHE"] = str(cache)
    found = []
    for kind in kinds:
        path = _write(kind, folder, mib)
        job = Job.from_dict({"model": str(model), "metrics": ["accuracy"], "data": {"files": str(path), "format": kind}})

        def counted(team: Any, job: Any = job) -> tuple[float, float]:
            if comm.rank == 0:
                shutil.rmtree(cache, ignore_errors=True)
            comm.barrier()
            # Who is not of the team waits below.
            elapsed_s, cpu_s, _ = timed(lambda: team.rank == comm.rank and count(team, job, lambda: survey(job)))
            comm.barrier()
            return elapsed_s, cpu_s

        alone, together = [], []
        for _ in range(rounds + 1):
            alone.append(gather(comm, counted(SingleComm()))[0])
            together.append(tuple(map(max, zip(*gather(comm, counted(comm)), strict=True))))
        spans = survey(job).counts[0].way.spans
        one_s, one_cpu_s = zip(*alone[1:], strict=True)  # the first round is not counted: it brings the file into memory
        all_s, all_cpu_s = zip(*together[1:], strict=True)
        found.append(Counting(kind, path.stat().st_size, len(spans), one_s, all_s, one_cpu_s, all_cpu_s))
    if comm.rank == 0:
        out.write_text(json.dumps([asdict(counting) for counting in found]))
    comm.close()


if __name__ == "__main__":
    _worker(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5:])
