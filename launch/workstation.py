"""Start ranks on this machine, or on several, through horovodrun: the command line as pure text, run in one place.

Knows the errors of the harness; loads no TensorFlow, Horovod or mpi4py.
"""

from __future__ import annotations

import contextlib
import glob
import importlib.util
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from harness.errors import HarnessError, Interrupted, UsageError
from launch.hosts import Hosts

__all__ = [
    "ELASTIC_TIMEOUT_S",
    "Elastic",
    "Ended",
    "LauncherOutput",
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
# A launcher puts its tag wherever a chunk of a rank's output begins: also inside a line, or inside a character of UTF-8.
TAG = re.compile(rb"\[(?:\d+,)?\d+\]<std(?:out|err)>:")
RULE = re.compile(rb"-{20,}$")
NOISE = re.compile(
    rb"WARNING: All log messages before absl|[IWE]0000 \d|Terminating remaining workers after|Process name: |Exit code: "
    rb"|\[\S+:\d+\] (?:\d+ more process(?:es)? ha(?:s|ve) sent help message|Set MCA parameter \"orte_base_help_aggregate\")"
    rb"|\[\S+:\d+\] \[\[\d+,\d+\],\d+\] ORTE_ERROR_LOG: Data unpack"
    rb"|ERROR:root:(?:failure|blacklisted|success) |WARNING:root:host "
)
# Blocks of Open MPI, between two rules, that say no more than the rank or `launch` itself has said better.
NOISY_BLOCK = re.compile(
    rb"Primary job\s+terminated normally|MPI_ABORT was invoked|mpirun noticed that process|mpirun has exited due to process"
    rb"|mpirun detected that one or more processes exited"
)
MPI_DEATH = re.compile(rb"process rank (\d+) with PID \d+ on node (\S+) exited on signal (\d+)")
GLOO_DEATH = re.compile(rb"Process (\d+) exit with status code (-?\d+)")
# What is passed on as what: horovodrun dies of USR1 at once, its ranks with it.
SIGNALS = {
    signal.SIGINT: signal.SIGINT,
    signal.SIGTERM: signal.SIGTERM,
    signal.SIGHUP: signal.SIGTERM,
    signal.SIGUSR1: signal.SIGTERM,
}


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
        # Seconds from SIGTERM to SIGKILL: ranks commit what they have finished first. Open MPI's own is one.
        "OMPI_MCA_odls_base_sigkill_timeout": "6",
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
    every = hosts.ranks if hosts else elastic.least if elastic else auto_ranks(count_gpus(), physical_cores(cores))
    count = every if ranks == "auto" else _number(ranks)
    if hosts and count > hosts.ranks:
        raise UsageError(f"-np {count}: {hosts} take {hosts.ranks} ranks; give them more, or start fewer")
    # ranks that share a machine's cores
    near = min(count, hosts.most) if hosts else None if elastic else count
    here = Path(sys.executable).parent
    horovodrun = shutil.which("horovodrun", path=f"{here}:{os.environ.get('PATH', '')}")
    if horovodrun is None:
        raise UsageError("horovodrun is not installed; launch/install builds Horovod, 'harness doctor' says what is missing")
    if elastic and comm == "mpi":
        raise UsageError("--mpi: ranks come and go over Gloo alone; leave it away")
    chosen = comm or ("mpi" if built_with("mpi") and not elastic else "gloo")
    if not built_with(chosen):
        raise UsageError(f"Horovod was not built with {chosen}; launch/install builds it, or leave --{chosen} away")

    def words(command: Sequence[str]) -> list[str]:
        return command_line(
            command, ranks=count, comm=chosen, horovodrun=horovodrun, harness=[_harness()], hosts=hosts, elastic=elastic
        )

    argv = words(command)
    if dry_run:
        shown = environment({}, near, cores, None)
        print(" ".join([*(f"{k}={v}" for k, v in sorted(shown.items())), shlex.join(argv)]))
        return 0
    for attempt in range(restarts + 1):
        if attempt:
            argv = words(command if "--resume" in command else [*command, "--resume"])
        try:
            code = _attempt(argv, here, near, cores, folder if hosts or elastic else None)
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


def _attempt(argv: Sequence[str], here: Path, ranks: int | None, cores: int, shared: Path | None) -> int:
    """Run the launcher once; ranks on other machines leave their exit code in a folder that all see."""
    if shared is not None:
        try:
            shared.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise UsageError(f"{shared}: cannot be made: {exc.strerror}; choose a folder that all hosts share with -o") from exc
    with tempfile.TemporaryDirectory(prefix=".launch-" if shared else "harness-", dir=shared) as scratch:
        status = Path(scratch) / "status.json"
        env = environment(os.environ, ranks, cores, str(status))
        env["PATH"] = f"{here}:{env.get('PATH', '')}"
        print(f"+ {shlex.join(argv)}", file=sys.stderr, flush=True)
        ended = _run(argv, env)
        return restore(ended, _said(status))


@dataclass
class Ended:
    """How the launcher ended: its exit code, the signals that were passed on to it, the rank that it saw dying first."""

    code: int = 0
    passed: list[int] = field(default_factory=list)
    death: str | None = None
    killed: bool = False  # whether it died of a signal


def restore(ended: Ended, said: int | None) -> int:
    """Return the job's own exit code: launchers return one of their own.

    >>> restore(Ended(code=1), said=2)
    2

    Args:
      said: the exit code that the ranks left, None where none of them could.
    Raises: Interrupted, HarnessError: there is none, and the launcher did not end well.
    """
    # Ranks that are well are ended by SIGTERM when another was killed: they say that they were interrupted, and mean it.
    if said is not None and not (said == Interrupted.exit_code and ended.killed and not ended.passed):
        return said
    if ended.passed:
        raise Interrupted(
            f"{signal.Signals(ended.passed[0]).name} was passed on, and all ranks were ended; no result was written; "
            "--resume goes on from what was finished"
        )
    if ended.death:
        raise HarnessError(
            f"{ended.death}; all ranks were ended, no result was written; --resume goes on from what was finished. "
            "A SIGKILL that nobody sent is the kernel's, for want "
            "of memory: try fewer ranks, or --set batch_size=... with a smaller number"
        )
    if ended.code:
        raise HarnessError(
            f"the launcher of the ranks ended with {ended.code}, and no rank could say why; the lines above are all it said, "
            "'harness doctor' looks for what is missing"
        )
    return 0


class LauncherOutput:
    """Takes a launcher's output apart, line by line: what ranks wrote is shown without its tags, noise is left out.

    `death` is the first rank that the launcher saw dying, in words.
    """

    def __init__(self) -> None:
        self.death: str | None = None
        self.killed = False
        self._block: list[bytes] | None = None  # of lines between two rules
        self._traceback: list[bytes] | None = None

    def line(self, line: bytes) -> bytes:
        """Take a line; return what is to be shown now."""
        text, tags = TAG.subn(b"", line)
        if tags:
            return b"" if NOISE.match(text) else text
        self._notice(line)
        if self._block is not None:
            self._block.append(line)
            return self._end_block() if RULE.match(line.rstrip()) else b""
        if RULE.match(line.rstrip()):
            self._block = [line]
            return b""
        if line.startswith(b"Traceback (most recent call last)"):
            self._traceback = [line]
            return b""
        if self._traceback is not None:
            self._traceback.append(line)
            return b"" if line.startswith(b" ") or not line.strip() else self._end_traceback()
        return b"" if NOISE.match(line) or GLOO_DEATH.match(line) or not line.strip() else line

    def rest(self) -> bytes:
        """Return what was held back at the end of the output."""
        return self._end_block() + self._end_traceback()

    def _notice(self, line: bytes) -> None:
        if self.death is not None:
            return
        if found := MPI_DEATH.search(line):
            self.killed = True
            self.death = (
                f"rank {int(found[1])} on {found[2].decode(errors='replace')} was killed by {_signal_name(int(found[3]))}"
            )
        elif found := GLOO_DEATH.match(line):
            code = int(found[2])
            number = -code if code < 0 else code - 128
            self.killed = number > 0
            how = f"was killed by {_signal_name(number)}" if number > 0 else f"ended with {code}"
            self.death = f"rank {int(found[1])} {how}"

    def _end_block(self) -> bytes:
        text, self._block = b"".join(self._block or []), None
        return b"" if NOISY_BLOCK.search(text) else text

    def _end_traceback(self) -> bytes:
        """Leave out horovodrun's own traceback about a rank that failed: the rank has said it better."""
        text, self._traceback = b"".join(self._traceback or []), None
        return b"" if b"Horovod detected that one or more processes" in text else text


def _signal_name(number: int) -> str:
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"signal {number}"


def _run(argv: Sequence[str], env: Mapping[str, str]) -> Ended:
    """Start the launcher, pass signals on to it, relay its output."""
    ended = Ended()
    running: list[subprocess.Popen[bytes]] = []

    def pass_on(number: int, _frame: Any) -> None:
        ended.passed.append(number)
        for process in running:
            # The whole group: horovodrun may have a shell between itself and mpirun.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, SIGNALS[signal.Signals(number)])

    before = {number: signal.signal(number, pass_on) for number in SIGNALS}
    try:
        # A group of its own, so that a Ctrl-C reaches it once, through us.
        process = subprocess.Popen(
            argv, env=dict(env), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
        running.append(process)
        outputs = [LauncherOutput(), LauncherOutput()]
        relays = [
            threading.Thread(target=_relay, args=(*pair, output), daemon=True)
            for pair, output in zip(
                ((process.stdout, sys.stdout.buffer), (process.stderr, sys.stderr.buffer)), outputs, strict=True
            )
        ]
        for relay in relays:
            relay.start()
        ended.code = process.wait()
        for relay in relays:
            relay.join(timeout=10)
        for output in outputs:
            if output.death and not ended.death:
                ended.death, ended.killed = output.death, output.killed
        return ended
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _relay(stream: IO[bytes], out: IO[bytes], output: LauncherOutput) -> None:
    """Copy what is to be shown of a launcher's output."""
    for line in stream:
        out.write(output.line(line))
        out.flush()
    out.write(output.rest())
    out.flush()


def _said(status: Path) -> int | None:
    """Read the exit code that the ranks left."""
    try:
        return int(json.loads(status.read_text())["exit_code"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def built_with(what: str) -> bool:
    """Tell whether Horovod was built with "mpi" or "gloo": its library asks for, or holds, their symbols.

    Asking Horovod itself would load TensorFlow, which takes seconds.
    """
    found = importlib.util.find_spec("horovod")
    folders = found.submodule_search_locations if found else None
    libraries = [path for folder in folders or [] for path in Path(folder).glob("tensorflow/mpi_lib*.so")]
    symbol = {"mpi": b"\0MPI_Allreduce\0", "gloo": b"GlooContext10Initialize"}[what]
    return any(symbol in path.read_bytes() for path in libraries)


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
