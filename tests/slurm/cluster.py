"""A real Slurm cluster for the tests: munged, slurmctld and several slurmd as separate nodes of this machine, with fake GPUs.

No systemd, nothing outside a private folder. All its processes, jobs too, live in one pid namespace: ending the one
process that holds it ends them all. Needs root and Debian's slurmctld, slurmd, slurm-client and munge.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import stat
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Cluster", "configuration", "missing"]

HERE = Path(__file__).parent
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "srun", "scancel", "unshare", "setpriv")
PACKAGES = "slurmctld slurmd slurm-client munge"
UP_S, DOWN_S = 30.0, 20.0
NODE_UP = {"IDLE", "MIXED", "ALLOCATED", "COMPLETING"}


def missing() -> str | None:
    """Say why there can be no cluster on this machine; None where there can."""
    lacking = [name for name in PROGRAMS if not _which(name)]
    if lacking:
        return f"no {', '.join(lacking)}: apt-get install --no-install-recommends {PACKAGES}"
    return None if os.geteuid() == 0 else "only root can make the namespaces that play the nodes"


def configuration(folder: Path, controller: str, nodes: Sequence[str], *, cpus: int, gpus: int, ports: Sequence[int]) -> str:
    """Return slurm.conf.

    Args:
      folder: where the cluster keeps everything.
      controller: name of this machine.
      nodes: their names.
      cpus, gpus: of each node.
      ports: free ones, of the controller and then of each node.
    """
    head = {
        "ClusterName": "tests",
        "SlurmctldHost": f"{controller}(127.0.0.1)",
        "SlurmctldPort": ports[0],
        "SlurmUser": "root",
        "SlurmdUser": "root",
        "AuthType": "auth/munge",
        "CredType": "cred/munge",
        # A job that is put back waits for the credentials of its last start to run out: two minutes, if left alone.
        "AuthInfo": f"socket={folder}/munge.socket,cred_expire=10",
        "StateSaveLocation": folder / "state",
        "SlurmctldLogFile": folder / "slurmctld.log",
        "SlurmctldPidFile": folder / "slurmctld.pid",
        "SlurmdSpoolDir": folder / "spool" / "%n",
        "SlurmdLogFile": folder / "slurmd-%n.log",
        "SlurmdPidFile": folder / "slurmd-%n.pid",
        "TmpFS": folder / "tmp" / "%n",  # Slurm's PMIx has one folder a node there
        "MailProg": "/bin/true",
        "ProctrackType": "proctrack/linuxproc",
        "TaskPlugin": "task/none",
        "SwitchType": "switch/none",
        "SelectType": "select/cons_tres",
        "SelectTypeParameters": "CR_CPU",
        "SlurmdParameters": "config_overrides",  # nodes may have more CPUs than this machine
        "SchedulerType": "sched/backfill",
        "SchedulerParameters": "batch_sched_delay=0,sched_min_interval=0,sched_interval=2,bf_interval=1",
        "AccountingStorageType": "accounting_storage/none",
        "JobAcctGatherType": "jobacct_gather/none",
        "MpiDefault": "none",
        "GresTypes": "gpu",
        "KillWait": 8,  # seconds from SIGTERM to SIGKILL, 30 elsewhere
        "MinJobAge": 36000,  # what has ended can be asked for
        "ReturnToService": 2,
    }
    lines = [f"{key}={value}" for key, value in head.items()]
    for node, port in zip(nodes, ports[1:], strict=True):
        gres = f" Gres=gpu:{gpus}" if gpus else ""
        lines.append(f"NodeName={node} NodeHostname={node} NodeAddr=127.0.0.1 Port={port} CPUs={cpus} RealMemory=100000{gres}")
    lines.append("PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP")
    lines.append("PartitionName=gpu Nodes=ALL MaxTime=INFINITE State=UP")
    return "\n".join(lines) + "\n"


@dataclass
class Cluster:
    """Brings the cluster up and takes it down.

    Attributes:
      folder: empty or new, short enough for a socket's path, without spaces.
      nodes, cpus, gpus: their names, and what each has.
    """

    folder: Path
    nodes: tuple[str, ...] = ("n1", "n2")
    cpus: int = 16
    gpus: int = 4
    _holder: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def environ(self) -> dict[str, str]:
        """What a process needs to talk to this cluster."""
        return {"SLURM_CONF": str(self.folder / "slurm.conf")}

    def start(self) -> None:
        """Write the configuration, start everything, wait until all nodes are up."""
        self._write()
        # Ends with this process, also where that is killed.
        argv = [
            "setpriv",
            "--pdeathsig",
            "KILL",
            "unshare",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "--propagation",
            "private",
        ]
        with open(self.folder / "daemons.out", "wb") as out:
            self._holder = subprocess.Popen(
                [*argv, str(HERE / "daemons.sh"), str(self.folder), *self.nodes],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, env={**os.environ, "PATH": _path()},
            )  # fmt: skip
        begun = time.monotonic()
        while not self._up():
            if time.monotonic() - begun > UP_S or self._holder.poll() is not None:
                self.stop()
                logs = [f"== {path}\n{path.read_text()[-2000:]}" for path in sorted(self.folder.glob("*.[lo][ou][gt]"))]
                raise RuntimeError("the cluster did not come up\n" + "\n".join(logs))
            time.sleep(0.05)

    def stop(self) -> None:
        """End every process of the cluster, jobs too."""
        if self._holder is not None:
            self._holder.kill()  # --kill-child: process 1 of the namespace goes with it, and all others with that
            self._holder.wait(timeout=DOWN_S)
            self._holder = None

    def run(self, *argv: str | Path, check: bool = True) -> str:
        """Run one of Slurm's commands; return its output."""
        done = subprocess.run(
            [str(word) for word in argv],
            env={**os.environ, **self.environ},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(map(str, argv))}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout.strip()

    def job(self, job: str) -> dict[str, str]:
        """Return what Slurm says of a job: JobState, ExitCode, Restarts and so on."""
        return dict(re.findall(r"(?:^|\s)([A-Za-z:/]+)=(\S*)", self.run("scontrol", "-o", "show", "job", job).splitlines()[0]))

    def _write(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.folder.chmod(0o711)  # munged wants its socket to be in reach of all
        for name in ("state", "spool", *(f"tmp/{node}" for node in self.nodes)):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "munge.key").write_bytes(os.urandom(128))
        (self.folder / "munge.key").chmod(0o400)
        shutil.copy(HERE / "ssh.sh", self.folder / "ssh")
        names = "".join(f"127.0.1.{number} {node}\n" for number, node in enumerate(self.nodes, 1))
        (self.folder / "hosts").write_text(Path("/etc/hosts").read_text() + names)
        for number in range(self.gpus):  # a GPU is a character device; any will do
            os.mknod(self.folder / f"gpu{number}", stat.S_IFCHR | 0o666, os.stat("/dev/null").st_rdev)
        devices = f"Name=gpu File={self.folder}/gpu[0-{self.gpus - 1}]\n" if self.gpus else ""
        (self.folder / "gres.conf").write_text(devices)
        text = configuration(
            self.folder, socket.gethostname().split(".")[0], self.nodes, cpus=self.cpus, gpus=self.gpus,
            ports=_free_ports(len(self.nodes) + 1),
        )  # fmt: skip
        (self.folder / "slurm.conf").write_text(text)

    def _up(self) -> bool:
        said = self.run("scontrol", "-o", "show", "nodes", check=False)
        states = re.findall(r"NodeName=(\S+) .* State=(\w+)(\S*)", said)
        return {name for name, state, more in states if state in NODE_UP and not more.startswith("*")} == set(self.nodes)


def _path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"


def _which(name: str) -> str | None:
    return shutil.which(name, path=_path())


def _free_ports(count: int) -> list[int]:
    held = [socket.socket() for _ in range(count)]
    try:
        for each in held:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in held]
    finally:
        for each in held:
            each.close()
