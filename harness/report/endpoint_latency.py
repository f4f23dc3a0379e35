"""How long requests to endpoints took: their share by duration, with the percentiles beside it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from typing import Any

from harness.exact.latency_histogram import LatencyHistogram
from harness.report.drawing import SERIES, clipped, new_figure, style, svg
from harness.report.sections import Figure
from harness.results.latency import latency_table

__all__ = ["latency_figure"]

NOTE = (
    "Each request from its first try to its reply, of all ranks. In brackets the interval of 95 %; .. stands for an end that "
    "so few requests leave open."
)


def latency_figure(attempt: Mapping[str, Any], run: str) -> Figure | None:
    """Draw which share of requests took at most how long; None where an attempt of run.json has no endpoints.

    The share that took longer falls by powers of ten: so the tail can be seen.
    """
    data = latency_table(attempt)
    if data is None:
        return None
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
