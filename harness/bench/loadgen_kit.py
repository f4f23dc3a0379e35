"""The LoadGen kit: the vision kit's model under MLPerf LoadGen, in its four scenarios and its accuracy mode."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.bench.kits import CHECKED, KITS
from harness.bench.loadgen import Asked, Scenario, ScenarioName, always_unkept, table
from harness.bench.loadgen_run import load_loadgen
from harness.bench.loadgen_system import System, accuracy, drive, peak_rate
from harness.job.job import Job

__all__ = ["LoadgenResult", "measure", "server", "system_of"]

TRIES = 5  # rates of Server that are tried, each lower than the one before
FIRST_SHARE, SMALLER = 0.6, 0.6  # of Offline's rate; of the rate before
KIT = KITS["vision"]


@dataclass(frozen=True)
class LoadgenResult:
    """What came of the LoadGen kit.

    Attributes:
      scenarios: of performance.
      accuracy: of accuracy mode.
      expected_accuracy: what `harness evaluate` says of the same examples.
    """

    scenarios: Sequence[Scenario]
    accuracy: float
    expected_accuracy: float

    @property
    def is_right(self) -> bool:
        """Whether accuracy mode found what an evaluation finds: the same number, to the last bit."""
        return self.accuracy == self.expected_accuracy

    @property
    def unkept(self) -> tuple[str, ...]:
        """Rules of MLPerf that were not kept."""
        return (*always_unkept(), *(rule for scenario in self.scenarios for rule in scenario.unkept))

    def document(self) -> dict[str, Any]:
        """Return everything as JSON can hold it."""
        return {
            "scenarios": [scenario.document() for scenario in self.scenarios], "accuracy": self.accuracy,
            "expected_accuracy": self.expected_accuracy, "right": self.is_right, "rules_not_kept": list(self.unkept),
        }  # fmt: skip

    def markdown(self) -> str:
        """Return the result as it is printed."""
        same = "the same as" if self.is_right else f"WRONG: {self.expected_accuracy:.6f} in"
        lines = [table(self.scenarios), "", f"accuracy mode: {self.accuracy:.6f}, {same} an evaluation of the same examples", ""]
        lines += ["Rules of MLPerf Inference that are not kept:", "", *(f"- {rule}" for rule in self.unkept)]
        return "\n".join(lines)


def system_of(job: Job, features: Mapping[str, np.ndarray]) -> System:
    """Return a job's model as an evaluation predicts with it; TensorFlow has been set up.

    Args:
      features: arrays [N, ...] by name, of which the model's inputs are taken.
    """
    import tensorflow as tf

    from harness.metrics import make
    from harness.prepare.opened import open_data
    from harness.prepare.prepare import predictor, prepare_model

    prepared = prepare_model(job, make(job.metrics), open_data(job))
    predict = tf.function(predictor(prepared.model, prepared.matched), autograph=False)
    read = set(prepared.matched.inputs.values())
    return System(predict, {name: features[name] for name in sorted(read)}, job.batch_size)


def measure(folder: Path, *, seconds: float, threads: int, expected_accuracy: float) -> LoadgenResult:
    """Run accuracy mode and every scenario.

    Args:
      folder: where LoadGen's logs are left.
      seconds: of each scenario, at least.
      threads: of TensorFlow.
      expected_accuracy: what `harness evaluate` says of the kit's first 4,096 examples.
    Raises: UsageError: LoadGen is not installed.
    """
    load_loadgen()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from harness.bench.kit_data import vision
    from harness.step import tensorflow as tf_setup

    tf_setup.set_up(0, threads, 0)
    runs = list(vision().read(0, CHECKED))
    arrays = {name: np.concatenate([run[name] for run in runs]) for name in runs[0]}
    system = system_of(Job.from_dict(KIT.job(CHECKED)), arrays)
    answered = accuracy(system, arrays["label"], folder)
    scenarios = []
    for name in (ScenarioName.OFFLINE, ScenarioName.SINGLE_STREAM, ScenarioName.MULTI_STREAM):
        size = system.size(name)
        rate = peak_rate(system, size) * (size if name is ScenarioName.OFFLINE else 1)
        scenarios.append(drive(system, Asked(name, seconds, rate), folder))
    scenarios.append(server(system, seconds, scenarios[0].figures["samples_per_s"], folder))
    return LoadgenResult(scenarios, answered, expected_accuracy)


def server(system: System, seconds: float, offline_rate: float, folder: Path) -> Scenario:
    """Run Server at lower and lower rates, until LoadGen calls one valid; return the last one that was run."""
    rate = FIRST_SHARE * offline_rate
    for _ in range(TRIES):
        scenario = drive(system, Asked(ScenarioName.SERVER, seconds, rate), folder)
        if scenario.valid:
            break
        rate *= SMALLER
    return scenario
