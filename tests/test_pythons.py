"""The harness as pip installs it under each Python that it is for: from a checkout, a wheel and a URL; it evaluates alone there."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.conftest import Made
from tests.test_packaging import PLAIN, WHEEL_FILES, copy_of_the_checkout

SOURCES = {"3.11": "checkout", "3.12": "wheel", "3.13": "URL"}
COMMIT = ("-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "--quiet", "--message", "all")


def interpreter(version: str) -> Path | None:
    """Return a Python of a version: one that pyenv keeps, else the one on PATH; None where there is none that runs."""
    kept = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    paths = [*sorted(kept.glob(f"{version}.*/bin/python")), shutil.which(f"python{version}")]
    for path in filter(None, paths):
        if subprocess.run([path, "-c", "import venv"], capture_output=True, check=False).returncode == 0:
            return Path(path)
    return None


def run(*words: str | Path, cwd: Path, code: int = 0) -> str:
    # Without PATH and PYTHONPATH of this environment: nothing of it is to be found.
    env = {**PLAIN, "PATH": "/usr/local/bin:/usr/bin:/bin"}
    done = subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def requirement(source: str, python: Path, folder: Path) -> Sequence[str | Path]:
    """Return what pip is told to install."""
    checkout = copy_of_the_checkout(folder / "checkout", *WHEEL_FILES)
    if source == "wheel":
        run(python, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder, checkout, cwd=folder)
        return list(folder.glob("exact_harness-*-py3-none-any.whl"))
    if source == "URL":
        for words in (("init", "--quiet"), ("add", "--all"), COMMIT):
            run("git", *words, cwd=checkout)
        return [f"exact-harness @ git+{checkout.as_uri()}"]
    return [checkout]


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("version", SOURCES)
def test_pip_installs_what_evaluates_alone(version: str, world: Made, tmp_path: Path) -> None:
    found = interpreter(version)
    if found is None:
        pytest.skip(f"no Python {version} on this machine")
    run(found, "-m", "venv", "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", *requirement(SOURCES[version], python, tmp_path), cwd=tmp_path)
    try:
        harness = tmp_path / "venv" / "bin" / "harness"
        job = world.job(tmp_path / "job.yaml", data={"limit": 64})
        assert "certificate: every one of 64 examples counted once" in run(harness, "evaluate", job, "-o", "run", cwd=tmp_path)
        assert '"accuracy"' in (tmp_path / "run" / "metrics.json").read_text()
        advice = run(harness, "doctor", cwd=tmp_path, code=1)
        assert f"Python      {version}." in advice and "launch/install in the harness's checkout builds it" in advice
        assert "only one process: harness evaluate JOB.yaml works by itself" in advice
        assert "horovodrun is not installed" in run(harness, "launch", "-np", "2", "--", "evaluate", job, cwd=tmp_path, code=2)
    finally:
        shutil.rmtree(tmp_path / "venv")  # two gigabytes
