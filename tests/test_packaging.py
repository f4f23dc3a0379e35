"""The harness as people install it: a wheel of this checkout, in an environment elsewhere; what it holds, and what it says there."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path
from typing import Any

import pytest
import setuptools

from harness.version import __version__
from tests.conftest import ROOT, Made

LEFT_OUT = ("horovod", "exact_harness", "__editable__", "harness")  # of this environment: a clean one has none of them
ABOUT = f"exact_harness-{__version__}.dist-info"
WHEEL_FILES = ("harness/", "launch/", "setup.py", "pyproject.toml", "versions.txt", "README.md", "MANIFEST.in")
PLAIN = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PATH", "VIRTUAL_ENV")}


def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def copy_of_the_checkout(folder: Path, *rooms: str) -> Path:
    for name in tracked():
        if not rooms or name.startswith(rooms):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def python(*words: str | Path, cwd: Path) -> str:
    done = subprocess.run([sys.executable, *words], cwd=cwd, env=PLAIN, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    checkout = copy_of_the_checkout(folder / "checkout", *WHEEL_FILES, "tests/", "benchmarks/")
    python("-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", "-w", folder, checkout, cwd=folder)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a virtual environment with the wheel, and with what it needs: all packages of this one but Horovod."""
    folder = tmp_path_factory.mktemp("clean")
    python("-m", "venv", "--without-pip", folder / "venv", cwd=folder)
    packages = folder / "packages"
    packages.mkdir()
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if not path.name.startswith(LEFT_OUT) and path.suffix != ".pth":
            (packages / path.name).symlink_to(path)
    (site,) = (folder / "venv" / "lib").glob("python3*/site-packages")
    (site / "packages.pth").write_text(f"{packages}\n")
    words = ("--no-deps", "--no-index", "--quiet")
    python("-m", "pip", "--python", folder / "venv" / "bin" / "python", "install", *words, wheel, cwd=folder)
    return folder / "venv"


def test_the_wheel_holds_two_packages_with_names_of_ours(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        about = archive.read(f"{ABOUT}/METADATA").decode()
    assert {name.split("/")[0] for name in names} == {"harness", "harness_launch", ABOUT}
    sources = {
        name.replace("launch/harness_launch/", "harness_launch/")
        for name in tracked()
        if name.startswith(("harness/", "launch/harness_launch/"))
    }
    assert {name for name in names if "dist-info" not in name} == sources
    assert "\nName: exact-harness\n" in about


def test_the_wheel_works_where_it_is_installed(environment: Path, world: Made, tmp_path: Path) -> None:
    (site,) = environment.glob("lib/python3*/site-packages")
    assert {path.name for path in site.iterdir()} == {
        "packages.pth", "harness", "harness_launch", ABOUT,
    }  # fmt: skip
    folder, scratch = tmp_path / "elsewhere", tmp_path / "scratch"
    folder.mkdir()
    scratch.mkdir()

    def harness(*words: str | Path, code: int = 0) -> str:
        env = {**PLAIN, "PATH": "/usr/bin:/bin", "TMPDIR": str(scratch), "PYTHONDONTWRITEBYTECODE": ""}
        done = subprocess.run(
            [environment / "bin" / "harness", *words], cwd=folder, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    assert "evaluate" in harness("--help")
    job = world.job(folder / "job.yaml", data={"limit": 64})
    harness("evaluate", job, "-o", folder / "run")
    assert '"accuracy"' in (folder / "run" / "metrics.json").read_text()
    # What TensorFlow's AutoGraph wrote there is gone; what the interpreter keeps of it too.
    assert [path.name for path in scratch.rglob("*") if path.is_file()] == []
    hint = harness("launch", "-np", "2", "--", "evaluate", job, code=2)
    assert "horovodrun is not installed; launch/install builds Horovod, 'harness doctor' says what is missing" in hint


def test_typed_code_of_a_user_passes_mypy_strict(environment: Path, tmp_path: Path) -> None:
    shutil.copy(ROOT / "tests" / "run" / "typed_script.py", tmp_path)
    words = ["-m", "mypy", "--strict", "--config-file=", "typed_script.py"]
    done = subprocess.run(
        [environment / "bin" / "python", *words], cwd=tmp_path, env=PLAIN, capture_output=True, text=True, check=False
    )
    assert done.stdout == "Success: no issues found in 1 source file\n", done.stdout + done.stderr


def test_pins_are_those_of_the_distribution(environment: Path, tmp_path: Path) -> None:
    code = "from harness.run.machine_facts import _pins; print(_pins()['tensorflow'])"
    done = subprocess.run(
        [environment / "bin" / "python", "-c", code], cwd=tmp_path, env=PLAIN, capture_output=True, text=True, check=True
    )
    assert f"tensorflow=={done.stdout.strip()}\n" in (ROOT / "versions.txt").read_text()


def test_a_type_error_across_the_border_to_harness_launch_is_found(tmp_path: Path) -> None:
    checkout = copy_of_the_checkout(tmp_path / "checkout", "harness/", "launch/harness_launch/", "pyproject.toml")
    called = checkout / "launch" / "harness_launch" / "machine.py"
    text = called.read_text()
    assert "def count_gpus() -> int:" in text
    words = ["-m", "mypy", "--follow-imports=silent", "--cache-dir", tmp_path / "cache", "harness/cli/inventory.py"]
    called.write_text(text.replace("def count_gpus() -> int:", "def count_gpus(host: str) -> int:"))
    done = subprocess.run([sys.executable, *words], cwd=checkout, env=PLAIN, capture_output=True, text=True, check=False)
    (line, total) = done.stdout.splitlines()
    assert re.match(r'harness/cli/inventory.py:\d+: error: Missing positional argument "host" in call to "count_gpus"', line)
    assert total == "Found 1 error in 1 file (checked 1 source file)"


HINT = re.compile(r"pip install[^\n]*?['\"]?\b([\w.-]+)\[([\w,-]+)\]")


def test_hints_name_the_distribution_and_extras_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    metadata: dict[str, Any] = {}
    monkeypatch.setattr(setuptools, "setup", metadata.update)
    monkeypatch.chdir(ROOT)
    runpy.run_path("setup.py")
    extras = metadata["extras_require"]
    old_name, hints = re.compile(rf"(?<![-\w/.])harness\[(?:{'|'.join(extras)})"), 0
    for name in tracked():
        if name.startswith(("harness/", "launch/", "slurm/", "docs/", "examples/", "benchmarks/")) or name in (
            "README.md",
            "CONTRIBUTING.md",
        ):
            text = (ROOT / name).read_text(errors="replace")
            assert old_name.findall(text) == [], name
            for package, wanted in HINT.findall(text):
                if package not in ("tensorflow", "."):
                    assert (package, set(wanted.split(",")) - set(extras)) == ("exact-harness", set()), name
                    hints += 1
    assert hints >= 5
