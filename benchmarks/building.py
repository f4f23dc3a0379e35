"""How long a rank takes to open its data and build its step as a job grows wider: columns, inputs, metrics, slices.

Each dimension grows alone, over a few examples. What a rank needs before its first chunk is to be linear in it: the last
size is compared with the one before.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.launched import launch

__all__ = ["SIZES", "Building", "measure", "table"]

EXAMPLES = 256
PHASES = ("open", "build", "evaluate")  # the first call of the step is traced in `evaluate`
SIZES: Mapping[str, tuple[int, ...]] = {
    "columns": (10, 100, 400),
    "inputs": (10, 100, 400),
    "metrics": (10, 100, 400),
    "slices": (10, 100, 400),
}


@dataclass(frozen=True)
class Building:
    """Seconds of a dimension's sizes, of the rounds.

    Attributes:
      dimension: what grows.
      seconds: of a rank's phases before and with its only chunk, by size.
    """

    dimension: str
    seconds: Mapping[int, list[float]]

    @property
    def median_s(self) -> dict[int, float]:
        """The median over the rounds, by size."""
        return {size: statistics.median(seconds) for size, seconds in self.seconds.items()}

    @property
    def growth(self) -> float:
        """By which power of the size the seconds grow that the two largest sizes add to the smallest; 1 is linear."""
        least, *_, before, last = self.median_s.values()
        sizes = list(self.seconds)
        return float(np.log((last - least) / (before - least)) / np.log((sizes[-1] - sizes[0]) / (sizes[-2] - sizes[0])))

    def document(self) -> dict[str, Any]:
        """Return everything as JSON can hold it."""
        return {**asdict(self), "growth": self.growth}


def measure(folder: Path, *, rounds: int) -> list[Building]:
    """Measure every dimension."""
    jobs = {name: {size: make(folder / "building", size) for size in SIZES[name]} for name, make in JOBS.items()}
    buildings = [Building(name, {size: [] for size in sizes}) for name, sizes in SIZES.items()]
    for _ in range(rounds):
        for building in buildings:
            for size, seconds in building.seconds.items():
                run = launch(jobs[building.dimension][size], folder / "building", 1)
                seconds.append(sum(run.seconds[0].get(phase, 0.0) for phase in PHASES))
    return buildings


def table(buildings: list[Building]) -> str:
    """Write the seconds as lines of a Markdown table."""
    sizes = next(iter(SIZES.values()))
    lines = [f"| seconds to open, build and trace | {' | '.join(map(str, sizes))} | grows with the power |"]
    lines.append(f"| --- | {'---: | ' * len(sizes)}---: |")
    for building in buildings:
        seconds = " | ".join(f"{building.median_s[size]:.2f}" for size in sizes)
        lines.append(f"| {building.dimension} | {seconds} | {building.growth:.2f} |")
    return "\n".join(lines)


def _columns(folder: Path, size: int) -> dict[str, Any]:
    names = [f"c{place}" for place in range(size)]
    job = _job(folder, {name: _numbers(place) for place, name in enumerate(names)}, [("x", size)])
    features = {"x": {"dtype": "float32", "columns": names}}
    return {**job, "data": {**job["data"], "inputs": {"x": "x"}, "features": features}}


def _inputs(folder: Path, size: int) -> dict[str, Any]:
    names = [f"c{place}" for place in range(size)]
    job = _job(folder, {name: _numbers(place)[:, None] for place, name in enumerate(names)}, [(name, 1) for name in names])
    return {**job, "data": {**job["data"], "inputs": {name: name for name in names}}}


def _metrics(folder: Path, size: int) -> dict[str, Any]:
    thresholds = np.linspace(0.01, 0.99, size).tolist()
    return {**_table(folder), "metrics": [{"binary_accuracy": {"threshold": at, "name": f"at_{at:.6f}"}} for at in thresholds]}


def _slices(folder: Path, size: int) -> dict[str, Any]:
    job = _job(folder, {f"s{place}": np.arange(EXAMPLES) % 2 for place in range(size)} | {"x": _numbers(1)[:, None]}, [("x", 1)])
    return {**job, "slices": [f"s{place}" for place in range(size)]}


def _table(folder: Path) -> dict[str, Any]:
    return _job(folder, {"x": _numbers(1)[:, None]}, [("x", 1)])


JOBS: Mapping[str, Callable[[Path, int], dict[str, Any]]] = {
    "columns": _columns,
    "inputs": _inputs,
    "metrics": _metrics,
    "slices": _slices,
}


def _numbers(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(EXAMPLES).astype(np.float32)


def _job(folder: Path, features: Mapping[str, np.ndarray], inputs: list[tuple[str, int]]) -> dict[str, Any]:
    """Write examples and a model of one unit over all of its inputs, by name and width."""
    import keras

    folder.mkdir(parents=True, exist_ok=True)
    name = f"{len(features)}-{len(inputs)}"
    data, model = folder / f"{name}.npz", folder / f"{name}.keras"
    np.savez(data, label=_numbers(0) > 0, **features)
    if not model.exists():
        layers = [keras.Input((width,), name=name) for name, width in inputs]
        whole = keras.layers.Concatenate()(layers) if len(layers) > 1 else layers[0]
        keras.Model(layers, keras.layers.Dense(1, activation="sigmoid")(whole)).save(model)
    return {
        "model": str(model),
        "data": {"files": str(data), "label": "label", "inputs": {"x": "x"}},
        "metrics": ["binary_accuracy"],
        "batch_size": 32,
    }
