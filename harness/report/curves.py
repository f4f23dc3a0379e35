"""Curves along cut-offs and runs, and the histograms and curves that metrics bring."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.metrics.plots import Bars, Lines
from harness.report.drawing import FAINT, MARKERS, SERIES, clipped, new_figure, style, svg
from harness.report.sections import Figure, Section
from harness.report.series import cutoff_figures, sweep_figures
from harness.report.sources import Source
from harness.report.subjects import Reported
from harness.results.metric_names import labels
from harness.results.plotted import Plotted
from harness.results.tables import TextTable, number

__all__ = ["curves_section"]

MOST_FIGURES = 12
MANY_POINTS = 40  # from which on they have no markers


def curves_section(reported: Reported, sources: Sequence[Source]) -> Section | None:
    """Return the section; None where there is nothing of the kind."""
    figures = [*cutoff_figures(reported), *sweep_figures(reported)]
    figures += [figure for source in sources for figure in _figures(source, several=len(sources) > 1)]
    left_out = max(len(figures) - MOST_FIGURES, 0)
    return Section("curves", "Distributions and curves", "figures.html", (figures[:MOST_FIGURES], left_out)) if figures else None


def _shown(source: Source) -> list[Plotted]:
    shown: list[Plotted] = []
    for own in source.plots:
        if isinstance(own.plot, Bars | Lines) and own.plot not in [other.plot for other in shown]:
            shown.append(own)
    return shown


def _figures(source: Source, *, several: bool) -> list[Figure]:
    """Return the figures of a run; one of several of a metric says in its title what it shows."""
    shown = _shown(source)
    figures = []
    for place, own in enumerate(shown):
        label = labels(source.document).get(own.key, own.key).removeprefix(f"{own.model}/")
        if sum(other.key == own.key for other in shown) > 1:
            label += f": {getattr(own.plot, 'y_name', 'how many')}"
        title = f"{label}, {source.name}" if several else label
        figures.append(_figure(own, title, f"{source.name} {own.key} {place}"))
    return figures


def _figure(own: Plotted, title: str, salt: str) -> Figure:
    with style(salt):
        figure = new_figure(400, 320)
        axes = figure.subplots()
        data = _bars(axes, own.plot) if isinstance(own.plot, Bars) else _lines(axes, own.plot)
        return Figure(svg(figure), title[:1].upper() + title[1:], data)


def _bars(axes: Any, plot: Any) -> TextTable:
    """Draw a histogram; open ends are as wide as the bars beside them."""
    closed = [high - low for low, high, _ in plot.bars if low is not None and high is not None]
    width = closed[0] if closed else 1.0
    data = TextTable(["from", "to", "how many"])
    for low, high, weight in plot.bars:
        start = high - width if low is None else low
        stop = low + width if high is None else high
        axes.bar(start, weight, width=(stop - start) * 0.94, align="edge", color=FAINT if None in (low, high) else SERIES[0])
        data.rows.append(["-∞" if low is None else number(low), "∞" if high is None else number(high), number(weight)])
    axes.grid(visible=False, axis="x")
    axes.set_xlabel(clipped(plot.name), loc="left")
    axes.set_ylabel("how many")
    return data


def _lines(axes: Any, plot: Any) -> TextTable:
    data = TextTable(["curve", plot.x_name, plot.y_name])
    if plot.level is not None:
        axes.axhline(plot.level, color=FAINT, linestyle=(0, (4, 3)), linewidth=1)
    for series, (name, points) in enumerate(plot.lines):
        marker = MARKERS[series % len(MARKERS)] if len(points) <= MANY_POINTS else None
        colour = SERIES[series % len(SERIES)]
        axes.plot(*zip(*points, strict=True), color=colour, marker=marker, markersize=4, label=clipped(name))
        data.rows.extend([name, number(x), number(y)] for x, y in points)
    axes.set_xlabel(clipped(plot.x_name), loc="left")
    axes.set_ylabel(clipped(plot.y_name))
    if len(plot.lines) > 1:
        axes.legend()
    return data
