"""Latencies by slice against plain Python, and their table."""

from __future__ import annotations

from collections import Counter

import numpy as np

from harness.job.specs import SlicesSpec
from harness.results.slice_latency import SliceLatency, by_slice, slice_latency_table
from harness.step.host_slices import HostSlices


def made(slices, seeds):
    """Return accounts of ranks, and what plain Python counts: examples and requests by slice."""
    examples, requests, accounts = Counter(), Counter(), []
    for seed in seeds:
        rng, latency, slots = np.random.default_rng(seed), SliceLatency(), HostSlices(slices, traced=seed > 1)
        for _ in range(20):
            count = int(rng.integers(1, 5))
            city = [CITIES[number] for number in rng.integers(0, len(CITIES), 4)]
            age, writer = rng.choice([-1.0, 10.0, 40.0, np.nan], 4), rng.integers(-2, 3, 4)
            features = {
                "city": np.array([text.encode() for text in city], object), "age": age, "writer": writer,
                "image": rng.normal(size=(4, 3, 3)),
            }  # fmt: skip
            found, places = slots.of(features)
            latency.add(found, places[:, :count], 0.001 * (1 + int(writer[0] == 2)))
            buckets = ["nan" if np.isnan(x) else "[-inf, 0)" if x < 0 else "[0, 30)" if x < 30 else "[30, inf)" for x in age]
            keys = [
                [(("city", city[row]),), (("age", buckets[row]), ("city", city[row])), (("writer", int(writer[row])),)]
                for row in range(count)
            ]
            examples.update(key for row in keys for key in row)
            requests.update({key for row in keys for key in row})
        accounts.append(latency.account())
    return accounts, examples, requests


CITIES = ["Oslo", "K\u00f8ben\x1fhavn", "\u6771\u4eac", "Oslo\0"]
SLICES = SlicesSpec.model_validate([["city"], [{"feature": "age", "buckets": [0, 30]}, "city"], ["writer"]])


def test_examples_and_requests_by_slice_are_those_of_plain_python():
    accounts, examples, requests = made(SLICES, (1, 2, 3))
    found = by_slice(accounts, SLICES)
    assert {tuple(part["slice"].items()): part["examples"] for part in found} == examples
    assert {tuple(part["slice"].items()): part["requests"] for part in found} == requests
    writers = [part["slice"]["writer"] for part in found if "writer" in part["slice"]]
    assert writers == sorted(writers) == [-2, -1, 0, 1, 2]
    assert by_slice([*accounts[::-1]], SLICES) == found


def test_small_slices_are_left_out_and_the_slowest_come_first():
    accounts, examples, _ = made(SLICES, (1,))
    most = SLICES.model_copy(update={"minimum": 8})
    found = by_slice(accounts, most)
    assert {tuple(part["slice"].items()) for part in found} == {key for key, count in examples.items() if count >= 8}
    table = slice_latency_table({"by_slice": found})
    p99 = [float(row[5].split()[0]) for row in table.rows]
    assert len(table.rows) == len(found) and p99 == sorted(p99, reverse=True)
    assert slice_latency_table({"by_slice": []}) is None and slice_latency_table({}) is None
    assert by_slice([{}], SLICES) == []
