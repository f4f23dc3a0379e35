"""Forest plots: a row a number, a dot and a line for its value and interval. Draws; decides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.report.drawing import FAINT, INK, LINE, MARKERS, MUTED, SERIES, clipped, for_width, new_figure, plain, style, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Dot", "Panel", "Row", "draw_panel", "forest"]

ROW_OF_MORE, PANEL = 12, 36  # pixels that each further dot of a row takes, and a panel's axis


@dataclass(frozen=True)
class _Shape:
    """How a plot is laid out: beside its labels, or, on a phone, below them.

    Attributes:
      width, row: pixels of the plot, and that a row takes.
      dot, label: how far below the top of a row its first dot is, and its label; None where that stands beside the dots.
      columns, line: of the legend, and pixels that a line of it takes.
    """

    width: int
    row: int
    dot: int
    label: int | None
    columns: int
    line: int


WIDE, NARROW = _Shape(620, 24, 12, None, 4, 26), _Shape(350, 42, 26, 10, 1, 20)


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
    """Draw panels below each other, as SVG: once for wide screens and paper, once for narrow screens.

    Args:
      salt: see `drawing.style`.
      series: names of the series, where there are several.
    """
    return for_width(_forest(panels, salt, series, WIDE), _forest(panels, f"{salt} narrow", series, NARROW))


def _forest(panels: Sequence[Panel], salt: str, series: Sequence[str], shape: _Shape) -> str:
    heights = [sum(_height(row, shape) for row in panel.rows) + PANEL for panel in panels]
    lines = -(-len(series) // shape.columns) if len(series) > 1 else 0
    with style(salt):
        figure = new_figure(shape.width, sum(heights) + lines * shape.line)
        all_axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axes, panel in zip(all_axes, panels, strict=True):
            draw_panel(axes, panel, shape)
        if lines:
            from matplotlib.lines import Line2D

            handles = [
                Line2D([], [], color=_colour(at), marker=_marker(at), markersize=5, label=clipped(name))
                for at, name in enumerate(series)
            ]
            figure.legend(handles=handles, loc="outside upper left", ncols=min(len(series), shape.columns), handlelength=1.5)
        return svg(figure)


def _height(row: Row, shape: _Shape) -> int:
    return shape.row + ROW_OF_MORE * max(len(row.dots) - 1, 0)


def draw_panel(axes: Axes, panel: Panel, shape: _Shape = WIDE) -> None:
    """Draw the rows of a panel."""
    plain(axes)
    axes.grid(visible=True, axis="x")
    total, ticks, top = sum(_height(row, shape) for row in panel.rows), [], 0
    for row in panel.rows:
        height = _height(row, shape)
        ticks.append(top + (height / 2 if shape.label is None else shape.label))
        for number, dot in enumerate(row.dots):
            place, colour = top + shape.dot + ROW_OF_MORE * number, FAINT if row.faint else _colour(dot.series)
            if dot.low is not None and dot.high is not None:
                axes.plot([dot.low, dot.high], [place, place], color=colour, linewidth=2, solid_capstyle="round")
            axes.plot([dot.value], [place], color=colour, marker=_marker(dot.series), markersize=6, linestyle="none")
        top += height
    if panel.line is not None:
        axes.axvline(panel.line, color=MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=0.5)
    axes.set_ylim(total, 0)
    _name_rows(axes, panel, ticks, above=shape.label is not None)
    axes.locator_params(axis="x", nbins=6)
    axes.spines["bottom"].set(visible=True, color=LINE)
    axes.margins(x=0.04)
    if panel.name:
        axes.set_xlabel(panel.name, loc="left")


def _name_rows(axes: Axes, panel: Panel, places: Sequence[float], *, above: bool) -> None:
    """Write the labels of the rows: beside them, or above them, from the left edge on."""
    colours = [FAINT if row.faint else INK for row in panel.rows]
    if above:
        axes.set_yticks([])
        for place, row, colour in zip(places, panel.rows, colours, strict=True):
            axes.text(0, place, clipped(row.label), transform=axes.get_yaxis_transform(), va="center", fontsize=12, color=colour)
        return
    axes.set_yticks(places, [clipped(row.label) for row in panel.rows], fontsize=12)
    for label, colour in zip(axes.get_yticklabels(), colours, strict=True):
        label.set_color(colour)


def _colour(series: int) -> str:
    return SERIES[series % len(SERIES)]


def _marker(series: int) -> str:
    return MARKERS[series % len(MARKERS)]
