"""The final sum against TorchMetrics' distributed sync of the same states over Gloo, and against MPI_Allreduce of the same bytes.

TorchMetrics has an environment of its own, which is made at the first call. It counts what the same model predicted of the
same examples, half in each process, and its values are compared with the harness's before anything is timed. A state that
several of its metrics have in common is synced once, as a collection could, and does not: the real cost is higher.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import reduction
from benchmarks.cases import CASES, write
from benchmarks.launched import TIMEOUT_S, job_of, launch, launched_environment, mapped, peer_python, run_silently
from benchmarks.turns import forth_and_back

__all__ = ["Compared", "State", "add_arguments", "answer", "compare", "measure", "table"]

TORCH, TORCHMETRICS, NUMPY = "2.13.0", "1.9.0", "2.4.6"
TOLERANCE = 1e-4  # TorchMetrics sums the cross-entropy in float32
CASE = "dense-64-128-10"
MATRICES = (1000, 2000)  # classes: 8 and 32 MB


@dataclass(frozen=True)
class State:
    """Seconds of one sum, of the slower rank: TorchMetrics', the harness's and MPI's of the same bytes."""

    name: str
    size_bytes: int
    theirs: list[float]
    ours: list[float]
    bare: list[float]

    @property
    def ratio(self) -> float:
        """How many times as fast the harness is: medians, for they are taken in different processes."""
        return statistics.median(self.theirs) / statistics.median(self.ours)


@dataclass(frozen=True)
class Compared:
    """The states, the values that both report, and the whole final phase of a run, certificate included."""

    examples: int
    ranks: int
    states: list[State]
    values: Mapping[str, tuple[float, float]]
    phase_s: list[float]

    def document(self) -> dict[str, Any]:
        """Return everything as JSON can hold it."""
        return {**asdict(self), "ratio": {state.name: state.ratio for state in self.states}}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what can be asked."""
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--examples", type=int, default=409_600)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--launches", type=int, default=3)


def answer(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """Measure both.

    Returns: raw values and a table.
    """
    found = measure(
        options.folder, examples=options.examples, ranks=options.ranks, rounds=options.rounds, launches=options.launches
    )
    return found.document(), table(found)


def measure(folder: Path, *, examples: int, ranks: int, rounds: int, launches: int) -> Compared:
    """Measure; every other launch goes backwards.

    Raises: RuntimeError: one failed, or their values differ.
    """
    place = folder / f"gloo-{examples}"
    place.mkdir(parents=True, exist_ok=True)
    write(CASES[CASE], folder)
    if not (place / "label.npy").exists():
        saved, _, _ = CASES[CASE].files(folder)
        run_silently([sys.executable, "-c", PREDICT, str(saved), str(mapped(CASE, folder, examples)), str(place)])
    python = peer_python(folder, f"torch-{TORCH}", [f"torch=={TORCH}", f"torchmetrics=={TORCHMETRICS}", f"numpy=={NUMPY}"])
    torch: list[dict[str, Any]] = []
    sums: list[reduction.Reduction] = []
    phases: list[float] = []
    values: Mapping[str, tuple[float, float]] = {}

    def theirs() -> None:
        nonlocal values
        torch.append(_sync(python, place, ranks, rounds))
        values = compare(own, torch[-1]["values"], torch[-1]["examples"], examples)

    run = launch(job_of(CASE, folder, examples), place, ranks)
    own = json.loads((place / "run" / "metrics.json").read_text())["metrics"]
    phases.append(max(rank["reduce"] for rank in run.seconds))

    def ours() -> None:
        sizes = [sync["bytes"] for sync in torch[0]["syncs"].values()]
        sums.append(reduction.measure(folder, ranks=ranks, rounds=rounds, sizes=sizes))

    for _, turn in forth_and_back((theirs, ours), launches):
        turn()
    states = [
        State(
            name, sync["bytes"],
            [second for one in torch for second in one["syncs"][name]["seconds"]],
            [second for one in sums for second in one.ours[sync["bytes"]]],
            [second for one in sums for second in one.bare[sync["bytes"]]],
        )
        for name, sync in torch[0]["syncs"].items()
    ]  # fmt: skip
    return Compared(examples, ranks, states, values, phases)


def compare(
    own: Mapping[str, Any], theirs: Mapping[str, float], counted: int, examples: int
) -> Mapping[str, tuple[float, float]]:
    """Return the values of both by metric.

    Raises: RuntimeError: they differ, or not every example was counted.
    """
    if counted != examples:
        raise RuntimeError(f"TorchMetrics counted {counted} of {examples} examples")
    values = {name: (own[name]["value"], value) for name, value in theirs.items()}
    for name, (ours, other) in values.items():
        if not abs(ours - other) <= TOLERANCE:  # NaN does not pass
            raise RuntimeError(f"{name}: the harness reports {ours}, TorchMetrics {other}")
    return values


def table(found: Compared) -> str:
    """Write times and ratios as lines of a Markdown table."""
    lines = [
        f"| state, {found.ranks} ranks | bytes | TorchMetrics {TORCHMETRICS} over Gloo, ms | harness, ms | MPI_Allreduce, ms | TorchMetrics / harness |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for state in found.states:
        times = " | ".join(f"{1e3 * statistics.median(seconds):.2f}" for seconds in (state.theirs, state.ours, state.bare))
        lines.append(f"| {state.name} | {state.size_bytes:,} | {times} | {state.ratio:.2f} |")
    apart = max(abs(a - b) for a, b in found.values.values())
    lines += [
        "",
        f"The whole final phase of a run of 7 metrics, certificate included: {1e3 * statistics.median(found.phase_s):.2f} ms. "
        f"The values of {', '.join(found.values)} are at most {apart:.1e} apart.",
    ]
    return "\n".join(lines)


def _sync(python: Path, place: Path, ranks: int, rounds: int) -> dict[str, Any]:
    """Start TorchMetrics' processes; return what the first wrote."""
    for name in ("store", "gloo.json"):
        (place / name).unlink(missing_ok=True)
    worker = Path(__file__).parent / "gloo_worker.py"
    environment = {**launched_environment(), "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            # -P: files beside the worker are not to be taken for modules.
            [str(python), "-P", str(worker), str(rank), str(ranks), str(place), *map(str, MATRICES), str(rounds)],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for rank in range(ranks)
    ]  # fmt: skip
    said = [process.communicate(timeout=TIMEOUT_S)[0] for process in processes]
    if any(process.returncode for process in processes):
        raise RuntimeError("TorchMetrics failed:\n" + "\n".join(text[-3000:] for text in said))
    answer: dict[str, Any] = json.loads((place / "gloo.json").read_text())
    return answer


PREDICT = """
import os, sys
import numpy as np, tensorflow as tf
saved, arrays, folder = sys.argv[1:]
signature = tf.saved_model.load(saved).signatures["serving_default"]
(name,) = signature.structured_input_signature[1]
image, label = (np.load(f"{arrays}/{part}.npy", mmap_mode="r") for part in ("image", "label"))
(output,) = signature.structured_outputs
scores = [signature(**{name: tf.constant(image[at : at + 4096])})[output].numpy() for at in range(0, len(image), 4096)]
np.save(f"{folder}/scores.npy", np.concatenate(scores))
np.save(f"{folder}/.label.npy", label)
os.replace(f"{folder}/.label.npy", f"{folder}/label.npy")
"""
