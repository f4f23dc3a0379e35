"""Forest plots: a row a number, a dot and a line for its value and interval. Draws; decides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.report.drawing import FAINT, INK, LINE, MARKERS, MUTED, SERIES, clipped, new_figure, plain, style, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Dot", "Panel", "Row", "draw_panel", "forest"]

WIDTH = 620
ROW, ROW_OF_MORE, PANEL = 24, 12, 36  # pixels that a row takes, each further dot of it, and a panel's axis


@dataclass(frozen=True)
class Dot:
    """A value with its interval, of one of the series; `low` and `high` are None where it has none."""

    value: float
    low: float | None = None
    high: float | None = None
    series: int = 0


@dataclass(frozen=True)
class Row:
    """What stands on one line; a faint one says less than it seems to."""

    label: str
    dots: Sequence[Dot]
    faint: bool = False


@dataclass(frozen=True)
class Panel:
    """Rows that share an axis.

    Attributes:
      line: where a line stands that all are held against; None for none.
      name: of the axis.
    """

    rows: Sequence[Row]
    line: float | None = None
    name: str = ""


def forest(panels: Sequence[Panel], salt: str, series: Sequence[str] = ()) -> str:
    """Draw panels below each other, as SVG.

    Args:
      salt: see `drawing.style`.
      series: names of the series, where there are several.
    """
    heights = [sum(_height(row) for row in panel.rows) + PANEL for panel in panels]
    with style(salt):
        figure = new_figure(WIDTH, sum(heights) + (26 if len(series) > 1 else 0))
        all_axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axes, panel in zip(all_axes, panels, strict=True):
            draw_panel(axes, panel)
        if len(series) > 1:
            from matplotlib.lines import Line2D

            handles = [
                Line2D([], [], color=_colour(at), marker=_marker(at), markersize=5, label=clipped(name))
                for at, name in enumerate(series)
            ]
            figure.legend(handles=handles, loc="outside upper left", ncols=min(len(series), 4), handlelength=1.5)
        return svg(figure)


def _height(row: Row) -> int:
    return ROW + ROW_OF_MORE * max(len(row.dots) - 1, 0)


def draw_panel(axes: Axes, panel: Panel) -> None:
    """Draw the rows of a panel."""
    plain(axes)
    axes.grid(visible=True, axis="x")
    total, ticks, top = sum(_height(row) for row in panel.rows), [], 0
    for row in panel.rows:
        height = _height(row)
        ticks.append(top + height / 2)
        first = top + height / 2 - ROW_OF_MORE * (len(row.dots) - 1) / 2
        for number, dot in enumerate(row.dots):
            place, colour = first + ROW_OF_MORE * number, FAINT if row.faint else _colour(dot.series)
            if dot.low is not None and dot.high is not None:
                axes.plot([dot.low, dot.high], [place, place], color=colour, linewidth=2, solid_capstyle="round")
            axes.plot([dot.value], [place], color=colour, marker=_marker(dot.series), markersize=6, linestyle="none")
        top += height
    if panel.line is not None:
        axes.axvline(panel.line, color=MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=0.5)
    axes.set_ylim(total, 0)
    axes.set_yticks(ticks, [clipped(row.label) for row in panel.rows], fontsize=12)
    for label, row in zip(axes.get_yticklabels(), panel.rows, strict=True):
        label.set_color(FAINT if row.faint else INK)
    axes.locator_params(axis="x", nbins=6)
    axes.spines["bottom"].set(visible=True, color=LINE)
    axes.margins(x=0.04)
    if panel.name:
        axes.set_xlabel(panel.name, loc="left")


def _colour(series: int) -> str:
    return SERIES[series % len(SERIES)]


def _marker(series: int) -> str:
    return MARKERS[series % len(MARKERS)]
