"""Queries to a real server, from a schedule of the test's own: what is counted, whatever becomes of them."""

from __future__ import annotations

import math
import threading
import time
from types import SimpleNamespace

import grpc
import numpy as np
import pytest

from harness.bench.loadgen import ScenarioName
from harness.errors import EndpointError
from harness.job.specs import ModelSpec, SlicesSpec
from harness.load.account import LoadAccount
from harness.load.answers import Answers
from harness.load.driver import Driver
from harness.load.library import QueryLibrary
from harness.load.request import LatencyBound, LoadRequest
from harness.load.system import LoadSystem, Policy
from harness.models.endpoint import from_endpoint, identify
from harness.results.slice_latency import by_slice
from tests import made
from tests.faulty_endpoint import GrpcFaults
from tests.models.test_endpoints import changed

pytestmark = pytest.mark.slow
EXAMPLES = 24
SLOTS, SLICES = ("0\x1ei0", "0\x1ei1"), (np.arange(EXAMPLES) % 4 == 0).astype(np.int32)[:, None]


class Asked:
    """A system before which a fault stands, and a schedule that asks it."""

    def __init__(
        self, server, fault=lambda number, forward, context: forward(), *, scenario=ScenarioName.SERVER, keep=True, **keys
    ):
        self.proxy = GrpcFaults(f"127.0.0.1:{server.grpc}", fault)
        spec = ModelSpec(endpoint=f"grpc://127.0.0.1:{self.proxy.port}", name="m", **{"concurrency": 32, **keys})
        self.served = next(iter(from_endpoint(spec, identify(spec)).served.values()))
        x = np.random.default_rng(3).normal(size=(EXAMPLES, made.WIDTH)).astype(np.float32)
        self.library = QueryLibrary(np.arange(100, 100 + EXAMPLES), {name: x for name in self.served.inputs}, SLOTS, SLICES)
        self.account = LoadAccount([LatencyBound("p99", 0.5)])
        self.answers = Answers(self.served, self.library.ids) if keep else None
        self.completed, self.lock = [], threading.Lock()
        self.came, self.ended = {}, {}  # by query, on the test's own clock
        policy = Policy(scenario, 8, spec.give_up)
        self.system = LoadSystem(self.served, self.library, policy, self.account, self.complete, self.answers)

    def complete(self, ids, responses):
        with self.lock:
            self.ended.update(dict.fromkeys(ids, time.monotonic()))
            self.completed += zip(ids, responses, strict=True)

    def ask(self, queries, *, every_s=0.0, size=1):
        """Ask for queries of some examples, one after the other at fixed times, and wait until each is complete."""
        for number in range(queries):
            ids = range(size * number, size * (number + 1))
            self.came.update(dict.fromkeys(ids, time.monotonic()))
            self.system.issue([SimpleNamespace(id=identity, index=identity % EXAMPLES) for identity in ids])
            time.sleep(every_s)
        self.system.flush()
        end = time.monotonic() + 60
        while self.account.left and time.monotonic() < end:
            time.sleep(0.02)
        self.served.client.close()
        self.proxy.close()
        assert sorted(identity for identity, _ in self.completed) == list(range(queries * size))
        return self.account


def test_latencies_are_those_of_a_server_with_a_known_delay(server):
    def delayed(number, forward, context):
        begun = time.monotonic()
        reply = forward()
        time.sleep(max(1.0 - (time.monotonic() - begun), 0))
        return reply

    asked = Asked(server, delayed)
    account = asked.ask(EXAMPLES, every_s=0.1)
    assert account.answered == account.examples == account.late["p99"] == EXAMPLES and not account.unanswered
    waited = np.sort([1000 * (asked.ended[number] - asked.came[number]) for number in range(EXAMPLES)])
    for share in (0.5, 0.99):  # within 10 % of the delay, but for what a busy machine adds, which the test's clock sees too
        latency = account.latency.percentile(share).value
        assert latency == pytest.approx(waited[math.ceil(share * EXAMPLES) - 1], rel=0.05)
        assert 1000 <= latency <= 1100 + (waited[-1] - 1000)
    by_query = [1000 * (asked.ended[number] - asked.came[number]) for number in range(EXAMPLES)]
    parts = by_slice([account.slice_latency.account()], SlicesSpec.model_validate(["rare"]))
    assert [(part["slice"], part["examples"], part["requests"]) for part in parts] == [({"rare": 0}, 18, 18), ({"rare": 1}, 6, 6)]
    for part in parts:
        own = sorted(latency for number, latency in enumerate(by_query) if (number % 4 == 0) == part["slice"]["rare"])
        assert part["percentiles_ms"]["p50"]["value"] == pytest.approx(own[math.ceil(len(own) / 2) - 1], rel=0.05)
    # The answers are kept, each under its own example, and the response is their digest.
    assert {response.hex() for _, response in asked.completed} == {asked.answers.digest(place) for place in range(EXAMPLES)}
    local = np.exp(asked.library.tensors["x"] @ made.kernel())
    np.testing.assert_allclose(
        asked.answers.of(asked.library.ids)["probabilities"], local / local.sum(axis=1, keepdims=True), rtol=1e-4
    )


def test_a_query_that_fails_is_complete_and_counted_as_failed(server):
    def fault(number, forward, context):
        if number in (3, 7, 8):
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not this one")
        if number == 5:
            context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        return forward()

    asked = Asked(server, fault, scenario=ScenarioName.MULTI_STREAM, concurrency=1)
    account = asked.ask(12, size=8)
    assert (account.queries, account.answered, account.failed, account.unsent) == (12, 9, 3, 0)
    assert account.examples == 9 * 8 and account.latency.total == 9
    assert list(account.reasons.values()) == [3] and "not this one" in next(iter(account.reasons))
    assert asked.served.client.account()["failures"] == {"INVALID_ARGUMENT": 3, "UNAVAILABLE": 1}


def test_queries_that_wait_too_long_are_never_sent_and_counted(server):
    turn = threading.Lock()

    def one_by_one(number, forward, context):
        with turn:
            time.sleep(0.25)
            return forward()

    asked = Asked(server, one_by_one, concurrency=2, give_up=3, deadline=3)
    account = asked.ask(40, every_s=0.05)
    assert account.unsent > 10 and account.answered > 5 and account.left == 0
    assert account.queries == 40 == account.answered + account.failed + account.unsent
    assert asked.proxy.asked < 40


def test_offline_sends_batches_and_every_example_once(server):
    asked = Asked(server, scenario=ScenarioName.OFFLINE, concurrency=2)
    account = asked.ask(1, size=EXAMPLES - 3)
    assert (account.queries, account.answered, account.examples) == (3, 3, EXAMPLES - 3)
    assert asked.proxy.asked == 3


def test_another_version_makes_all_of_it_worthless(server):
    asked = Asked(server, changed(lambda reply: setattr(reply.model_spec.version, "value", 7), at=4))
    account = asked.ask(12, every_s=0.02)
    assert account.queries == 12 and account.failed >= 1
    assert "version 7 answered" in str(asked.system.failure)


@pytest.mark.parametrize(("scenario", "concurrency"), [(ScenarioName.SERVER, 4), (ScenarioName.SINGLE_STREAM, 1)])
def test_a_server_that_comes_back_answers_the_queries_that_come_then(server, scenario, concurrency):
    gone = {"from": math.inf, "until": math.inf}

    def away(number, forward, context):
        if number == 5:
            gone.update({"from": time.monotonic(), "until": time.monotonic() + 2})
        if gone["from"] <= time.monotonic() < gone["until"]:
            context.abort(grpc.StatusCode.UNAVAILABLE, "restarting")
        return forward()

    asked = Asked(server, away, scenario=scenario, keep=False, concurrency=concurrency, give_up=1, deadline=1)
    account = asked.ask(28, every_s=0.15)
    assert account.failed >= 2 and asked.served.client.circuit.reason == "the endpoint was left"
    after = [number for number, moment in asked.came.items() if moment > gone["until"] + 0.5]
    assert account.answered >= 5 + len(after) > 5 and account.left == 0
    assert all(reason.startswith("no reply in 1 s: ") for reason in account.reasons)


@pytest.mark.parametrize(("scenario", "keep"), [(ScenarioName.OFFLINE, False), (ScenarioName.SERVER, True)])
def test_where_all_queries_wait_or_all_answers_are_wanted_one_without_a_reply_ends_all(server, scenario, keep):
    def gone(number, forward, context):
        context.abort(grpc.StatusCode.UNAVAILABLE, "gone")

    asked = Asked(server, gone, scenario=scenario, keep=keep, concurrency=2, give_up=1, deadline=1)
    size = EXAMPLES if scenario is ScenarioName.OFFLINE else 1
    account = asked.ask(24 // size, size=size, every_s=0.1)
    assert account.failed + account.unsent == account.queries and account.answered == 0
    assert any(reason.startswith("no reply in 1 s: ") for reason in account.reasons)
    assert any(reason.startswith("not asked any more: ") for reason in account.reasons)
    assert not any("--resume" in reason for reason in account.reasons)


def test_a_pilot_without_a_reply_does_not_speak_of_resuming(server, tmp_path):
    def gone(number, forward, context):
        context.abort(grpc.StatusCode.UNAVAILABLE, "gone")

    asked = Asked(server, gone, give_up=1, deadline=1)
    driver = Driver(asked.served, asked.library, LoadRequest(ScenarioName.SINGLE_STREAM, 1), 8, 1, tmp_path)
    try:
        with pytest.raises(EndpointError, match=r"^pilot: the endpoint gave no reply in \d+ tries .*: gone \(give_up") as failure:
            driver.pilot()
    finally:
        asked.ask(0)
    assert "resume" not in str(failure.value)
