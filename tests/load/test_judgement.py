"""What a load test comes to, of queues that are simulated: whoever is served in order at a fixed time waits as Lindley says."""

from __future__ import annotations

import random

import pytest

from harness.bench.loadgen import ScenarioName
from harness.load.account import LoadAccount
from harness.load.judgement import Verdict, judge
from harness.load.request import LatencyBound, LoadRequest

BOUNDS = (LatencyBound("p99", 0.1),)
SERVER = LoadRequest(ScenarioName.SERVER, 30, 100.0, BOUNDS)
STREAM = LoadRequest(ScenarioName.SINGLE_STREAM, 30, None, BOUNDS)


def queue(load, *, seed, qps=100.0, seconds=30.0, more_s=0.0):
    """Return the account of one server with Poisson arrivals: it is busy for `load / qps` a query, `more_s` are on the way."""
    draws, account, now, free = random.Random(seed), LoadAccount(BOUNDS), 0.0, 0.0
    while (now := now + draws.expovariate(qps)) < seconds:
        free = max(now, free) + load / qps
        account.come(now)
        account.answer(free + more_s, free + more_s - now, 1, "1")
    return account


def of(latencies, bounds=BOUNDS, failed=0, unsent=0):
    account = LoadAccount(bounds)
    for number, latency in enumerate(latencies):
        account.come(number)
        account.answer(number + latency, latency, 1, "1")
    for _ in range(failed):
        account.come(0)
        account.fail(0.5, "UNAVAILABLE")
    for _ in range(unsent):
        account.come(0)
        account.leave()
    return account


@pytest.mark.parametrize("load", [1.15, 1.5, 4.0])
def test_a_service_that_is_asked_more_than_it_can_is_called_overloaded(load):
    for seed in range(20):
        found = judge(SERVER, queue(load, seed=seed), 0.1, 64)
        assert found.is_overloaded and found.verdict is Verdict.MISSED
        assert found.sentences[0].startswith("overloaded: ") and " ended, with up to" in found.sentences[0]


@pytest.mark.parametrize(("load", "more_s"), [(0.3, 0.0), (0.8, 0.0), (0.3, 5.0), (0.8, 1.0), (0.3, 25.0), (0.8, 60.0)])
def test_a_service_that_keeps_up_is_not_however_long_an_answer_takes(load, more_s):
    for seed in range(20):
        assert not judge(SERVER, queue(load, seed=seed, more_s=more_s), 0.1, 64).is_overloaded


def test_a_service_that_is_gone_is_not_called_overloaded():
    for seconds in (10, 50):  # that it answered for; then queries fail, long after the last one came
        account, draws, now = LoadAccount(BOUNDS), random.Random(0), 0.0
        while (now := now + draws.expovariate(100)) < 60:
            account.come(now)
            if now < seconds:
                account.answer(now + 0.01, 0.01, 1, "1")
            else:
                account.fail(now + 120, "UNAVAILABLE")
        found = judge(SERVER, account, 0.1, 64)
        assert found.verdict is Verdict.MISSED and not found.is_overloaded


def test_a_rate_that_this_machine_could_not_send_is_not_kept():
    found = judge(LoadRequest(ScenarioName.SERVER, 30, 200.0, BOUNDS), queue(0.1, seed=0), 0.3, 64)
    assert found.verdict is Verdict.UNKNOWN and "queries came in a second" in found.sentences[0]


def test_where_the_client_is_busy_the_service_is_not_blamed():
    found = judge(SERVER, queue(2.0, seed=0), 0.97, 64)
    assert found.verdict is Verdict.UNKNOWN and not found.is_overloaded and "0.97 cores" in found.sentences[0]


@pytest.mark.parametrize("scenario", list(ScenarioName))
def test_where_the_client_is_busy_it_is_said_in_each_scenario(scenario):
    request = LoadRequest(scenario, 1000, 1.0 if scenario is ScenarioName.SERVER else None)
    found = judge(request, of([0.05] * 1000, bounds=()), 0.97, 8)
    (note,) = (sentence for sentence in found.sentences if sentence.startswith("this process kept 0.97 cores busy"))
    assert ("faster machine" in note) == (scenario in (ScenarioName.SINGLE_STREAM, ScenarioName.MULTI_STREAM))
    assert found.verdict is Verdict.KEPT
    assert not any("cores busy" in sentence for sentence in judge(request, of([0.05] * 1000, bounds=()), 0.5, 8).sentences)


def test_a_service_that_goes_while_queries_still_come_is_not_called_overloaded():
    # It answers for 10 s of 60, then 64 queries at a time fail after 20 s each, and those that wait longer are never sent.
    account, draws, now, queued = LoadAccount(BOUNDS), random.Random(0), 0.0, 0
    while (now := now + draws.expovariate(100)) < 60:
        account.come(now)
        if now < 10:
            account.answer(now + 0.01, 0.01, 1, "1")
        else:
            queued += 1
            if queued <= 192:
                account.fail(10 + 20 * (1 + (queued - 1) // 64), "UNAVAILABLE")
            else:
                account.leave()
    found = judge(SERVER, account, 0.1, 64)
    assert found.verdict is Verdict.MISSED and not found.is_overloaded


# Late queries of 1,000, of which 10 may be: the exact interval of 4 ends at 1.02 %, that of 19 begins at 1.15 %.
@pytest.mark.parametrize(
    ("late", "verdict", "code"), [(0, Verdict.KEPT, 0), (3, Verdict.KEPT, 0), (4, Verdict.UNKNOWN, 5), (19, Verdict.MISSED, 1)]
)
def test_a_bound_is_kept_missed_or_it_cannot_be_told(late, verdict, code):
    found = judge(STREAM, of([0.05] * (1000 - late) + [0.11] * late), 0.1, 8)
    assert found.verdict is verdict and found.verdict.exit_code == code
    assert found.bounds[0].late == late and found.bounds[0].queries == 1000


def test_what_has_no_answer_is_late_however_soon_it_failed():
    found = judge(STREAM, of([0.05] * 980, failed=15, unsent=5), 0.1, 8)
    assert found.verdict is Verdict.MISSED and found.bounds[0].late == 20
    assert found.sentences[-1] == (
        "no answer: 15 failed (UNAVAILABLE) and 5 were never sent, they had waited too long, of 1,000 queries"
    )


def test_without_a_bound_a_query_without_an_answer_is_a_failure():
    request = LoadRequest(ScenarioName.OFFLINE, 10)
    assert judge(request, of([0.05] * 100, bounds=()), 0.1, 8).verdict is Verdict.KEPT
    assert judge(request, of([0.05] * 100, bounds=(), failed=1), 0.1, 8).verdict is Verdict.MISSED


def test_few_queries_say_how_many_can_tell():
    found = judge(STREAM, of([0.05] * 40), 0.1, 8)
    assert found.verdict is Verdict.UNKNOWN and "no fewer than 368 queries can" in found.sentences[0]
    assert judge(STREAM, of([0.05] * 367), 0.1, 8).verdict is Verdict.UNKNOWN
    assert judge(STREAM, of([0.05] * 368), 0.1, 8).verdict is Verdict.KEPT
