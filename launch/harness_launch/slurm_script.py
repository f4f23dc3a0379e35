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
    more: tuple[str, ...] = ()  # words for sbatch that the harness does not know

    def __post_init__(self) -> None:
        if self.time is not None:
            seconds(self.time)

    @property
    def lead_s(self) -> int:
        """How long before the time limit the signal comes."""
        return LEAD_S if self.time is None else max(min(LEAD_S, seconds(self.time) // 4), 1)

    def directives(self) -> list[str]:
        """Return a line for each option that is set."""
        known = [(f"--{f.name.replace('_', '-')}", getattr(self, f.name)) for f in fields(self) if f.name != "more"]
        lines = [directive(option, value) for option, value in known if value is not None]
        return [*lines, *([" ".join(["#SBATCH", *map(_word, self.more)])] if self.more else [])]


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


def script(said: Script) -> str:
    """Return the batch script that evaluates a job, or one for each task of an array."""
    head = [
        "#!/bin/bash",
        "# Written by harness submit; sbatch takes it as it stands. slurm/README.md explains each line.",
        *([directive("--array", said.array)] if said.array is not None else []),
        directive("--output", said.log),
        "#SBATCH --open-mode=append",
        "#SBATCH --requeue",
        f"#SBATCH --signal=B:USR1@{said.resources.lead_s}",
        *said.resources.directives(),  # last: what the user says wins
        "",
    ]
    settings = [
        *(PROFILE if said.modules else []),
        *(f"module load {shlex.quote(name)}" for name in said.modules),
        *([f"export PATH={':'.join(shlex.quote(folder) for folder in said.path)}:$PATH"] if said.path else []),
        f"harness=({shlex.join(said.harness)})",
        f"launcher={said.launcher}",
        f"max_requeues={said.max_requeues}",
        *(_assign(said.tasks[0]) if said.array is None else _choose(said.tasks)),
        "",
    ]
    return "\n".join([*head, *settings, RULE, BODY])


def collect_script(runs: Sequence[str], outputs: Sequence[str], said: Script) -> str:
    """Return the batch script that makes one table of the runs of an array."""
    resources = said.resources
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
            directive("--output", said.log),
            "",
            shlex.join([*said.harness, "collect", *files, *runs]),
            "",
        ]
    )


def standalone() -> str:
    """Return slurm/evaluate.sbatch."""
    return STANDALONE_HEAD.replace("@WHAT@", EVALUATE_WHAT) + STANDALONE_SETTINGS + EVALUATE_TASK + RULE + "\n" + BODY


def sweep() -> str:
    """Return slurm/sweep.sbatch."""
    return (
        STANDALONE_HEAD.replace("@WHAT@", SWEEP_WHAT).replace("%j", "%A_%a")
        + STANDALONE_SETTINGS
        + SWEEP_TASK
        + RULE
        + "\n"
        + BODY
    )


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
    found = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", time)
    if not found:
        raise UsageError(
            f"--time {time}: expected minutes, minutes:seconds, hours:minutes:seconds, or days-hours[:minutes[:seconds]]"
        )
    days, first, second, third = (int(part) if part else None for part in found.groups())
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
    each = [f"    {index}) {'; '.join(_assign(task))} ;;" for index, task in enumerate(tasks)]
    return ["case $SLURM_ARRAY_TASK_ID in", *each, "esac"]


EVALUATE_WHAT = """\
# Evaluate a job on a Slurm cluster: one rank a task, on after time limits until it is done.
#
#   sbatch slurm/evaluate.sbatch JOB.yaml [OPTION OF harness evaluate]...
#   RUN=FOLDER sbatch slurm/evaluate.sbatch JOB.yaml           the folder of the run; else runs/NAME beside the job
"""
SWEEP_WHAT = """\
# Evaluate many checkpoints, or many jobs, as a job array: each task of it is a run of its own, in a folder of its own.
#
#   JOB=JOB.yaml sbatch --array=0-2 slurm/sweep.sbatch CHECKPOINT CHECKPOINT CHECKPOINT
#   sbatch --array=0-1 slurm/sweep.sbatch A.yaml B.yaml        RUNS=FOLDER: where the runs go; else runs/sweep
#   harness collect runs/sweep/*                               one table of all of them, when they have ended
"""
STANDALONE_HEAD = """\
#!/bin/bash
@WHAT@#
# Edit what stands above the line, or say it to sbatch, whose options win over these. slurm/README.md explains each line;
# `harness submit` writes the same script with your values in it.
#SBATCH --job-name=harness
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=2
#SBATCH --cpus-per-task=2
#SBATCH --time=1:00:00
#SBATCH --output=slurm-%j.log
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR1@120
##SBATCH --gpus-per-task=1
##SBATCH --partition=gpu

"""
STANDALONE_SETTINGS = """\
# module load openmpi                # where the environment was built with MPI=system
# shellcheck source=/dev/null
if [ -e "${VENV:=.venv}/bin/activate" ]; then . "$VENV/bin/activate"; fi
harness=(harness)                    # in a container: (apptainer exec --nv harness.sif harness)
launcher=${LAUNCHER:-auto}           # srun, mpirun or horovodrun
max_requeues=${MAX_REQUEUES:-10}     # how often it goes on after the time limit
"""
EVALUATE_TASK = """\
job=${1:?which job? sbatch slurm/evaluate.sbatch JOB.yaml}
run=${RUN:-$(dirname "$job")/runs/$(basename "${job%.*}")}
words=(evaluate "$job" -o "$run" "${@:2}")

"""
SWEEP_TASK = """\
items=("$@")
item=${items[${SLURM_ARRAY_TASK_ID:?say --array=0-N}]:?there is nothing for this task of the array}
run=${RUNS:-runs/sweep}/$(basename "$item" .yaml)
if [ -z "${JOB:-}" ]; then
    words=(evaluate "$item" -o "$run")
else
    model=$(realpath -m "$item")
    words=(evaluate "$JOB" -o "$run" --set "model.path='${model//\\'/\\'\\'}'")
fi

"""
BODY = r"""# Below is the same in every script: nothing there needs to be edited.
set -u
say() { echo "[slurm] $*"; }

if ! mkdir -p "$run"; then say "$run: cannot be made"; exit 2; fi
run=$(realpath "$run")
id=${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}
requeues=$((${SLURM_RESTART_COUNT:-0} + ${HARNESS_REQUEUES:-0}))

# Ranks leave the exit code of the job here: srun, mpirun and horovodrun lose it.
export HARNESS_STATUS=$run/slurm-status.json
rm -f "$HARNESS_STATUS"
# As many threads as Slurm gave CPUs; where no number was asked for, a rank looks at what it may use.
if [ -n "${SLURM_CPUS_PER_TASK:-}" ]; then
    export HARNESS_THREADS=$SLURM_CPUS_PER_TASK OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK
fi
export HOROVOD_STALL_CHECK_DISABLE=1 PYTHONUNBUFFERED=1 TF_CPP_MIN_LOG_LEVEL=${TF_CPP_MIN_LOG_LEVEL:-3}
# Slurm binds, Open MPI need not.
export OMPI_MCA_hwloc_base_binding_policy=none

why="as it was asked for"
if [ "$launcher" = auto ]; then
    # Tried, not looked up: a site may list pmix and lack its library.
    if srun --mpi=pmix --nodes=1 --ntasks=1 true 2> /dev/null; then
        launcher=srun why="srun --mpi=pmix works here"
    elif command -v mpirun > /dev/null; then
        launcher=mpirun why="srun --mpi=pmix does not work here, mpirun is there"
    else
        launcher=horovodrun why="srun --mpi=pmix does not work here, there is no mpirun"
    fi
fi
case $launcher in
    srun)
        start=(srun --mpi=pmix --export=ALL --kill-on-bad-exit=1)
        if [ -n "${SLURM_CPUS_PER_TASK:-}" ]; then start+=(--cpus-per-task="$SLURM_CPUS_PER_TASK" --cpu-bind=cores); fi
        if [ -n "${SLURM_GPUS_PER_TASK:-}" ]; then start+=(--gpus-per-task="$SLURM_GPUS_PER_TASK"); fi
        start+=("${harness[@]}")
        ;;
    mpirun) start=(mpirun "${harness[@]}") ;;
    horovodrun) start=("${harness[@]}" launch -H slurm --) ;;
    *) say "launcher=$launcher: expected auto, srun, mpirun or horovodrun"; exit 2 ;;
esac
# mpirun and horovodrun start a daemon a node, through srun: as one task it would be shown one GPU. It gets all that the job
# has there, and each rank takes one by its place on the node.
if [ "$launcher" != srun ] && [ -n "${SLURM_GPUS_PER_TASK:-}" ]; then
    unset SLURM_GPUS_PER_TASK
    export SLURM_GPUS_PER_NODE=${SLURM_GPUS_ON_NODE:-1}
fi

asked='' ranks=''
# shellcheck disable=SC2317 # called by the traps
ask() { # SIGNAL: ranks commit what they have finished, and leave
    asked=$1
    say "SIG$1: all ranks are asked to commit and to leave"
    if [ -n "$ranks" ]; then kill -s "$1" "$ranks" 2> /dev/null; fi
}
trap 'ask USR1' USR1
trap 'ask TERM' TERM
say "job $id on $SLURM_JOB_NODELIST, tasks by node $SLURM_TASKS_PER_NODE, through $launcher ($why)"
say "+ ${start[*]} ${words[*]} --resume"
"${start[@]}" "${words[@]}" --resume &
ranks=$!
# A trap ends the wait, not the ranks.
while wait "$ranks"; code=$?; kill -0 "$ranks" 2> /dev/null; do :; done

said=$(sed -n 's/.*"exit_code": \([0-9]*\).*/\1/p' "$HARNESS_STATUS" 2> /dev/null)
# When one rank is killed the others are told to leave, and say that they were interrupted: its heartbeat does not say so.
if [ -z "$asked" ] && [ "$code" != 0 ] && [ "${said:-4}" = 4 ]; then
    gone=$(grep -L -e '"interrupted"' -e '"done"' "$run"/progress/rank-*.json 2> /dev/null | head -n 1)
    if [ -n "$gone" ]; then
        say "a rank was killed, the last of it is in $gone: by the kernel for want of memory, where nobody else did it"
        said=1
    fi
fi
# The time limit: the run goes on in this job, or in the next one where the site lets no job be requeued.
if [ "$asked" = USR1 ] && [ "${said:-4}" = 4 ]; then
    said=4
    if [ "$requeues" -ge "$max_requeues" ]; then
        say "not done after $requeues requeues, the most that were allowed; what is finished is kept: submit it again"
    else
        say "requeue $((requeues + 1)) of $max_requeues"
        trap - TERM # Slurm ends this start now, if it does not end first
        if ! scontrol requeue "$id"; then
            export HARNESS_REQUEUES=$((requeues + 1))
            next=$(env -u SLURM_RESTART_COUNT sbatch --parsable --export=ALL --dependency="afterany:$id" \
                ${SLURM_ARRAY_TASK_ID:+--array="$SLURM_ARRAY_TASK_ID"} "$0" "$@")
            echo "$next" > "$run/slurm-next"
            say "this job cannot be requeued: job $next goes on after it"
        fi
    fi
fi
say "exit code ${said:-$code}"
exit "${said:-$code}"
"""
