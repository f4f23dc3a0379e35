"""One leg in a process of its own, driven over its pipes: a line in is a pass to make, a line out is what it took."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.cases import CASES, Case
from benchmarks.one_rank import Pass
from benchmarks.turns import forth_and_back, timed

__all__ = ["Turns", "Worker", "compare", "loop_worker", "serve", "take_turns"]

TOLERANCE = 1e-4  # Keras sums in float32


class Worker:
    """A process that holds one leg ready; it sleeps while others are measured.

    Args:
      leg: its name.
      arguments: of `python -m`: a module that ends in `serve`, and what it takes.
      core: the process stays on it, or on some, as taskset takes them; None for all.
    """

    def __init__(self, leg: str, arguments: Sequence[str], core: int | str | None = None) -> None:
        self.leg = leg
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        pinned = [] if core is None else ["taskset", "-c", str(core)]
        self._process = subprocess.Popen(
            [*pinned, sys.executable, "-m", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self._answer()

    def measure(self) -> tuple[float, float, Mapping[str, float]]:
        """Make one pass; return its seconds, its processor seconds and its results by metric."""
        self.begin()
        return self.end()

    def begin(self) -> None:
        """Begin a pass."""
        assert self._process.stdin is not None
        self._process.stdin.write("pass\n")
        self._process.stdin.flush()

    def end(self) -> tuple[float, float, Mapping[str, float]]:
        """Wait for the end of the pass; see `measure`."""
        answer = self._answer()
        return answer["seconds"], answer["cpu_seconds"], answer["results"]

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):  # libraries may print lines of their own
                return json.loads(line)
        raise RuntimeError(f"the worker of leg {self.leg} ended with code {self._process.wait()}; its messages are above")


def loop_worker(leg: str, case: Case, folder: Path, threads: int, data: str = "memory", core: int | None = None) -> Worker:
    """Hold a leg of the loop ready."""
    return Worker(leg, ["benchmarks.worker", leg, case.name, str(case.examples), str(folder), str(threads), data], core)


@dataclass(frozen=True)
class Turns:
    """Raw seconds of each pass by leg: `warmups` first, then one value per round, in processor seconds too; results by leg."""

    warmups: Mapping[str, list[float]]
    seconds: Mapping[str, list[float]]
    cpu_seconds: Mapping[str, list[float]]
    results: Mapping[str, Mapping[str, float]]


def take_turns(workers: Sequence[Worker], *, rounds: int, warmups: int) -> Turns:
    """Let workers make passes, A B B A A B ..., so that no leg always follows the same one; end them."""
    legs = [worker.leg for worker in workers]
    before, seconds, cpu_seconds = ({leg: list[float]() for leg in legs} for _ in range(3))
    results: dict[str, Mapping[str, float]] = {}
    try:
        for number, worker in forth_and_back(workers, warmups + rounds):
            elapsed_s, worker_cpu_s, results[worker.leg] = worker.measure()
            (before if number < warmups else seconds)[worker.leg].append(elapsed_s)
            if number >= warmups:
                cpu_seconds[worker.leg].append(worker_cpu_s)
    finally:
        for worker in workers:
            worker.close()
    return Turns(before, seconds, cpu_seconds, results)


def compare(found: Mapping[str, Mapping[str, float]]) -> None:
    """Make sure that all legs report the same before any speed is.

    Raises: RuntimeError: a leg reports another value than the harness.
    """
    own = found.get("harness", {})
    for leg, results in found.items():
        for name in own.keys() & results.keys():
            if not abs(own[name] - results[name]) <= TOLERANCE:  # NaN does not pass
                raise RuntimeError(f"{name}: the harness reports {own[name]}, {leg} reports {results[name]}")


def serve(run: Pass) -> None:
    """Make a pass for every line that comes in."""
    print("{}", flush=True)
    for _ in sys.stdin:
        elapsed_s, cpu_s, results = timed(run)
        print(json.dumps({"seconds": elapsed_s, "cpu_seconds": cpu_s, "results": results}), flush=True)


def main(leg: str, case: str, examples: str, folder: str, threads: str, data: str) -> None:
    """Build a leg of the loop, and serve."""
    from benchmarks.legs import LEGS

    serve(LEGS[leg](replace(CASES[case], examples=int(examples)), Path(folder), int(threads), data))


if __name__ == "__main__":
    main(*sys.argv[1:])
