"""Runs as a person sees them on a terminal of any size: what is wrong first, then nodes, the outliers and the totals.

Pure: from views to lines of text. A thousand ranks take no more room than ten.
"""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Sequence

from harness.names.status_line import Status
from harness.names.texts import printable
from harness.watch.diagnosis import Rank
from harness.watch.run_view import Node, RunView

__all__ = ["duration", "lines", "size"]

LEAST_ROWS = 3
WARNINGS = 4


def lines(view: RunView, width: int, height: int) -> list[str]:
    """Return a run in at most so many lines of at most so many letters.

    Args:
      view: of the run.
      width, height: letters and lines.
    """
    attempt = f", attempt {view.attempt}" if view.attempt and view.attempt > 1 else ""
    model = f", {view.snapshot.attempted.model}" if view.snapshot and view.snapshot.attempted.model else ""
    text = [f"{view.path}: {view.state}{attempt}{model}"]
    if view.failure:
        text += [part for line in view.failure.splitlines() for part in _wrapped(line, width, "  ")]
    if view.snapshot is None:
        for note in view.notes:
            text += _wrapped(note, width, "  ")
        return _fitted(text, width, height)
    attempted = view.snapshot.attempted
    done = view.examples_done
    left = "" if view.left_s is None or view.left_s > 1e8 else f", {duration(view.left_s)} left"
    rate = f", {view.rate:,.0f}/s" if view.rate and view.state != "silent" else ""
    share = done / max(attempted.examples, 1)
    text.append(Status(_what(view.ranks), share, f"{done:,} of {attempted.examples:,} examples{rate}{left}").line(width))
    warnings = [*(str(straggler) for straggler in view.slow), *view.notes]
    for warning in warnings[:WARNINGS]:
        text += _wrapped(f"! {warning}", width)
    if len(warnings) > WARNINGS:
        text.append(f"! and {len(warnings) - WARNINGS} more like these")
    room = max(height - len(text), LEAST_ROWS)
    if len(view.ranks) + 1 <= room:
        return _fitted([*text, *_ranks(view.ranks, view)], width, height)
    return _fitted([*text, *_many(view, room)], width, height)


def duration(seconds: float) -> str:
    """Return a time as people say it.

    >>> duration(4.2), duration(75), duration(7500), duration(200_000)
    ('4 s', '1 min 15 s', '2 h 5 min', '2 d 7 h')
    """
    whole = round(seconds)
    for unit, smaller, name, other in ((86400, 3600, "d", "h"), (3600, 60, "h", "min"), (60, 1, "min", "s")):
        if whole >= unit:
            return f"{whole // unit} {name} {whole % unit // smaller} {other}"
    return f"{whole} s"


def size(size_bytes: float | None) -> str:
    """Return a size as people say it.

    >>> size(None), size(1.4e9), size(5e5)
    ('', '1.4 GB', '500 KB')
    """
    if size_bytes is None:
        return ""
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if size_bytes >= unit:
            return f"{size_bytes / unit:.1f} {name}" if size_bytes < 100 * unit else f"{size_bytes / unit:.0f} {name}"
    return f"{size_bytes / 1e3:.0f} KB"


def _fitted(text: Sequence[str], width: int, height: int) -> list[str]:
    cut = [printable(line) for line in text[:height]]
    return [line if len(line) <= width else f"{line[: width - 1]}…" for line in cut]


def _wrapped(line: str, width: int, indent: str = "") -> list[str]:
    return textwrap.wrap(line, width, initial_indent=indent, subsequent_indent=indent or "  ")


def _what(ranks: Sequence[Rank]) -> str:
    """Return what most ranks are at."""
    return Counter(rank.beat.phase for rank in ranks).most_common(1)[0][0] if ranks else "starting"


def _many(view: RunView, room: int) -> list[str]:
    """Return nodes, outliers and totals in so many lines."""
    named = {straggler.rank for straggler in view.slow}
    order = sorted(view.ranks, key=lambda rank: (rank.beat.rank not in named, not rank.evaluates, rank.rate))
    nodes = view.nodes
    total = _totals(view)
    room -= len(total)
    if len(nodes) == 1:
        outliers = order[: max(room - 2, 1)]
        return [*_ranks(outliers, view), f"… and {len(order) - len(outliers):,} ranks more", *total]
    node_rows = min(len(nodes), max((room - 4) // 2, 1))
    outliers = order[: max(room - node_rows - 4, 1)]
    more = f"… and {len(nodes) - node_rows:,} nodes more" if len(nodes) > node_rows else ""
    return [
        *_nodes(nodes[:node_rows]), *([more] if more else []), *_ranks(outliers, view),
        f"… and {len(order) - len(outliers):,} ranks more", *total,
    ]  # fmt: skip


def _totals(view: RunView) -> list[str]:
    phases = Counter(rank.beat.phase for rank in view.ranks)
    doing = Counter(rank.doing for rank in view.ranks if rank.doing)
    rates = sorted(rank.rate for rank in view.ranks if rank.evaluates)
    spread = ""
    if rates:
        spread = f"; examples/s a rank: {rates[0]:,.0f} to {rates[-1]:,.0f}, half below {rates[len(rates) // 2]:,.0f}"
    memory = size(math.fsum(rank.vitals.rss_bytes or 0 for rank in view.ranks))
    counts = ", ".join(f"{count:,} {name}" for name, count in (*phases.most_common(), *doing.most_common()))
    return [f"{len(view.ranks):,} ranks: {counts}", f"memory {memory}{spread}"]


def _nodes(nodes: Sequence[Node]) -> list[str]:
    rows = [["node", "ranks", "ex/s", "cores", "others", "memory", "phases"]]
    for node in nodes:
        others = "" if node.others_cores is None else f"{node.others_cores:.1f}"
        phases = ", ".join(f"{count} {name}" for name, count in node.phases.items())
        rows.append([node.host, f"{node.ranks}", f"{node.rate:,.0f}", f"{node.cores:.1f}", others, size(node.rss_bytes), phases])
    return _columns(rows)


def _ranks(ranks: Sequence[Rank], view: RunView) -> list[str]:
    gpus = any(rank.vitals.gpu_percent is not None for rank in ranks)
    rows = [["rank", "node", "phase", "ex/s", "cores", "memory", *(["gpu", "gpu mem"] if gpus else []), "where"]]
    named = {straggler.rank for straggler in view.slow}
    for rank in ranks:
        vitals = rank.vitals
        gpu = ["" if vitals.gpu_percent is None else f"{vitals.gpu_percent} %", size(vitals.gpu_bytes)] if gpus else []
        call = f"for {duration(vitals.call_s)} in " if vitals.call_s > 10 else ""
        mark = "!" if rank.beat.rank in named else ""
        rows.append([
            f"{mark}{rank.beat.rank}", rank.beat.host, rank.doing or rank.beat.phase,
            f"{rank.rate:,.0f}" if rank.evaluates else "",
            f"{rank.cores:.1f}", size(vitals.rss_bytes), *gpu, call + rank.beat.where,
        ])  # fmt: skip
    return _columns(rows)


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Put cells below each other: texts to the left, numbers to the right, the last column as it is."""
    widths = [min(max(len(row[column]) for row in rows), 20) for column in range(len(rows[0]) - 1)]
    left = ("node", "phase")
    texts = []
    for row in rows:
        cells = [
            cell[:width].ljust(width) if rows[0][column] in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=False))
        ]
        texts.append("  ".join([*cells, row[-1]]).rstrip())
    return texts
