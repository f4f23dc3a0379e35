"""A world too large for this machine: 4,096 ranks and 10^9 examples, without a model.

The plan, every rank's share, the certificate, a journal of segments and the sum of all ranks' vectors are made with the
harness's own code, one rank after the other. Time and memory are measured. What the final sum would take on a cluster is
extrapolated: latency and bandwidth of an allreduce are fitted to what `reduction` measured between ranks here, and put
into the model that `harness forecast` has too.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from benchmarks import metadata, report
from harness.bench.collective import allreduce_s

__all__ = ["Simulated", "add_arguments", "allreduce_s", "answer", "fit", "measure", "table"]

STATE = 1 << 16  # integers of a state: some metrics with a hundred slices
SEGMENTS = 16  # of each rank


@dataclass(frozen=True)
class Simulated:
    """What was simulated, and seconds by step."""

    ranks: int
    examples: int
    chunks: int
    seconds: Mapping[str, float]
    peak_bytes: int
    sum_bytes: int

    def document(self) -> dict[str, Any]:
        """Return everything as JSON can hold it."""
        return asdict(self)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what can be asked."""
    parser.add_argument("--ranks", type=int, default=4096)
    parser.add_argument("--examples", type=int, default=10**9)


def answer(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """Simulate the world; extrapolate its final sum where the newest results hold a measured one.

    Returns: raw values and a table.
    """
    found = measure(ranks=options.ranks, examples=options.examples)
    worlds = [metadata.count(ranks) for ranks in sorted({1, 100, options.ranks})]
    document = found.document() | {"metadata": [world.document() for world in worlds]}
    lines = f"{table(found)}\n\n{metadata.table(worlds)}"
    measured = report.load(options.results).get("reduction")
    if measured is not None:
        bare = {int(size): sorted(seconds)[len(seconds) // 2] for size, seconds in measured["reduction"]["bare"].items()}
        latency_s, byte_s = fit(list(bare), list(bare.values()))
        sum_s = allreduce_s(found.ranks, found.sum_bytes, latency_s, byte_s)
        document |= {"latency_s": latency_s, "byte_s": byte_s, "allreduce_s": sum_s, "fitted_to": measured["file"]}
        lines += (
            f"\n\nExtrapolated, not measured: with the {1e6 * latency_s:.0f} us a step and {1e-9 / byte_s:.1f} GB/s fitted to "
            f"MPI_Allreduce between two ranks here, the final sum of {found.ranks:,} ranks takes {1e3 * sum_s:.1f} ms."
        )
    return document, lines


def measure(*, ranks: int, examples: int, batch_size: int = 256) -> Simulated:
    """Simulate a world."""
    from harness.plan.certificate import Certificate
    from harness.plan.plan import File, Plan, default_chunk_size
    from harness.ranks.schedule import static_share

    seconds: dict[str, float] = {}

    def timed(name: str, function: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        found = function()
        seconds[name] = time.perf_counter() - start
        return found

    files = tuple(File(f"part-{i:05}", 0, examples // 1000) for i in range(1000))
    plan = Plan(files, batch_size, default_chunk_size(examples, batch_size))
    chunks = timed("plan", lambda: len(plan))
    share = timed("one rank's share", lambda: static_share(plan, ranks // 2, ranks))
    shares = [len(static_share(plan, rank, ranks)) for rank in range(0, ranks, max(1, ranks // 16))]
    if max(shares) - min(shares) > 1:
        raise RuntimeError(f"shares differ by {max(shares) - min(shares)} chunks")
    mine = Certificate(plan)
    timed("one rank's hashes, to be certified", lambda: mine.expect(share))

    whole = Certificate(plan)
    timed("all hashes", lambda: whole.expect(plan[i] for i in range(chunks)))

    def lines(first: int, last: int) -> np.ndarray:
        count = np.diff(plan.bounds)[first:last]
        hashes, none = plan.id_hashes(first, last), np.zeros(last - first, np.int64)
        return np.stack([np.arange(first, last), count, hashes, count, none, none, hashes, none], axis=1)

    every = lines(0, chunks)
    timed("certificate of all chunks", lambda: (whole.add(every), whole.problems()))
    if whole.problems():
        raise RuntimeError("\n".join(whole.problems()))

    vector = np.ones(STATE + whole.table.size, np.int64)

    def add_up() -> np.ndarray:
        total = np.zeros_like(vector)
        for _ in range(ranks):
            total += vector
        return total

    total = timed("sum of all ranks' vectors, in one process", add_up)
    if not (total == ranks).all():
        raise RuntimeError("the sum is wrong")
    timed("union of the journals", lambda: _unite(plan, ranks, chunks, every))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Simulated(ranks, examples, chunks, seconds, peak, vector.nbytes)


def _unite(plan: Any, ranks: int, chunks: int, lines: np.ndarray) -> None:
    """Unite the segments that the ranks of an earlier attempt have committed."""
    from dataclasses import fields

    from harness.folder.journal import Found, unite
    from harness.folder.segment import Name, Origin

    origin = Origin(**dict.fromkeys((field.name for field in fields(Origin)), ""))
    bounds = np.linspace(0, chunks, ranks * SEGMENTS + 1).astype(np.int64)
    found = [
        Found(str(Name(1, number // SEGMENTS, number % SEGMENTS)), origin, lines[start:stop])
        for number, (start, stop) in enumerate(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True))
    ]
    united = unite(found, plan)
    if len(united.done) != chunks or united.warnings:
        raise RuntimeError(f"the journals hold {len(united.done)} chunks of {chunks}: {united.warnings[:3]}")


def fit(sizes: Sequence[int], seconds: Sequence[float]) -> tuple[float, float]:
    """Fit the latency of a step (s) and the time of a byte (s) to allreduces between two ranks."""
    # Between two ranks there are 2 steps, and 2 x 1/2 of the bytes are sent. Weighted, so that small sizes count too.
    matrix = np.stack([np.full(len(sizes), 2.0), np.asarray(sizes, float)], axis=1)
    weights = 1 / np.asarray(seconds)
    (latency, per_byte), *_ = np.linalg.lstsq(matrix * weights[:, None], np.asarray(seconds) * weights, rcond=None)
    return float(max(latency, 0)), float(max(per_byte, 0))


def table(found: Simulated) -> str:
    """Write seconds as lines of a Markdown table."""
    lines = [
        f"{found.ranks:,} ranks, {found.examples:,} examples, {found.chunks:,} chunks; "
        f"the final sum has {found.sum_bytes / 2**20:.1f} MiB; peak {found.peak_bytes / 2**20:,.0f} MiB",
        "",
        "| step | seconds |",
        "| --- | ---: |",
    ]
    return "\n".join([*lines, *(f"| {name} | {s:.3f} |" for name, s in found.seconds.items())])
