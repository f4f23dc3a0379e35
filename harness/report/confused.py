"""Confusion matrices: the matrix where it can be read, of many classes the largest confusions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from harness.metrics.plots import Confusion
from harness.report.cell_links import cell_links
from harness.report.drawing import INK, SERIES, clipped, new_figure, plain, style, svg
from harness.report.kept import Kept
from harness.report.sections import Figure, Link, Section
from harness.report.sources import Source
from harness.results.plotted import Plotted
from harness.results.tables import TextTable, number

__all__ = ["Confused", "confused_section", "draw_confusion"]

MOST_CLASSES, MOST_WITH_COUNTS = 20, 12  # of a matrix that is drawn, and of one that has its counts in it
MOST_CONFUSIONS = 25
MOST_LISTED = 500  # classes of a table: those that are most often the label
LONGEST_NAME = 18
TIMES = 2  # the column of the largest confusions that says how often
LEADS = "A cell leads to its examples; so does its number in the table."
LINK = re.compile('<a xlink:href="(#[^"]*)"[^>]*>')  # in a drawing


@dataclass(frozen=True)
class Confused:
    """What is shown of one matrix.

    Attributes:
      figure: the matrix, or the largest confusions.
      largest: pairs of label and prediction that are most often confused.
      classes: what the matrix says of each class.
      links: where cells of `largest` lead to, by line and column.
    """

    title: str
    figure: Figure
    largest: TextTable
    classes: TextTable
    links: Mapping[tuple[int, int], Link] = field(default_factory=dict)


def confused_section(sources: Sequence[Source], kept: Sequence[Kept] = ()) -> Section | None:
    """Return the section; None where there is no confusion matrix.

    Args:
      kept: examples of the runs, which cells lead to.
    """
    content = []
    for source in sources:
        matrices: dict[Confusion, Plotted] = {}  # metrics that count alike have one
        for own in source.plots:
            if isinstance(own.plot, Confusion):
                matrices.setdefault(own.plot, own)
        for plot, own in matrices.items():
            names = [source.name] * (len(sources) > 1) + [own.key] * (len(matrices) > 1)
            links = cell_links(kept, source, own)
            content.append(_confused(plot, ", ".join(names), f"{source.name} {own.key}", links))
    return Section("confusion", "Confusion", "confused.html", content) if content else None


def _confused(plot: Confusion, name: str, salt: str, links: Mapping[tuple[int, int], Link]) -> Confused:
    counts = np.array(plot.counts, np.float64)
    pairs = _largest(counts)
    largest = _largest_table(plot, counts, pairs)
    largest_links = {(line, TIMES): links[pair] for line, pair in enumerate(pairs) if pair in links}
    run = f", {name}" if name else ""
    if len(plot.names) <= MOST_CLASSES:
        side = 130 + max(34 * len(plot.names), 120)
        with style(salt):
            figure = new_figure(side + 60, side)
            draw_confusion(figure.subplots(), plot, links)
            drawing = svg(figure)
        rows = [[label, *(_count(count) for count in row)] for label, row in zip(plot.names, plot.counts, strict=True)]
        drawn = Figure(
            drawing,
            f"Confusion matrix{run}",
            TextTable(["label", *plot.names], rows),
            "Rows are labels, columns predictions. The stronger the colour, the larger a share of the label.",
            {(row, column + 1): link for (row, column), link in links.items()},
        )
    else:
        title = f"The largest confusions of {len(plot.names):,} classes{run}"
        bars = _bars(largest, salt, [links.get(pair) for pair in pairs])
        drawn = Figure(bars, title, largest, links=largest_links)
    if links:  # those of the drawing are for the mouse: keys and screen readers go to those of the table
        drawn = replace(drawn, svg=LINK.sub(r'<a href="\1" tabindex="-1">', drawn.svg), note=f"{drawn.note} {LEADS}".strip())
    return Confused(f"Confusion matrix{run}", drawn, largest, _classes(plot, counts), largest_links)


def draw_confusion(axes: Any, plot: Confusion, links: Mapping[tuple[int, int], Link] | None = None) -> None:
    """Draw a matrix: the colour of a cell is the stronger, the larger its share of the label.

    Args:
      links: where cells lead to, by row and column.
    """
    from matplotlib.patches import Rectangle

    size = len(plot.names)
    plain(axes)
    for row, counts in enumerate(plot.counts):
        total = sum(counts)
        for column, count in enumerate(counts):
            if not count:
                continue
            share = count / total
            url = links[row, column].target if links and (row, column) in links else None
            alpha = 0.08 + 0.62 * share
            axes.add_patch(Rectangle((column, row), 0.96, 0.96, facecolor=SERIES[0], alpha=alpha, linewidth=0, url=url))
            if size <= MOST_WITH_COUNTS:
                axes.text(column + 0.48, row + 0.5, _count(count), ha="center", va="center", fontsize=10, color=INK, url=url)
    names = [clipped(name, LONGEST_NAME) for name in plot.names]
    places = np.arange(size) + 0.48
    axes.set_xticks(places, names, rotation=90 if max(map(len, names)) > 4 else 0)
    axes.set_yticks(places, names)
    axes.set(xlim=(0, size), ylim=(size, 0), aspect="equal", xlabel="prediction", ylabel="label")
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")


def _largest(counts: np.ndarray) -> list[tuple[int, int]]:
    """Return the pairs of label and prediction that are most often confused."""
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_CONFUSIONS].tolist()
    pairs = [divmod(place, len(wrong)) for place in order]
    return [pair for pair in pairs if wrong[pair]]


def _largest_table(plot: Confusion, counts: np.ndarray, pairs: Sequence[tuple[int, int]]) -> TextTable:
    table = TextTable(["label", "prediction", "times", "share of the label"], names=TIMES)
    totals = counts.sum(axis=1)
    for label, prediction in pairs:
        count = float(counts[label, prediction])
        share = f"{100 * count / totals[label]:.1f} %"
        table.rows.append([plot.names[label], plot.names[prediction], _count(count), share])
    return table


def _bars(largest: TextTable, salt: str, links: Sequence[Link | None]) -> str:
    labels = [f"{clipped(row[0], LONGEST_NAME)} as {clipped(row[1], LONGEST_NAME)}" for row in largest.rows]
    times = [float(row[TIMES].replace(",", "")) for row in largest.rows]
    with style(salt):
        figure = new_figure(720, 18 * len(times) + 50)
        axes = figure.subplots()
        plain(axes)
        axes.grid(visible=True, axis="x")
        bars = axes.barh(range(len(times)), times, height=0.62, color=SERIES[0])
        for bar, link in zip(bars, links, strict=True):
            bar.set_url(link.target if link else None)
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
