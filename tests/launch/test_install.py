"""launch/install: what it refuses before it does anything. The rest is what makes the environment that runs these tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

INSTALL = ROOT / "launch" / "install"


def install(*words: str, cwd: Path = ROOT, **environ: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("MPI", "CUDA", "MODULES", "WHEELS", "PYTHON")}
    return subprocess.run([INSTALL, *words], cwd=cwd, env={**kept, **environ}, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "environ, found, advice",
    [
        ({"MPI": "openmpi"}, "MPI=openmpi is not known", "MPI=packaged, MPI=system or MPI=none"),
        ({"CUDA": "12"}, "CUDA=12 is not known", "CUDA=packaged or CUDA=none"),
        ({"WHEELS": "nowhere"}, "nowhere has no wheels", "launch/install --download DIR fetches them"),
        ({"PYTHON": "/bin/false"}, "PYTHON=/bin/false is not a Python 3.11 to 3.13", "name another"),
        ({"MODULES": "gcc", "MODULESHOME": "", "LMOD_PKG": ""}, "MODULES=gcc", "does without|module avail lists"),
        ({"MPI": "system", "PATH": "@"}, "MPI=system, but no mpicxx on PATH", "module load openmpi"),
    ],
)
def test_what_is_refused_before_anything_is_done(environ: dict[str, str], found: str, advice: str, tmp_path: Path) -> None:
    if "PATH" in environ:  # the machine's programs, but for its MPI
        for name in ("bash", "cat", "cksum", "date", "dirname", "env", "ls", "nproc", "sed", "uname"):
            os.symlink(str(shutil.which(name)), tmp_path / name)
        environ = {**environ, "PATH": str(tmp_path), "PYTHON": sys.executable}
    done = install(str(tmp_path / "venv"), **environ)
    assert done.returncode == 1
    assert done.stderr.startswith("[install] error: ")
    assert any(word in done.stderr for word in found.split("|"))
    assert any(word in done.stderr for word in advice.split("|"))
    assert not (tmp_path / "venv").exists()


def test_a_folder_that_is_no_environment_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    done = install(str(tmp_path))
    assert done.returncode == 1
    assert "is there, and is no virtual environment" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_check_does_nothing(tmp_path: Path) -> None:
    done = install("--check", "venv", cwd=tmp_path)
    assert done.returncode == 1
    assert f"{tmp_path}/venv is not what launch/install would make of it" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_help_is_the_head_of_the_file() -> None:
    done = install("--help")
    assert (done.returncode, done.stderr) == (0, "")
    for name in ("PYTHON=", "MPI=", "CUDA=", "MODULES=", "HOROVOD_GPU_OPERATIONS=", "WHEELS=", "--download DIR", "--check"):
        assert name in done.stdout
    assert install("--chekc").returncode == 1
