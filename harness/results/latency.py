"""How long requests to endpoints took, of all ranks together: percentiles with intervals, and over time. Pure.

It is no part of metrics.json: what a server takes differs from run to run; see docs/decisions/0036.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.exact.latency_histogram import LatencyHistogram
from harness.job.specs import SlicesSpec
from harness.results.tables import TextTable, number
from harness.sums.grid import decode, sort_key

__all__ = [
    "SHARES", "by_slice", "endpoint_latency", "latency_lines", "latency_table", "percentiles", "slice_latency_table", "windows",
]  # fmt: skip

MOST_SLICES = 50  # shown
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


def by_slice(
    ranks: Sequence[Mapping[str, Mapping[str, Mapping[str, Any]]]], slices: SlicesSpec | None
) -> dict[str, list[dict[str, Any]]]:
    """Return the percentiles of each slice, by endpoint, in the order in which metrics.json has the slices.

    A request counts in each slice that has an example in it. Slices with fewer examples than the job reports are left out.

    Args:
      ranks: examples and latencies by slot's key, by endpoint.
      slices: of the job.

    >>> spec = SlicesSpec.model_validate(["city"])
    >>> rank = {"": {"0\x1esOslo": {"examples": 3, "buckets_us": {"1000": 2}}}}
    >>> (slice_,) = by_slice([rank, rank], spec)[""]
    >>> slice_["slice"], slice_["examples"], slice_["requests"], slice_["percentiles_ms"]["p50"]["value"]
    ({'city': 'Oslo'}, 6, 4, 1.004)
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for name in dict.fromkeys(name for rank in ranks for name in rank) if slices is not None else ():
        examples, latencies = Counter[str](), dict[str, LatencyHistogram]()
        for key, entry in ((key, entry) for rank in ranks for key, entry in rank.get(name, {}).items()):
            examples[key] += entry["examples"]
            latencies[key] = latencies.get(key, LatencyHistogram()) + LatencyHistogram.from_json(entry["buckets_us"])
        assert slices is not None
        found[name] = [
            {"slice": _named(key, slices), "examples": examples[key], "requests": latencies[key].total,
             "percentiles_ms": percentiles(latencies[key])}
            for key in sorted(latencies, key=lambda key: sort_key(key, slices)) if examples[key] >= slices.minimum
        ]  # fmt: skip
    return found


def _named(key: str, slices: SlicesSpec) -> dict[str, int | str]:
    slice_ = decode(key, slices)
    return dict(zip(slice_.features, slice_.values, strict=True))


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
        cells = [_cell(entry["percentiles_ms"].get(share)) for share in SHARES]
        table.rows.append([name or "endpoint", number(entry["requests"]), *cells, number(entry["retries"])])
    return table if table.rows else None


def slice_latency_table(entry: Mapping[str, Any]) -> TextTable | None:
    """Return the percentiles of the slices of an endpoint, the slowest first by p99; None where there are none.

    Args:
      entry: of an endpoint, in `endpoint_latency`.
    """
    slices = sorted(entry.get("by_slice") or [], key=lambda part: -part["percentiles_ms"]["p99"]["value"])
    if not slices:
        return None
    table = TextTable(["slice", "examples", "requests", *(f"{name} ms" for name in SHARES)])
    for part in slices[:MOST_SLICES]:
        name = ", ".join(f"{feature} {value}" for feature, value in part["slice"].items())
        cells = [_cell(part["percentiles_ms"].get(share)) for share in SHARES]
        table.rows.append([name, number(part["examples"]), number(part["requests"]), *cells])
    return table


def latency_lines(attempt: Mapping[str, Any]) -> Iterator[str]:
    """Return a line an endpoint, as a terminal shows it."""
    for name, entry in (attempt.get("endpoint_latency") or {}).items():
        parts = ", ".join(f"{share} {_cell(found)} ms" for share, found in entry["percentiles_ms"].items())
        where = f"endpoint {name}" if name else "endpoint"
        yield f"{where}: {entry['requests']:,} requests, {parts}, {entry['retries']:,} retries"


def _cell(percentile: Mapping[str, Any] | None) -> str:
    """Write a percentile with its interval; `..` stands for an end that too few requests leave open.

    >>> _cell({"value": 1.004, "low": 1.0, "high": None}), _cell(None)
    ('1.004 [1, ..]', '')
    """
    if percentile is None:
        return ""
    low, high = (".." if percentile[end] is None else f"{percentile[end]:.4g}" for end in ("low", "high"))
    return f"{percentile['value']:.4g} [{low}, {high}]"
