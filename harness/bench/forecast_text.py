"""A forecast as it is printed, and the Slurm request that it comes to. Pure."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from pathlib import Path

from harness.bench.forecast import Forecast, Predicted

__all__ = ["request", "shown"]

SPARE = 1.5  # times the high end of the time, and of memory, that Slurm is asked for
LEAST_MINUTES = 5
COLUMNS = (
    "ranks", "nodes", "time", "95 %", "start-up", "compiling", "examples", "final sum", "writing", "memory/rank", "energy",
    "price",
)  # fmt: skip


def shown(forecast: Forecast, words: Sequence[str]) -> str:
    """Return the forecast as text.

    Args:
      words: of the request.
    """
    rows = [COLUMNS, *(_row(size, forecast.currency) for size in forecast.sizes)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    work = forecast.work
    node = f"{forecast.sizes[0].size.nodes_of} ranks a node at most, {forecast.machine.cores} cores"
    lines += ["", f"{work.examples:,} examples in {work.chunks:,} chunks; {node}"]
    stop = forecast.stop
    if stop is None:
        lines.append("more ranks pay up to the largest size")
    else:
        lines.append(f"more than {stop.ranks:,} rank{'s do' if stop.ranks > 1 else ' does'} not pay: {stop.reason}")
    lines += ["", "Not known, or taken for granted:", *(f"- {note}" for note in forecast.notes)] if forecast.notes else []
    return "\n".join([*lines, "", "The Slurm request of the best of these sizes:", f"  harness {shlex.join(words)}"])


def _row(size: Predicted, currency: str) -> tuple[str, ...]:
    between = "-" if size.low_s is None or size.high_s is None else f"{_time(size.low_s)} to {_time(size.high_s)}"
    parts = [_time(seconds) for seconds in size.terms.parts.values()]
    energy = "-" if size.joules is None else f"{size.joules / 3600:,.1f} Wh"
    money = "-" if size.money is None else f"{size.money:,.4f} {currency}".rstrip()
    return (
        f"{size.size.ranks:,}", f"{size.size.nodes:,}", _time(size.terms.total_s), between, *parts,
        f"{size.rank_bytes / 2**30:.2f} GiB", energy, money,
    )  # fmt: skip


def _time(seconds: float) -> str:
    """Write seconds for people.

    >>> _time(0.0004), _time(12.34), _time(754.0), _time(7300.0)
    ('0.00 s', '12.3 s', '12:34 min', '2:01 h')
    """
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 120:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02d} h"


def request(forecast: Forecast, job: Path, overrides: Sequence[str] = (), partition: str | None = None) -> list[str]:
    """Return the words of `harness submit`, without `harness`, for the best size.

    The time is half as much again as the high end of the forecast; a run that reaches its limit goes on in the next start.
    """
    best = forecast.best
    size, seconds = best.size, best.high_s or 2 * best.terms.total_s
    minutes = max(LEAST_MINUTES, math.ceil(SPARE * seconds / 60))
    gibibytes = math.ceil(SPARE * best.rank_bytes * size.on_node / 2**30)
    words = ["submit", str(job), *(word for override in overrides for word in ("--set", override))]
    words += ["--nodes", str(size.nodes), "--ntasks", str(size.ranks), "--ntasks-per-node", str(size.on_node)]
    words += ["--cpus-per-task", str(size.threads(forecast.machine.cores)), "--mem", f"{gibibytes}G"]
    words += ["--gpus-per-task", "1"] if forecast.machine.gpus_per_rank else []
    words += ["--time", f"{minutes // 60:02d}:{minutes % 60:02d}:00", *(["--partition", partition] if partition else [])]
    return words
