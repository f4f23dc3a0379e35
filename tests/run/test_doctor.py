"""`harness doctor`: what it makes of a machine; and of this one."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from harness.run.doctor import GIB, Level, judge
from harness.run.machine_facts import Facts, Probe

GOOD = Facts(
    python=(3, 12, 1),
    versions={
        "exact-harness": "0.1.0", "tensorflow": "2.21.0", "keras": "3.15.1", "numpy": "2.4.6",
        "horovod": "0.28.1", "mpi4py": "4.1.2", "setuptools": "80.9.0",
    },
    pins={"tensorflow": "2.21.0", "keras": "3.15.1", "numpy": "2.4.6"},
    probe=Probe(gpus=0, mpi=True, gloo=True, nccl=False),
    horovodrun="/venv/bin/horovodrun",
    mpirun="mpirun (Open MPI) 4.1.8",
    mpi_library="Open MPI v4.1.8",
    gpu_devices=0,
    cores=4,
    memory_bytes=16 * GIB,
    disk_bytes=100 * GIB,
    root=False,
)  # fmt: skip


def without(*names: str) -> dict[str, str | None]:
    return {name: None if name in names else version for name, version in GOOD.versions.items()}


def test_a_good_machine_has_nothing_to_say() -> None:
    assert [finding for finding in judge(GOOD) if finding.level is not Level.GOOD] == []
    assert GOOD.ranks


@pytest.mark.parametrize(
    ("facts", "level", "subject", "advice"),
    [
        (replace(GOOD, python=(3, 10, 2)), Level.BAD, "Python", "3.11 to 3.13 is needed"),
        (replace(GOOD, versions=without("tensorflow")), Level.BAD, "TensorFlow", "pip install ."),
        (replace(GOOD, pins={"numpy": "2.0.0"}), Level.DOUBTFUL, "NumPy", "tested with 2.0.0"),
        (replace(GOOD, versions=without("horovod"), probe=Probe(error="no module")), Level.BAD, "Horovod", "launch/install"),
        (replace(GOOD, probe=Probe(error="libmpi.so.40: no such file")), Level.BAD, "Horovod", "build it again"),
        (replace(GOOD, probe=Probe(gloo=True)), Level.DOUBTFUL, "Horovod", "Gloo only"),
        (replace(GOOD, probe=Probe()), Level.BAD, "Horovod", "cannot start ranks"),
        (replace(GOOD, horovodrun=None), Level.BAD, "horovodrun", "activate"),
        (replace(GOOD, versions=without("setuptools")), Level.BAD, "setuptools", "distutils"),
        (replace(GOOD, mpirun=None), Level.BAD, "MPI", "--gloo"),
        (replace(GOOD, mpirun="mpirun (Open MPI) 5.0.3"), Level.DOUBTFUL, "MPI", "Open MPI 5"),
        (replace(GOOD, versions=without("mpi4py"), mpi_library=None), Level.BAD, "mpi4py", "pip install mpi4py"),
        (replace(GOOD, mpi_library=None), Level.BAD, "mpi4py", "no MPI library"),
        (replace(GOOD, gpu_devices=2), Level.DOUBTFUL, "GPUs", "tensorflow[and-cuda]==2.21.0"),
        (replace(GOOD, memory_bytes=2 * GIB), Level.DOUBTFUL, "memory", "-np 2"),
        (replace(GOOD, disk_bytes=GIB // 2), Level.DOUBTFUL, "disk", "-o"),
        (replace(GOOD, environ={"TF_ENABLE_ONEDNN_OPTS": "0"}), Level.DOUBTFUL, "oneDNN", "unset"),
        (replace(GOOD, environ={"HOROVOD_STALL_SHUTDOWN_TIME_SECONDS": "60"}), Level.DOUBTFUL, "Horovod's stall check", "unset"),
        (replace(GOOD, root=True), Level.DOUBTFUL, "user", "--allow-run-as-root"),
    ],
)
def test_what_would_go_wrong_is_said_and_what_to_do(facts: Facts, level: Level, subject: str, advice: str) -> None:
    found = [finding for finding in judge(facts) if finding.level is not Level.GOOD]
    assert [(finding.level, finding.subject) for finding in found] == [(level, subject)]
    assert advice in found[0].advice


def test_python_3_11_has_distutils_of_its_own() -> None:
    facts = replace(GOOD, python=(3, 11, 7), versions=without("setuptools"))
    assert [finding for finding in judge(facts) if finding.level is not Level.GOOD] == []


@pytest.mark.ranks
def test_here_ranks_can_be_started() -> None:
    done = subprocess.run([Path(sys.executable).parent / "harness", "doctor"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0.28.1, built with MPI, Gloo" in done.stdout
    assert done.stdout.splitlines()[-1] == "ranks can be started: harness launch -- evaluate JOB.yaml"


def test_without_horovod_it_says_how_to_get_it(tmp_path: Path) -> None:
    # A distribution that cannot be found and a module that cannot be imported, as in an environment without Horovod
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.metadata as m, sys\n"
        "real = m.version\n"
        "def version(name):\n"
        "    if name == 'horovod': raise m.PackageNotFoundError(name)\n"
        "    return real(name)\n"
        "m.version = version\n"
        "sys.modules['horovod'] = None\n"
    )
    root = Path(__file__).parent.parent.parent
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{tmp_path}:{root}", "HOME": str(tmp_path)}
    code = "from harness.run.doctor import doctor; raise SystemExit(doctor(0))"
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "-> launch/install in the harness's checkout builds it" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("only one process: harness evaluate JOB.yaml works by itself")
