"""What Slurm says of jobs, as its versions write it: JSON of 22.05 and of 23.11, plain text, and commands that are not there."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path

import pytest
from harness_launch.slurm_queue import Queue, QueueJob, folders, from_json, from_scontrol, run_folder

from harness.errors import UsageError

OLD = {
    "account": "", "array_job_id": 0, "array_task_id": None, "array_task_string": "", "command": "/r/slurm-job.sbatch", "exit_code": 0,
    "job_id": 2, "job_state": "PENDING", "nodes": "", "partition": "main", "scheduled_nodes": "n[1-2]", "standard_output": "/r/slurm-2.log",
    "start_time": 1795380033, "state_reason": "Resources",
}  # fmt: skip
NEW = {
    "array_job_id": {"set": True, "infinite": False, "number": 3}, "array_task_id": {"set": True, "infinite": False, "number": 4},
    "array_task_string": "", "command": "/r/slurm-job.sbatch", "job_id": 9, "job_state": ["FAILED"], "nodes": "n1", "partition": "gpu",
    "exit_code": {"status": ["ERROR"], "return_code": {"set": True, "infinite": False, "number": 5}, "signal": {"id": {"set": False}}},
    "standard_output": "/r/slurm-3_4.log", "start_time": {"set": True, "infinite": False, "number": 1795380033}, "state_reason": "None",
}  # fmt: skip
ACCOUNTED = {
    "array": {"job_id": 0, "task_id": None}, "exit_code": {"return_code": 0, "status": "SUCCESS"}, "job_id": 2, "nodes": "n1",
    "partition": "main", "state": {"current": "COMPLETED", "reason": "None"}, "time": {"start": 1795380033},
}  # fmt: skip
PLAIN = (
    "JobId=7 ArrayJobId=5 ArrayTaskId=1 JobName=a JobState=FAILED b UserId=root(0) JobState=RUNNING Reason=None "
    "Partition=main ExitCode=0:0 StartTime=2026-11-22T20:40:33 NodeList=n1 SchedNodeList=(null) "
    "Command=/a folder/slurm-job.sbatch WorkDir=/w StdErr=/a folder/x.log StdOut=/a folder/x.log Power="
)


def text(*jobs):
    return json.dumps({"meta": {}, "errors": [], "jobs": jobs})


def test_json_of_all_versions_is_read():
    (old,) = from_json(text(OLD), "2")
    assert old == QueueJob("2", "PENDING", "Resources", "main", "n[1-2]", 1795380033.0, "/r/slurm-job.sbatch", "/r/slurm-2.log")
    (new,) = from_json(text(NEW, OLD), "3")
    assert (new.number, new.state, new.reason, new.nodes, new.exit_code, new.task) == ("3_4", "FAILED", "", "n1", 5, 4)
    assert from_json(text(NEW), "3_4") == [new] and from_json(text(NEW), "3_5") == from_json(text(NEW), "9") == []
    waiting = OLD | {"array_job_id": 3, "array_task_string": "0-5%2", "start_time": 0}
    (tasks,) = from_json(text(waiting), "3")
    assert (tasks.number, tasks.task, tasks.start_s) == ("3_0-5%2", None, None)
    (accounted,) = from_json(text(ACCOUNTED), "2")
    assert (accounted.state, accounted.exit_code, accounted.start_s) == ("COMPLETED", 0, 1795380033.0)
    killed = OLD | {"job_state": "FAILED", "exit_code": 9}
    assert [(job.signal, job.exit_code) for job in from_json(text(killed), "2")] == [(9, 1)]
    for other in ("", "slurm_load_jobs error", "[]", "{}", '{"jobs": [5]}', '{"jobs": [{}]}'):
        assert from_json(other, "2") is None


def test_plain_text_is_read_whatever_the_job_is_called():
    (job,) = from_scontrol(PLAIN.replace(" JobState=FAILED b", " b"))
    assert (job.number, job.state, job.nodes, job.script) == ("5_1", "RUNNING", "n1", "/a folder/slurm-job.sbatch")
    assert job.log == "/a folder/x.log" and job.start_s == datetime(2026, 11, 22, 20, 40, 33).timestamp()
    assert from_scontrol("slurm_load_jobs error: Invalid job id specified\n") == []


def test_a_job_is_a_line():
    start = datetime(2026, 11, 22, 20, 40).timestamp()
    planned = QueueJob("2", "PENDING", "Resources", "main", "n[1-2]", start)
    assert planned.lines(200, 5) == ["job 2: pending (Resources), planned on n[1-2], to start 2026-11-22 20:40"]
    held = QueueJob("2", "PENDING", "JobHeldUser", troubles=("node n1 is drain: disk",))
    assert held.lines(40, 5) == ["job 2: pending (JobHeldUser), no start p", "! node n1 is drain: disk"]
    ended = QueueJob("2", "TIMEOUT", "TimeLimit", nodes="n1")
    assert ended.lines(200, 5) == ["job 2: timeout (TimeLimit) on n1, exit code 4"] and ended.over
    assert planned.document()["text"] == planned.lines(200, 5) and planned.exit_code is None


@pytest.mark.parametrize(
    "script, task, folder",
    [
        ("#!/bin/bash\nrun='it'\"'\"'s; here'\nwords=(evaluate)\n", None, "it's; here"),
        ("case $X in\n    0) run=/r/a; words=(a) ;;\n    10) run='/r/b c'; words=(b) ;;\nesac\n", 10, "/r/b c"),
        ("case $X in\n    0) run=/r/a; words=(a) ;;\nesac\n", 1, None),
        ("srun harness evaluate job.yaml\n", None, None),
        ("run='open\n", None, None),
        ("", None, None),
    ],
)
def test_the_run_folder_is_in_the_script(script, task, folder):
    assert run_folder(script, task) == folder


def test_folders_are_those_that_are_there(tmp_path):
    (tmp_path / "r").mkdir()
    script = tmp_path / "job.sbatch"
    script.write_text(f"run={tmp_path / 'r'}\n")
    jobs = [
        QueueJob("1", "RUNNING", script=str(script)),
        QueueJob("2", "RUNNING", script=str(tmp_path / "none")),
        QueueJob("3", "RUNNING", log=str(tmp_path / "r" / "x.log")),
    ]
    assert [folder for _, folder in folders(jobs)] == [tmp_path / "r", None, None]
    (tmp_path / "r" / "status.json").write_text("{}")
    assert folders(jobs[2:])[0][1] == tmp_path / "r"  # of a script of one's own, whose log lies beside the results


def commands(folder: Path, **texts: str) -> dict[str, str]:
    """Return where Slurm's commands are: each prints a text, and notes that it was asked."""
    for name, script in texts.items():
        path = folder / name
        path.write_text(f'#!/bin/sh\necho "{name} $1" >> {folder}/asked\n{script}\n')
        path.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


def test_a_slurm_that_answers_with_all_jobs_is_asked_for_json_once(tmp_path):
    (tmp_path / "all.json").write_text(text(OLD, NEW))
    (tmp_path / "plain").write_text("JobId=2 JobName=a JobState=RUNNING Reason=None NodeList=n1\n")
    squeue, scontrol = f"cat {tmp_path}/all.json", f'[ "$3" = node ] && exit 0; cat {tmp_path}/plain'
    queue = Queue(commands(tmp_path, squeue=squeue, scontrol=scontrol))
    assert [queue.jobs("2")[0].state for _ in range(3)] == ["PENDING", "RUNNING", "RUNNING"]
    assert (tmp_path / "asked").read_text().count("squeue") == 1


def test_where_there_is_no_json_plain_output_does(tmp_path):
    plain = "JobId=2 JobName=a JobState=RUNNING Reason=None NodeList=n[1-2]"
    nodes = (
        "NodeName=n1 State=IDLE+DRAIN Reason=disk is full [root@2026-11-22T20:00:00]\n"
        "NodeName=n2 State=ALLOCATED\nNodeName=n3 State=MIXED* Reason=Not responding"
    )
    scontrol = f'if [ "$3" = node ]; then echo "{nodes}"; else echo "{plain}"; fi'
    queue = Queue(commands(tmp_path, squeue="echo 'error: unrecognized option' >&2; exit 1", scontrol=scontrol, sacct="exit 1"))
    (job,) = queue.jobs("2")
    assert job.troubles == ["node n1 is idle+drain: disk is full", "node n3 is mixed*: Not responding"]


def test_a_task_that_left_the_queue_is_looked_for_elsewhere(tmp_path):
    tasks = [NEW | {"job_state": ["RUNNING"], "array_task_id": {"set": True, "number": task}} for task in (0, 1)]
    (tmp_path / "jobs.json").write_text(text(*tasks))
    done = "\n".join(
        f"JobId={8 + task} ArrayJobId=3 ArrayTaskId={task} JobName=a JobState={state} ExitCode=1:0"
        for task, state in enumerate(("FAILED", "RUNNING"))
    )
    scontrol = f"[ \"$3\" = node ] && exit 0; echo '{done}'"
    queue = Queue(commands(tmp_path, squeue=f"cat {tmp_path}/jobs.json", scontrol=scontrol))
    assert [job.state for job in queue.jobs("3")] == ["RUNNING", "RUNNING"]
    (tmp_path / "jobs.json").write_text(text(tasks[1]))
    assert [(job.number, job.state, job.exit_code) for job in queue.jobs("3")] == [("3_0", "FAILED", 1), ("3_1", "RUNNING", None)]


def test_a_job_that_slurm_forgot_is_in_its_accounts_or_unknown(tmp_path):
    (tmp_path / "s").mkdir()
    none = {"squeue": "exit 1", "scontrol": "echo 'Invalid job id specified' >&2; exit 1"}
    sacct = 'case "$*" in *--json*) exit 1;; *) echo "2|CANCELLED by 0|0:15";; esac'
    (job,) = Queue(commands(tmp_path, **none, sacct=sacct)).jobs("2")
    assert (job.state, job.over, job.exit_code) == ("CANCELLED", True, 4)
    with pytest.raises(UsageError, match="job 2: Slurm does not know it, or no longer"):
        Queue(commands(tmp_path / "s", **none, sacct="exit 1")).jobs("2")
