"""How a run ran: ranks, time, memory, attempts, versions. All that differs from run to run is in this section."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from harness.names.urls import shown
from harness.report.drawing import INK, SERIES, new_figure, plain, style, svg
from harness.report.endpoint_latency import latency_figure, latency_over_time
from harness.report.sections import Figure, Section
from harness.report.subjects import Reported, Subject
from harness.results.cost_tables import cost_table, device_table
from harness.results.slice_latency import slice_latency_table
from harness.results.tables import TextTable

__all__ = ["Ran", "running_section"]

MOST_RANKS = 48  # that are drawn: of more those that were busy longest and shortest
LONGEST_JOB = 20_000  # letters
SLOW = 1.25  # times the median that a straggler is busy
PARTS = ("start", "compiling", "reading", "predicting", "other", "waiting", "reducing", "writing")


@dataclass(frozen=True)
class Ran:
    """How one run ran.

    Attributes:
      name: of the run.
      facts: what is known of its last attempt, by name.
      figure: where the time of each rank went; None where the run does not say.
      attempts: one a line, where there are several.
      versions: of software, by name.
      job: its keys, as JSON.
      cost: what all attempts used and cost; None where the run does not say.
      remarks: on that: what is not measured or not counted, and why.
      devices: their energy by phase, in the last attempt; None where none was measured.
      latency: of requests to endpoints, in the last attempt; None where there are none.
      over_time: how long those of each endpoint took over time, where there are several windows of it.
      slice_latency: how long those took that held examples of a slice, of each endpoint.
    """

    name: str
    facts: TextTable
    figure: Figure | None
    attempts: TextTable | None
    versions: TextTable
    job: str
    cost: TextTable | None
    remarks: Sequence[str]
    devices: TextTable | None
    latency: Figure | None = None
    over_time: Sequence[Figure] = ()
    slice_latency: Sequence[TextTable] = ()


def running_section(reported: Reported) -> Section | None:
    """Return the section; None where no run says how it ran."""
    runs = [_ran(subject) for subject in reported.subjects if subject.run or subject.job]
    return Section("run", "How it ran", "running.html", runs) if runs else None


def _over_time(attempt: Mapping[str, Any], run: str) -> list[Figure]:
    entries = (attempt.get("endpoint_latency") or {}).items()
    figures = (latency_over_time(entry, f"{name}, {run}" if name else run) for name, entry in entries)
    return [figure for figure in figures if figure is not None]


def _slice_latency(attempt: Mapping[str, Any], run: str) -> list[TextTable]:
    entries = (attempt.get("endpoint_latency") or {}).items()
    found = [(f"{name}, {run}" if name else run, slice_latency_table(entry)) for name, entry in entries]
    return [replace(table, title=f"How long requests took by slice, {where}") for where, table in found if table is not None]


def _ran(subject: Subject) -> Ran:
    attempts = [attempt for attempt in subject.run.get("attempts") or [] if isinstance(attempt, dict)]
    last = attempts[-1] if attempts else {}
    ranks = [rank for rank in last.get("ranks") or [] if isinstance(rank, dict)]
    environment = subject.run.get("environment") or {}
    text = shown(json.dumps(subject.job, indent=2, sort_keys=True, ensure_ascii=False)) if subject.job else ""
    if len(text) > LONGEST_JOB:
        text = f"{text[:LONGEST_JOB]}\n… {len(text) - LONGEST_JOB:,} more letters are in resolved_job.json"
    cost, remarks = cost_table(subject.run) or (None, ())
    return Ran(
        subject.name,
        _facts(last, ranks, attempts),
        _figure(ranks, subject.name),
        _attempts(attempts) if len(attempts) > 1 else None,
        TextTable(["software", "version"], [[name, str(version)] for name, version in environment.items()], "", 2),
        text,
        cost,
        remarks,
        device_table(subject.run),
        latency_figure(last, subject.name),
        _over_time(last, subject.name),
        _slice_latency(last, subject.name),
    )


def _facts(last: Mapping[str, Any], ranks: Sequence[Mapping[str, Any]], attempts: Sequence[Any]) -> TextTable:
    hosts = list(dict.fromkeys(str(rank.get("host")) for rank in ranks))
    devices = sorted({str(device) for rank in ranks for device in rank.get("devices") or []})
    facts = {
        "ranks": f"{last['size']:,}" if "size" in last else "",
        "hosts": f"{len(hosts):,}: {_listed(hosts)}" if hosts else "",
        "devices": _listed(devices),
        "transport": str(last.get("comm") or ""),
        "schedule": str(last.get("schedule") or ""),
        "started": str(last.get("started") or ""),
        "seconds in all": f"{last['elapsed_s']:,.2f}" if "elapsed_s" in last else "",
        "examples per second": f"{last['examples_per_s']:,.0f}" if "examples_per_s" in last else "",
        "stragglers": _stragglers(ranks),
        "most memory of a rank": _megabytes(max((rank.get("peak_bytes") or 0 for rank in ranks), default=0)),
        "attempts": f"{len(attempts):,}" if attempts else "",
        "chunks from earlier attempts": f"{last['chunks_resumed']:,}" if last.get("chunks_resumed") else "",
        "same bits on all ranks": {"alike": "yes", "differs": "no: machines that are not alike"}.get(str(last.get("canary")), ""),
    }
    return TextTable(["fact", "value"], [[name, text] for name, text in facts.items() if text], "", 2)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8:,} more" if len(names) > 8 else "")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB" if size else ""


def _stragglers(ranks: Sequence[Mapping[str, Any]]) -> str:
    """Name the ranks that were busy much longer than most."""
    busy = {rank["rank"]: rank["busy_s"] for rank in ranks if "busy_s" in rank and "rank" in rank}
    if len(busy) < 2:
        return ""
    middle = median(busy.values())
    slow = sorted((number for number, seconds in busy.items() if seconds > SLOW * middle), key=lambda number: -busy[number])
    if not slow:
        return f"none: the slowest was busy {max(busy.values()):.2f} s, the median {middle:.2f} s"
    return f"{_listed([f'rank {number} ({busy[number]:.2f} s)' for number in slow])}; the median was busy {middle:.2f} s"


def _attempts(attempts: Sequence[Mapping[str, Any]]) -> TextTable:
    keys = ("attempt", "size", "started", "elapsed_s", "chunks_resumed")
    table = TextTable(["attempt", "ranks", "started", "seconds", "chunks from earlier attempts"])
    table.rows.extend([str(attempt.get(key, "")) for key in keys] for attempt in attempts)
    return table


def _figure(ranks: Sequence[Mapping[str, Any]], run: str) -> Figure | None:
    """Draw a bar a rank: what its time went into."""
    held = [rank for rank in ranks if isinstance(rank.get("split_s"), dict)]
    if not held:
        return None
    ordered = sorted(held, key=lambda rank: -(rank.get("busy_s") or 0.0))
    half = MOST_RANKS // 2
    drawn = sorted(held if len(held) <= MOST_RANKS else ordered[:half] + ordered[-half:], key=lambda rank: rank["rank"])
    names = [name for name in PARTS if any(name in rank["split_s"] for rank in held)]
    with style(f"time {run}"):
        figure = new_figure(720, 20 * len(drawn) + 84)
        axes = figure.subplots()
        plain(axes)
        axes.grid(visible=True, axis="x")
        left = [0.0] * len(drawn)
        for number, name in enumerate(names):
            widths = [float(rank["split_s"].get(name, 0.0)) for rank in drawn]
            axes.barh(range(len(drawn)), widths, left=left, height=0.62, color=SERIES[number % len(SERIES)], label=name)
            left = [start + width for start, width in zip(left, widths, strict=True)]
        axes.set_yticks(range(len(drawn)), [f"rank {rank['rank']}" for rank in drawn], color=INK)
        axes.set_ylim(len(drawn) - 0.5, -0.5)
        axes.set_xlabel("seconds", loc="left")
        figure.legend(loc="outside upper left", ncols=min(len(names), 8), handlelength=0.8, handleheight=0.8, columnspacing=1.0)
        drawing = svg(figure)
    return Figure(drawing, f"Where the time of each rank went, {run}", _data(drawn, names), _left_out(len(held), len(drawn)))


def _data(ranks: Sequence[Mapping[str, Any]], names: Sequence[str]) -> TextTable:
    data = TextTable(["rank", "host", *names, "examples", "most memory"], names=2)
    for rank in ranks:
        seconds = [f"{rank['split_s'].get(name, 0.0):.3f}" for name in names]
        memory = _megabytes(rank.get("peak_bytes") or 0)
        data.rows.append([str(rank["rank"]), str(rank.get("host", "")), *seconds, f"{rank.get('examples', 0):,}", memory])
    return data


def _left_out(ranks: int, drawn: int) -> str:
    if ranks == drawn:
        return ""
    half = drawn // 2
    return f"The {half} ranks that were busy longest and the {half} that were busy shortest; {ranks - drawn:,} are left out."
