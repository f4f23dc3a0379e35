"""Plots of results on axes of matplotlib, for notebooks and papers: of a run's sums, or of tables where it has no folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.errors import UsageError
from harness.metrics.plots import Confusion, Reliability, Thresholds
from harness.report.calibrated import draw_reliability
from harness.report.confused import draw_confusion
from harness.report.drawing import style
from harness.report.forest import Dot, Panel, Row, draw_panel
from harness.report.scored import Curve, curve_of, draw_curves, roc
from harness.report.sliced import worst_slices
from harness.report.sources import Source, read_sources
from harness.report.subjects import Reported
from harness.results.metric_names import find_key, labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes as MatplotlibAxes

__all__ = ["Axes"]

SIDE = 5.0  # inches


@dataclass(frozen=True)
class Axes:
    """Draws one plot of results each; takes `ax` to draw on, or makes a figure.

    All raise UsageError where the results do not have what is drawn, and say which metric would bring it.
    """

    reported: Reported

    def roc(self, ax: MatplotlibAxes | None = None) -> MatplotlibAxes:
        """Draw the ROC curve of each model, with a band where its replicates have one."""
        curves = [
            curve_of(roc, source.name, own.plot, own, source.level)
            for source in self._sources()
            if (own := max((p for p in source.plots if isinstance(p.plot, Thresholds)), key=_points, default=None))
            and isinstance(own.plot, Thresholds)
        ]
        if not curves:
            tables = self._tables("roc_curve")
            curves = [Curve(key, *(np.array(columns[name], np.float64) for name in ("fpr", "tpr"))) for key, columns in tables]
        if not curves:
            raise UsageError("there is no ROC curve in these results: ask for the metric roc_curve or binned_roc_auc")
        return _drawn(ax, lambda axes: draw_curves(axes, roc, curves))

    def reliability(self, ax: MatplotlibAxes | None = None) -> MatplotlibAxes:
        """Draw the reliability diagram: the first that the results have."""
        plots = [own.plot for source in self._sources() for own in source.plots if isinstance(own.plot, Reliability)]
        for name in ("reliability_curve", "equal_mass_reliability_curve"):
            for _, columns in self._tables(name) if not plots else ():
                lines = zip(columns["weight"], columns["confidence"], columns["accuracy"], strict=True)
                plots.append(Reliability(tuple((number, *line) for number, line in enumerate(lines))))
        if not plots:
            raise UsageError("there are no bins of confidence in these results: ask for the metric reliability_curve")
        return _drawn(ax, lambda axes: draw_reliability(axes, plots[0]))

    def confusion(self, ax: MatplotlibAxes | None = None) -> MatplotlibAxes:
        """Draw the confusion matrix: the first that the results have."""
        plots = [own.plot for source in self._sources() for own in source.plots if isinstance(own.plot, Confusion)]
        for _, columns in self._tables("confusion_matrix") if not plots else ():
            names = tuple(columns.pop("label"))
            rows = zip(*columns.values(), strict=True)
            plots.append(Confusion(names, tuple(tuple(count or 0 for count in row) for row in rows)))
        if not plots:
            raise UsageError("there is no confusion matrix in these results: ask for the metric confusion_matrix")
        return _drawn(ax, lambda axes: draw_confusion(axes, plots[0]))

    def slices(self, metric: str | None = None, ax: MatplotlibAxes | None = None) -> MatplotlibAxes:
        """Draw a metric by slice, the worst first; the first metric that has a better way if none is named."""
        _, document = self.reported.finished[0]
        names = labels(document)
        key = None if metric is None else find_key(metric, names, f"slices('{metric}'): there is no such metric")
        label, numbers, middle = worst_slices(document, None if key is None else names[key])
        if not numbers:
            raise UsageError("there are no slices with such a value in these results: ask for slices")
        rows = [
            Row(name, [Dot(own.value, own.low, own.high)], faint=small) for name, own, small in numbers if own.value is not None
        ]
        return _drawn(ax, lambda axes: draw_panel(axes, Panel(rows, middle, label)))

    def _sources(self) -> Sequence[Source]:
        return [source for source in read_sources(self.reported) if source.plots]

    def _tables(self, metric: str) -> Iterator[tuple[str, dict[str, list[Any]]]]:
        """Return the tables of a metric by key, each as its columns."""
        _, document = self.reported.finished[0]
        for key, entry in document["metrics"].items():
            value, name = entry["value"], document.get("definitions", {}).get(key, {}).get("metric", key)
            if name == metric and isinstance(value, Mapping) and "columns" in value:
                yield key, dict(zip(value["columns"], (list(column) for column in zip(*value["rows"], strict=True)), strict=True))


def _points(own: Any) -> tuple[bool, int]:
    """Return what sorts counts with replicates last, and of these those with the most points."""
    return bool(own.replicates), len(own.plot.points)


def _drawn(ax: MatplotlibAxes | None, draw: Callable[[Any], None]) -> MatplotlibAxes:
    with style():
        if ax is None:
            import matplotlib.pyplot as plt

            figure, ax = plt.subplots(figsize=(SIDE, SIDE), layout="constrained")
            figure.set(facecolor="white", dpi=100)
        draw(ax)
    return ax
