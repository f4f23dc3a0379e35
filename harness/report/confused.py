"""Confusion matrices: the matrix where it can be read, of many classes the largest confusions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.metrics.plots import Confusion
from harness.report.drawing import INK, SERIES, clipped, new_figure, plain, style, svg
from harness.report.sections import Figure, Section
from harness.report.sources import Source
from harness.results.tables import TextTable, number

__all__ = ["Confused", "confused_section", "draw_confusion"]

MOST_CLASSES, MOST_WITH_COUNTS = 20, 12  # of a matrix that is drawn, and of one that has its counts in it
MOST_CONFUSIONS = 25
MOST_LISTED = 500  # classes of a table: those that are most often the label
LONGEST_NAME = 18


@dataclass(frozen=True)
class Confused:
    """What is shown of one matrix.

    Attributes:
      figure: the matrix, or the largest confusions.
      largest: pairs of label and prediction that are most often confused.
      classes: what the matrix says of each class.
    """

    title: str
    figure: Figure
    largest: TextTable
    classes: TextTable


def confused_section(sources: Sequence[Source]) -> Section | None:
    """Return the section; None where there is no confusion matrix."""
    content = []
    for source in sources:
        seen: list[Confusion] = []
        for own in source.plots:
            if isinstance(own.plot, Confusion) and own.plot not in seen:
                seen.append(own.plot)
                content.append(_confused(own.plot, source.name if len(sources) > 1 else "", f"{source.name} {own.key}"))
    return Section("confusion", "Confusion", "confused.html", content) if content else None


def _confused(plot: Confusion, name: str, salt: str) -> Confused:
    counts = np.array(plot.counts, np.float64)
    title = "Confusion matrix" + (f", {name}" if name else "")
    largest = _largest(plot, counts)
    if len(plot.names) <= MOST_CLASSES:
        side = 130 + max(34 * len(plot.names), 120)
        with style(salt):
            figure = new_figure(side + 60, side)
            draw_confusion(figure.subplots(), plot)
            drawing = svg(figure)
        rows = [[label, *(_count(count) for count in row)] for label, row in zip(plot.names, plot.counts, strict=True)]
        data = TextTable(["label", *plot.names], rows)
        figure_of = Figure(
            drawing,
            title,
            data,
            "Rows are labels, columns predictions. The stronger the colour, the larger a share of the label.",
        )
    else:
        figure_of = Figure(
            _bars(largest, salt), f"The largest confusions of {len(plot.names):,} classes{', ' + name if name else ''}", largest
        )
    return Confused(title, figure_of, largest, _classes(plot, counts))


def draw_confusion(axes: Any, plot: Confusion) -> None:
    """Draw a matrix: the colour of a cell is the stronger, the larger its share of the label."""
    from matplotlib.patches import Rectangle

    size = len(plot.names)
    plain(axes)
    for row, counts in enumerate(plot.counts):
        total = sum(counts)
        for column, count in enumerate(counts):
            if not count:
                continue
            share = count / total
            axes.add_patch(Rectangle((column, row), 0.96, 0.96, facecolor=SERIES[0], alpha=0.08 + 0.62 * share, linewidth=0))
            if size <= MOST_WITH_COUNTS:
                axes.text(column + 0.48, row + 0.5, _count(count), ha="center", va="center", fontsize=10, color=INK)
    names = [clipped(name, LONGEST_NAME) for name in plot.names]
    places = np.arange(size) + 0.48
    axes.set_xticks(places, names, rotation=90 if max(map(len, names)) > 4 else 0)
    axes.set_yticks(places, names)
    axes.set(xlim=(0, size), ylim=(size, 0), aspect="equal", xlabel="prediction", ylabel="label")
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")


def _largest(plot: Confusion, counts: np.ndarray) -> TextTable:
    """Return the pairs of label and prediction that are most often confused."""
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_CONFUSIONS]
    table = TextTable(["label", "prediction", "times", "share of the label"], names=2)
    totals = counts.sum(axis=1)
    for label, prediction in zip(*np.unravel_index(order, wrong.shape), strict=True):
        count = float(wrong[label, prediction])
        if count:
            share = f"{100 * count / totals[label]:.1f} %"
            table.rows.append([plot.names[label], plot.names[prediction], _count(count), share])
    return table


def _bars(largest: TextTable, salt: str) -> str:
    labels = [f"{clipped(row[0], LONGEST_NAME)} as {clipped(row[1], LONGEST_NAME)}" for row in largest.rows]
    times = [float(row[2].replace(",", "")) for row in largest.rows]
    with style(salt):
        figure = new_figure(720, 18 * len(times) + 50)
        axes = figure.subplots()
        plain(axes)
        axes.grid(visible=True, axis="x")
        axes.barh(range(len(times)), times, height=0.62, color=SERIES[0])
        axes.set_yticks(range(len(times)), labels, color=INK)
        axes.set_ylim(len(times) - 0.5, -0.5)
        axes.set_xlabel("times", loc="left")
        return svg(figure)


def _classes(plot: Confusion, counts: np.ndarray) -> TextTable:
    """Return what the matrix says of each class: how often it is the label and the prediction, and both."""
    table = TextTable(["class", "support", "predicted", "right", "precision", "recall"])
    support, predicted, right = counts.sum(axis=1), counts.sum(axis=0), counts.diagonal()
    for place in sorted(np.argsort(-support, kind="stable")[:MOST_LISTED].tolist()):
        name, labelled, called, hits = plot.names[place], *(float(own[place]) for own in (support, predicted, right))
        shares = [number(hits / below) if below else "null" for below in (called, labelled)]
        table.rows.append([name, _count(labelled), _count(called), _count(hits), *shares])
    return table


def _count(count: float) -> str:
    return number(int(count)) if float(count).is_integer() else number(count)
