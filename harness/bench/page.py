"""A bench as one HTML page, in the style of `harness report`: it needs no network, no server, no script but its own."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.bench.answer import Answer
from harness.bench.figures import Size
from harness.bench.rules import Scaling
from harness.bench.tables import (
    facts_table,
    level_sentence,
    limits_table,
    machine_table,
    parts_table,
    scaling_table,
    serial_sentence,
    sweep_table,
    trials_table,
)
from harness.report.drawing import INK, MARKERS, MUTED, SERIES, clipped, new_figure, plain, style, svg
from harness.report.page import render_sections
from harness.report.sections import Figure, Section
from harness.results.tables import TextTable, number

__all__ = ["BenchPart", "bench_sections", "check_page", "render"]

PAGE, TEMPLATE = "bench_page.html", "bench.html"
DRAWN = {
    "starting": ("launching", "start", "counting", "loading"), "compiling": ("compiling",), "reading": ("reading",),
    "predicting": ("predicting",), "metrics": ("metrics",), "waiting": ("waiting",), "reducing": ("reducing",),
    "other": ("other", "writing"),
}  # fmt: skip
WIDE = 20  # times the least, from which on a scale is logarithmic
MOST_SETTINGS = 40  # of a heat map


@dataclass(frozen=True)
class BenchPart:
    """What a section of the page shows, from top to bottom.

    Attributes:
      word: the state, at the top of the page alone.
      problems: why it is not valid.
      sentences, figures, tables: what there is.
      command: that does it again.
    """

    word: str = ""
    problems: Sequence[str] = ()
    sentences: Sequence[str] = ()
    figures: Sequence[Figure] = ()
    tables: Sequence[TextTable] = field(default_factory=list)
    command: str = ""


def render(bench: Answer) -> str:
    """Return the page.

    Raises: UsageError: what draws or lays out is not installed.
    """
    return render_sections(PAGE, bench_sections(bench), f"{bench.name} by ranks")


def check_page() -> None:
    """See that a page can be made, before hours of trials.

    Raises: UsageError: what draws or lays out is not installed.
    """
    with style():
        render_sections(PAGE, [], "")


def bench_sections(bench: Answer) -> list[Section]:
    """Return the sections of the page, from top to bottom."""
    number_, strong = bench.shown, bench.strong(bench.shown)
    verdict = BenchPart(str(bench.state), bench.problems, list(bench.sentences()), tables=[facts_table(bench)])
    parts = [Section("verdict", "What binds", TEMPLATE, verdict)]
    if bench.swept:
        tables = [sweep_table(bench)]
        parts.append(Section("settings", "Settings", TEMPLATE, BenchPart(figures=[_heat_map(bench)], tables=tables)))
    if strong:
        time = BenchPart(sentences=_time_sentences(bench, number_), figures=[_time_figure(strong)], tables=[parts_table(strong)])
        tables = [table for scaling in Scaling if (table := scaling_table(bench, number_, scaling)) is not None]
        speed = BenchPart(figures=[_speed_figure(strong)], tables=tables)
        parts += [
            Section("time", "Where the time goes", TEMPLATE, time),
            Section("speed", "Speed and efficiency", TEMPLATE, speed),
            Section("limits", "Limits of the machine", TEMPLATE, BenchPart(tables=[limits_table(strong)])),
        ]
    machine = BenchPart(tables=[machine_table(bench.machine)], command=shlex.join(bench.command))
    return [
        *parts,
        Section("trials", "Trials", TEMPLATE, BenchPart(tables=[trials_table(bench)])),
        Section("machine", "The machine", TEMPLATE, machine),
    ]


def _time_sentences(bench: Answer, number_: int) -> list[str]:
    text = serial_sentence(bench, number_)
    return [*([text] if text else []), level_sentence(bench, number_)]


def _time_figure(sizes: Sequence[Size]) -> Figure:
    """Draw a bar a size: the medians of the parts of its time."""
    data = TextTable(["ranks", *DRAWN], names=1)
    columns = {name: [sum(size.median(part) or 0.0 for part in parts) for size in sizes] for name, parts in DRAWN.items()}
    with style("bench time"):
        figure = new_figure(720, 34 * len(sizes) + 92)
        axes = figure.subplots()
        plain(axes)
        axes.grid(visible=True, axis="x")
        left = [0.0] * len(sizes)
        for place, (name, widths) in enumerate(columns.items()):
            axes.barh(range(len(sizes)), widths, left=left, height=0.62, color=SERIES[place % len(SERIES)], label=name)
            left = [start + width for start, width in zip(left, widths, strict=True)]
        names = [f"{size.ranks:,} rank{'s' if size.ranks > 1 else ''}" for size in sizes]
        axes.set_yticks(range(len(sizes)), names, color=INK)
        axes.set_ylim(len(sizes) - 0.5, -0.5)
        axes.set_xlabel("seconds", loc="left")
        figure.legend(loc="outside upper left", ncols=len(DRAWN), handlelength=0.8, handleheight=0.8, columnspacing=1.0)
        drawing = svg(figure)
    for place, size in enumerate(sizes):
        data.rows.append([f"{size.ranks:,}", *(f"{widths[place]:.3f}" for widths in columns.values())])
    return Figure(drawing, "Time to solution by size: medians of its parts, the mean over ranks", data)


def _speed_figure(sizes: Sequence[Size]) -> Figure:
    """Draw examples a second by ranks, and what the machine does at most."""
    lines = {"achieved": "rate", "model alone": "forward_rate", "reading alone": "reading_rate"}
    data = TextTable(["ranks", *lines, "achieved, low", "achieved, high"], names=1)
    with style("bench speed"):
        figure = new_figure(560, 360)
        axes = figure.subplots()
        for place, (label, name) in enumerate(lines.items()):
            known = [(size.ranks, spread) for size in sizes if (spread := size.spread(name)) is not None]
            dashed = "-" if name == "rate" else "--"
            axes.plot(
                [ranks for ranks, _ in known], [spread.value for _, spread in known], dashed, color=SERIES[place],
                marker=MARKERS[place], markersize=5, label=label,
            )  # fmt: skip
            for ranks, spread in known:
                if spread.low is not None and spread.high is not None:
                    axes.plot([ranks, ranks], [spread.low, spread.high], color=SERIES[place], linewidth=1.4)
        first = sizes[0].median("rate")
        if first is not None and len(sizes) > 1:
            counts = [size.ranks for size in sizes]
            axes.plot(counts, [first * count / counts[0] for count in counts], ":", color=MUTED, label="achieved, if it scaled")
        axes.set_xticks([size.ranks for size in sizes], [str(size.ranks) for size in sizes])
        drawn = [spread.value for name in lines.values() for size in sizes if (spread := size.spread(name)) and spread.value > 0]
        if drawn and max(drawn) > WIDE * min(drawn):
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
            axes.yaxis.set_minor_formatter(lambda value, _: "")
        else:
            axes.set_ylim(bottom=0)
        axes.set_xlabel("ranks", loc="left")
        axes.set_ylabel("examples/s")
        axes.legend()
        drawing = svg(figure)
    for size in sizes:
        spread = size.spread("rate")
        ends = [spread.low, spread.high] if spread else [None, None]
        cells = [size.median(name) for name in lines.values()]
        data.rows.append([f"{size.ranks:,}", *(number(cell, 1.0 if cell else None) for cell in [*cells, *ends])])
    return Figure(drawing, "Examples a second by ranks, and the limits of the machine", data)


def _heat_map(bench: Answer) -> Figure:
    """Draw the settings of a sweep by ranks: the darker the more examples a second."""
    from matplotlib.patches import Rectangle

    swept, ranks = bench.swept[:MOST_SETTINGS], bench.rules.ranks
    most = max((rate for each in swept for rate in each.rates.values() if rate is not None), default=1.0)
    names = [clipped(", ".join(f"{key}={value}" for key, value in each.setting.items())) for each in swept]
    with style("bench sweep"):
        figure = new_figure(260 + 90 * len(ranks), 34 * len(swept) + 70)
        axes: Any = figure.subplots()
        plain(axes)
        for row, each in enumerate(swept):
            for column, count in enumerate(ranks):
                rate = each.rates.get(count)
                if rate is not None:
                    alpha = 0.08 + 0.62 * rate / most
                    axes.add_patch(Rectangle((column, row), 0.96, 0.96, facecolor=SERIES[0], alpha=alpha, linewidth=0))
                text = "" if rate is None else f"{rate:,.0f}" + (" **" if each.is_best and count == max(ranks) else "")
                axes.text(column + 0.48, row + 0.5, text, ha="center", va="center", fontsize=10, color=INK)
        axes.set_xticks([column + 0.48 for column in range(len(ranks))], [str(count) for count in ranks])
        axes.set_yticks([row + 0.48 for row in range(len(swept))], names)
        axes.set(xlim=(0, len(ranks)), ylim=(len(swept), 0), xlabel="ranks")
        axes.xaxis.tick_top()
        axes.xaxis.set_label_position("top")
        drawing = svg(figure)
    left_out = len(bench.swept) - len(swept)
    note = f"{left_out} more settings are in the table." if left_out else ""
    return Figure(drawing, "Examples a second by setting and ranks; ** the best at the most ranks", sweep_table(bench), note)
