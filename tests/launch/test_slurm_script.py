"""Batch scripts as text: whole files against golden ones, values that try to run commands, what sbatch is told."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from harness_launch.slurm_script import (
    RULE,
    Launcher,
    Resources,
    Script,
    Task,
    collect_script,
    directive,
    script,
    seconds,
    standalone,
    sweep,
)  # fmt: skip

from harness.errors import UsageError
from tests.conftest import ROOT

GOLDEN = Path(__file__).parent / "golden"
HOSTILE = 'it\'s "100%" $(touch pwned) `touch pwned`; touch pwned # & \\ *'

PLAIN = Script((Task("/runs/a", ("evaluate", "/jobs/a.yaml", "-o", "/runs/a")),), Resources(), "/runs/a/slurm-%j.log")
FULL = Script(
    (Task("/runs/a", ("predict", "/jobs/a.yaml", "-o", "/runs/a", "--set", "batch_size=8")),),
    Resources(
        job_name="digits", nodes="2", ntasks=8, ntasks_per_node=4, cpus_per_task=6, gpus_per_task="a100:1", mem="64G", time="2:00:00",
        partition="gpu", account="x", qos="high", sbatch_words=("--exclusive", "-C", "nvme&ib"),
    ),
    "/runs/a/slurm-%j.log",
    harness=("apptainer", "exec", "--nv", "/images/harness.sif", "harness"),
    launcher=Launcher.SRUN,
    modules=("apptainer/1.3", "openmpi"),
    max_requeues=3,
)  # fmt: skip
STRANGE = Script(
    (Task(f"/runs/{HOSTILE}", ("evaluate", f"/jobs/{HOSTILE}", "-o", f"/runs/{HOSTILE}", "--set", f"model.path={HOSTILE}")),),
    Resources(job_name=HOSTILE, partition=HOSTILE, sbatch_words=("--comment", HOSTILE)),
    f"/runs/{HOSTILE}/slurm-%j.log",
    harness=(f"/env {HOSTILE}/bin/harness",),
    path=(f"/env {HOSTILE}/bin",),
    modules=(HOSTILE,),
)
ARRAY = Script(
    (
        Task("/runs/one", ("evaluate", "/jobs/a.yaml", "-o", "/runs/one", "--set", 'model.path="/ckpt/one"')),
        Task(f"/runs/{HOSTILE}", ("evaluate", "/jobs/a.yaml", "-o", f"/runs/{HOSTILE}")),
    ),
    Resources(job_name="sweep", ntasks=2, time="20"),
    "/runs/slurm-%A_%a.log",
    harness=("/env/bin/harness",),
    path=("/env/bin",),
    array="0-1%1",
)
SCRIPTS = {"plain": script(PLAIN), "full": script(FULL), "hostile": script(STRANGE), "array": script(ARRAY)}
SCRIPTS["collect"] = collect_script(["/runs/one", f"/runs/{HOSTILE}"], ["/runs/summary.csv"], ARRAY)


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_are_the_golden_ones(name: str) -> None:
    assert SCRIPTS[name] == (GOLDEN / f"{name}.sbatch").read_text()


def test_the_first_run_that_passes_is_kept_where_jobs_have_gates() -> None:
    text = collect_script(["/runs/one", "/runs/it's"], ["/runs/summary.csv"], ARRAY, "/runs/first_pass.csv")
    assert text.splitlines()[-3:] == [
        "set -e",
        """/env/bin/harness collect -o /runs/summary.csv /runs/one '/runs/it'"'"'s'""",
        """/env/bin/harness collect --first-pass -o /runs/first_pass.csv /runs/one '/runs/it'"'"'s'""",
    ]


def test_the_scripts_that_people_edit_are_in_step() -> None:
    assert standalone() == (ROOT / "slurm" / "evaluate.sbatch").read_text()
    assert sweep() == (ROOT / "slurm" / "sweep.sbatch").read_text()
    body = SCRIPTS["plain"].partition(RULE)[2]
    assert len(body) > 3000
    assert standalone().partition(RULE)[2] == sweep().partition(RULE)[2] == SCRIPTS["array"].partition(RULE)[2] == body


def settings(text: str, folder: Path, *argv: str, **environ: str) -> list[str]:
    """Run a script as far as the line, in a folder that is to stay empty; return what it has set, word by word."""
    folder.mkdir()
    path = folder.parent / "settings"
    path.write_text(text.partition(RULE)[0] + '\nprintf \'%s\\0\' "$run" "${words[@]}" "${harness[@]}" "${PATH%%:*}"\n')
    done = subprocess.run(
        ["bash", str(path), *argv],
        cwd=folder,
        env={"PATH": os.environ["PATH"], **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert list(folder.iterdir()) == []
    return done.stdout.split("\0")[:-1] if done.returncode == 0 else [done.stderr]


def test_hostile_values_reach_the_ranks_whole(tmp_path: Path) -> None:
    run, words, harness, path = STRANGE.tasks[0].run, STRANGE.tasks[0].words, STRANGE.harness, STRANGE.path
    assert settings(SCRIPTS["hostile"], tmp_path / "a") == [run, *words, *harness, *path]
    run, words = ARRAY.tasks[1].run, ARRAY.tasks[1].words
    assert settings(SCRIPTS["array"], tmp_path / "b", SLURM_ARRAY_TASK_ID="1") == [run, *words, "/env/bin/harness", "/env/bin"]


def test_the_standalone_scripts_take_their_arguments_whole(tmp_path: Path) -> None:
    job, first = f"{HOSTILE}.yaml", os.environ["PATH"].partition(":")[0]
    found = settings(standalone(), tmp_path / "a", job, "--set", HOSTILE)
    assert found == [f"./runs/{HOSTILE}", "evaluate", job, "-o", f"./runs/{HOSTILE}", "--set", HOSTILE, "harness", first]
    found = settings(standalone(), tmp_path / "b", "/x/a.b.yaml", RUN=HOSTILE)
    assert found == [HOSTILE, "evaluate", "/x/a.b.yaml", "-o", HOSTILE, "harness", first]
    assert "which job? sbatch slurm/evaluate.sbatch JOB.yaml" in settings(standalone(), tmp_path / "c")[0]
    found = settings(sweep(), tmp_path / "d", "/ckpt/1", "/ckpt/it's: 2", SLURM_ARRAY_TASK_ID="1", JOB=job)
    assert found == [
        "runs/sweep/it's: 2",
        "evaluate",
        job,
        "-o",
        "runs/sweep/it's: 2",
        "--set",
        "model.path='/ckpt/it''s: 2'",
        "harness",
        first,
    ]
    found = settings(sweep(), tmp_path / "e", "a.yaml", "b.yaml", SLURM_ARRAY_TASK_ID="1", RUNS="/r")
    assert found == ["/r/b", "evaluate", "b.yaml", "-o", "/r/b", "harness", first]
    assert "there is nothing for this task" in settings(sweep(), tmp_path / "f", "a.yaml", SLURM_ARRAY_TASK_ID="1")[0]


@pytest.mark.parametrize(
    "left, code, requeues",
    [
        ('{"state": "done", "exit_code": 1}', 1, False),  # its gate has failed: it would fail again
        ('{"state": "done", "exit_code": 5}', 5, False),
        ('{"state": "done", "exit_code": 0}', 0, False),
        ('{"state": "ended", "exit_code": 4}', 4, True),
    ],
)
def test_what_is_done_at_the_time_limit_is_not_requeued(left: str, code: int, requeues: bool, tmp_path: Path) -> None:
    """The signal comes while ranks work, and they leave their exit code nevertheless."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in {
        "mpirun": f"trap '' USR1; kill -USR1 $PPID; echo '{left}' > \"$HARNESS_STATUS\"; exit 143",
        "scontrol": f'echo "$@" > {tmp_path / "requeued"}',
    }.items():
        (programs / name).write_text(f"#!/bin/bash\n{text}\n")
        (programs / name).chmod(0o755)
    content = Script((Task(str(tmp_path / "run"), ("evaluate", "a.yaml")),), Resources(), "", launcher=Launcher.MPIRUN)
    (tmp_path / "job.sbatch").write_text(script(content))
    environ = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "n1", "SLURM_TASKS_PER_NODE": "2"}
    environ["PATH"] = f"{programs}{os.pathsep}{os.environ['PATH']}"
    argv = ["bash", str(tmp_path / "job.sbatch")]
    done = subprocess.run(argv, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == code and "SIGUSR1: all ranks are asked" in done.stdout, done.stdout + done.stderr
    assert (tmp_path / "requeued").exists() is requeues


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\0b", "\n#SBATCH --wrap=x"])
def test_a_line_break_is_refused(value: str) -> None:
    # It would begin a line of its own, and so another option or a command.
    with pytest.raises(UsageError, match="a line break cannot be told to sbatch"):
        directive("--job-name", value)
    with pytest.raises(UsageError, match="a line break cannot be told to sbatch"):
        Resources(sbatch_words=("--comment", value)).directives()


@pytest.mark.parametrize(
    "time, wanted, lead",
    [
        ("1", 60, 15), ("60", 3600, 120), ("90:30", 5430, 120), ("2:00:00", 7200, 120), ("1-0", 86400, 120),
        ("1-2:03", 93780, 120), ("1-2:03:04", 93784, 120), ("0:02", 2, 1),
    ],
)  # fmt: skip
def test_time_limits(time: str, wanted: int, lead: int) -> None:
    assert seconds(time) == wanted
    assert Resources(time=time).lead_s == lead


@pytest.mark.parametrize("time", ["", "2h", "1:2:3:4", "-5", "1-", "a-1", "1.5", "1-1:1:1:1"])
def test_a_time_limit_of_no_form_is_refused(time: str) -> None:
    with pytest.raises(UsageError, match="expected minutes, minutes:seconds"):
        Resources(time=time)
