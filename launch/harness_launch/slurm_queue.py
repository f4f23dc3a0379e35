"""Jobs in Slurm's queue, for who watches them: state, reason, when they are to start, on which nodes, and their run folders.

Asked as JSON where this Slurm can, and plainly where it cannot. Slurm 22.05 answers `squeue --json -j JOB` with every job of
the cluster: that is asked once, and what holds for one job only from then on.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness_launch.slurm import ENDED, State, exit_code

__all__ = ["Queue", "QueueJob", "folders", "from_json", "from_scontrol", "run_folder"]

UNKNOWN = ("", "(null)", "N/A", "Unknown", "None")
NO_TASK = 4294967294
WIDTH = 200  # of the text in JSON
NODE_OK = ("IDLE", "MIXED", "ALLOCATED", "COMPLETING", "PLANNED", "RESERVED", "CLOUD")


@dataclass(frozen=True)
class QueueJob:
    """A job, or a task of an array.

    Attributes:
      number: as people say it: 7, 7_3, or 7_3-9 for tasks that wait together.
      state, reason: as Slurm says them.
      partition: that it is in.
      nodes: that it runs on, or is planned on, as Slurm writes a list.
      start_s: when it started, or is to start; seconds since 1970, None is not known.
      script: that was submitted.
      log: where its output goes.
      exit_status, signal: how it ended.
      troubles: nodes of it that are not well, with Slurm's reason.
    """

    number: str
    state: str
    reason: str = ""
    partition: str = ""
    nodes: str = ""
    start_s: float | None = None
    script: str = ""
    log: str = ""
    exit_status: int = 0
    signal: int = 0
    troubles: Sequence[str] = ()

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.state in ENDED

    @property
    def exit_code(self) -> int | None:
        """Of the contract; None while it has not ended."""
        return exit_code([State(self.number, self.state, exit_code=self.exit_status, signal=self.signal)]) if self.over else None

    @property
    def task(self) -> int | None:
        """Number in its array; None where it is in none, or stands for several."""
        task = self.number.partition("_")[2]
        return int(task) if task.isdigit() else None

    def document(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        known = {
            "version": 1, "job": self.number, "state": self.state, "reason": self.reason, "partition": self.partition,
            "nodes": self.nodes, "start_s": self.start_s, "exit_code": self.exit_code, "troubles": list(self.troubles),
        }  # fmt: skip
        return {**known, "text": self.lines(WIDTH, 1 + len(self.troubles))}

    def lines(self, width: int, height: int) -> list[str]:
        """Return it as text."""
        why = f" ({self.reason})" if self.reason and self.state not in ("RUNNING", "COMPLETED") else ""
        where = f" on {self.nodes}" if self.nodes else ""
        start = ""
        if self.state == "PENDING":
            where = f", planned on {self.nodes}" if self.nodes else ""
            start = ", no start planned yet"
            if self.start_s is not None:
                start = f", to start {datetime.fromtimestamp(self.start_s):%Y-%m-%d %H:%M}"
        code = f", exit code {self.exit_code}" if self.over and self.state != "COMPLETED" else ""
        text = f"job {self.number}: {self.state.lower()}{why}{where}{start}{code}"
        return [line[:width] for line in (text, *(f"! {trouble}" for trouble in self.troubles))][:height]

    def summary(self) -> None:
        """Print nothing: how a run ended is in its folder."""


def from_json(text: str, job: str) -> list[QueueJob] | None:
    """Read what `squeue --json` or `sacct --json` wrote, of any version; None where it is not that.

    Args:
      text: that was written.
      job: whose jobs are wanted: its number, with or without a task.
    """
    try:
        jobs = json.loads(text)["jobs"]
        read = [_of_json(entry) for entry in jobs]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return [entry for entry in read if _is_wanted(entry.number, job)]


def _of_json(entry: Mapping[str, Any]) -> QueueJob:
    array = _number(entry.get("array_job_id", _part(entry, "array").get("job_id")))
    task: Any = _number(entry.get("array_task_id", _part(entry, "array").get("task_id")))
    if array and (task is None or task == NO_TASK):
        task = entry.get("array_task_string") or None
    state: Any = entry.get("job_state", entry.get("state"))
    reason = entry.get("state_reason", "")
    if isinstance(state, Mapping):  # sacct's
        state, reason = state.get("current"), state.get("reason", "")
    state = state[0] if isinstance(state, list) else state
    times: Any = entry.get("time")  # sacct's
    start_s = _number(entry.get("start_time", times.get("start") if isinstance(times, Mapping) else None))
    status = entry.get("exit_code") or 0
    code, signal = _exit(status)
    planned = entry.get("scheduled_nodes") or ""
    return QueueJob(
        f"{array}_{task}" if array and task is not None else str(entry["job_id"]), str(state), _known(str(reason or "")),
        str(entry.get("partition", "")), _known(str(entry.get("nodes") or planned)), float(start_s) if start_s else None,
        str(entry.get("command", "")), _known(str(entry.get("standard_output", ""))), code, signal,
    )  # fmt: skip


def _part(entry: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = entry.get(name)
    return part if isinstance(part, Mapping) else {}


def _number(value: Any) -> int | None:
    """Return a number that newer versions write as {"set": true, "number": 7}."""
    if isinstance(value, Mapping):
        return int(value["number"]) if value.get("set") and not value.get("infinite") else None
    return None if value is None else int(value)


def _exit(status: Any) -> tuple[int, int]:
    """Return exit code and signal: of what wait(2) returns, or of what newer versions write."""
    if not isinstance(status, Mapping):
        return int(status) >> 8, int(status) & 0x7F
    signal = status.get("signal") or {}
    return _number(status.get("return_code")) or 0, _number(signal.get("signal_id") or signal.get("id")) or 0


def from_scontrol(text: str) -> list[QueueJob]:
    """Read what `scontrol --oneliner show job` wrote."""
    jobs = []
    for line in text.splitlines():
        # The job's name is the user's, and may look like anything: what follows it is Slurm's.
        head, _, rest = line.partition(" JobName=")
        fields = dict(re.findall(r"(?:^|\s)(JobId|ArrayJobId|ArrayTaskId)=(\S*)", head))
        plain = "JobState|Reason|Partition|NodeList|SchedNodeList|StartTime|ExitCode"
        fields |= dict(re.findall(rf"\s({plain})=(\S*)", rest))
        fields |= dict(re.findall(r"\s(Command|StdOut)=(.*?)(?=\s[A-Z]\w*=|$)", rest))
        if "JobId" not in fields or "JobState" not in fields:
            continue
        number = fields["JobId"]
        if "ArrayTaskId" in fields:
            number = f"{fields['ArrayJobId']}_{fields['ArrayTaskId']}"
        code, _, signal = fields.get("ExitCode", "0:0").partition(":")
        nodes = _known(fields.get("NodeList", "")) or _known(fields.get("SchedNodeList", ""))
        jobs.append(
            QueueJob(
                number, fields["JobState"], _known(fields.get("Reason", "")), fields.get("Partition", ""), nodes,
                _seconds(fields.get("StartTime", "")), fields.get("Command", ""), fields.get("StdOut", ""), int(code),
                int(signal or 0),
            )
        )  # fmt: skip
    return jobs


def _seconds(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None


def _known(text: str) -> str:
    return "" if text in UNKNOWN else text


def _is_wanted(number: str, job: str) -> bool:
    return number == job or number.startswith(f"{job}_")


def run_folder(script: str, task: int | None = None) -> str | None:
    """Return the run folder in a batch script as `harness submit` writes it; None where it names none.

    Args:
      task: number in an array; None outside of one.

    >>> run_folder("x=1\\nrun='a b'\\nwords=(evaluate)"), run_folder("    1) run=/r/1; words=(evaluate) ;;", 1)
    ('a b', '/r/1')
    """
    before = re.compile(r"run=" if task is None else rf"\s*{task}\) run=")
    for line in script.splitlines():
        if match := before.match(line):
            with contextlib.suppress(ValueError):  # a line that people wrote
                words = shlex.shlex(line[match.end() :], posix=True, punctuation_chars=";")
                return next(words, None)
    return None


@dataclass
class Queue:
    """Asks Slurm of jobs, and of the nodes they are on.

    Attributes:
      environ: what its commands are run with.
    """

    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    _as_json: bool = field(default=True, init=False)
    _seen: set[str] = field(default_factory=set, init=False)  # tasks of an array

    def jobs(self, job: str) -> list[QueueJob]:
        """Return a job, or the tasks of an array.

        Raises: UsageError: Slurm does not answer, or does not know it.
        """
        found = self._queued(job)
        if not found or not self._seen <= {entry.number for entry in found}:  # what has ended leaves the queue
            found = self._controlled(job) or self._accounted(job) or found
        if not found:
            raise UsageError(f"job {job}: Slurm does not know it, or no longer; a run folder says how its run ended")
        self._seen |= {entry.number for entry in found if entry.number.partition("_")[2].isdigit()}
        troubles = self._troubles(sorted({entry.nodes for entry in found if entry.nodes and not entry.over}))
        return [replace(entry, troubles=troubles.get(entry.nodes, ())) for entry in found]

    def _queued(self, job: str) -> list[QueueJob]:
        if not self._as_json:
            return []
        text = self._ask("squeue", "--json", "-j", job)
        jobs = from_json(text or "", job)
        # Nothing but this job was asked for: an older Slurm that answers with all of them is asked no more.
        self._as_json = jobs is not None and len(jobs) == len(json.loads(text or "{}").get("jobs", ()))
        return jobs or []

    def _controlled(self, job: str) -> list[QueueJob]:
        return from_scontrol(self._ask("scontrol", "--oneliner", "show", "job", job) or "")

    def _accounted(self, job: str) -> list[QueueJob]:
        if jobs := from_json(self._ask("sacct", "--json", "-X", "-j", job) or "", job):
            return jobs
        jobs = []
        for line in (self._ask("sacct", "-n", "-P", "-X", "-j", job, "-o", "JobID,State,ExitCode") or "").splitlines():
            number, state, codes = line.split("|")
            code, _, signal = codes.partition(":")
            jobs.append(QueueJob(number, state.split()[0], exit_status=int(code), signal=int(signal)))
        return jobs

    def _troubles(self, lists: Sequence[str]) -> dict[str, list[str]]:
        """Return by list of nodes what is wrong with some of them."""
        troubles: dict[str, list[str]] = {}
        for nodes in lists:
            for line in (self._ask("scontrol", "--oneliner", "show", "node", nodes) or "").splitlines():
                fields = dict(re.findall(r"(?:^|\s)(NodeName|State)=(\S*)", line))
                states = re.split(r"[+*]", fields.get("State", "").rstrip("*$~#!%@^-"))
                if any(state and state not in NODE_OK for state in states) or "*" in fields.get("State", ""):
                    reason = re.search(r"\sReason=(.*?)(?=\s\[|\s[A-Z]\w*=|$)", line)
                    why = f": {reason[1]}" if reason else ""
                    troubles.setdefault(nodes, []).append(f"node {fields['NodeName']} is {fields['State'].lower()}{why}")
        return troubles

    def _ask(self, *argv: str) -> str | None:
        """Run one of Slurm's commands; None where it fails.

        Raises: UsageError: there is no such command here.
        """
        if shutil.which(argv[0], path=self.environ.get("PATH")) is None:
            if argv[0] == "sacct":  # a cluster without accounts may lack it
                return None
            raise UsageError(
                f"no {argv[0]} here: a number is watched as a job of Slurm; log in to the cluster, or say --ssh HOST"
            )
        done = subprocess.run(argv, env=dict(self.environ), capture_output=True, text=True, check=False, errors="replace")
        return None if done.returncode else done.stdout


def folders(jobs: Sequence[QueueJob]) -> list[tuple[QueueJob, Path | None]]:
    """Return jobs with their run folders, where these are known and there."""
    pairs: list[tuple[QueueJob, Path | None]] = []
    for job in jobs:
        folder = None
        try:
            text = Path(job.script).read_text(errors="surrogateescape") if job.script else ""
        except OSError:
            text = ""
        name = run_folder(text, job.task)
        if name is None and job.log and "%" not in job.log:
            name = str(Path(job.log).parent)  # of a script that people wrote: the log may lie beside the results
            name = name if (Path(name) / "status.json").exists() else None
        if name is not None and Path(name).is_dir():
            folder = Path(name)
        pairs.append((job, folder))
    return pairs
