"""harness bench --kit: what is refused, what is judged, and a kit on two ranks from its name to its report."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.bench import kit_digests
from harness.bench.kit_bench import check_kit
from harness.bench.rules import Rules, Sweep
from harness.cli import cli
from harness.errors import UsageError
from harness.job.job import Job
from tests import schemas
from tests.conftest import start

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--kit", "visoin"], "no kit 'visoin': did you mean 'vision'?"),
        (["job.yaml", "--kit", "vision"], "expected a job, or --kit NAME, found both"),
        (["--ranks", "1"], "expected a job, or --kit NAME"),
        (["--kit", "vision", "--set", "seed=1"], "--set and --sweep change what is computed"),
        (["--kit", "vision", "--ranks", "none"], "--ranks none: expected sizes"),
    ],
)
def test_what_is_wrong_ends_with_2_and_leaves_nothing(harness, tmp_path, argv, message):
    done = harness("bench", *argv, "-o", "b")
    assert done.code == 2 and message in done.err and not (tmp_path / "b").exists(), done.err


def test_a_sweep_of_a_kit_is_refused(tmp_path):
    with pytest.raises(UsageError, match="run its job instead"):
        check_kit("integer", Rules((1,), sweeps=(Sweep("schedule", ("static", "dynamic")),)), tmp_path / "b")


def test_a_folder_that_holds_something_else_is_left_as_it_is(harness, tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b/mine.txt").write_text("mine")
    done = harness("bench", "--kit", "integer", "-o", "b")
    assert done.code == 2 and "is not empty" in done.err and [path.name for path in (tmp_path / "b").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("name", ["integer", "vision"])
def test_a_file_where_the_folder_is_to_be_is_left_as_it_is(harness, tmp_path, name):
    (tmp_path / "b").write_text("mine")
    done = harness("bench", "--kit", name, "-o", "b")
    assert done.code == 2 and "cannot be made" in done.err and (tmp_path / "b").read_text() == "mine"


def bench(tmp_path: Path, *argv: str, **environ: str):
    paths = os.pathsep.join(map(str, (ROOT, ROOT / "launch")))
    return start([sys.executable, "-m", "harness", "bench", *argv], tmp_path, environ={"PYTHONPATH": paths, **environ})


@pytest.mark.ranks
def test_a_kit_is_judged_and_measured_on_two_ranks_in_one_command(tmp_path):
    done = bench(tmp_path, "--kit", "integer", "--ranks", "1,2", "--repeat", "1", "-o", "b")
    assert done.code == 0, done.out + done.err
    assert "kit integer: known" in done.out and "VALID" in done.out
    schemas.check("kit.json", (tmp_path / "b/kit.json").read_text())
    judged = json.loads((tmp_path / "b/kit.json").read_text())
    assert (judged["state"], judged["kind"], judged["ranks"]) == ("known", "any", 2)
    assert judged["digest"] == kit_digests.ANYWHERE["integer"]
    assert (tmp_path / "b/bench/report.html").stat().st_size > 10_000
    assert Job.load(tmp_path / "b/kit-integer.yaml").data.limit == 1 << 21


def test_a_wrong_result_ends_with_1_and_measures_nothing(tmp_path, monkeypatch):
    monkeypatch.setitem(kit_digests.ANYWHERE, "integer", "0" * 32)
    paths = os.pathsep.join(map(str, (ROOT, ROOT / "launch")))
    monkeypatch.setenv("PYTHONPATH", paths)
    result = CliRunner().invoke(
        cli, ["bench", "--kit", "integer", "--ranks", "1", "-o", str(tmp_path / "c")], standalone_mode=False
    )
    assert result.return_value == 1 and "kit integer: WRONG" in result.output
    assert not (tmp_path / "c/bench").exists()
