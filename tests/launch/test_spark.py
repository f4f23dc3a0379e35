"""The same job on a real Spark: two executors, each a rank; the same bytes as without Spark, and the job's own exit code."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from pathlib import Path

import pytest
from harness_launch.spark import absolute

from harness.errors import JobError, UsageError
from tests import made
from tests.conftest import BIN, ROOT, start

needs_spark = pytest.mark.skipif(
    shutil.which("java") is None or importlib.util.find_spec("pyspark") is None,
    reason="needs java and pyspark: pip install 'exact-harness[spark]'",
)


def submit(master: str, folder: Path, *command: str | Path):
    """Run the script as users do."""
    environ = {"SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable}
    quiet = ["--conf", "spark.ui.enabled=false", "--conf", "spark.executor.memory=512m"]
    script = ROOT / "launch" / "harness_launch" / "spark.py"
    argv = ["bash", BIN / "spark-submit", "--master", master, *quiet, script, "-np", "2", "--", *command]
    return start(argv, folder, environ)


@needs_spark
@pytest.mark.ranks
def test_two_executors_give_the_bytes_of_one_process(world, harness, tmp_path):
    # With tickets the rank that is ready first may take all of so few examples.
    metrics = ["accuracy", "cross_entropy", {"roc_auc": {"positive": 1}}]
    job = world.job(tmp_path / "job.yaml", metrics=metrics, schedule="static")
    done = submit("local-cluster[2,1,512]", tmp_path, "evaluate", "job.yaml", "-o", "spark")  # relative to where it is submitted
    assert done.code == 0, done.text
    assert harness("evaluate", job, "-o", tmp_path / "alone").code == 0
    assert (tmp_path / "spark" / "metrics.json").read_bytes() == (tmp_path / "alone" / "metrics.json").read_bytes()
    attempt = json.loads((tmp_path / "spark" / "run.json").read_text())["attempts"][0]
    assert (attempt["size"], attempt["comm"]) == (2, "gloo")
    assert all(rank["examples"] for rank in attempt["ranks"])


@needs_spark
@pytest.mark.ranks
def test_a_rank_that_fails_fails_the_job(world, tmp_path):
    bad = tmp_path / "bad.tfrecord"
    shutil.copy(world.folder / "e.tfrecord", bad)
    made.flip(bad, made.record_offsets(bad)[60] + 20)
    world.job(tmp_path / "job.yaml", data={"files": [str(world.folder / "a.tfrecord"), str(bad)]})
    done = submit("local[2]", tmp_path, "evaluate", "job.yaml", "-o", "spark")
    assert done.code == 1, done.text
    assert "record 60" in json.loads((tmp_path / "spark" / "failure.json").read_text())["message"]


def test_paths_do_not_depend_on_where_executors_work(tmp_path):
    words, folder = absolute(["evaluate", "job.yaml", "--set", "batch_size=2", "-o", "run"], tmp_path)
    assert words[:2] == ["evaluate", str(tmp_path / "job.yaml")]
    assert words[-2:] == ["-o", str(tmp_path / "run")]
    assert folder == tmp_path / "run"


@pytest.mark.parametrize("command", [[], ["show", "run"], ["evaluate"], ["evaluate", "-o", "x"]])
def test_other_commands_are_refused(command, tmp_path):
    with pytest.raises(UsageError, match="expected 'evaluate JOB.yaml"):
        absolute(command, tmp_path)


def test_a_job_that_is_missing_is_found_before_spark_is_asked(tmp_path):
    with pytest.raises(JobError, match="no such job file"):
        absolute(["evaluate", "job.yaml"], tmp_path)
