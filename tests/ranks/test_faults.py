"""Ranks that fail, and work that is not done once: the job ends, says who, and leaves no result. Faults: see faulty.py."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests import made
from tests.conftest import LIMIT_S, start

pytestmark = pytest.mark.ranks

# Of two ranks, rank 1 reads example 130, in chunk 4 of the four files that can be cut: 77, 0, 1 and 75 examples.
AT = 130
WHERE = "e.tfrecord, records 50..75"


@pytest.fixture
def job(world, tmp_path) -> Path:
    names = [name for name, _, compress in made.FILES if not compress]
    return world.job(tmp_path / "job.yaml", data={"files": [str(world.folder / name) for name in names]}, output="run")


def launch(job: Path, fault: str | None, *words: str, comm: str = "mpi"):
    argv = ["harness", "launch", "-np", "2", f"--{comm}", "--", "evaluate", job, "--set", "schedule=static", *words]
    return start(argv, job.parent, {"HARNESS_TEST_FAULT": fault} if fault else {})


def no_result(job: Path) -> None:
    assert not (job.parent / "run" / "metrics.json").exists()
    assert not (job.parent / "run" / "metrics.csv").exists()


@pytest.mark.parametrize(
    "fault, what",
    [
        (f"drop:{AT}", "is incomplete: 9 of 25 examples were counted"),
        (f"double:{AT}", "was counted more than once: 41 examples for 25"),
        (f"swap:{AT}", "has 25 examples, but not the planned ones: their id hash differs"),
        ("shift:100", "has 32 examples, but not the planned ones: their id hash differs"),
    ],
)
def test_the_certificate_sees_work_that_was_not_done_once(job, harness, fault, what):
    done = harness("evaluate", job, environ={"HARNESS_TEST_FAULT": fault})
    assert done.code == 1, done.text
    assert "INVALID, no result was written" in done.err
    chunk = "chunk 3 (" if fault.startswith("shift") else "chunk 4 ("
    assert chunk in done.err and what in done.err
    no_result(job)
    run = json.loads((job.parent / "run" / "run.json").read_text())
    assert run["certificate"]["valid"] is False and any(what in line for line in run["certificate"]["problems"])
    assert json.loads((job.parent / "run" / "status.json").read_text())["exit_code"] == 1


def test_the_certificate_sees_it_over_ranks_too(job):
    done = launch(job, "shift:100", comm="gloo")
    assert done.code == 1, done.text
    assert "rank 0 on " in done.err and "INVALID, no result was written" in done.err and "chunk 3 (" in done.err
    assert done.err.count("harness: error: ") == 1
    no_result(job)


@pytest.mark.parametrize("comm", ["mpi", "gloo"])
def test_a_rank_that_raises(job, comm):
    done = launch(job, f"raise:{AT}", comm=comm)
    assert done.code == 1, done.text
    assert done.err.count("harness: error: ") == 1, done.err
    assert "rank 1 on " in done.err and WHERE in done.err and "RuntimeError: planted by the test" in done.err
    assert "Traceback" not in done.text and "MPI_ABORT" not in done.text and "<stderr>" not in done.text
    no_result(job)
    failure = json.loads((job.parent / "run" / "failure.json").read_text())
    assert failure["rank"] == 1 and WHERE in failure["message"]


# What rank 0 says it has begun, where that takes long.
BEGUN = (
    "importing TensorFlow",
    "meeting 4 ranks",
    "looking at model and data",
    "loading the model",
    "building the step",
    "compiling",
)


@pytest.mark.parametrize("comm", ["mpi", "gloo"])
def test_the_other_ranks_print_one_line_each(job, comm):
    argv = ["harness", "launch", "-np", "4", f"--{comm}", "--", "evaluate", job, "--set", "chunk_size=8"]
    done = start(argv, job.parent, {"HARNESS_TEST_FAULT": f"raise:{AT}", "HARNESS_THREADS": "1"})
    assert done.code == 1, done.text
    said = [line for line in done.err.splitlines() if not line.startswith("+ ") and " of 153 examples" not in line]
    said = [line for line in said if line not in BEGUN]
    errors = [line for line in said if line.startswith("harness: error: rank ")]
    assert len(errors) == 1 and "RuntimeError: planted by the test" in errors[0]
    others = sorted(line for line in said if line not in errors)
    assert len(others) <= 3 and all(
        re.match(r"harness: rank \d on .*: another rank failed, this one ends", line) for line in others
    )
    assert len({line.split(" on ")[0] for line in others}) == len(others)
    assert done.out == ""


@pytest.mark.parametrize("comm", ["mpi", "gloo"])
def test_a_rank_that_is_killed(job, comm):
    done = launch(job, f"kill:{AT}", comm=comm)
    assert done.code == 1, done.text
    assert "rank 1" in done.err and "was killed by signal 9 (SIGKILL)" in done.err
    assert "Traceback" not in done.text
    no_result(job)


@pytest.mark.parametrize("comm", ["mpi", "gloo"])
def test_a_rank_that_hangs(job, comm):
    done = launch(job, f"hang:{AT}", "--stall-timeout", "20", comm=comm)
    assert done.code == 1, done.text
    assert "harness: error: rank " in done.err  # of rank 1 itself, or of rank 0 that watches it
    # which rank, where it runs, what it was asked for (or read ahead of) and the file of that
    named = re.search(
        r"rank 1 on (\S+), pid \d+, evaluating \(chunk [34]: (\S+), records .*\) has made no progress for ", done.err
    )
    assert named and named[1] == os.uname().nodename and Path(named[2]).name in ("a.tfrecord", "d.tfrecord", "e.tfrecord")
    assert "(--stall-timeout 20)" in done.err
    no_result(job)


@pytest.mark.parametrize("comm, number", [("mpi", signal.SIGINT), ("gloo", signal.SIGTERM)])
def test_a_signal_ends_all_ranks(job, comm, number):
    """To the launcher alone, as a scheduler sends it; a rank that hangs keeps the job from ending by itself."""
    argv = ["harness", "launch", "-np", "2", f"--{comm}", "--", "evaluate", str(job), "--set", "schedule=static"]
    process = subprocess.Popen(
        argv, cwd=job.parent, env={**os.environ, "HARNESS_TEST_FAULT": f"hang:{AT}"}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    beats = [job.parent / "run" / "progress" / f"rank-{rank:05d}.json" for rank in range(2)]
    pids = [evaluating(path) for path in beats]
    process.send_signal(number)
    _, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 4, err
    # of a rank, or where the launcher left it no time, of `launch`
    assert "what was finished is kept, --resume goes on from there" in err or f"{number.name} was passed on, and all ranks" in err
    for _ in range(300):  # mpirun leaves a moment before the last of its children
        if not any(alive(pid) for pid in pids):
            break
        time.sleep(0.1)
    assert not [pid for pid in pids if alive(pid)]
    no_result(job)


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not yet waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def evaluating(beat: Path) -> int:
    """Wait until a rank is in its loop (or past it); return its pid."""
    for _ in range(10 * LIMIT_S):
        if beat.exists():
            found = json.loads(beat.read_text())
            if found["phase"] in ("evaluating", "waiting"):
                return int(found["pid"])
        time.sleep(0.1)
    raise AssertionError(f"{beat}: the rank has not begun")


def test_a_corrupt_record_on_one_rank(job, world, tmp_path):
    broken = tmp_path / "e.tfrecord"
    broken.write_bytes((world.folder / "e.tfrecord").read_bytes())
    at = made.record_offsets(broken)[60]
    made.flip(broken, at + 14)
    done = launch(job, None, "--set", f"data.files.3={broken}")
    assert done.code == 1, done.text
    assert done.err.count("harness: error: ") == 1
    assert f"rank 1 on {os.uname().nodename}: {broken}, record 60 at byte {at}: the CRC of its data is wrong" in done.err
    no_result(job)


def test_a_job_that_does_not_fit_the_data_is_said_once_by_ranks(job):
    done = launch(job, None, "--set", "data.label=lable", comm="gloo")
    assert done.code == 2, done.text
    assert done.err.count("harness: error: ") == 1
    assert "rank 0 on " in done.err and "the data has no feature 'lable': did you mean 'label'?" in done.err
    no_result(job)


def test_a_run_folder_that_ranks_do_not_share(job, tmp_path):
    one = ["-np", "1", "--oversubscribe", "harness", "evaluate", job, "-o"]
    done = start(["mpirun", *one, tmp_path / "run", ":", *one, tmp_path / "other"], tmp_path, {"HARNESS_THREADS": "1"})
    assert done.code == 2, done.text
    assert f"rank 1 on {os.uname().nodename}" in done.err
    assert f"does not see the run folder {tmp_path / 'other'} that rank 0 wrote to" in done.err and "with -o" in done.err
    no_result(job)
