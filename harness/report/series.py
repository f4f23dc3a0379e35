"""Values along something: at each cut-off k of a ranking, at each run of a sweep; with their intervals."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from harness.comparison.curve import said_steps
from harness.metrics.direction import Better
from harness.report.drawing import MARKERS, SERIES, clipped, new_figure, style, svg
from harness.report.estimates import Estimate, estimates
from harness.report.sections import Figure
from harness.report.subjects import Reported
from harness.results.tables import TextTable

__all__ = ["cutoff_figures", "sweep_figures"]

FEWEST_RUNS = 3  # that make a curve
MOST_METRICS, MOST_NAMED = 6, 12
LONGEST_NAME = 16

Point = tuple[float, str, Estimate]  # where it stands, what it is called there, and the number


def cutoff_figures(reported: Reported) -> list[Figure]:
    """Return a figure for each metric that a job asks for at several cut-offs k, and otherwise alike."""
    groups: dict[str, dict[str, list[Point]]] = {}
    for subject, document in reported.finished:
        numbers = {own.key: own for own in estimates(document) if not own.name and own.value is not None}
        for key, definition in (document.get("definitions") or {}).items():
            options = definition.get("options") or {}
            if key in numbers and isinstance(options.get("k"), int):
                place = float(options["k"]), str(options["k"]), numbers[key]
                groups.setdefault(_name(definition, options), {}).setdefault(subject.name, []).append(place)
    figures = []
    for name, series in groups.items():
        if max(len({x for x, _, _ in points}) for points in series.values()) > 1:
            ordered = {run: sorted(points, key=lambda point: point[0]) for run, points in series.items()}
            metric = json.loads(name)[0].replace("_", " ")
            figures.append(_figure(ordered, f"{metric[:1].upper()}{metric[1:]} at each k", "k", metric, name))
    return figures


def _name(definition: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    """Return what metrics have in common that differ by k alone."""
    others = {key: value for key, value in options.items() if key not in ("k", "name")}
    return json.dumps(
        [str(definition.get("metric") or definition.get("python")), definition.get("model", ""), others], sort_keys=True
    )


def sweep_figures(reported: Reported) -> list[Figure]:
    """Return a figure for each of the first metrics along the runs; none of few runs.

    Runs come in order of the step in their names, where all have one, else as they were named.
    """
    if len(reported.finished) < FEWEST_RUNS:
        return []
    points: dict[str, list[Point]] = {}
    ways: dict[str, Better] = {}
    steps = said_steps([subject.name for subject, _ in reported.finished]) or range(len(reported.finished))
    ordered = [run for _, run in sorted(zip(steps, reported.finished, strict=True), key=lambda pair: pair[0])]
    for place, (subject, document) in enumerate(ordered):
        for own in estimates(document):
            if not own.name and own.value is not None:
                points.setdefault(own.label, []).append((float(place), subject.name, own))
                ways[own.label] = own.better
    kept = [label for label in points if len(points[label]) >= FEWEST_RUNS and ways[label] is not Better.NEITHER][:MOST_METRICS]
    return [
        _figure({label: points[label]}, f"{label[:1].upper()}{label[1:]} by run", "run", label, f"sweep {label}")
        for label in kept
    ]


def _figure(series: Mapping[str, Sequence[Point]], title: str, x_name: str, y_name: str, salt: str) -> Figure:
    data = TextTable(["series", x_name, y_name, "low", "high"], names=2)
    with style(salt):
        figure = new_figure(400, 320)
        axes = figure.subplots()
        for number, (name, points) in enumerate(series.items()):
            colour, marker = SERIES[number % len(SERIES)], MARKERS[number % len(MARKERS)]
            for x, _, own in points:
                if own.low is not None and own.high is not None:
                    axes.plot([x, x], [own.low, own.high], color=colour, linewidth=1.4)
            known = [(x, own.value) for x, _, own in points if own.value is not None]
            axes.plot(
                [x for x, _ in known],
                [value for _, value in known],
                color=colour,
                marker=marker,
                markersize=5,
                label=clipped(name),
            )
            data.rows.extend([name, text, own.shown, *own.ends] for _, text, own in points)
        ticks = sorted({(x, clipped(text, LONGEST_NAME)) for points in series.values() for x, text, _ in points})
        if len(ticks) <= MOST_NAMED:
            long = any(len(text) > 4 for _, text in ticks)
            axes.set_xticks(
                [x for x, _ in ticks], [text for _, text in ticks], rotation=35 if long else 0, ha="right" if long else "center"
            )
        axes.set_xlabel(x_name, loc="left")
        axes.set_ylabel(clipped(y_name))
        if len(series) > 1:
            axes.legend()
        return Figure(svg(figure), title, data)
