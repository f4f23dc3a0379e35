"""What TensorFlow raises in the loop, as a message that names the place and says what to do."""

import json
import os
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest

from harness.cli import console
from harness.errors import DataError, HarnessError, OtherRankFailed
from harness.folder.run_folder import read_json
from harness.job.job import Job
from harness.plan.plan import File, Plan
from harness.step.failure import translate
from harness.watch.failure import tell_launcher
from tests.conftest import ROOT

PLAN = Plan((File("a.tfrecord", 0, 10),), 4, 4)
JOB = Job.from_dict({"model": "m", "data": {"files": "a.tfrecord", "label": "y"}, "metrics": ["accuracy"], "batch_size": 4})


@pytest.mark.parametrize(
    "codes, wanted",
    [
        ([1, 3], 1),  # the others end because of it
        ([2, 3, 1, 4], 2),
        ([3, 1], 3),
        ([4, 1], 4),  # a collective fails where ranks leave because they were asked to
        ([1, 0], 0),  # a rank died when the result was written
        ([0, 1], 0),
        ([4, 0], 0),
        ([], None),
    ],
)
def test_the_first_rank_that_fails_decides_the_exit_code_and_a_result_before_all(codes, wanted, tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_STATUS", str(tmp_path / "status.json"))
    for code in codes:
        tell_launcher(code)
    assert (read_json(tmp_path / "status.json") or {}).get("exit_code") == wanted
    assert len(list(tmp_path.iterdir())) == bool(codes)


def test_the_gate_of_a_result_goes_before_all_and_nothing_changes_it(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_STATUS", str(tmp_path / "status.json"))
    for code, done in ((4, False), (1, True), (4, False), (3, False)):
        tell_launcher(code, done=done)
    assert read_json(tmp_path / "status.json") == {"state": "done", "exit_code": 1}


def test_of_ranks_that_fail_at_once_one_decides(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_STATUS", str(tmp_path / "status.json"))
    threads = [threading.Thread(target=tell_launcher, args=(code,)) for code in range(1, 30)]
    for thread in threads:
        thread.start()
    seen = {read_json(tmp_path / "status.json")["exit_code"] for thread in threads if thread.join() is None}
    assert len(seen) == 1 and len(list(tmp_path.iterdir())) == 1


def test_a_rank_that_ends_because_another_failed_does_not_hide_why(tmp_path, monkeypatch):
    """The command line of rank 0, where rank 1 has found the job wrong."""
    monkeypatch.setenv("HARNESS_STATUS", str(tmp_path / "status.json"))
    monkeypatch.delenv("HOROVOD_RANK", raising=False)
    tell_launcher(2)
    monkeypatch.setattr(console, "cli", SimpleNamespace(main=raising(OtherRankFailed("another rank failed, and has said why"))))
    ended = []
    monkeypatch.setattr("os._exit", ended.append)
    console.main(["evaluate", "job.yaml"])
    assert ended == [3] and read_json(tmp_path / "status.json")["exit_code"] == 2


def raising(exc):
    def call(**_):
        raise exc

    return call


def feed(error=None, found=None):
    asked = []

    def explain(start, stop):
        asked.append((start, stop))
        return (found or {}).get((start, stop))

    return SimpleNamespace(error=error, reading=PLAN[2] if error else None, asked=asked, explain=explain)


def test_out_of_memory_says_the_batch_size():
    import tensorflow as tf

    error = translate(tf.errors.ResourceExhaustedError(None, None, "OOM"), feed(), PLAN, [PLAN[1]], JOB)
    assert type(error) is HarnessError and error.exit_code == 1
    assert str(error) == (
        "chunk 1 (a.tfrecord, records 4..8): the device is out of memory with batch_size 4; try --set batch_size=2"
    )


def test_what_does_not_parse_is_looked_for_as_far_as_a_call_may_reach():
    import tensorflow as tf

    source = feed(found={(8, 10): "a.tfrecord, record 9: feature 'x' is missing"})
    error = translate(tf.errors.InvalidArgumentError(None, None, "parse"), source, PLAN, [PLAN[0], PLAN[2]], JOB)
    assert isinstance(error, DataError) and "record 9" in str(error)
    assert source.asked == [(0, 4), (8, 10)]  # chunk 1 is another rank's


@pytest.mark.parametrize("raised", [DataError("record 3 is corrupt"), OSError("gone")])
def test_what_the_reader_raised_goes_before_what_tensorflow_made_of_it(raised):
    import tensorflow as tf

    error = translate(tf.errors.UnknownError(None, None, "text"), feed(error=raised), PLAN, [PLAN[0]], JOB)
    assert isinstance(error, DataError) and str(raised) in str(error)
    # the chunk that was read, ahead of the one that was asked for
    assert isinstance(raised, DataError) or str(error).startswith("chunk 2 (a.tfrecord, records 8..10): reading failed: OSError")


WITHOUT_FILES = """
import os, sys
from pathlib import Path
from harness.ranks import open_files
from harness.ranks.comm import SingleComm
from harness.errors import HarnessError
from harness.watch.failure import end_all
from harness.folder.run_folder import RunFolder

folder = RunFolder(Path(sys.argv[1]))
if sys.argv[2] == "kept":
    open_files.keep_some_back()
held = []
try:
    while True:
        held.append(os.dup(0))
except OSError as exc:
    assert exc.errno == 24
    assert open_files.allow(10_000) <= 100
    end_all(SingleComm(), folder, HarnessError("no files left"))
"""


@pytest.mark.parametrize("kept", ["kept", "not"])
def test_a_rank_that_has_no_files_left_says_so_all_the_same(kept, tmp_path):
    """Where it could not, the launcher's signal to the others would be taken for the reason, with exit code 4."""
    argv = ["prlimit", "--nofile=100:100", sys.executable, "-c", WITHOUT_FILES, str(tmp_path), kept]
    environ = {**os.environ, "HARNESS_STATUS": str(tmp_path / "launcher.json"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "harness: error: no files left" in done.stderr, done.stderr
    assert (tmp_path / "failure.json").exists() == (kept == "kept")
    if kept == "kept":
        assert json.loads((tmp_path / "failure.json").read_text())["message"] == "no files left"
        for name in ("status.json", "launcher.json"):
            assert json.loads((tmp_path / name).read_text())["exit_code"] == 1
