"""Submit to Slurm and follow what becomes of it: the only place that runs sbatch. What is submitted is text of slurm_script."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from harness.errors import HarnessError, Interrupted, UsageError
from harness.names.scratch import scratch_name

__all__ = ["Follow", "Slurm", "State", "exit_code", "follow", "parse_states", "submit"]

POLL_S = 2.0
LOST_S = 60.0  # a controller that is started anew answers again by then
SCRIPT = "slurm-job.sbatch"
ENDED = {
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED", "TIMEOUT",
}  # fmt: skip
KEPT = {"SLURM_CLUSTERS", "SLURM_CONF"}
CAN_GO_ON = {"CANCELLED", "DEADLINE", "PREEMPTED", "TIMEOUT"}
INCONCLUSIVE = 5  # of a gate
OWN_CODES = (1, 2, 3, Interrupted.exit_code, INCONCLUSIVE)


@dataclass(frozen=True)
class State:
    """What Slurm says of a job, or of one task of an array."""

    job: str
    state: str
    reason: str = ""
    nodes: str = ""
    exit_code: int = 0
    signal: int = 0
    restarts: int = 0

    @property
    def ended(self) -> bool:
        """Whether it has come to an end."""
        return self.state in ENDED

    def __str__(self) -> str:
        where = f" on {self.nodes}" if self.nodes and not self.ended else ""
        why = f" ({self.reason})" if self.reason not in ("", "None") and not self.nodes else ""
        again = f", started again {self.restarts} times" if self.restarts else ""
        code = f", exit code {self.exit_code}" if self.ended and self.state != "COMPLETED" else ""
        return f"job {self.job} {self.state.lower()}{where}{why}{again}{code}"


def parse_states(text: str) -> list[State]:
    """Return the jobs of `scontrol --oneliner show job`.

    >>> parse_states("JobId=7 JobName=a b JobState=FAILED Reason=NonZeroExitCode Restarts=0 ExitCode=1:0 NodeList=n1")
    [State(job='7', state='FAILED', reason='NonZeroExitCode', nodes='n1', exit_code=1, signal=0, restarts=0)]
    """
    states = []
    for line in text.splitlines():
        # The job's name is the user's, and may look like anything: what follows it is Slurm's.
        fields = dict(re.findall(r"(?:^|\s)(JobId|ArrayJobId|ArrayTaskId)=(\S*)", line.partition(" JobName=")[0]))
        fields |= dict(re.findall(r"\s(JobState|Reason|Restarts|ExitCode|NodeList)=(\S*)", line))
        if "JobId" not in fields or "JobState" not in fields:
            continue
        name = f"{fields['ArrayJobId']}_{fields['ArrayTaskId']}" if "ArrayTaskId" in fields else fields["JobId"]
        code, _, number = fields.get("ExitCode", "0:0").partition(":")
        nodes = fields.get("NodeList", "").replace("(null)", "")
        states.append(
            State(
                name,
                fields["JobState"],
                fields.get("Reason", ""),
                nodes,
                int(code),
                int(number or 0),
                int(fields.get("Restarts", 0)),
            )
        )
    return states


def exit_code(states: Sequence[State]) -> int:
    """Return the exit code of the contract for jobs that have ended: the worst of them.

    What can go on is less than a gate that is inconclusive, and that is less than a failure.

    >>> exit_code([State("1", "COMPLETED"), State("2", "TIMEOUT")])
    4
    >>> exit_code([State("1", "FAILED", exit_code=1), State("2", "FAILED", exit_code=5)])
    1
    """
    mild = (0, Interrupted.exit_code, INCONCLUSIVE)
    return max((_code(state) for state in states), key=lambda code: (code not in mild, code), default=0)


def _code(state: State) -> int:
    if state.state == "COMPLETED":
        return 0
    if state.state in CAN_GO_ON:
        return Interrupted.exit_code
    return state.exit_code if state.exit_code in OWN_CODES and not state.signal else 1


@dataclass
class Slurm:
    """Slurm's commands.

    Attributes:
      environ: what they are run with.
    """

    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)

    def submit(self, path: Path, *options: str) -> str:
        """Give a script to sbatch; return the job's number.

        Raises: UsageError: there is no sbatch, or it refuses.
        """
        # What is in the script has been asked for here and now; variables of sbatch would win over it.
        ours = {"SBATCH_" + name for name in _directives(path)}
        # Of the job that this process may be in itself, nothing goes along.
        env = {k: v for k, v in self.environ.items() if k not in ours and (not k.startswith("SLURM_") or k in KEPT)}
        output = self.run(["sbatch", "--parsable", *options, str(path)], env)
        return output.strip().splitlines()[-1].partition(";")[0]

    def states(self, job: str) -> list[State]:
        """Say what has become of a job, or of all tasks of an array; nothing where Slurm knows it no more."""
        try:
            return parse_states(self.run(["scontrol", "--oneliner", "show", "job", job], self.environ))
        except UsageError as exc:
            if "Invalid job id" not in str(exc):
                raise
        with contextlib.suppress(UsageError):
            return _accounted(self.run(["sacct", "-n", "-P", "-X", "-j", job, "-o", "JobID,State,ExitCode"], self.environ))
        return []

    def run(self, argv: Sequence[str], env: Mapping[str, str]) -> str:
        """Run one of its commands; return what it wrote.

        Raises: UsageError: there is no such command here, or it fails.
        """
        if shutil.which(argv[0], path=env.get("PATH")) is None:
            raise UsageError(
                f"no {argv[0]} here: log in to the cluster's login node, or load its Slurm; --dry-run shows what would be "
                "submitted"
            )
        done = subprocess.run(argv, env=dict(env), capture_output=True, text=True, check=False, errors="replace")
        if done.returncode:
            raise UsageError(f"{argv[0]}: {' '.join(done.stderr.split()) or f'exit code {done.returncode}'}")
        if done.stderr.strip():
            print(done.stderr.strip(), file=sys.stderr)
        return done.stdout


def _directives(path: Path) -> set[str]:
    """Return the options that a script sets, as sbatch's variables name them."""
    named = {"JOB_NAME": "JOB_NAME", "TIME": "TIMELIMIT", "MEM": "MEM_PER_NODE", "ARRAY": "ARRAY_INX", "REQUEUE": "NO_REQUEUE"}
    options = re.findall(r"^#SBATCH --([a-z-]+)", path.read_text(errors="surrogateescape"), re.MULTILINE)
    return {named.get(name, name) for name in (option.upper().replace("-", "_") for option in options)}


def _accounted(text: str) -> list[State]:
    states = []
    for line in text.splitlines():
        job, state, codes = line.split("|")
        code, _, number = codes.partition(":")
        states.append(State(job, state.split()[0], exit_code=int(code), signal=int(number)))
    return states


def submit(text: str, folder: Path, slurm: Slurm, *options: str, name: str = SCRIPT) -> str:
    """Write a script into a folder and submit it.

    Returns: the job's number.
    Raises: UsageError: the folder cannot be written, or sbatch refuses.
    """
    path = folder / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = scratch_name(path)
        temporary.write_text(text)
        temporary.replace(path)
    except OSError as exc:
        raise UsageError(f"{path}: cannot be written: {exc.strerror}; choose another folder with -o") from exc
    return slurm.submit(path, *options)


@dataclass
class Follow:
    """How jobs are followed.

    Attributes:
      slurm: its commands.
      log: a job's number to the file of its output, which is shown as it grows; None shows the state alone.
      following: a file in which a job leaves the number of the one that goes on after it.
      poll_s: how often to look.
      out, err: where output and states go.
      sleep: waits.
    """

    slurm: Slurm = field(default_factory=Slurm)
    log: Callable[[str], Path] | None = None
    following: Path | None = None
    poll_s: float = POLL_S
    out: IO[str] = field(default_factory=lambda: sys.stdout)
    err: IO[str] = field(default_factory=lambda: sys.stderr)
    sleep: Callable[[float], None] = time.sleep


def follow(job: str, how: Follow) -> list[State]:
    """Follow a job until it has ended, and the one after it where it could not be requeued; say what changes.

    Returns: how all of it ended: of an array a state for each task.
    Raises: HarnessError: Slurm does not answer, or does not know the job.
    """
    shown_states = ""
    shown = 0
    lost_s = 0.0
    while True:
        try:
            states, lost_s = how.slurm.states(job), 0.0
        except UsageError as exc:
            lost_s += how.poll_s
            if lost_s > LOST_S:
                raise HarnessError(f"{exc}; the job goes on without being followed: squeue -j {job}") from exc
            how.sleep(how.poll_s)
            continue
        if not states:
            raise HarnessError(f"Slurm knows no job {job} any more, and keeps no accounts; its run folder says how it ended")
        shown = _relay(how, job, shown)
        if (description := _describe(states)) != shown_states:
            print(f"harness: {description}", file=how.err, flush=True)
            shown_states = description
        if all(state.ended for state in states):
            _relay(how, job, shown)
            after = how.following.read_text().strip() if how.following and how.following.exists() else ""
            if not re.fullmatch(r"\d+", after) or after == job:
                return states
            job, shown = after, 0
        how.sleep(how.poll_s)


def _describe(states: Sequence[State]) -> str:
    if len(states) == 1:
        return str(states[0])
    counts: dict[str, int] = {}
    for state in states:
        # One line stands for all tasks that wait: 7_3-9,12%2.
        spans = re.findall(r"(\d+)(?:-(\d+))?", state.job.partition("_")[2].partition("%")[0])
        tasks = sum(int(last or first) - int(first) + 1 for first, last in spans)
        counts[state.state.lower()] = counts.get(state.state.lower(), 0) + (tasks or 1)
    return f"job {states[0].job.partition('_')[0]}: {', '.join(f'{count} {name}' for name, count in sorted(counts.items()))}"


def _relay(how: Follow, job: str, shown: int) -> int:
    """Show what a log has grown by; return how much of it has been shown."""
    if how.log is None:
        return shown
    try:
        with how.log(job).open("rb") as stream:
            stream.seek(shown)
            new = stream.read()
    except OSError:
        return shown  # not there yet
    how.out.write(new.decode(errors="replace"))
    how.out.flush()
    return shown + len(new)
