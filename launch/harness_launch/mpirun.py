"""The mpirun command line that `horovodrun --mpi` of Horovod 0.28.1 ends in, for Open MPI: pure text.

Horovod itself would load TensorFlow twice before it comes to that. What `mpirun` is, is asked in one place.
"""

from __future__ import annotations

import itertools
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence

from harness_launch.hosts import Hosts

__all__ = ["command_line", "exported", "is_open_mpi", "shown"]

# Messages go over what Open MPI finds itself, shared memory and TCP say, but not over its own InfiniBand.
TRANSPORT = ("-mca", "pml", "ob1", "-mca", "btl", "^openib")
# Threads of a rank may use all cores; ranks fill one host after another.
PLACEMENT = ("-bind-to", "none", "-map-by", "slot")
MANY_HOSTS = 64  # from here on Open MPI's tree of ssh connections is not used
# Shells' own, and the GPUs of the machine that starts the others: each rank's machine has its own.
NOT_EXPORTED = re.compile(r"BASH_FUNC_|OLDPWD|.*CUDA_VISIBLE_DEVICES|_HOROVOD_SECRET_KEY")
VERSION_TIMEOUT_S = 30


def exported(environ: Iterable[str]) -> list[str]:
    """Return the names of the variables that ranks are given.

    >>> exported(["PATH", "OLDPWD", "HOME", "CUDA_VISIBLE_DEVICES", "BASH_FUNC_module%%"])
    ['HOME', 'PATH']
    """
    return sorted(name for name in environ if not NOT_EXPORTED.match(name))


def command_line(
    command: Sequence[str],
    *,
    ranks: int,
    hosts: Hosts | None = None,
    interfaces: Sequence[str] = (),
    environ: Iterable[str] = (),
) -> list[str]:
    """Return the argv that starts a command on several ranks.

    Args:
      command: what each rank runs.
      ranks: how many.
      hosts: where; None is this machine.
      interfaces: of the network, over which ranks talk; none leaves the choice to MPI.
      environ: names of the variables of this process.

    >>> " ".join(command_line(["harness", "doctor"], ranks=2, interfaces=["lo"], environ=["PATH"])[:16])
    'mpirun --allow-run-as-root --tag-output -np 2 -H localhost:2 -bind-to none -map-by slot -mca pml ob1 -mca btl'
    """
    argv = ["mpirun", "--allow-run-as-root", "--tag-output", "-np", str(ranks), "-H", str(hosts or f"localhost:{ranks}")]
    argv += [*PLACEMENT, *TRANSPORT]
    if hosts and len(hosts.slots) >= MANY_HOSTS:
        argv += ["-mca", "plm_rsh_no_tree_spawn", "true", "-mca", "plm_rsh_num_concurrent", str(len(hosts.slots))]
    if interfaces:
        names = ",".join(interfaces)
        argv += ["-mca", "btl_tcp_if_include", names, "-x", f"NCCL_SOCKET_IFNAME={names}"]
    for name in exported(environ):
        argv += ["-x", name]
    return [*argv, *command]


def shown(argv: Sequence[str]) -> list[str]:
    """Return a command line without the names of the variables that are handed on, which may be a hundred.

    >>> shown(["mpirun", "-np", "2", "-x", "A=lo", "-x", "HOME", "-x", "PATH", "harness", "-x", "job"])
    ['mpirun', '-np', '2', '-x', 'A=lo', '-x', '...', 'harness', '-x', 'job']
    """
    start = next((at for at, pair in enumerate(itertools.pairwise(argv)) if _hands_on(pair)), len(argv))
    stop = start
    while _hands_on(tuple(argv[stop : stop + 2])):
        stop += 2
    return [*argv[:start], *(["-x", "..."] if stop > start else []), *argv[stop:]]


def _hands_on(pair: tuple[str, ...]) -> bool:
    return len(pair) == 2 and pair[0] == "-x" and "=" not in pair[1]


def is_open_mpi(mpirun: str, environ: Mapping[str, str]) -> bool:
    """Say whether an mpirun is Open MPI's: others have flags of their own."""
    try:
        done = subprocess.run(
            [mpirun, "--version"], env=dict(environ), capture_output=True, text=True, timeout=VERSION_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and ("Open MPI" in done.stdout or "OpenRTE" in done.stdout)
