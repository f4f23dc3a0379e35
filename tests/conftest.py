"""Fixtures: models and data made once a session, and ways to run the harness as a user does."""

from __future__ import annotations

import functools
import gc
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import yaml
from harness_launch.mpirun import command_line, exported
from xdist.remote import Producer

from tests import made, preloading, schemas, selection

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
# Ranks import the tree under test, are quiet, and do not fight for two cores.
OWN_PATHS = [str(ROOT / "tests" / "ranks" / "planted"), str(ROOT), str(ROOT / "launch")]
os.environ["PYTHONPATH"] = os.pathsep.join([*OWN_PATHS, os.environ.get("PYTHONPATH", "")])
os.environ["PATH"] = f"{BIN}{os.pathsep}{os.environ['PATH']}"
os.environ.update(
    TF_CPP_MIN_LOG_LEVEL="3", OMPI_MCA_mpi_yield_when_idle="1", OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1"
)
LIMIT_S = 240  # a bound, not a measure: a launch takes a few seconds on an idle machine


@dataclass(frozen=True)
class Done:
    """What a command did."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def text(self) -> str:
        return self.out + self.err


@dataclass(frozen=True)
class Made:
    """The folder of models and data."""

    folder: Path

    @property
    def first_file(self) -> Path:
        """A plain TFRecord file."""
        return self.folder / made.FILES[0][0]

    def job(self, path: Path, **keys: Any) -> Path:
        """Write a job file; what is not given is the probabilities classifier on all TFRecord files."""
        job = {
            "model": str(self.folder / "classifier"),
            "data": {"files": [str(self.folder / name) for name, _, _ in made.FILES], "label": "label"},
            "metrics": ["accuracy"],
            "batch_size": 16,
            "chunk_size": 32,
        }
        data = {**job["data"], **keys.pop("data", {})}
        path.write_text(yaml.safe_dump({**job, **keys, "data": {k: v for k, v in data.items() if v is not None}}))
        return path


@pytest.fixture(scope="session", autouse=True)
def files_have_their_schema() -> Iterator[None]:
    """See that every metrics.json, run.json and status.json that a test's process writes is as docs/schemas says."""
    with schemas.checked_renames():
        yield


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Models and data."""
    folder = tmp_path_factory.mktemp("made")
    made.save_models(folder)
    made.save_data(folder)
    return Made(folder)


def start(argv: Sequence[str | Path], cwd: Path, environ: Mapping[str, str] | None = None) -> Done:
    """Run a process of its own to its end; where it does not come to one, end it and all it has started."""
    begun = time.monotonic()
    process = subprocess.Popen(
        [str(word) for word in argv], cwd=cwd, env={**os.environ, **(environ or {})}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        out, err = process.communicate(timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGTERM)  # a launcher ends its ranks, then
        out, err = process.communicate(timeout=30)
        text = (out + err).decode(errors="replace")
        pytest.fail(f"{' '.join(map(str, argv))} had not ended after {LIMIT_S} s:\n{text}")
    seconds = time.monotonic() - begun
    schemas.check_written(cwd, time.time() - seconds)
    return Done(process.returncode, out.decode(errors="replace"), err.decode(errors="replace"), seconds)


def over_ranks(ranks: int, comm: str, command: Sequence[str | Path]) -> list[str]:
    """Return what starts a command on some ranks of this machine.

    Over MPI it is the line that horovodrun comes to (tests/launch/test_mpirun.py) once it has loaded TensorFlow twice.
    """
    words = [str(word) for word in command]
    if comm == "mpi":
        return command_line(words, ranks=ranks, interfaces=["lo"], environ=exported(os.environ))
    return ["horovodrun", "-np", str(ranks), f"--{comm}", *words]


@pytest.fixture(scope="session")
def cli_server() -> Iterator[subprocess.Popen[str]]:
    """The process that forks for every command."""
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.cli_server"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None and server.stdin is not None
    assert server.stdout.readline() == "ready\n"
    yield server
    server.stdin.close()
    server.wait(timeout=30)


def command(
    server: subprocess.Popen[str],
    folder: Path,
    *argv: str | Path,
    cwd: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Done:
    """Run `harness ARGS...` alone, in a process of its own that the server forks."""
    assert server.stdout is not None and server.stdin is not None
    out, err = folder / ".out", folder / ".err"
    request = {
        "argv": [str(word) for word in argv],
        "cwd": str(cwd or folder),
        "environ": {"HARNESS_THREADS": "1", **(environ or {})},
        "stdout": str(out),
        "stderr": str(err),
    }
    begun = time.monotonic()
    server.stdin.write(json.dumps(request) + "\n")
    server.stdin.flush()
    code = int(server.stdout.readline())
    return Done(code, out.read_text(), err.read_text(), time.monotonic() - begun)


@pytest.fixture
def harness(cli_server: subprocess.Popen[str], tmp_path: Path) -> Callable[..., Done]:
    """Run `harness ARGS...` alone; see `command`."""
    return functools.partial(command, cli_server, tmp_path)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--part", metavar="KEY", help="of the long tests the tenth that a key chooses, and nothing else")
    parser.addoption("--shuffle", action="store_true", help="files, and the tests of each, in a random order")
    parser.addoption("--seed", type=int, help="of the order and of the property tests; it is printed")


# How long an example takes says nothing on a machine that does other things too.
hypothesis.settings.register_profile("harness", deadline=None)
hypothesis.settings.load_profile("harness")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Draw the seed, the same for all workers."""
    given = getattr(config, "workerinput", {"seed": config.option.seed})["seed"]
    config.option.seed = secrets.randbelow(10**9) if given is None else given
    if config.getoption("hypothesis_seed", None) is None:
        config.option.hypothesis_seed = config.option.seed
    if not hasattr(config, "workerinput"):
        preloading.bytecode(ROOT)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    node.workerinput["seed"] = node.config.option.seed


def pytest_report_header(config: pytest.Config) -> str:
    return f"seed: {config.option.seed} (--seed {config.option.seed} has the same)"


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None]:
    """Collect without Python's collector, and keep what pytest has rewritten: half of what each worker begins with.

    The modules and tests live as long as the process. No test looks for garbage among them.
    """
    writing, sys.dont_write_bytecode = sys.dont_write_bytecode, False
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()
        sys.dont_write_bytecode = writing


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> selection.FilesAndTests | None:
    """Hand out tests with ranks as `make test` asks with `--dist loadgroup`: xdist's own groups are lost under pytest 9.2."""
    return selection.FilesAndTests(config, log) if config.getoption("dist") == "loadgroup" else None


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Generator[None]:
    selection.mark(items)
    yield  # -m chooses by the marks; what it leaves is ordered
    items[:] = selection.longest_first(items)
    if config.option.part:
        items[:] = selection.part(items, config.option.part)
    if config.option.shuffle:
        items[:] = selection.shuffled(items, config.option.seed)
