"""What a load test found, as load.json, on a terminal and as a page."""

from __future__ import annotations

import json

import numpy as np

from harness.bench.loadgen import Scenario, ScenarioName
from harness.job.specs import SlicesSpec
from harness.load.account import LoadAccount, Measured
from harness.load.findings import LoadFindings, Target
from harness.load.judgement import judge
from harness.load.page import render
from harness.load.request import LatencyBound, LoadRequest
from tests import schemas

BOUNDS = (LatencyBound("p99", 0.05),)
SLICES, SLOTS = SlicesSpec.model_validate(["city"]), ("0\x1esOslo", "0\x1es<gone>")


def findings(*, slow=0, failed=0, ruling=0, answered=400):
    account = LoadAccount(BOUNDS)
    for number in range(answered):
        account.come(number / 100)
        latency_s = 0.06 if number < slow else 0.01
        account.answer(number / 100 + 0.01, latency_s, 1, "3")
        account.slice_latency.add(SLOTS, np.array([[int(number < slow)]]), latency_s)
    for _ in range(failed):
        account.come(1.0)
        account.fail(1.5, "UNAVAILABLE: <gone>")
    request = LoadRequest(ScenarioName.SERVER, 4, 100.0, BOUNDS)
    measured = Measured(account, Scenario("Server", True, {"p99_ns": 1e7}, {"server_target_qps": 100.0}), 0.25)
    target = Target("endpoint:m@3", "serving over gRPC", {"job": "a", "data": "b", "model": "c"}, 213, 64, SLICES)
    judgement = judge(request, account, 0.25, 64)
    metrics = {"metrics": {"accuracy": {"value": 0.75, "examples": 213}}}
    return LoadFindings(target, request, measured, judgement, failed, {"UNAVAILABLE": failed}, metrics, ruling)


def test_load_json_is_as_its_schema_says_and_loses_no_query():
    for found in (findings(), findings(slow=100), findings(failed=30), findings(answered=0, failed=3)):
        document = found.document()
        schemas.check("load.json", json.dumps(document))
        queries = document["queries"]
        assert queries["sent"] == queries["answered"] + queries["failed"] + queries["never_sent"]
        assert sum(document["latency"]["buckets_us"].values()) == queries["answered"]


def test_the_worse_of_load_and_gate_is_the_exit_code():
    assert [findings(ruling=code).exit_code for code in (0, 1, 5)] == [0, 1, 5]
    assert [findings(slow=100, ruling=code).exit_code for code in (0, 1, 5)] == [1, 1, 1]


def test_a_terminal_shows_the_verdict_first():
    lines = repr(findings(slow=100)).splitlines()
    assert lines[0] == "Server, 100 queries a second: missed"
    assert lines[1].startswith("p99 within 50 ms: 100 of 400 queries were later, 25 %")
    text = " ".join(repr(findings(failed=30)).split())
    assert "400 of 430 queries answered" in text and "30 failed (UNAVAILABLE: <gone>)" in text and "30 retries" in text
    assert "0.75" in text


def test_the_page_holds_both_plots_and_no_text_of_others_as_markup():
    page = render(findings(failed=30))
    assert page.count("<svg ") == 2 and "How long queries took" in page and "over time" in page
    slowest = render(findings(slow=100)).partition("Latency by slice")[2]
    assert slowest.index("city &lt;gone&gt;") < slowest.index("city Oslo")
    assert "></th>" not in page  # a screen reader says nothing of a column without a name
    assert "<gone>" not in page and "&lt;gone&gt;" in page
    assert "Rules of MLPerf Inference that are not kept" in page
    assert render(findings(answered=0, failed=3)).count("<svg ") == 0
