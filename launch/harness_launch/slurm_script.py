"""The batch scripts of Slurm as pure text: `slurm/*.sbatch` and what `harness submit` writes are the same script.

A script has a head (options for sbatch), settings (what is run, and where), and a body that is the same in all of them.
Runs nothing, reads nothing; every value that comes from outside is quoted here.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import StrEnum

from harness.errors import UsageError
from harness_launch.slurm_text import (
    BODY,
    EVALUATE_TASK,
    EVALUATE_WHAT,
    STANDALONE_HEAD,
    STANDALONE_SETTINGS,
    SWEEP_TASK,
    SWEEP_WHAT,
)

__all__ = ["Launcher", "Resources", "Script", "Task", "collect_script", "directive", "script", "seconds", "standalone", "sweep"]

LEAD_S = 120  # from the signal to the time limit: committing takes seconds, slurmctld looks twice a minute
# A batch script is no login shell, and may not know what `module` is.
PROFILE = ("# shellcheck source=/dev/null", "if ! command -v module > /dev/null; then . /etc/profile; fi")
RULE = "# " + "-" * 100


class Launcher(StrEnum):
    """What starts the ranks."""

    AUTO = "auto"
    SRUN = "srun"
    MPIRUN = "mpirun"
    HOROVODRUN = "horovodrun"


@dataclass(frozen=True)
class Resources:
    """What is asked of Slurm; what is None is the site's default. The names are those of sbatch's options."""

    job_name: str = "harness"
    nodes: str | None = None
    ntasks: int | None = None
    ntasks_per_node: int | None = None
    cpus_per_task: int | None = None
    gpus_per_task: str | None = None
    mem: str | None = None
    time: str | None = None
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    sbatch_words: tuple[str, ...] = ()  # options for sbatch that the harness does not know

    def __post_init__(self) -> None:
        if self.time is not None:
            seconds(self.time)

    @property
    def lead_s(self) -> int:
        """How long before the time limit the signal comes."""
        return LEAD_S if self.time is None else max(min(LEAD_S, seconds(self.time) // 4), 1)

    def directives(self) -> list[str]:
        """Return a line for each option that is set."""
        known = [(f"--{f.name.replace('_', '-')}", getattr(self, f.name)) for f in fields(self) if f.name != "sbatch_words"]
        lines = [directive(option, value) for option, value in known if value is not None]
        return [*lines, *([" ".join(["#SBATCH", *map(_word, self.sbatch_words)])] if self.sbatch_words else [])]


@dataclass(frozen=True)
class Task:
    """One run: its folder, and the words after `harness` that evaluate it."""

    run: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class Script:
    """All that a batch script says.

    Attributes:
      tasks: what is run; one for each task of the array where there is an array.
      resources: what is asked of Slurm.
      log: file for the output, a pattern of sbatch; its literal % are doubled.
      harness: the command, words.
      path: folders that come first on PATH.
      array: its task numbers, as sbatch takes them.
      launcher: what starts the ranks.
      modules: what `module load` brings.
      max_requeues: how often a run goes on after its time limit.
    """

    tasks: tuple[Task, ...]
    resources: Resources
    log: str
    harness: tuple[str, ...] = ("harness",)
    path: tuple[str, ...] = ()
    array: str | None = None
    launcher: Launcher = Launcher.AUTO
    modules: tuple[str, ...] = ()
    max_requeues: int = 10


def script(content: Script) -> str:
    """Return the batch script that evaluates a job, or one for each task of an array."""
    head = [
        "#!/bin/bash",
        "# Written by harness submit; sbatch takes it as it stands. slurm/README.md explains each line.",
        *([directive("--array", content.array)] if content.array is not None else []),
        directive("--output", content.log),
        "#SBATCH --open-mode=append",
        "#SBATCH --requeue",
        f"#SBATCH --signal=B:USR1@{content.resources.lead_s}",
        *content.resources.directives(),  # last: what the user says wins
        "",
    ]
    settings = [
        *(PROFILE if content.modules else []),
        *(f"module load {shlex.quote(name)}" for name in content.modules),
        *([f"export PATH={':'.join(shlex.quote(folder) for folder in content.path)}:$PATH"] if content.path else []),
        f"harness=({shlex.join(content.harness)})",
        f"launcher={content.launcher}",
        f"max_requeues={content.max_requeues}",
        *(_assign(content.tasks[0]) if content.array is None else _choose(content.tasks)),
        "",
    ]
    return "\n".join([*head, *settings, RULE, BODY])


def collect_script(runs: Sequence[str], outputs: Sequence[str], content: Script, first_pass: str | None = None) -> str:
    """Return the batch script that makes one table of the runs of an array.

    Args:
      runs: their folders, in the order of the array.
      outputs: files for the table.
      content: of the array's script.
      first_pass: file for the first run that its gate let pass; None where there are no gates.
    """
    resources = content.resources
    small = Resources(
        job_name=f"{resources.job_name}-collect", time="10", partition=resources.partition, account=resources.account,
        qos=resources.qos, ntasks=1,
    )  # fmt: skip
    files = [word for output in outputs for word in ("-o", output)]
    return "\n".join(
        [
            "#!/bin/bash",
            "# Written by harness submit: one table of all runs of the array, once it has ended.",
            *small.directives(),
            directive("--output", content.log),
            "",
            *(["set -e"] if first_pass else []),
            shlex.join([*content.harness, "collect", *files, *runs]),
            *([shlex.join([*content.harness, "collect", "--first-pass", "-o", first_pass, *runs])] if first_pass else []),
            "",
        ]
    )


def standalone() -> str:
    """Return slurm/evaluate.sbatch."""
    return _by_hand(EVALUATE_WHAT, EVALUATE_TASK)


def sweep() -> str:
    """Return slurm/sweep.sbatch."""
    return _by_hand(SWEEP_WHAT, SWEEP_TASK, log="%A_%a")


def _by_hand(purpose: str, task: str, log: str = "%j") -> str:
    """Return a script that people edit: what it is for, its settings, its task, and the body."""
    head = STANDALONE_HEAD.replace("@WHAT@", purpose).replace("%j", log)
    return f"{head}{STANDALONE_SETTINGS}{task}{RULE}\n{BODY}"


def directive(option: str, value: str | int) -> str:
    r"""Return the line that says an option to sbatch: its value in double quotes where it has to be.

    >>> directive("--time", "1:00:00"), directive("--job-name", 'a "b" #1')
    ('#SBATCH --time=1:00:00', '#SBATCH --job-name="a \\"b\\" #1"')

    Raises: UsageError: the value has a line break, which nothing can quote there.
    """
    return f"#SBATCH {option}={_word(str(value))}"


def seconds(time: str) -> int:
    """Return a time limit in seconds, from any of the forms that sbatch takes.

    >>> seconds("90"), seconds("1:30"), seconds("2:00:00"), seconds("1-12"), seconds("1-0:30")
    (5400, 90, 7200, 129600, 88200)

    Raises: UsageError: it is none of them.
    """
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", time)
    if not match:
        raise UsageError(
            f"--time {time}: expected minutes, minutes:seconds, hours:minutes:seconds, or days-hours[:minutes[:seconds]]"
        )
    days, first, second, third = (int(part) if part else None for part in match.groups())
    assert first is not None
    if days is not None:
        return ((days * 24 + first) * 60 + (second or 0)) * 60 + (third or 0)
    if third is not None:
        return (first * 60 + (second or 0)) * 60 + third
    return first * 60 + (second or 0)


def _word(word: str) -> str:
    if re.search(r"[\n\r\0]", word):
        raise UsageError(f"{word!r}: a line break cannot be told to sbatch; choose another name")
    if re.fullmatch(r"[\w@%+=:,./~-]+", word, re.ASCII):
        return word
    return '"' + re.sub(r'(["\\])', r"\\\1", word) + '"'


def _assign(task: Task) -> list[str]:
    return [f"run={shlex.quote(task.run)}", f"words=({shlex.join(task.words)})"]


def _choose(tasks: Sequence[Task]) -> list[str]:
    """Return the lines that give each task of the array its own."""
    cases = [f"    {index}) {'; '.join(_assign(task))} ;;" for index, task in enumerate(tasks)]
    return ["case $SLURM_ARRAY_TASK_ID in", *cases, "esac"]
