"""How long requests took by slice: a request counts in each slice that has an example in it. Pure."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from harness.exact.latency_histogram import LatencyHistogram
from harness.job.specs import SlicesSpec
from harness.results.latency import SHARES, percentile_text, percentiles
from harness.results.tables import TextTable, number
from harness.sums.grid import decode, sort_key

__all__ = ["SliceLatency", "by_slice", "slice_latency_table"]

MOST_SLICES = 50  # shown
Account = Mapping[str, Mapping[str, Any]]  # examples and latencies by slot's key


class SliceLatency:
    """Counts latencies by slice, from several threads."""

    def __init__(self) -> None:
        self._examples: Counter[str] = Counter()
        self._latencies: dict[str, LatencyHistogram] = {}
        self._lock = threading.Lock()

    def add(self, keys: Sequence[str], places: np.ndarray, latency_s: float) -> None:
        """Count a request once in every slice that has an example in it.

        Args:
          keys: of slots.
          places: which of them each of its examples is in, integer, [specs, B] or [B, specs].
          latency_s: of the request.
        """
        found, examples = np.unique(places, return_counts=True)
        with self._lock:
            for place, count in zip(found.tolist(), examples.tolist(), strict=True):
                self._examples[keys[place]] += count
                self._latencies.setdefault(keys[place], LatencyHistogram()).add(latency_s)

    def account(self) -> dict[str, dict[str, Any]]:
        """Return examples and latencies by slot's key; see `by_slice`."""
        with self._lock:
            examples, latencies = self._examples, self._latencies
            return {key: {"examples": examples[key], "buckets_us": latencies[key].to_json()} for key in latencies}


def by_slice(accounts: Sequence[Account], slices: SlicesSpec) -> list[dict[str, Any]]:
    """Return the percentiles of each slice, in the order in which metrics.json has the slices.

    Slices with fewer examples than the job reports are left out.

    Args:
      accounts: of all ranks.
      slices: of the job.

    >>> account = {"0\\x1esOslo": {"examples": 3, "buckets_us": {"1000": 2}}}
    >>> (slice_,) = by_slice([account, account], SlicesSpec.model_validate(["city"]))
    >>> slice_["slice"], slice_["examples"], slice_["requests"], slice_["percentiles_ms"]["p50"]["value"]
    ({'city': 'Oslo'}, 6, 4, 1.004)
    """
    examples, latencies = Counter[str](), dict[str, LatencyHistogram]()
    for key, entry in ((key, entry) for account in accounts for key, entry in account.items()):
        examples[key] += entry["examples"]
        latencies[key] = latencies.get(key, LatencyHistogram()) + LatencyHistogram.from_json(entry["buckets_us"])
    return [
        {"slice": _named(key, slices), "examples": examples[key], "requests": latencies[key].total,
         "percentiles_ms": percentiles(latencies[key])}
        for key in sorted(latencies, key=lambda key: sort_key(key, slices)) if examples[key] >= slices.minimum
    ]  # fmt: skip


def _named(key: str, slices: SlicesSpec) -> dict[str, int | str]:
    slice_ = decode(key, slices)
    return dict(zip(slice_.features, slice_.values, strict=True))


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
        cells = [percentile_text(part["percentiles_ms"].get(share)) for share in SHARES]
        table.rows.append([name, number(part["examples"]), number(part["requests"]), *cells])
    return table
