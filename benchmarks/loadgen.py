"""MLPerf LoadGen drives the harness's model, as the system under test, on the cases of the other questions: Offline and SingleStream.

The way is that of `harness bench --kit loadgen` (the `mlcommons-loadgen` wheel, extra bench).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cases import CASES, METRICS, write
from benchmarks.environment import CORES
from harness.bench.loadgen import Asked, Scenario, ScenarioName, table

__all__ = ["SCENARIOS", "add_arguments", "answer", "measure"]

SCENARIOS = (ScenarioName.OFFLINE, ScenarioName.SINGLE_STREAM)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what can be asked."""
    parser.add_argument("--cases", nargs="+", choices=CASES, default=["dense-784-512-10", "convnet"])
    parser.add_argument("--seconds", type=float, default=10.0, help="of each scenario, at least")
    parser.add_argument("--threads", type=int, default=CORES)


def answer(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """Measure the cases in every scenario.

    Returns: raw values and tables.
    """
    from harness.bench.loadgen_run import load_loadgen
    from harness.step import tensorflow as tf_setup

    load_loadgen()  # before there is work
    tf_setup.set_up(0, options.threads, 0)
    scenarios = {case: measure(case, options.folder, seconds=options.seconds) for case in options.cases}
    documents = [{"case": case, **scenario.document()} for case, driven in scenarios.items() for scenario in driven]
    return {"scenarios": documents}, "\n\n".join(f"{case}:\n\n{table(driven)}" for case, driven in scenarios.items())


def measure(case: str, folder: Path, *, seconds: float) -> Sequence[Scenario]:
    """Drive one case through the scenarios; TensorFlow has been set up."""
    from harness.bench.loadgen_kit import system_of
    from harness.bench.loadgen_system import drive, peak_rate
    from harness.job.job import Job

    write(CASES[case], folder)
    saved, _, data = CASES[case].files(folder)
    keys = {"files": str(data), "inputs": {"image": "image"}, "label": "label"}
    job = Job.from_dict({"model": str(saved), "data": keys, "metrics": METRICS, "batch_size": CASES[case].batch_size})
    with np.load(data) as archive:
        system = system_of(job, {"image": archive["image"]})
    driven = []
    for name in SCENARIOS:
        size = system.size(name)
        rate = peak_rate(system, size) * (size if name is ScenarioName.OFFLINE else 1)
        driven.append(drive(system, Asked(name, seconds, rate), folder / "loadgen" / case))
    return driven
