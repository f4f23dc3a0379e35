"""Reliability diagrams: whether confidence is what comes true, with how many are in each bin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.metrics.plots import Reliability
from harness.report.bands import band
from harness.report.drawing import MUTED, SERIES, new_figure, style, svg
from harness.report.sections import Figure, Section
from harness.report.sources import Source
from harness.results.plotted import Plotted
from harness.results.tables import TextTable, number

__all__ = ["calibrated_section", "draw_counts", "draw_reliability"]

MOST_FIGURES = 6


def calibrated_section(sources: Sequence[Source]) -> Section | None:
    """Return the section; None where no metric has bins of confidence."""
    figures, left_out = list[Figure](), 0
    for source in sources:
        seen: list[Reliability] = []
        for own in source.plots:
            if isinstance(own.plot, Reliability) and own.plot not in seen:
                seen.append(own.plot)
                if len(figures) < MOST_FIGURES:
                    figures.append(_figure(source, own, own.plot, several=len(sources) > 1))
                else:
                    left_out += 1
    return Section("calibration", "Calibration", "figures.html", (figures, left_out)) if figures else None


def _figure(source: Source, own: Plotted, plot: Reliability, *, several: bool) -> Figure:
    positive = own.options.get("positive")
    name = source.classes[positive] if positive is not None and positive < len(source.classes) else positive
    title = f"Reliability of {'the highest score' if positive is None else f'the score of class {name}'}"
    title += f", {source.name}" if several else ""
    low, high = _ends(own, plot, source.level)
    with style(f"reliability {source.name} {own.key}"):
        figure = new_figure(400, 440)
        diagram, counts = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
        draw_reliability(diagram, plot, low, high)
        draw_counts(counts, plot)
        drawing = svg(figure)
    data = TextTable(["bin", "in it", "mean confidence", "share of hits", "low", "high"])
    for (bin_, weight, confidence, hits), below, above in zip(plot.bins, low, high, strict=True):
        ends = ["" if np.isnan(end) else number(float(end)) for end in (below, above)]
        data.rows.append([str(bin_), number(weight), number(confidence), number(hits), *ends])
    return Figure(drawing, title, data, "On the dashed line confidence is what comes true. Below, how many are in each bin.")


def _ends(own: Plotted, plot: Reliability, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the interval of the share of hits of each bin; NaN where there is none."""
    lines = []
    for replicate in own.replicates:
        hits = {bin_: hit for bin_, _, _, hit in replicate.bins} if isinstance(replicate, Reliability) else {}
        lines.append(np.array([hits.get(bin_, np.nan) for bin_, *_ in plot.bins]))
    nothing = np.full(len(plot.bins), np.nan)
    return band(lines, level) or (nothing, nothing)


def draw_reliability(axes: Any, plot: Reliability, low: np.ndarray | None = None, high: np.ndarray | None = None) -> None:
    """Draw the diagram; `low` and `high` are the interval of each bin, where there is one."""
    known = [number for number, (_, _, confidence, _) in enumerate(plot.bins) if confidence is not None]
    confidence, hits = (np.array([plot.bins[number][column] for number in known], np.float64) for column in (2, 3))
    axes.plot([0, 1], [0, 1], color=MUTED, linestyle=(0, (4, 3)), linewidth=1)
    if low is not None and high is not None:
        axes.vlines(confidence, low[known], high[known], color=SERIES[0], linewidth=1.6)
    axes.plot(confidence, hits, color=SERIES[0], marker="o", markersize=5, linewidth=1)
    axes.set(ylim=(-0.02, 1.02), xlim=(-0.01, 1.01), ylabel="share of hits")


def draw_counts(axes: Any, plot: Reliability) -> None:
    """Draw how many are in each bin."""
    held = [(confidence, weight) for _, weight, confidence, _ in plot.bins if confidence is not None]
    axes.bar([confidence for confidence, _ in held], [weight for _, weight in held], width=0.02, color=SERIES[0])
    axes.set(ylabel="examples")
    axes.set_xlabel("mean confidence of the bin", loc="left")
    axes.grid(visible=False, axis="x")
    axes.locator_params(axis="y", nbins=3)
