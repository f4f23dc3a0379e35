"""Forecasts as people ask for them: the command, what it writes, and runs of the sizes that were forecast."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from harness.bench.kits import KITS
from harness.cli.forecast import forecast
from harness.errors import UsageError
from tests import schemas
from tests.conftest import over_ranks, start

ROOT = Path(__file__).parents[2]


def test_bad_input_ends_with_2_before_anything_runs(harness, tmp_path):
    (tmp_path / "kit.yaml").write_text(yaml.safe_dump(KITS["table"].job(1)))
    for argv, message in (
        (["kit.yaml", "--ranks", "two"], "--ranks: expected numbers such as 1,8,64, found 'two'"),
        (["kit.yaml", "--dry-run"], "--dry-run goes with --submit"),
        (["kit.yaml", "--submit", "--dry-run", "--json"], "--json prints the forecast alone"),
        (["none.yaml"], "no such job file"),
        (["kit.yaml"], "needs at least 2 examples"),
    ):
        done = harness("forecast", *argv)
        assert done.code == 2 and message in done.err and "Traceback" not in done.err, done.err


def test_a_request_that_cannot_be_submitted_is_refused_before_the_pilots(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="--submit: no sbatch here"):
        forecast.main(["kit.yaml", "--submit"], standalone_mode=False)


def test_a_job_is_forecast_and_its_request_printed(tmp_path):
    (tmp_path / "kit.yaml").write_text(yaml.safe_dump(KITS["integer"].job(50_000)))
    argv = [sys.executable, "-m", "harness", "forecast", "kit.yaml", "--ranks", "1,512", "--nodes-of", "2", "--repeat", "1"]
    argv += ["-o", "kept", "--submit", "--dry-run", "--set", "seed=3"]
    done = subprocess.run(argv, cwd=tmp_path, env=environ(), capture_output=True, text=True, timeout=550, check=False)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "kept/forecast.json").read_text()
    schemas.check("forecast.json", text)
    document = json.loads(text)
    assert [size["ranks"] for size in document["sizes"]] == [1, 512] and document["stop"]["ranks"] < 512
    assert document["work"]["examples"] == 50_000 and document["sizes"][0]["money"] is None
    assert "#SBATCH --ntasks=1\n" in done.stdout and "Not known, or taken for granted" in done.stdout
    best = document["sizes"][0]["parts"]
    assert sum(best.values()) == pytest.approx(document["sizes"][0]["seconds"])


def environ() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "launch")))}


def busy() -> bool:
    """Whether so much else is done here that a time says nothing; our own four ranks and their threads are below that."""
    return os.getloadavg()[0] > 3 * len(os.sched_getaffinity(0)) + 4


@pytest.mark.ranks
def test_two_and_four_ranks_that_share_cores_take_what_was_forecast(tmp_path):
    """Memory and processor time whatever else is done here; the time of the clock where little is."""
    (tmp_path / "kit.yaml").write_text(yaml.safe_dump(KITS["table"].job(150_000)))
    argv = [sys.executable, "-m", "harness", "forecast", "kit.yaml", "--ranks", "2,4", "--nodes-of", "4", "--json"]
    quiet = not busy()
    done = subprocess.run(argv, cwd=tmp_path, env=environ(), capture_output=True, text=True, timeout=580, check=True)
    for size in json.loads(done.stdout)["sizes"]:
        ranks = size["ranks"]
        run = start(
            over_ranks(ranks, "mpi", [sys.executable, "-m", "harness", "evaluate", "kit.yaml", "-o", f"r{ranks}", "-q"]),
            tmp_path, environ=environ() | {"HARNESS_THREADS": "1", "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert run.code == 0, run.err
        account = json.loads((tmp_path / f"r{ranks}/run.json").read_text())
        attempt, used = account["attempts"][-1], account["cost"]["cpu_hours_used"]
        memory = max(rank["peak_bytes"] for rank in attempt["ranks"])
        assert 0.92 < size["rank_bytes"] / memory < 1.12, (ranks, memory, size)
        # Ranks that wait for the slowest ask again and again, and a processor that others share does less in a second.
        assert 0.5 < size["cpu_hours_used"] / used < 1.5, (ranks, used, size)
        if quiet and not busy():  # what little the machine does beside is not the same at both times: a factor of 2
            assert size["low_s"] / 2 < attempt["elapsed_s"] < 2 * size["high_s"], (ranks, attempt["elapsed_s"], size)
