"""Start ranks on this machine, or on several: over MPI through mpirun, over Gloo through horovodrun.

What is run is pure text, and run in one place. Knows the errors of the harness; loads no TensorFlow, Horovod or mpi4py.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError, Interrupted, UsageError
from harness.names.events import Event
from harness.names.log import LOG
from harness.names.status_line import RELAYED, Status, StatusLine, TerminalLine, moves
from harness.names.variables import PROGRESS, STATUS, THREADS
from harness_launch import horovodrun, mpirun, network
from harness_launch.horovod_build import this_build
from harness_launch.horovodrun import Elastic, Places
from harness_launch.hosts import Hosts
from harness_launch.launcher_output import restore
from harness_launch.launcher_process import Signalled, run_launcher
from harness_launch.machine import allowed_cores, auto_ranks, count_gpus, physical_cores

__all__ = ["Start", "built_with", "environment", "launch"]

RESTARTED = (1, 3)
LSF = "LSB_JOBID"  # there horovodrun takes the hosts of the job by itself
QUIET = "-q"  # of a command: show what was asked for, warnings and errors alone
OVERWRITE = "--overwrite"  # of a command: a result that is there is not this run's
UNKNOWN = "INTERFACES"  # stands for the networks that several hosts share, where those are not asked


def environment(base: Mapping[str, str], ranks: int | None, cores: int, status: str | None) -> dict[str, str]:
    """Return the environment of the ranks: what the user has set stays.

    Args:
      base: the user's.
      ranks: that share a machine; None where that is not known, and each looks for itself.
      cores: of a machine.
      status: file for the exit code.

    >>> env = environment({"OMP_NUM_THREADS": "3"}, 2, 8, None)
    >>> env["OMP_NUM_THREADS"], env["HARNESS_THREADS"], env["HOROVOD_STALL_CHECK_DISABLE"]
    ('3', '4', '1')
    """
    threads = str(max(1, cores // ranks)) if ranks else None
    ours = {
        "TF_CPP_MIN_LOG_LEVEL": "3",
        **({THREADS.name: threads, "OMP_NUM_THREADS": threads} if threads else {}),
        # A rank that is done waits for the others; that is no stall.
        "HOROVOD_STALL_CHECK_DISABLE": "1",
        "PYTHONUNBUFFERED": "1",
    }
    if ranks and ranks > cores:
        ours["OMPI_MCA_mpi_yield_when_idle"] = "1"
    return {**ours, **base, **({STATUS.name: status} if status else {})}


@dataclass(frozen=True)
class Start:
    """How the ranks of a job are started.

    Attributes:
      ranks: how many.
      comm: "mpi" or "gloo".
      through: "mpirun" or "horovodrun".
      program: the harness that ranks run.
      horovodrun: its path.
      places: where.
    """

    ranks: int
    comm: str
    through: str
    program: str
    horovodrun: str = "horovodrun"
    places: Places = None

    def argv(self, command: Sequence[str], environ: Mapping[str, str], interfaces: Sequence[str]) -> list[str]:
        """Return the command line that starts a command of the harness.

        >>> Start(2, "gloo", "horovodrun", "harness").argv(["evaluate", "job.yaml"], {}, [])
        ['horovodrun', '-np', '2', '--gloo', 'harness', 'evaluate', 'job.yaml']
        """
        if self.through == "mpirun":
            inside = [self.program, *command]
            return mpirun.command_line(inside, ranks=self.ranks, hosts=self._hosts, interfaces=interfaces, environ=environ)
        return horovodrun.command_line(
            command,
            ranks=self.ranks,
            comm=self.comm,
            horovodrun=self.horovodrun,
            harness=[self.program],
            places=self.places,
        )

    def interfaces(self, *, ask: bool) -> Sequence[str]:
        """Return the networks over which ranks talk through mpirun; horovodrun finds them by itself.

        Args:
          ask: the other hosts, where there are any; without it a word stands for what they would answer.
        Raises: HarnessError: a host cannot be reached, or they share no network.
        """
        if self.through != "mpirun":
            return ()
        addresses = network.local_addresses()
        names = [name for name, _ in self._hosts.slots] if self._hosts else []
        if all(network.is_here(name, addresses.values()) for name in names):
            return network.loopback(addresses)
        return network.shared_interfaces(self.ranks, str(self._hosts)) if ask else (UNKNOWN,)

    @property
    def signalled(self) -> Signalled:
        """How its ranks are asked to leave."""
        return Signalled.FORWARDED if self.through == "mpirun" else Signalled.GROUP

    @property
    def _hosts(self) -> Hosts | None:
        return self.places if isinstance(self.places, Hosts) else None


def launch(
    command: Sequence[str],
    *,
    ranks: str,
    comm: str | None,
    dry_run: bool,
    restarts: int = 0,
    places: Places = None,
    folder: Path | None = None,
) -> int:
    """Run a harness command on several ranks; return the exit code of the job itself.

    Args:
      command: `evaluate JOB.yaml ...`, found to be right by the caller.
      ranks: a number, or "auto".
      comm: "mpi" or "gloo"; None is MPI where Horovod was built with it.
      dry_run: print the command, run nothing.
      restarts: how often to go on, with --resume, after a failure that is not the command's own, nor that of a gate.
      places: where ranks run, and whether they may come and go.
      folder: of the run; several hosts share it, and leave the exit code there.
    Raises: UsageError: something is missing, or a number is wrong. Interrupted: a signal ended the job.
      HarnessError: it ended and no rank could say why.
    """
    cores = allowed_cores()
    count = _count(ranks, cores, places)
    share = _ranks_a_machine(count, places), cores
    path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"
    start = _start(count, comm, places, path)
    if dry_run:
        variables = environment({}, *share, None)
        argv = start.argv(command, {**os.environ, **variables}, start.interfaces(ask=False))
        print(" ".join([*(f"{name}={value}" for name, value in sorted(variables.items())), shlex.join(argv)]))
        return 0
    for attempt in range(restarts + 1):
        if attempt and "--resume" not in command:
            command = [*command, "--resume"]
        try:
            ended = _attempt(start, command, path, share, folder, is_shared=bool(places))
            if ended.code not in RESTARTED or ended.is_done or attempt == restarts:
                return ended.code
            why = f"exit code {ended.code}"
        except (UsageError, Interrupted):
            raise
        except HarnessError as exc:
            if attempt == restarts:
                raise
            why = str(exc)
        again = f"restart {attempt + 1} of {restarts}, with --resume"
        LOG.say(Event.LAUNCH_RESTART, f"{why}; {again}", text=f"harness: {why}\nharness: {again}")
    raise AssertionError("the last attempt returns or raises")


def _count(ranks: str, cores: int, places: Places) -> int:
    """Return how many ranks to start."""
    if ranks != "auto":
        count = _number(ranks)
    elif isinstance(places, Hosts):
        count = places.ranks
    else:
        count = places.least if places else auto_ranks(count_gpus(), physical_cores(cores))
    if isinstance(places, Hosts) and count > places.ranks:
        raise UsageError(f"-np {count}: {places} take {places.ranks} ranks; give them more, or start fewer")
    return count


def _ranks_a_machine(count: int, places: Places) -> int | None:
    """Return how many ranks share a machine's cores; None where a script finds the hosts, and nobody knows."""
    if isinstance(places, Hosts):
        return min(count, places.most)
    return None if places else count


def _start(count: int, comm: str | None, places: Places, path: str) -> Start:
    """Choose what starts the ranks.

    Raises: UsageError: it is not there.
    """
    launcher = shutil.which("horovodrun", path=path)
    if launcher is None:
        raise UsageError("horovodrun is not installed; launch/install builds Horovod, 'harness doctor' says what is missing")
    elastic = isinstance(places, Elastic)
    if elastic and comm == "mpi":
        raise UsageError("--mpi: ranks come and go over Gloo alone; leave it away")
    chosen = comm or ("mpi" if built_with("mpi") and not elastic else "gloo")
    if not built_with(chosen):
        raise UsageError(f"Horovod was not built with {chosen}; launch/install builds it, or leave --{chosen} away")
    through = "horovodrun"
    if chosen == "mpi" and LSF not in os.environ:
        program = shutil.which("mpirun", path=path)
        if program is None:
            raise UsageError(
                "no mpirun on PATH: activate the environment that Horovod is installed in, or load the module of the site's MPI; "
                "--gloo does without"
            )
        # horovodrun knows the flags of other MPIs.
        through = "mpirun" if mpirun.is_open_mpi(program, {**os.environ, "PATH": path}) else "horovodrun"
    return Start(count, chosen, through, _harness(), launcher, places)


@dataclass(frozen=True)
class JobEnd:
    """How the ranks of one start have ended.

    Attributes:
      code: the exit code of the job.
      is_done: whether its result is written: a gate that fails fails again, and must not be started until it passes.
    """

    code: int
    is_done: bool = False


def _attempt(
    start: Start, command: Sequence[str], path: str, share: tuple[int | None, int], folder: Path | None, *, is_shared: bool
) -> JobEnd:
    """Start the ranks once; those on other machines leave their exit code in a folder that all see.

    Args:
      start, command: what is run.
      path: where programs are looked for.
      share: how many ranks share a machine, and its cores.
      folder: of the run, which several machines may share.
    """
    shared = folder if is_shared else None
    replaced = _result(folder) if OVERWRITE in command else None
    if shared is not None:
        try:
            shared.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise UsageError(f"{shared}: cannot be made: {exc.strerror}; choose a folder that all hosts share with -o") from exc
    with tempfile.TemporaryDirectory(prefix=".launch-" if shared else "harness-", dir=shared) as scratch:
        status = Path(scratch) / "status.json"
        is_drawn = QUIET not in command and not LOG.is_json and moves(sys.stderr, os.environ)
        env = {**environment(os.environ, *share, str(status)), "PATH": path, **({PROGRESS.name: RELAYED} if is_drawn else {})}
        argv = start.argv(command, env, start.interfaces(ask=True))
        if QUIET not in command:
            LOG.say(Event.LAUNCH_BEGUN, words := shlex.join(mpirun.shown(argv)), text=f"+ {words}")
        with TerminalLine() if is_drawn else StatusLine() as line:
            line.show(Status(f"starting {start.ranks} ranks"))
            ended = run_launcher(argv, env, start.signalled, line)
        left = _left(status)
        code = restore(ended, left.code if left else None, is_written=_result(folder) not in (None, replaced))
        return JobEnd(code, is_done=left is not None and left.is_done)


def _result(folder: Path | None) -> tuple[int, int] | None:
    """Return what tells the result of a run from one that is written over it; None where there is none."""
    if folder is None or not os.path.exists(result := folder / "metrics.json"):
        return None
    return result.stat().st_ino, result.stat().st_mtime_ns


def _left(status: Path) -> JobEnd | None:
    """Read what the ranks left; None where none of them could leave anything."""
    try:
        document = json.loads(status.read_text())
        return JobEnd(int(document["exit_code"]), is_done=document.get("state") == "done")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def built_with(comm: str) -> bool:
    """Tell whether Horovod was built with "mpi" or "gloo"."""
    built = this_build()
    return {"mpi": built.mpi, "gloo": built.gloo}[comm]


def _harness() -> str:
    return str(Path(sys.executable).parent / "harness")


def _number(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise UsageError(f"-np {text}: expected a number of ranks, or auto")
    return int(text)
