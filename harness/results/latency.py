"""How long requests to endpoints took, of all ranks together: percentiles with intervals, and over time. Pure.

It is no part of metrics.json: what a server takes differs from run to run; see docs/decisions/0036.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.exact.latency_histogram import LatencyHistogram
from harness.results.tables import TextTable, number

__all__ = ["SHARES", "endpoint_latency", "latency_lines", "latency_table", "percentile_text", "percentiles", "windows"]

SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}


def endpoint_latency(ranks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what an attempt says of each endpoint, from the accounts of its ranks: of the whole, and of windows of time.

    Windows of ranks are added up where the longest of them puts them: their clocks begin within seconds of each other.

    >>> rank = {"endpoints": {"": {"requests": 2, "tries": 3, "failures": {"503": 1}, "latency": {
    ...     "buckets_us": {"1000": 2}, "window_s": 1, "windows": {"0": {"1000": 2}}}}}}
    >>> whole = endpoint_latency([rank, rank])[""]
    >>> whole["requests"], whole["retries"], whole["failures"], whole["percentiles_ms"]["p50"]["value"]
    (4, 2, 2, 1.004)
    """
    names = dict.fromkeys(name for rank in ranks for name in rank.get("endpoints", {}))
    return {name: _of([rank["endpoints"][name] for rank in ranks if name in rank.get("endpoints", {})]) for name in names}


def _of(accounts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    latencies = [account["latency"] for account in accounts if "latency" in account]
    window_s = max((latency["window_s"] for latency in latencies), default=1)
    whole, parts = LatencyHistogram(), dict[int, LatencyHistogram]()
    for latency in latencies:
        whole += LatencyHistogram.from_json(latency["buckets_us"])
        for place, buckets in latency["windows"].items():
            at = int(place) * latency["window_s"] // window_s
            parts[at] = parts.get(at, LatencyHistogram()) + LatencyHistogram.from_json(buckets)
    requests = sum(account["requests"] for account in accounts)
    return {
        "requests": requests,
        "retries": sum(account["tries"] for account in accounts) - requests,
        "failures": sum(sum(account["failures"].values()) for account in accounts),
        "percentiles_ms": percentiles(whole),
        "buckets_us": whole.to_json(),
        "over_time": windows(window_s, parts),
    }


def windows(window_s: int, parts: Mapping[int, LatencyHistogram]) -> list[dict[str, Any]]:
    """Return what is said of windows of time.

    Args:
      window_s: their length.
      parts: latencies by the number of the window.
    """
    return [
        {"from_s": at * window_s, "to_s": (at + 1) * window_s, "requests": histogram.total, **_values(histogram)}
        for at, histogram in sorted(parts.items())
    ]


def percentiles(histogram: LatencyHistogram) -> dict[str, Any]:
    """Return each percentile with its interval, in milliseconds; none where there are no latencies."""
    found = {name: histogram.percentile(share) for name, share in SHARES.items()}
    return {name: vars(percentile) for name, percentile in found.items() if percentile is not None}


def _values(histogram: LatencyHistogram) -> dict[str, float]:
    return {
        f"{name}_ms": percentile.value
        for name, share in SHARES.items()
        if (percentile := histogram.percentile(share)) is not None and name != "p99.9"
    }


def latency_table(attempt: Mapping[str, Any]) -> TextTable | None:
    """Return the percentiles of each endpoint of an attempt of run.json; None where it has none."""
    endpoints = attempt.get("endpoint_latency") or {}
    table = TextTable(["endpoint", "requests", *(f"{name} ms" for name in SHARES), "retries"])
    for name, entry in endpoints.items():
        cells = [percentile_text(entry["percentiles_ms"].get(share)) for share in SHARES]
        table.rows.append([name or "endpoint", number(entry["requests"]), *cells, number(entry["retries"])])
    return table if table.rows else None


def latency_lines(attempt: Mapping[str, Any]) -> Iterator[str]:
    """Return a line an endpoint, as a terminal shows it."""
    for name, entry in (attempt.get("endpoint_latency") or {}).items():
        parts = ", ".join(f"{share} {percentile_text(found)} ms" for share, found in entry["percentiles_ms"].items())
        where = f"endpoint {name}" if name else "endpoint"
        yield f"{where}: {entry['requests']:,} requests, {parts}, {entry['retries']:,} retries"


def percentile_text(percentile: Mapping[str, Any] | None) -> str:
    """Write a percentile with its interval; `..` stands for an end that too few requests leave open.

    >>> percentile_text({"value": 1.004, "low": 1.0, "high": None}), percentile_text(None)
    ('1.004 [1, ..]', '')
    """
    if percentile is None:
        return ""
    low, high = (".." if percentile[end] is None else f"{percentile[end]:.4g}" for end in ("low", "high"))
    return f"{percentile['value']:.4g} [{low}, {high}]"
