"""What is asked of a load test: bounds as people write them, what does not go together, LoadGen's settings, rules that are not kept."""

from __future__ import annotations

import pytest

from harness.bench.loadgen import ScenarioName
from harness.errors import UsageError
from harness.load.request import LatencyBound, LoadRequest


@pytest.mark.parametrize(
    ("text", "name", "seconds"),
    [("p99=50ms", "p99", 0.05), ("p99.9=1.5s", "p99.9", 1.5), ("p50=800us", "p50", 0.0008), ("p90.0=1s", "p90", 1.0)],
)
def test_a_bound_is_read(text, name, seconds):
    bound = LatencyBound.parse(text)
    assert (bound.name, bound.seconds) == (name, pytest.approx(seconds))


@pytest.mark.parametrize("text", ["", "99=50ms", "p99=50", "p99<50ms", "p100=1s", "p0=1s", "p99=0ms", "p99=-1ms", "p99=nanms"])
def test_what_is_no_bound_is_refused(text):
    with pytest.raises(UsageError, match=r"expected a percentile and a time .*p99=50ms"):
        LatencyBound.parse(text)


BOUND = LatencyBound("p99", 0.05)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"scenario": ScenarioName.SERVER}, "--qps N"),
        ({"scenario": ScenarioName.OFFLINE, "qps": 5.0}, "--qps goes with --scenario server"),
        ({"scenario": ScenarioName.SINGLE_STREAM, "qps": 5.0}, "--qps goes with --scenario server"),
        ({"scenario": ScenarioName.OFFLINE, "bounds": [BOUND]}, "does not go with --scenario offline"),
        ({"scenario": ScenarioName.SINGLE_STREAM, "bounds": [BOUND, BOUND]}, "one bound a percentile"),
        ({"scenario": ScenarioName.SERVER, "qps": 0.1}, "at least one query"),
    ],
)
def test_what_does_not_go_together_is_refused(keys, message):
    with pytest.raises(UsageError, match=message):
        LoadRequest(seconds=1.0, **keys)


def test_the_settings_are_those_that_were_asked_for():
    settings = LoadRequest(ScenarioName.SERVER, 20, 120.0, [LatencyBound("p90", 0.015)]).settings(7.0)
    assert settings["server_target_qps"] == 120.0 and settings["server_target_latency_ns"] == 15_000_000
    assert settings["server_target_latency_percentile"] == 0.9 and settings["min_duration_ms"] == 20_000
    assert settings["min_query_count"] == 1
    assert LoadRequest(ScenarioName.MULTI_STREAM, 1).settings(1.0)["multi_stream_samples_per_query"] == 8
    assert LoadRequest(ScenarioName.OFFLINE, 1).settings(100.0)["offline_expected_qps"] == 150


def test_rules_of_mlperf_that_are_not_kept_are_said_and_no_others():
    kept = LoadRequest(ScenarioName.SINGLE_STREAM, 600).unkept(1_024)
    assert len(kept) == 4  # which no test here keeps
    short = LoadRequest(ScenarioName.SERVER, 5, 10.0).unkept(50)
    assert [rule for rule in short if rule not in kept] == [
        "queries come for 5 s, the rule is 600 s",
        "50 queries were sent, the rule is 662",
        "the latency bound is none",
    ]
