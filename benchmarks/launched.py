"""Whole runs, as a user starts them, and what their run.json says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cases import CASES, METRICS, write

__all__ = ["Run", "job_of", "launch", "launched_environment", "mapped", "measured_by_ranks", "peer_python", "run_silently"]

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT_S = 900
BLOCK = 1 << 14  # examples written at a time


@dataclass(frozen=True)
class Run:
    """One run.

    Attributes:
      ranks: how many.
      examples: of the job.
      elapsed_s: of the launch, from outside.
      seconds: of each rank, by phase.
      peak_bytes: resident, of each rank.
      digest: of metrics.json.
      split_s: of each rank, what its time went into; see `harness.watch.time_split`.
    """

    ranks: int
    examples: int
    elapsed_s: float
    seconds: Sequence[Mapping[str, float]]
    peak_bytes: Sequence[int]
    digest: str
    split_s: Sequence[Mapping[str, float]] = ()

    @property
    def loop_s(self) -> float:
        """Seconds of the slowest rank's loop."""
        return max(rank["evaluate"] for rank in self.seconds)

    def document(self) -> dict[str, Any]:
        """Return everything as JSON can hold it."""
        return asdict(self)


def launched_environment() -> dict[str, str]:
    """Return the environment of a launch: the ranks import this tree, TensorFlow keeps quiet."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "TF_CPP_MIN_LOG_LEVEL": "3"}


def measured_by_ranks(module: str, out: Path, ranks: int, *arguments: object, **environment: str) -> Any:
    """Start ranks of a module of this package over MPI; return what the first wrote, as JSON, into the file that they are told.

    Raises: RuntimeError: they failed.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    out.unlink(missing_ok=True)
    worker = [sys.executable, "-m", f"benchmarks.{module}", str(out), *map(str, arguments)]
    run_silently(["horovodrun", "-np", str(ranks), "--mpi", *worker], **environment)
    return json.loads(out.read_text())


def run_silently(argv: Sequence[str], **environment: str) -> None:
    """Run a command to its end.

    Raises: RuntimeError: it failed; with the last it said.
    """
    done = subprocess.run(
        argv, env={**launched_environment(), **environment}, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S,
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)} failed:\n{done.stdout[-4000:]}{done.stderr[-4000:]}")


def peer_python(folder: Path, name: str, packages: Sequence[str]) -> Path:
    """Return the interpreter of a peer's own environment; makes it where it is missing."""
    environment = folder / name
    if not (environment / "whole").exists():
        run_silently([sys.executable, "-m", "venv", "--clear", str(environment)])
        run_silently([str(environment / "bin" / "pip"), "install", "--quiet", *packages])
        (environment / "whole").touch()
    return environment / "bin" / "python"


def launch(
    job: Mapping[str, Any], folder: Path, ranks: int, *, over: str = "mpi", cores: str | None = None, starter: str = "horovodrun"
) -> Run:
    """Evaluate a job on some ranks.

    Args:
      job: as YAML would have it; its output is set here.
      folder: where job and run are put.
      ranks: how many.
      over: mpi or gloo.
      cores: which the ranks may use together, as taskset takes them; None for all.
      starter: horovodrun, launch (`harness launch`) or mpirun.
    Raises: RuntimeError: the run failed.
    """
    import hashlib

    run = folder / "run"
    shutil.rmtree(run, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "job.json"
    path.write_text(json.dumps({**job, "output": str(run)}))
    pinned = ["taskset", "-c", cores] if cores else []
    starters = {
        "horovodrun": ["horovodrun", "-np", str(ranks), f"--{over}", "harness"],
        "launch": ["harness", "launch", "-np", str(ranks), "--"],
        "mpirun": ["mpirun", *(["--allow-run-as-root"] if os.geteuid() == 0 else []), "-np", str(ranks), "harness"],
    }
    command = [*pinned, *starters[starter], "evaluate", str(path)]
    start = time.monotonic()
    # horovodrun may cut a character in two where the output of two ranks meets.
    done = subprocess.run(
        command, env=launched_environment(), capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S, check=False
    )
    elapsed_s = time.monotonic() - start
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
    attempt = json.loads((run / "run.json").read_text())["attempts"][-1]
    return Run(
        ranks,
        sum(rank["examples"] for rank in attempt["ranks"]),
        elapsed_s,
        [rank["seconds"] for rank in attempt["ranks"]],
        [rank["peak_bytes"] for rank in attempt["ranks"]],
        hashlib.sha256((run / "metrics.json").read_bytes()).hexdigest(),
        [rank["split_s"] for rank in attempt["ranks"]],
    )


def job_of(case: str, folder: Path, examples: int, metrics: Sequence[Any] = METRICS) -> dict[str, Any]:
    """Return the job of a case over so many examples in mapped arrays."""
    saved, _, _ = CASES[case].files(folder)
    return {
        "model": str(saved),
        "data": {"format": "npy", "files": str(mapped(case, folder, examples) / "*.npy"), "inputs": {"image": "image"}, "label": "label"},
        "metrics": list(metrics),
        "batch_size": CASES[case].batch_size,
    }  # fmt: skip


def mapped(case: str, folder: Path, examples: int) -> Path:
    """Write so many examples of a case as .npy files, in the order of their labels; does nothing where they are there.

    That is how folders of classes are read, and what makes an average over uneven shares wrong. Those of the archive are
    repeated, or left out, as often as it takes.
    """
    _, _, data = CASES[case].files(folder)
    write(CASES[case], folder)
    place = folder / case / f"ordered-{examples}"
    if (place / "label.npy").exists():
        return place
    place.mkdir(parents=True, exist_ok=True)
    with np.load(data) as archive:
        label = archive["label"]
        chosen = np.argsort(label, kind="stable")[np.arange(examples) * len(label) // examples]
        for name in ("image", "label"):
            array = archive[name]
            into = np.lib.format.open_memmap(place / f".{name}", "w+", array.dtype, (examples, *array.shape[1:]))
            for at in range(0, examples, BLOCK):
                into[at : at + BLOCK] = array[chosen[at : at + BLOCK]]
            into.flush()
            (place / f".{name}").rename(place / f"{name}.npy")
    return place
