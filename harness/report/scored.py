"""Scores and thresholds: ROC, precision and recall, gains, lift, and what is right and wrong at each threshold. Exact counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.metrics.plots import Thresholds
from harness.report.bands import band
from harness.report.drawing import FAINT, SERIES, clipped, new_figure, style, svg
from harness.report.sections import Figure, Section
from harness.report.sources import Source
from harness.results.plotted import Plotted
from harness.results.tables import TextTable, number

__all__ = ["Curve", "Scored", "Slider", "curve_of", "draw_curves", "gains", "lift", "precision_recall", "roc", "scored_section"]

GRID = np.linspace(0, 1, 101)  # where bands are
FEWEST_POINTS = 5  # of a curve; of fewer thresholds there is a table
MOST_LINES = 21  # of a table of thresholds


@dataclass(frozen=True)
class Curve:
    """One line of a plot.

    Attributes:
      x, y: float64 [n].
      low, high: float64 [101], the band at `GRID`; None where there is none.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None


@dataclass(frozen=True)
class Slider:
    """What is right and wrong at each threshold.

    Attributes:
      points: threshold, true and false positives; and the totals. Read by the page's script.
      start: the place that is shown first.
      table: some of the thresholds with all that follows from them.
    """

    name: str
    points: dict[str, Any]
    start: int
    table: TextTable


@dataclass(frozen=True)
class Scored:
    """What is shown of one output and positive class."""

    title: str
    figures: Sequence[Figure]
    sliders: Sequence[Slider]


@dataclass(frozen=True)
class _Counted:
    """Counts at thresholds, and the metric that shows them."""

    plot: Thresholds
    plotted: Plotted

    def fineness(self) -> tuple[bool, int]:
        """Return what sorts those with replicates last, and of these those with the most points."""
        return bool(self.plotted.replicates), len(self.plot.points)


def scored_section(sources: Sequence[Source]) -> Section | None:
    """Return the section; None where no metric counts at thresholds."""
    groups: dict[tuple[Any, ...], dict[str, list[_Counted]]] = {}
    for source in sources:
        for own in source.plots:
            if isinstance(own.plot, Thresholds) and own.plot.positive and own.plot.negative:
                read = own.binding.label, own.binding.weight, own.binding.ignore_label
                key = ("" if own.model else own.binding.output, own.options.get("positive", 1), *read)
                groups.setdefault(key, {}).setdefault(source.name, []).append(_Counted(own.plot, own))
    outputs = {key[0] for key in groups}
    content = [_scored(key, held, sources, len(outputs)) for key, held in groups.items()]
    return Section("scores", "Scores and thresholds", "scored.html", content) if content else None


def _scored(key: tuple[Any, ...], held: dict[str, list[_Counted]], sources: Sequence[Source], outputs: int) -> Scored:
    output, positive, label, weight, _ = key
    level = next(source.level for source in sources if source.name in held)
    exact = {name: max((own.plot for own in plots), key=lambda plot: len(plot.points)) for name, plots in held.items()}
    finest = {name: max(plots, key=_Counted.fineness).plotted for name, plots in held.items()}
    classes = next(source.classes for source in sources if source.name in held)
    shown = clipped(classes[positive]) if positive < len(classes) else str(positive)
    title = f"Class {shown} of {label or 'the label'}" + (f", output {output}" if outputs > 1 else "")
    title += f", weighted by {weight}" if weight else ""
    figures = [
        _figure(make, [curve_of(make, name, exact[name], finest[name], level) for name in held], title, f"{key} {make.__name__}")
        for make in AXES
        if max(len(plot.points) for plot in exact.values()) >= FEWEST_POINTS
    ]
    return Scored(title, figures, [_slider(name, exact[name]) for name in held])


def roc(plot: Thresholds) -> tuple[np.ndarray, np.ndarray]:
    """Return false and true positive rates, rising; the first point lies above every score.

    >>> roc(Thresholds(2, 2, ((0.1, 2, 2), (0.5, 2, 1))))[1].tolist()
    [0.0, 1.0, 1.0]
    """
    _, tp, fp = _columns(plot)
    return np.append(0.0, fp / plot.negative), np.append(0.0, tp / plot.positive)


def precision_recall(plot: Thresholds) -> tuple[np.ndarray, np.ndarray]:
    """Return recall, rising, and precision; of thresholds that call nothing positive there is none."""
    _, tp, fp = _columns(plot)
    some = tp + fp > 0
    return tp[some] / plot.positive, tp[some] / (tp + fp)[some]


def gains(plot: Thresholds) -> tuple[np.ndarray, np.ndarray]:
    """Return the share that is called positive, rising, and the share of all positives among it."""
    _, tp, fp = _columns(plot)
    return np.append(0.0, (tp + fp) / (plot.positive + plot.negative)), np.append(0.0, tp / plot.positive)


def lift(plot: Thresholds) -> tuple[np.ndarray, np.ndarray]:
    """Return the share that is called positive, rising, and how many times as many positives are in it as by chance.

    >>> lift(Thresholds(2, 2, ((0.1, 2, 2), (0.5, 2, 1), (0.9, 1, 0))))[1].round(3).tolist()
    [2.0, 1.333, 1.0]
    """
    share, found = gains(plot)
    return share[share > 0], found[share > 0] / share[share > 0]


Make = Callable[[Thresholds], tuple[np.ndarray, np.ndarray]]
AXES: dict[Make, tuple[str, str, str]] = {
    roc: ("ROC", "false positive rate", "true positive rate"),
    precision_recall: ("Precision and recall", "recall", "precision"),
    gains: ("Gains", "share called positive, the highest scores first", "share of the positives"),
    lift: ("Lift", "share called positive, the highest scores first", "times as many positives as by chance"),
}
LEGENDS: dict[Make, str] = {precision_recall: "lower left", lift: "upper right"}


def _columns(plot: Thresholds) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return thresholds, true and false positives, by falling threshold, float64 [n]."""
    columns = np.array(plot.points, np.float64).reshape(-1, 3)[::-1].T
    return columns[0], columns[1], columns[2]


def curve_of(make: Make, name: str, plot: Thresholds, drawn: Plotted, level: float) -> Curve:
    """Return the line of a plot, with its band where the metric has replicates."""
    x, y = make(plot)
    lines = [make(own) for own in drawn.replicates if isinstance(own, Thresholds) and own.positive and own.negative]
    ends = band([np.interp(GRID, *line, left=np.nan) for line in lines if len(line[0])], level)
    return Curve(name, x, y, *ends) if ends else Curve(name, x, y)


def draw_curves(axes: Any, make: Make, curves: Sequence[Curve]) -> None:
    """Draw curves with their bands, and what says nothing as a dashed line."""
    _, x_name, y_name = AXES[make]
    if make is lift:
        axes.axhline(1, color=FAINT, linestyle=(0, (4, 3)), linewidth=1)
    elif make is not precision_recall:
        axes.plot([0, 1], [0, 1], color=FAINT, linestyle=(0, (4, 3)), linewidth=1)
    for series, curve in enumerate(curves):
        colour = SERIES[series % len(SERIES)]
        if curve.low is not None and curve.high is not None:
            axes.fill_between(GRID, curve.low, curve.high, color=colour, alpha=0.18, linewidth=0)
        axes.plot(curve.x, curve.y, color=colour, label=clipped(curve.name), linestyle=("-", "--", "-.", ":")[series // 2 % 4])
    axes.set_xlim(-0.01, 1.01)
    if make is lift:
        axes.set_ylim(bottom=0)
    else:
        axes.set(ylim=(-0.01, 1.02), aspect="equal")
    axes.set_xlabel(x_name, loc="left")
    axes.set_ylabel(y_name)
    if len(curves) > 1:
        axes.legend(loc=LEGENDS.get(make, "lower right"))


def _figure(make: Make, curves: Sequence[Curve], title: str, salt: str) -> Figure:
    with style(salt):
        figure = new_figure(400, 400)
        draw_curves(figure.subplots(), make, curves)
        drawing = svg(figure)
    name, x_name, y_name = AXES[make]
    data = TextTable(["curve", x_name, y_name], [])
    for curve in curves:
        places = _places(len(curve.x))
        data.rows.extend([curve.name, number(float(curve.x[i])), number(float(curve.y[i]))] for i in places)
    banded = any(curve.low is not None for curve in curves)
    note = "The band holds the interval at each place of the axis, not the whole curve." if banded else ""
    return Figure(drawing, f"{name}: {title}", data, note)


def _places(count: int) -> list[int]:
    """Return places that are spread evenly, the first and the last among them."""
    return sorted(set(np.linspace(0, count - 1, min(count, MOST_LINES)).round().astype(int).tolist()))


def _slider(name: str, plot: Thresholds) -> Slider:
    thresholds = [at for at, _, _ in plot.points]
    table = TextTable(
        ["threshold", "true positives", "false positives", "false negatives", "true negatives", "precision", "recall", "lift"]
    )
    for place in _places(len(plot.points)):
        at, tp, fp = plot.points[place]
        share = [_quotient(tp, tp + fp), _quotient(tp, plot.positive)]
        share.append(_quotient(tp * (plot.positive + plot.negative), (tp + fp) * plot.positive))
        table.rows.append([number(at), *(_count(n) for n in (tp, fp, plot.positive - tp, plot.negative - fp)), *share])
    points = {
        "threshold": thresholds,
        "tp": [tp for _, tp, _ in plot.points],
        "fp": [fp for _, _, fp in plot.points],
        "positive": plot.positive,
        "negative": plot.negative,
    }
    start = min(range(len(thresholds)), key=lambda place: abs(thresholds[place] - 0.5))
    return Slider(name, points, start, table)


def _quotient(above: float, below: float) -> str:
    return number(above / below) if below else "null"


def _count(count: float) -> str:
    return number(int(count)) if float(count).is_integer() else number(count)
