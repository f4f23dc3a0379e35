"""Both containers are built by launch/install, from one list of packages, and lint finds nothing in them."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from tests.conftest import ROOT

DOCKERFILE = (ROOT / "launch" / "Dockerfile").read_text()
APPTAINER = (ROOT / "launch" / "Apptainer.def").read_text()
INSTALL = (ROOT / "launch" / "install").read_text()


def joined(text: str) -> list[str]:
    """Lines that mean something, continued ones as one."""
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]


def sections(definition: str) -> dict[str, list[str]]:
    """What stands in each section of an Apptainer definition, and in its header."""
    head, *rest = re.split(r"^%(\w+)", definition, flags=re.MULTILINE)
    return {"": joined(head), **{name: joined(body) for name, body in zip(rest[::2], rest[1::2], strict=True)}}


def packages(line: str) -> list[str]:
    return sorted(re.search(r"apt-get install -y --no-install-recommends (.*?)(?:&&|$)", line)[1].split())


def installs(lines: list[str]) -> list[str]:
    """How launch/install is called."""
    return [found for line in lines for found in re.findall(r"MPI=system [^&]*launch/install \S+", line)]


def test_both_are_built_by_the_installer_and_by_nothing_else():
    found = sections(APPTAINER)
    assert installs(joined(DOCKERFILE)) == ['MPI=system CUDA="$CUDA" XDG_CACHE_HOME=/tmp/cache launch/install /opt/harness/.venv']
    assert installs(found["post"]) == ['MPI=system CUDA="{{ CUDA }}" XDG_CACHE_HOME=/tmp/cache launch/install /opt/harness/.venv']
    for text in (DOCKERFILE, APPTAINER):
        code = "\n".join(joined(text))
        assert not re.search(r"\b(pip|conda|uv)\b", code)  # versions are pinned in one place
        assert not re.search(r"==\d", code)


def test_the_variables_are_those_of_the_installer():
    said = set(re.findall(r"^#   ([A-Z_]+)[= ]", INSTALL, flags=re.MULTILINE))
    assert {"MPI", "XDG_CACHE_HOME"} <= said
    assert re.search(r"\$\{MPI:-", INSTALL) and re.search(r"^\s*system\)", INSTALL, flags=re.MULTILINE)


def test_both_have_the_same_system():
    docker = next(line for line in joined(DOCKERFILE) if "apt-get install" in line)
    apptainer = next(line for line in sections(APPTAINER)["post"] if "apt-get install" in line)
    # what the installer asks for by name on Debian, and what ranks are started by
    assert packages(docker) == packages(apptainer)
    assert {"g++", "make", "python3-venv", "libopenmpi-dev", "openmpi-bin"} <= set(packages(docker))
    for named in ("apt install g++", "apt install make", "apt install python3-venv", "apt install libopenmpi-dev openmpi-bin"):
        assert named in INSTALL
    assert re.findall(r"^FROM (\S+)$", DOCKERFILE, flags=re.MULTILINE) == ["debian:12-slim"]
    assert sections(APPTAINER)[""] == ["Bootstrap: docker", "From: debian:12-slim"]


def test_the_sections_are_those_that_apptainer_knows():
    assert set(sections(APPTAINER)) == {"", "arguments", "files", "post", "environment", "runscript", "test"}
    assert sections(APPTAINER)["runscript"] == ['exec harness "$@"']
    assert '\nENTRYPOINT ["harness"]\n' in DOCKERFILE


def test_steps_are_shell(tmp_path):
    """The shell parses every step: of Docker one line each, of Apptainer one script a section."""
    found = sections(APPTAINER)
    steps = [line.removeprefix("RUN ") for line in joined(DOCKERFILE) if line.startswith("RUN ")]
    assert len(steps) == 3
    for step in [*steps, *("\n".join(found[name]) for name in ("post", "environment", "runscript", "test"))]:
        done = subprocess.run(["sh", "-n"], input=step, text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="needs hadolint, of the extra dev")
def test_hadolint_finds_nothing(tmp_path):
    done = subprocess.run(["hadolint", ROOT / "launch" / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    bad = tmp_path / "Dockerfile"
    bad.write_text("FROM debian\nRUN cd /tmp\n")
    assert subprocess.run(["hadolint", bad], capture_output=True, check=False).returncode == 1
