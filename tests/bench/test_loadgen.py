"""What LoadGen is asked for and what is made of its summaries; with LoadGen itself in an environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.bench.loadgen import Asked, Scenario, ScenarioName, read_summary, table, unkept
from harness.bench.loadgen_kit import LoadgenResult
from harness.bench.loadgen_run import load_loadgen
from harness.errors import RunFolderError, UsageError
from tests import schemas

ROOT = Path(__file__).parents[2]
# As LoadGen 6.0.17 writes it.
SINGLE = """================================================
MLPerf Results Summary
================================================
SUT name : PySUT
Scenario : SingleStream
Mode     : PerformanceOnly
90.0th percentile latency (ns) : 550123
Result is : VALID
  Min duration satisfied : Yes

50.00 percentile latency (ns)   : 431000
90.00 percentile latency (ns)   : 550123
99.00 percentile latency (ns)   : 959000
"""


def test_a_summary_is_read():
    scenario = read_summary(Asked(ScenarioName.SINGLE_STREAM, 5, 1000), SINGLE)
    assert scenario.valid and scenario.figures == {"p50_ns": 431000, "p90_ns": 550123, "p99_ns": 959000}
    assert not read_summary(Asked(ScenarioName.SINGLE_STREAM, 5, 1000), SINGLE.replace("VALID", "INVALID")).valid
    with pytest.raises(RunFolderError, match="expected a line 'Result is'"):
        read_summary(Asked(ScenarioName.SERVER, 5), "torn")


def test_rules_that_are_not_kept_are_said_and_no_others():
    assert unkept(Asked(ScenarioName.SINGLE_STREAM, 600, 1000)) == ()
    assert unkept(Asked(ScenarioName.OFFLINE, 600, 1000)) == ()
    assert unkept(Asked(ScenarioName.OFFLINE, 600, 10)) == ("Offline: about 6,000 samples are expected, the rule is 24,576",)
    assert unkept(Asked(ScenarioName.MULTI_STREAM, 5, 1000)) == ("MultiStream: runs for 5 s, the rule is 600 s",)
    assert len(unkept(Asked(ScenarioName.SERVER, 5, 1000))) == 2


def test_the_settings_are_those_of_the_scenario():
    server = Asked(ScenarioName.SERVER, 600, 120.0, 0.015).settings()
    assert server["server_target_latency_ns"] == 15_000_000 and server["server_target_qps"] == 120.0
    assert Asked(ScenarioName.SINGLE_STREAM, 1, 2000).settings()["single_stream_expected_latency_ns"] == 250_000
    assert Asked(ScenarioName.OFFLINE, 1, 100).settings()["offline_expected_qps"] == 150


def test_another_accuracy_is_wrong_to_the_last_bit():
    assert LoadgenResult([], 0.5, 0.5).is_right
    result = LoadgenResult([Scenario("Offline", True, {"samples_per_s": 1234.5}, {})], 0.5, 0.5000000000000001)
    assert (
        not result.is_right
        and "WRONG" in result.markdown()
        and "| Offline | valid | samples 1,234/s |" in table(result.scenarios)
    )
    assert any("compliance" in rule for rule in result.unkept)


def test_without_loadgen_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlperf_loadgen", None)
    with pytest.raises(UsageError, match=r"exact-harness\[bench\]"):
        load_loadgen()


def test_loadgen_itself_drives_all_scenarios_and_finds_the_accuracy_of_an_evaluation(tmp_path):
    pins = (ROOT / "versions.txt").read_text().split()
    (pin,) = (line for line in pins if line.startswith("mlcommons-loadgen=="))
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(tmp_path / "packages"), pin]
    subprocess.run(install, check=True, timeout=300, capture_output=True)
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (tmp_path / "packages", ROOT, ROOT / "launch")))}
    argv = [
        sys.executable,
        "-m",
        "harness",
        "bench",
        "--kit",
        "loadgen",
        "--ranks",
        "1",
        "--seconds",
        "1",
        "-o",
        str(tmp_path / "b"),
    ]
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=550, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    schemas.check("loadgen.json", (tmp_path / "b/loadgen.json").read_text())
    document = json.loads((tmp_path / "b/loadgen.json").read_text())
    assert [scenario["name"] for scenario in document["scenarios"]] == ["Offline", "SingleStream", "MultiStream", "Server"]
    assert document["right"] and 0.85 < document["accuracy"] < 0.95
    assert all(scenario["figures"] for scenario in document["scenarios"])
    assert "Rules of MLPerf Inference that are not kept" in done.stdout
