"""harness submit without a Slurm: what is refused, what is printed, what is understood of Slurm's answers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from harness_launch.checkpoints import named, watch
from harness_launch.slurm import Follow, Slurm, State, _accounted, _describe, _directives, exit_code, follow, parse_states, submit
from harness_launch.slurm_script import Resources
from harness_launch.submit import Submission, run

from harness.errors import HarnessError, JobError, UsageError
from harness.job.job import Job

MODEL = {"model": "m", "data": {"files": "d.npz", "label": "y"}, "metrics": ["accuracy"]}


def submission(folder: Path, *names: str, **options) -> Submission:
    jobs = tuple(folder / name for name in names or ("a.yaml",))
    return Submission(jobs, tuple(Job.from_dict(MODEL, folder=p.parent, name=p.stem) for p in jobs), Resources(), **options)


# As Slurm 22.05 writes it, shortened; the name of the job is the user's.
SHOWN = """\
JobId=12 JobName=a JobState=NOT_ONE b UserId=root(0) GroupId=root(0) Priority=1 JobState=RUNNING Reason=None Dependency=(null) Requeue=1 Restarts=2 ExitCode=0:0 RunTime=00:00:01 NodeList=n[1-2] BatchHost=n1
"""
ARRAY = """\
JobId=7 ArrayJobId=7 ArrayTaskId=2-9%2 JobName=s JobState=PENDING Reason=JobArrayTaskLimit Restarts=0 ExitCode=0:0 NodeList=(null)
JobId=9 ArrayJobId=7 ArrayTaskId=1 JobName=s JobState=FAILED Reason=NonZeroExitCode Restarts=0 ExitCode=2:0 NodeList=n1
JobId=8 ArrayJobId=7 ArrayTaskId=0 JobName=s JobState=COMPLETED Reason=None Restarts=0 ExitCode=0:0 NodeList=n1
"""


def test_what_slurm_shows():
    (state,) = parse_states(SHOWN)
    assert state == State("12", "RUNNING", "None", "n[1-2]", 0, 0, 2)
    assert str(state) == "job 12 running on n[1-2], started again 2 times"
    assert str(State("12", "PENDING", "Resources")) == "job 12 pending (Resources)"
    assert str(State("12", "FAILED", "NonZeroExitCode", "n1", 4)) == "job 12 failed, exit code 4"
    states = parse_states(ARRAY)
    assert [state.job for state in states] == ["7_2-9%2", "7_1", "7_0"]
    assert _describe(states) == "job 7: 1 completed, 1 failed, 8 pending"
    assert parse_states("") == []


@pytest.mark.parametrize(
    "states, wanted",
    [
        ([State("1", "COMPLETED")], 0),
        ([State("1", "FAILED", exit_code=2)], 2),
        ([State("1", "FAILED", exit_code=4)], 4),
        ([State("1", "FAILED", exit_code=5)], 5),  # a gate is inconclusive
        ([State("1", "FAILED", exit_code=5), State("2", "FAILED", exit_code=1)], 1),
        ([State("1", "FAILED", exit_code=5), State("2", "TIMEOUT")], 5),
        ([State("1", "FAILED", exit_code=137)], 1),  # not a code of the harness
        ([State("1", "FAILED", exit_code=0, signal=9)], 1),
        ([State("1", "NODE_FAIL", exit_code=0)], 1),
        ([State("1", "OUT_OF_MEMORY", exit_code=0, signal=9)], 1),
        ([State("1", "CANCELLED", signal=15)], 4),  # what was finished is kept
        ([State("1", "TIMEOUT")], 4),
        ([State("1", "COMPLETED"), State("2", "TIMEOUT"), State("3", "FAILED", exit_code=1)], 1),
    ],
)
def test_exit_code(states, wanted):
    assert exit_code(states) == wanted


def test_what_the_accounts_say():
    said = "7_0|COMPLETED|0:0\n7_1|CANCELLED by 1000|0:15\n7_2|FAILED|2:0\n"
    assert _accounted(said) == [
        State("7_0", "COMPLETED"),
        State("7_1", "CANCELLED", signal=15),
        State("7_2", "FAILED", exit_code=2),
    ]


def test_a_job_that_slurm_does_not_know_any_more(tmp_path):
    """scontrol forgets a job some minutes after its end; without accounts nobody can say how it ended."""
    (tmp_path / "scontrol").write_text("#!/bin/sh\necho 'slurm_load_jobs error: Invalid job id specified' >&2\nexit 1\n")
    (tmp_path / "scontrol").chmod(0o755)
    with pytest.raises(HarnessError, match="Slurm knows no job 5 any more, and keeps no accounts; its run folder says how"):
        follow("5", Follow(Slurm({"PATH": f"{tmp_path}:/usr/bin:/bin"}), sleep=lambda s: None))


def test_a_controller_that_does_not_answer_is_waited_for(tmp_path):
    """A minute: it may be started anew. The job is none the worse for it."""
    (tmp_path / "scontrol").write_text("#!/bin/sh\necho 'Unable to contact slurm controller' >&2\nexit 1\n")
    (tmp_path / "scontrol").chmod(0o755)
    slept: list[float] = []
    with pytest.raises(HarnessError, match="Unable to contact slurm controller; the job goes on without being followed"):
        follow("5", Follow(Slurm({"PATH": f"{tmp_path}:/usr/bin:/bin"}), poll_s=20, sleep=slept.append))
    assert slept == [20, 20, 20]


def test_a_run_folder_in_an_object_store_is_refused(harness, tmp_path):
    (tmp_path / "job.yaml").write_text(
        "model: m\ndata: {files: d.npz, label: y}\nmetrics: [accuracy]\noutput: gs://bucket/runs\n"
    )
    done = harness("submit", tmp_path / "job.yaml", "--dry-run")
    assert done.code == 2
    assert "lies on a local or shared file system" in done.err


def test_what_the_script_says_wins_over_variables_of_sbatch(tmp_path):
    path = tmp_path / "s"
    path.write_text("#!/bin/bash\n#SBATCH --job-name=a\n#SBATCH --time=5\n#SBATCH --partition=p\n#SBATCH --array=0-1\necho\n")
    assert _directives(path) == {"JOB_NAME", "TIMELIMIT", "PARTITION", "ARRAY_INX"}


def test_without_slurm_it_says_what_to_do(tmp_path):
    with pytest.raises(UsageError, match="no sbatch here: log in to the cluster's login node"):
        submit("#!/bin/bash\n", tmp_path, Slurm({"PATH": str(tmp_path)}))


@pytest.mark.parametrize(
    "names, options, error, found",
    [
        (("a.yaml", "b.yaml"), {}, UsageError, "say --array"),
        ((), {"checkpoints": "c/*"}, UsageError, "say --array"),
        ((), {"array": True, "watch_s": 5.0}, UsageError, "--watch looks for new checkpoints"),
    ],
)
def test_options_that_do_not_go_together(names, options, error, found, tmp_path):
    with pytest.raises(error, match=found):
        submission(tmp_path, *names, **options)


def test_checkpoints_of_a_job_with_several_models(tmp_path):
    job = Job.from_dict({**{k: v for k, v in MODEL.items() if k != "model"}, "models": {"a": "m", "b": "n"}})
    with pytest.raises(JobError, match="expected a job with one model, found several"):
        Submission((tmp_path / "a.yaml",), (job,), Resources(), array=True, checkpoints="c/*")


def test_jobs_of_one_name_would_share_a_folder(tmp_path):
    with pytest.raises(UsageError, match="several jobs are named a"):
        submission(tmp_path, "x/a.yaml", "y/a.yaml", array=True).tasks()


@pytest.mark.parametrize("folder", ["a\\b", "a\nb"])
def test_a_folder_that_sbatch_cannot_be_told(folder, tmp_path, capsys):
    with pytest.raises(UsageError, match="cannot be told to sbatch"):
        run(submission(tmp_path, output=tmp_path / folder, dry_run=True))


def test_a_per_cent_sign_in_a_folder_is_no_replacement(tmp_path, capsys):
    assert run(submission(tmp_path, output=tmp_path / "100%j", dry_run=True)) == 0
    assert f"#SBATCH --output={tmp_path}/100%%j/slurm-%j.log\n" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []  # printed, nothing more


def test_checkpoints_are_named_by_what_the_pattern_leaves_open(tmp_path):
    for name in ("10/model.keras", "9/model.keras", "it's/model.keras", "9/other"):
        (tmp_path / "ckpt" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "ckpt" / name).touch()
    found = named(f"{tmp_path}/ckpt/*/model.keras")
    assert list(found.values()) == ["10-model.keras", "9-model.keras", "it's-model.keras"]
    assert next(iter(found)) == tmp_path / "ckpt" / "10" / "model.keras"
    assert list(named(f"{tmp_path}/ckpt/9/*").values()) == ["model.keras", "other"]
    assert list(named(f"{tmp_path}/ckpt/9").values()) == ["9"]
    assert named(f"{tmp_path}/none/*") == {}
    (tmp_path / "ckpt" / "a-b").mkdir()
    (tmp_path / "ckpt" / "a").mkdir()
    (tmp_path / "ckpt" / "a-b" / "c").touch()
    (tmp_path / "ckpt" / "a" / "b-c").touch()
    with pytest.raises(UsageError, match="would both be named a-b-c"):
        named(f"{tmp_path}/ckpt/a*/*c")


def test_tasks_of_jobs_and_checkpoints(tmp_path):
    (tmp_path / "c").mkdir()
    for name in ("1", "a: {b}"):
        (tmp_path / "c" / name).touch()
    asked = submission(
        tmp_path,
        "x.yaml",
        "y.yaml",
        array=True,
        checkpoints=f"{tmp_path}/c/*",
        output=tmp_path / "o",
        words=("--set", "batch_size=4"),
    )
    found = [(task.run, task.words) for task in asked.tasks()]
    own = ("--set", "batch_size=4", "--set")
    assert found == [
        (
            f"{tmp_path}/o/x-1",
            ("evaluate", f"{tmp_path}/x.yaml", "-o", f"{tmp_path}/o/x-1", *own, f'model.path="{tmp_path}/c/1"'),
        ),
        (
            f"{tmp_path}/o/y-1",
            ("evaluate", f"{tmp_path}/y.yaml", "-o", f"{tmp_path}/o/y-1", *own, f'model.path="{tmp_path}/c/1"'),
        ),
        (
            f"{tmp_path}/o/x-a: {{b}}",
            ("evaluate", f"{tmp_path}/x.yaml", "-o", f"{tmp_path}/o/x-a: {{b}}", *own, f'model.path="{tmp_path}/c/a: {{b}}"'),
        ),
        (
            f"{tmp_path}/o/y-a: {{b}}",
            ("evaluate", f"{tmp_path}/y.yaml", "-o", f"{tmp_path}/o/y-a: {{b}}", *own, f'model.path="{tmp_path}/c/a: {{b}}"'),
        ),
    ]
    # Where nothing is said the runs lie beside the job's own.
    assert submission(tmp_path, array=True, checkpoints="c").folder == tmp_path / "runs" / "a-sweep"
    assert submission(tmp_path).folder == tmp_path / "runs" / "a"


def test_watch_hands_over_what_stands_still_once(tmp_path):
    """A checkpoint that grows is waited for, one that comes later is found, none is handed over twice."""
    one, two, three = (tmp_path / name for name in ("one", "two", "three"))
    one.touch()
    started: list[list[Path]] = []
    looks = 0

    def sleep(seconds: float) -> None:
        nonlocal looks
        assert seconds == 5
        looks += 1
        if looks <= 2:
            two.mkdir(exist_ok=True)
            (two / "weights").write_bytes(b"x" * looks)  # being written
            os.utime(two / "weights", ns=(looks, looks))
        if looks == 4:
            three.touch()

    watch(lambda: sorted(tmp_path.iterdir()), started.append, every_s=5, patience_s=12, sleep=sleep)
    assert started == [[one], [two], [three]]
    assert looks == 8  # three looks, 15 s, without anything new
