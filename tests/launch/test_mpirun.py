"""The mpirun line of `harness launch` is the one that horovodrun comes to: what it gives to an mpirun is compared with ours."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from harness_launch import network, workstation
from harness_launch.hosts import Hosts, parse
from harness_launch.mpirun import command_line, exported, is_open_mpi

from harness.errors import HarnessError, UsageError
from tests.conftest import BIN, start

COMMAND = ["harness", "evaluate", "a b.yaml", "--set", "x='$HOME'"]
MPIRUN = """#!{python}
import json, os, sys
if sys.argv[1:] == ["--version"]:
    print("mpirun ({name}) 4.1.8")
else:
    with open({out!r}, "w") as stream:
        json.dump({{"argv": sys.argv[1:], "environ": dict(os.environ)}}, stream)
"""


def program(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder with an mpirun that writes down what it is given, and an ssh that reaches every host."""
    program(tmp_path / "mpirun", MPIRUN.format(python=sys.executable, name="Open MPI", out=str(tmp_path / "out.json")))
    program(tmp_path / "ssh", "#!/bin/sh\nexit 0\n")
    return tmp_path


@pytest.mark.ranks
@pytest.mark.parametrize("hosts", [None, parse("n1:2,n2:1"), Hosts(tuple((f"n{i}", 1) for i in range(64)))])
def test_the_line_is_the_one_that_horovodrun_runs(hosts, folder):
    """Its words and its environment, to the last of both."""
    environ = {
        "PATH": f"{folder}:{BIN}:/usr/bin:/bin", "HOME": str(folder), "CUDA_VISIBLE_DEVICES": "3", "OLDPWD": "/", "OMP_NUM_THREADS": "2",
        "NVIDIA_CUDA_VISIBLE_DEVICES": "1", "BASH_FUNC_module%%": "() { :; }", "HOROVOD_STALL_CHECK_DISABLE": "1", "A_B": "c d",
    }  # fmt: skip
    where, ranks, interfaces = [], 2, ["lo"]
    if hosts:
        where, ranks, interfaces = ["-H", str(hosts), "--network-interface", "eth7"], hosts.ranks, ["eth7"]
    argv = ["horovodrun", "-np", str(ranks), *where, "--mpi", *COMMAND]
    done = start(["env", "-i", *(f"{name}={value}" for name, value in environ.items()), *argv], folder)
    assert done.code == 0, done.text
    theirs = json.loads((folder / "out.json").read_text())
    ours = command_line(COMMAND, ranks=ranks, hosts=hosts, interfaces=interfaces, environ=environ)
    assert ours[0] == "mpirun"
    # A shell adds names of its own to the second of the two.
    own = {"PWD", "SHLVL", "_", "LC_CTYPE"} - environ.keys()
    words = " ".join(theirs["argv"]).replace("-x LC_CTYPE ", "")
    assert words == " ".join(ours[1:]) and theirs["argv"][-len(COMMAND) :] == COMMAND
    assert {name: value for name, value in theirs["environ"].items() if name not in own} == {
        name: value for name, value in environ.items() if not name.startswith("BASH_FUNC")
    }


def test_ranks_are_given_the_environment_but_for_what_belongs_to_one_machine():
    names = [
        "PATH",
        "HARNESS_STATUS",
        "OLDPWD",
        "BASH_FUNC_ml%%",
        "CUDA_VISIBLE_DEVICES",
        "NV_CUDA_VISIBLE_DEVICES",
        "_HOROVOD_SECRET_KEY",
    ]
    assert exported(names) == ["HARNESS_STATUS", "PATH"]


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("echo 'mpirun (Open MPI) 4.1.8'", True),
        ("echo 'mpirun (OpenRTE) 4.0.3'", True),
        ("echo 'HYDRA build details: MPICH'", False),
        ("echo 'mpirun (Open MPI) 4.1.8'; exit 1", False),
        (None, False),
    ],
)
def test_other_mpis_are_left_to_horovodrun(text, wanted, tmp_path):
    path = tmp_path / "mpirun"
    if text:
        program(path, f"#!/bin/sh\n{text}\n")
    assert is_open_mpi(str(path), os.environ) is wanted


@pytest.fixture
def built(monkeypatch):
    monkeypatch.setattr(workstation, "built_with", lambda comm: True)
    monkeypatch.delenv(workstation.LSF, raising=False)


def dry_run(capsys, **options) -> str:
    asked = {"ranks": "2", "comm": "mpi", "dry_run": True, "folder": Path("/nowhere"), **options}
    assert workstation.launch(["evaluate", "job.yaml"], **asked) == 0
    return capsys.readouterr().out


def test_dry_run_shows_the_line_and_asks_no_other_host(built, folder, monkeypatch, capsys):
    monkeypatch.setattr(network, "shared_interfaces", None)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    line = " mpirun --allow-run-as-root --tag-output -np 2 -H {} -bind-to none -map-by slot -mca pml ob1 -mca btl '^openib' "
    line += "-mca btl_tcp_if_include {} -x NCCL_SOCKET_IFNAME={} -x "
    assert line.format("localhost:2", "lo", "lo") in dry_run(capsys)
    assert line.format("127.0.0.1:2", "lo", "lo") in dry_run(capsys, places=parse("127.0.0.1:2"))
    away = dry_run(capsys, places=parse("localhost:1,192.0.2.77:1"))
    assert line.format("localhost:1,192.0.2.77:1", "INTERFACES", "INTERFACES") in away
    assert away.endswith("/harness evaluate job.yaml\n")
    assert " -x HARNESS_THREADS " in away and " -x PATH " in away


def test_what_mpirun_cannot_be_used_for_goes_through_horovodrun(built, tmp_path, monkeypatch, capsys):
    wanted = f"{BIN}/horovodrun -np 2 --mpi {BIN}/harness evaluate job.yaml\n"
    monkeypatch.setattr(workstation.mpirun, "is_open_mpi", lambda *_: False)
    assert dry_run(capsys).endswith(wanted)
    monkeypatch.undo()
    monkeypatch.setattr(workstation, "built_with", lambda comm: True)
    monkeypatch.setenv(workstation.LSF, "7")
    assert dry_run(capsys).endswith(wanted)


def test_without_mpirun_a_message(built, tmp_path, monkeypatch):
    which = workstation.shutil.which
    monkeypatch.setattr(workstation.shutil, "which", lambda name, path: None if name == "mpirun" else which(name, path=path))
    with pytest.raises(UsageError, match="no mpirun on PATH: activate the environment .*--gloo does without"):
        workstation.launch(["evaluate", "job.yaml"], ranks="1", comm="mpi", dry_run=True)


def test_a_host_that_ssh_does_not_reach_is_named(folder, monkeypatch, capfd):
    program(folder / "ssh", '#!/bin/sh\necho "no route to $5" >&2\nexit 255\n')
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(folder))  # Horovod remembers there what it has checked
    with pytest.raises(HarnessError, match=r"-H localhost:1,192.0.2.77:1: not all of these hosts can be used") as caught:
        network.shared_interfaces(2, "localhost:1,192.0.2.77:1")
    assert caught.value.exit_code == 1
    assert "ssh not successful for host 192.0.2.77:\n" in capfd.readouterr().err


def test_hosts_of_this_machine_share_its_loopback(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    assert network.shared_interfaces(2, "localhost:1,127.0.0.1:1") == ["lo"]
    assert network.loopback(network.local_addresses()) == ("lo",)
