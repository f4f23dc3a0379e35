"""How long requests to endpoints took: their share by duration, with the percentiles beside it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from typing import Any

from harness.exact.latency_histogram import LatencyHistogram
from harness.report.drawing import MARKERS, SERIES, clipped, new_figure, style, svg
from harness.report.sections import Figure
from harness.results.latency import latency_table
from harness.results.tables import TextTable, number

__all__ = ["latency_figure", "latency_over_time"]

DRAWN = ("p50", "p90", "p99")
LEAST_WINDOWS = 2
NOTE = (
    "Each request from its first try to its reply, of all ranks. In brackets the interval of 95 %; .. stands for an end that "
    "so few requests leave open."
)


def latency_figure(attempt: Mapping[str, Any], run: str) -> Figure | None:
    """Draw which share of requests took at most how long; None where an attempt of run.json has no endpoints.

    The share that took longer falls by powers of ten: so the tail can be seen.
    """
    data = latency_table(attempt)
    if data is None or not any(entry["buckets_us"] for entry in attempt["endpoint_latency"].values()):
        return None  # there are no endpoints, or none has answered
    with style(f"latency {run}"):
        figure = new_figure(720, 280)
        axes = figure.subplots()
        for number, (name, entry) in enumerate(attempt["endpoint_latency"].items()):
            histogram = LatencyHistogram.from_json(entry["buckets_us"])
            starts = sorted(histogram.counts)
            upto = accumulate(histogram.counts[start] for start in starts)
            longer = [1 - count / histogram.total for count in upto]
            times = [start / 1000 for start in starts]
            floor = 0.5 / max(histogram.total, 1)  # where nothing is left, a log axis has no place
            points = [max(share, floor) for share in longer]
            axes.step(times, points, where="post", color=SERIES[number % len(SERIES)], label=clipped(name or "endpoint"))
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("milliseconds", loc="left")
        axes.set_ylabel("share that took longer")
        if len(attempt["endpoint_latency"]) > 1:
            axes.legend()
        drawing = svg(figure)
    return Figure(drawing, f"How long requests to endpoints took, {run}", data, NOTE)


def latency_over_time(entry: Mapping[str, Any], name: str) -> Figure | None:
    """Draw the percentiles of windows of time; None where there are fewer than two windows.

    Args:
      entry: of an endpoint, with `over_time`.
      name: of what is drawn.
    """
    windows = entry["over_time"]
    if len(windows) < LEAST_WINDOWS:
        return None
    data = TextTable(["seconds", "requests", *(f"{share} ms" for share in DRAWN)])
    for window in windows:
        cells = [number(window[f"{share}_ms"], 1e-2 * window[f"{share}_ms"]) for share in DRAWN]
        data.rows.append([f"{window['from_s']:,} to {window['to_s']:,}", number(window["requests"]), *cells])
    with style(f"latency over time {name}"):
        figure = new_figure(720, 280)
        axes = figure.subplots()
        times = [(window["from_s"] + window["to_s"]) / 2 for window in windows]
        for place, share in enumerate(DRAWN):
            values = [window[f"{share}_ms"] for window in windows]
            axes.plot(times, values, color=SERIES[place], marker=MARKERS[place], markersize=4, label=share)
        axes.set_yscale("log")
        axes.set_xlabel("seconds since the beginning", loc="left")
        axes.set_ylabel("milliseconds")
        axes.legend()
        drawing = svg(figure)
    return Figure(drawing, f"How long requests took over time, {name}", data, "By the moment of the reply.")
