"""What a run of real ranks used: each package once, all attempts added up, and not a byte of the result."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from harness.results.cost_tables import quantity
from tests.conftest import ROOT, over_ranks, start
from tests.machine.powercap_tree import make_tree, set_uj

pytestmark = pytest.mark.ranks
PRICES = {"node_hour": 3.6, "cpu_hour": 0.5, "kwh": 0.25, "currency": "EUR", "grams_co2_per_kwh": 300}


def used(folder: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The usage of each attempt, and the cost of the run."""
    document = json.loads((folder / "run.json").read_text())
    return [attempt.get("usage") for attempt in document["attempts"]], document["cost"]


TICK = """
import sys, time
from pathlib import Path
from tests.machine.powercap_tree import RANGE_UJ
shown, begun = Path(sys.argv[1]), time.monotonic()
while True:
    for name, watts in [("0", 10), ("1", 20), ("0:1", 3), ("1:1", 4)]:
        count = int((time.monotonic() - begun) * watts * 1e6)
        path = shown / f"intel-rapl:{name}" / "energy_uj"
        path.with_suffix(".new").write_text(f"{(RANGE_UJ - 60_000_000 + count) % RANGE_UJ}\\n")
        path.with_suffix(".new").rename(path)
    time.sleep(0.05)
"""


def tick(shown: Path) -> subprocess.Popen[bytes]:
    """Let the counters go up by some watts; they begin again soon."""
    return subprocess.Popen([sys.executable, "-c", TICK, str(shown)], cwd=ROOT)


def test_two_ranks_see_each_package_and_count_it_once(world, tmp_path):
    shown = make_tree(tmp_path / "sys")
    job = world.job(tmp_path / "job.yaml", output="run", cost=PRICES)
    plain = world.job(tmp_path / "plain.yaml", output="plain")
    ticking = tick(shown)
    try:
        done = start(over_ranks(2, "mpi", ["harness", "evaluate", job]), tmp_path, {"HARNESS_POWERCAP": str(shown)})
    finally:
        ticking.kill()
        ticking.wait()
    assert done.code == 0, done.text
    (usage,), cost = used(tmp_path / "run")
    assert [device["device"] for device in usage["devices"]] == ["package-0", "package-0/dram", "package-1", "package-1/dram"]
    assert all(device["ranks"] == [0, 1] and device["read_by"] == 0 for device in usage["devices"])
    package, memory = usage["energy"]
    assert (package["kind"], memory["kind"]) == ("package", "memory")
    assert list(package["phases"]) == ["loading", "evaluating", "waiting", "final"]
    for entry in (package, memory, *usage["devices"]):
        # the counters of the tree go up, and by how much is what the tree's own clock says
        assert entry["joules"] > 0
        assert round(sum(part["joules"] for part in entry["phases"].values()) * 1e6) == round(entry["joules"] * 1e6)
    # the counters begin again while the run is under way; the tree knows how many watts each counts
    assert [device["watts"] for device in usage["devices"]] == pytest.approx([10, 3, 20, 4], rel=0.1)
    assert (usage["nodes"], usage["gpus"], usage["gpu_hours"]) == (1, 0, 0.0)
    assert usage["node_hours"] == pytest.approx(usage["elapsed_s"] / 3600, abs=1e-6)
    assert usage["cpu_hours"] == pytest.approx(usage["cores"] * usage["elapsed_s"] / 3600, abs=1e-6)
    assert 0 < usage["cpu_hours_used"] < 2 * os.cpu_count() * usage["elapsed_s"] / 3600
    (node,) = usage["by_node"]
    assert (node["host"], node["ranks"], node["without"]) == (socket.gethostname(), [0, 1], [])
    assert node["joules"] == pytest.approx(package["joules"] + memory["joules"])
    assert cost["measured"] == ["package", "memory"] and cost["gaps"] == []
    assert cost["joules"] == pytest.approx(node["joules"])
    assert math.isclose(
        cost["money"], 3.6 * usage["node_hours"] + 0.5 * usage["cpu_hours"] + 0.25 * cost["joules"] / 3.6e6, rel_tol=1e-9
    )
    assert math.isclose(cost["grams_co2"], 300 * cost["joules"] / 3.6e6, rel_tol=1e-9)
    assert cost["per_million_examples"]["joules"] == pytest.approx(cost["joules"] / 203 * 1e6)
    assert (
        f"energy: {quantity(cost['joules'], 'J')}, {quantity(cost['joules'] / usage['elapsed_s'], 'W')} on average: package"
        in done.out
    )
    assert re.search(r"cost: \S+ EUR \(cpu_hour \S+, node_hour \S+, kwh \S+\), \S+ g CO2", done.out)

    # Alone, without counters and prices: the same result, and the reason.
    again = start(["harness", "evaluate", plain], tmp_path, {"HARNESS_POWERCAP": str(tmp_path / "none")})
    assert again.code == 0, again.text
    assert (tmp_path / "plain" / "metrics.json").read_bytes() == (tmp_path / "run" / "metrics.json").read_bytes()
    (usage,), cost = used(tmp_path / "plain")
    assert cost["joules"] is None and "money" not in cost
    assert cost["energy"]["package"]["reason"].endswith("this machine shows no energy counter of its processors")
    assert "energy: not measured" in again.out


def recorded_uj(record: Path, name: str) -> int:
    """What a node's record has of a device; nothing before there is one."""
    if not record.exists():
        return 0
    devices = json.loads(record.read_text())["accounts"][0]["readings"]["devices"]
    return sum(sum(device["phases_uj"].values()) for device in devices if device["device"] == name)


def test_a_run_that_was_killed_adds_up_what_its_attempts_recorded(world, tmp_path):
    shown = make_tree(tmp_path / "sys")
    job = world.job(tmp_path / "job.yaml", output="run")
    environ = {"HARNESS_POWERCAP": str(shown), "HARNESS_THREADS": "1"}
    run = tmp_path / "run"
    slow = [sys.executable, "-m", "tests.ranks.slow", "4", "evaluate", job]
    killed = subprocess.Popen(
        [str(word) for word in over_ranks(2, "mpi", slow)], cwd=ROOT, env={**os.environ, **environ},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    record = run / "attempts" / "0001.usage-00000.json"
    begun = time.monotonic()
    while not recorded_uj(record, "package-1") or not list((run / "journal").glob("*.segment")):
        assert killed.poll() is None and time.monotonic() - begun < 120
        set_uj(shown, "intel-rapl:1", 1001 + int((time.monotonic() - begun) * 1e6))
        time.sleep(0.05)
    os.kill(json.loads((run / "progress" / "rank-00001.json").read_text())["pid"], signal.SIGKILL)
    assert killed.wait(timeout=120) != 0
    assert len(list((run / "attempts").glob("*.usage-*"))) == 1  # one a node, not one a rank
    first = json.loads(record.read_text())
    assert [account["rank"] for account in first["accounts"]] == [0, 1] and first["accounts"][1]["readings"] is None
    set_uj(shown, "intel-rapl:0", 999_999_999)  # after the last record, before the next attempt: counted by nobody
    counted = {
        device["device"]: sum(device["phases_uj"].values()) / 1e6 for device in first["accounts"][0]["readings"]["devices"]
    }
    assert counted["package-1"] > 0
    elapsed_s = sum(first["accounts"][0]["readings"]["phases_ns"].values()) / 1e9

    done = start(["harness", "evaluate", job, "--resume"], tmp_path, environ)
    assert done.code == 0, done.text
    (before, after), cost = used(run)
    assert before["until"] == "the last record" and "until" not in after
    assert before["elapsed_s"] == round(elapsed_s, 3) and before["cpu_hours_used"] is None
    assert {device["device"]: device["joules"] for device in before["devices"]} == counted
    assert cost["joules"] == pytest.approx(sum(counted.values())) and after["energy"][0]["joules"] == 0.0
    assert cost["attempts"] == 2
    for name in ("node_hours", "cpu_hours"):
        assert cost[name] == pytest.approx(before[name] + after[name])
    assert cost["cpu_hours_used"] is None and after["cpu_hours_used"] > 0  # that of the second attempt alone would be too small
    assert len(cost["gaps"]) == 2 and cost["gaps"][0].startswith("attempt 1 was ended: counted up to its last record")
    assert f"not in these numbers: {cost['gaps'][0]}" in done.out

    # A record that is torn is none; the table of the command line is of the files alone.
    record.write_text("{")
    prices = tmp_path / "prices.yaml"
    prices.write_text("cost: {node_hour: 36, currency: CHF}\n")
    shown_run = start(["harness", "show", "run", "--prices", prices], tmp_path)
    assert shown_run.code == 0 and re.search(r"cost: [0-9.]+ CHF\n", shown_run.out), shown_run.text
    collected = start(["harness", "collect", "run", "--prices", prices, "--json"], tmp_path)
    (line,) = json.loads(collected.out)
    assert line["cost"]["money"] == pytest.approx(36 * cost["node_hours"]) and line["cost"]["currency"] == "CHF"
    prices.write_text("node_hours: 36\n")
    wrong = start(["harness", "show", "run", "--prices", prices], tmp_path)
    assert wrong.code == 2 and "unknown key 'node_hours': did you mean 'node_hour'?" in wrong.err
