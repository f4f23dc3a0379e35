"""One leg in a process of its own, driven over its pipes: a line in is a pass to make, a line out is what it took."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.cases import CASES, Case

__all__ = ["Worker"]


class Worker:
    """A process that holds one leg ready; it sleeps while others are measured. With a core it stays on that."""

    def __init__(self, leg: str, case: Case, folder: Path, threads: int, data: str = "memory", core: int | None = None) -> None:
        self.leg = leg
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        pinned = [] if core is None else ["taskset", "-c", str(core)]
        self._process = subprocess.Popen(
            [*pinned, sys.executable, "-m", "benchmarks.worker", leg, case.name, str(folder), str(threads), data],
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


def main(leg: str, case: str, folder: str, threads: str, data: str) -> None:
    """Build a leg, then make a pass for every line that comes in."""
    from benchmarks.legs import LEGS

    run = LEGS[leg](CASES[case], Path(folder), int(threads), data)
    print("{}", flush=True)
    for _ in sys.stdin:
        start, cpu_start = time.perf_counter(), time.process_time()
        found = run()
        elapsed_s, cpu_s = time.perf_counter() - start, time.process_time() - cpu_start
        print(json.dumps({"seconds": elapsed_s, "cpu_seconds": cpu_s, "results": found}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
