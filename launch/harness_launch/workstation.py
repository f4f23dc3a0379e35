"""Start ranks on this machine, or on several: over MPI through mpirun, over Gloo through horovodrun.

What is run is pure text, and run in one place. Knows the errors of the harness; loads no TensorFlow, Horovod or mpi4py.
"""

from __future__ import annotations

import glob
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
from harness_launch import mpirun, network
from harness_launch.horovod_build import this_build
from harness_launch.hosts import Hosts
from harness_launch.launcher_output import Ended, LauncherOutput, restore
from harness_launch.launcher_process import Signalled, run_launcher

__all__ = [
    "ELASTIC_TIMEOUT_S",
    "Elastic",
    "Ended",
    "LauncherOutput",
    "Start",
    "auto_ranks",
    "built_with",
    "command_line",
    "environment",
    "launch",
    "restore",
]

MOST_AUTO_RANKS = 8  # a CPU evaluation gains little past that, and every rank holds the model
RESTARTED = (1, 3)
ELASTIC_TIMEOUT_S = 120  # Horovod's own is ten minutes
LSF = "LSB_JOBID"  # there horovodrun takes the hosts of the job by itself
UNKNOWN = "INTERFACES"  # stands for the networks that several hosts share, where those are not asked


def auto_ranks(gpus: int, cores: int) -> int:
    """Choose how many ranks: one per GPU, else one per physical core up to a sensible number.

    >>> auto_ranks(4, 64), auto_ranks(0, 2), auto_ranks(0, 64)
    (4, 2, 8)
    """
    return gpus or max(1, min(cores, MOST_AUTO_RANKS))


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
    wanted = {
        "TF_CPP_MIN_LOG_LEVEL": "3",
        **({"HARNESS_THREADS": threads, "OMP_NUM_THREADS": threads} if threads else {}),
        # A rank that is done waits for the others; that is no stall.
        "HOROVOD_STALL_CHECK_DISABLE": "1",
        "PYTHONUNBUFFERED": "1",
    }
    if ranks and ranks > cores:
        wanted["OMPI_MCA_mpi_yield_when_idle"] = "1"
    if status:
        wanted["HARNESS_STATUS"] = status
    return {**wanted, **base} if not status else {**wanted, **base, "HARNESS_STATUS": status}


@dataclass(frozen=True)
class Elastic:
    """Between how many ranks a run may shrink and grow, and what finds the hosts.

    Attributes:
      script: prints the hosts there are, HOST:N a line; called every second.
      least, most: ranks; `most` None is as many as there are places.
      timeout_s: how long to wait for the least number of places, when ranks have gone.
      interface: of the network, where hosts cannot find one that they share by themselves: with a single host.
    """

    script: Path
    least: int = 1
    most: int | None = None
    timeout_s: int = ELASTIC_TIMEOUT_S
    interface: str | None = None

    @property
    def words(self) -> list[str]:
        """What horovodrun is told.

        >>> Elastic(Path("hosts.sh"), 1, 4).words[:4]
        ['--min-np', '1', '--max-np', '4']
        """
        most = ["--max-np", str(self.most)] if self.most else []
        interface = ["--network-interface", self.interface] if self.interface else []
        script = ["--host-discovery-script", str(self.script)]
        return ["--min-np", str(self.least), *most, *script, "--elastic-timeout", str(self.timeout_s), *interface]


def command_line(
    command: Sequence[str],
    *,
    ranks: int,
    comm: str,
    horovodrun: str,
    harness: Sequence[str],
    hosts: Hosts | None = None,
    elastic: Elastic | None = None,
) -> list[str]:
    """Return the argv that starts a harness command on several ranks.

    >>> command_line(["evaluate", "job.yaml"], ranks=2, comm="mpi", horovodrun="horovodrun", harness=["harness"])
    ['horovodrun', '-np', '2', '--mpi', 'harness', 'evaluate', 'job.yaml']
    """
    where = ["-H", str(hosts)] if hosts else elastic.words if elastic else []
    return [horovodrun, "-np", str(ranks), *where, f"--{comm}", *harness, *command]


@dataclass(frozen=True)
class Start:
    """How the ranks of a job are started.

    Attributes:
      ranks: how many.
      comm: "mpi" or "gloo".
      through: "mpirun" or "horovodrun".
      program: the harness that ranks run.
      horovodrun: its path.
      hosts: where; None is this machine.
      elastic: whether ranks may come and go; None is a fixed number.
    """

    ranks: int
    comm: str
    through: str
    program: str
    horovodrun: str = "horovodrun"
    hosts: Hosts | None = None
    elastic: Elastic | None = None

    def argv(self, command: Sequence[str], environ: Mapping[str, str], interfaces: Sequence[str]) -> list[str]:
        """Return the command line that starts a command of the harness.

        >>> Start(2, "gloo", "horovodrun", "harness").argv(["evaluate", "job.yaml"], {}, [])
        ['horovodrun', '-np', '2', '--gloo', 'harness', 'evaluate', 'job.yaml']
        """
        if self.through == "mpirun":
            inside = [self.program, *command]
            return mpirun.command_line(inside, ranks=self.ranks, hosts=self.hosts, interfaces=interfaces, environ=environ)
        return command_line(
            command, ranks=self.ranks, comm=self.comm, horovodrun=self.horovodrun, harness=[self.program],
            hosts=self.hosts, elastic=self.elastic,
        )  # fmt: skip

    def interfaces(self, *, ask: bool) -> Sequence[str]:
        """Return the networks over which ranks talk through mpirun; horovodrun finds them by itself.

        Args:
          ask: the other hosts, where there are any; without it a word stands for what they would answer.
        Raises: HarnessError: a host cannot be reached, or they share no network.
        """
        if self.through != "mpirun":
            return ()
        addresses = network.local_addresses()
        names = [name for name, _ in self.hosts.slots] if self.hosts else []
        if all(network.is_here(name, addresses.values()) for name in names):
            return network.loopback(addresses)
        return network.shared_interfaces(self.ranks, str(self.hosts)) if ask else (UNKNOWN,)

    @property
    def signalled(self) -> Signalled:
        """How its ranks are asked to leave."""
        return Signalled.FORWARDED if self.through == "mpirun" else Signalled.GROUP


def launch(
    command: Sequence[str],
    *,
    ranks: str,
    comm: str | None,
    dry_run: bool,
    restarts: int = 0,
    hosts: Hosts | None = None,
    folder: Path | None = None,
    elastic: Elastic | None = None,
) -> int:
    """Run a harness command on several ranks; return the exit code of the job itself.

    Args:
      command: `evaluate JOB.yaml ...`, found to be right by the caller.
      ranks: a number, or "auto".
      comm: "mpi" or "gloo"; None is MPI where Horovod was built with it.
      dry_run: print the command, run nothing.
      restarts: how often to go on, with --resume, after a failure that is not the command's own.
      hosts: where; None is this machine.
      folder: of the run; several hosts share it, and leave the exit code there.
      elastic: whether ranks may come and go, on which hosts; None is a fixed number.
    Raises: UsageError: something is missing, or a number is wrong. Interrupted: a signal ended the job.
      HarnessError: it ended and no rank could say why.
    """
    cores = len(os.sched_getaffinity(0))
    count = _count(ranks, cores, hosts, elastic)
    # ranks that share a machine's cores
    near = min(count, hosts.most) if hosts else None if elastic else count
    path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"
    start = _start(count, comm, hosts, elastic, path)
    if dry_run:
        added = environment({}, near, cores, None)
        argv = start.argv(command, {**os.environ, **added}, start.interfaces(ask=False))
        print(" ".join([*(f"{name}={value}" for name, value in sorted(added.items())), shlex.join(argv)]))
        return 0
    shared = folder if hosts or elastic else None
    for attempt in range(restarts + 1):
        resumes = attempt and "--resume" not in command
        try:
            code = _attempt(start, [*command, "--resume"] if resumes else command, path, (near, cores), shared)
            if code not in RESTARTED or attempt == restarts:
                return code
            why = f"exit code {code}"
        except (UsageError, Interrupted):
            raise
        except HarnessError as exc:
            if attempt == restarts:
                raise
            why = str(exc)
        print(f"harness: {why}\nharness: restart {attempt + 1} of {restarts}, with --resume", file=sys.stderr, flush=True)
    raise AssertionError("the last attempt returns or raises")


def _count(ranks: str, cores: int, hosts: Hosts | None, elastic: Elastic | None) -> int:
    """Return how many ranks to start."""
    every = hosts.ranks if hosts else elastic.least if elastic else auto_ranks(count_gpus(), physical_cores(cores))
    count = every if ranks == "auto" else _number(ranks)
    if hosts and count > hosts.ranks:
        raise UsageError(f"-np {count}: {hosts} take {hosts.ranks} ranks; give them more, or start fewer")
    return count


def _start(count: int, comm: str | None, hosts: Hosts | None, elastic: Elastic | None, path: str) -> Start:
    """Choose what starts the ranks.

    Raises: UsageError: it is not there.
    """
    horovodrun = shutil.which("horovodrun", path=path)
    if horovodrun is None:
        raise UsageError("horovodrun is not installed; launch/install builds Horovod, 'harness doctor' says what is missing")
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
    return Start(count, chosen, through, _harness(), horovodrun, hosts, elastic)


def _attempt(start: Start, command: Sequence[str], path: str, share: tuple[int | None, int], shared: Path | None) -> int:
    """Start the ranks once; those on other machines leave their exit code in a folder that all see.

    Args:
      start, command: what is run.
      path: where programs are looked for.
      share: how many ranks share a machine, and its cores.
      shared: the folder; None where all ranks are on this machine.
    """
    if shared is not None:
        try:
            shared.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise UsageError(f"{shared}: cannot be made: {exc.strerror}; choose a folder that all hosts share with -o") from exc
    with tempfile.TemporaryDirectory(prefix=".launch-" if shared else "harness-", dir=shared) as scratch:
        status = Path(scratch) / "status.json"
        env = {**environment(os.environ, *share, str(status)), "PATH": path}
        argv = start.argv(command, env, start.interfaces(ask=True))
        print(f"+ {shlex.join(mpirun.shown(argv))}", file=sys.stderr, flush=True)
        return restore(run_launcher(argv, env, start.signalled), _said(status))


def _said(status: Path) -> int | None:
    """Read the exit code that the ranks left."""
    try:
        return int(json.loads(status.read_text())["exit_code"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def built_with(comm: str) -> bool:
    """Tell whether Horovod was built with "mpi" or "gloo"."""
    built = this_build()
    return {"mpi": built.mpi, "gloo": built.gloo}[comm]


def count_gpus() -> int:
    """Count the GPUs this process may use, without loading TensorFlow."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([part for part in visible.split(",") if part.strip() and part.strip() != "-1"])
    return len(glob.glob("/dev/nvidia[0-9]*"))


def physical_cores(allowed: int) -> int:
    """Count physical cores, at most as many as this process may use."""
    try:
        siblings = {Path(p).read_text() for p in glob.glob("/sys/devices/system/cpu/cpu[0-9]*/topology/thread_siblings_list")}
    except OSError:
        siblings = set()
    return min(len(siblings) or allowed, allowed)


def _harness() -> str:
    return str(Path(sys.executable).parent / "harness")


def _number(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise UsageError(f"-np {text}: expected a number of ranks, or auto")
    return int(text)
