"""The harness on some ranks against what people use otherwise: MultiWorkerMirroredStrategy, and the usual Horovod recipe.

The same model, examples in mapped arrays, batch size and metrics, one thread a worker, turn by turn. A peer's time is that
of its second pass, compiled and warm; the harness's that of its only one. Keras 3's own `evaluate` raises under the
strategy, so that peer is a `strategy.run` loop in one tf.function with tf_keras metrics; precision, recall and F1 come from
one confusion matrix, which is less work than three metrics. The workers stand in `peers_worker`.
"""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.cases import CASES
from benchmarks.launched import TIMEOUT_S, job_of, launch, launched_environment
from benchmarks.peers_worker import PEERS
from benchmarks.turns import forth_and_back, median_ratio

__all__ = ["PEERS", "Peers", "add_arguments", "answer", "measure", "table"]

TOLERANCE = 1e-4  # Keras sums in float32


@dataclass(frozen=True)
class Peers:
    """Seconds of the loop by round and leg, and the values each reported."""

    case: str
    examples: int
    ranks: int
    seconds: Mapping[str, list[float]]
    values: Mapping[str, Mapping[str, float | None]]

    def ratio(self, peer: str) -> float:
        """How many times as fast the harness is: the median over the rounds."""
        return median_ratio(self.seconds[peer], self.seconds["harness"])

    def error(self, peer: str) -> float:
        """The largest difference of a value from the harness's, of those that it has."""
        own, other = self.values["harness"], self.values[peer]
        return max(abs(own[name] - other[name]) for name in own.keys() & other.keys() - self.undefined(peer))

    def undefined(self, peer: str) -> set[str]:
        """The values that are NaN: an average with a rank on which a class does not occur."""
        return {name for name, value in self.values[peer].items() if value is None}

    def document(self) -> dict[str, Any]:
        """Return everything as JSON can hold it."""
        peers = [peer for peer in self.seconds if peer != "harness"]
        return {
            "case": self.case, "examples": self.examples, "ranks": self.ranks, "seconds": self.seconds, "values": self.values,
            "ratio": {peer: self.ratio(peer) for peer in peers}, "error": {peer: self.error(peer) for peer in peers},
        }  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what can be asked."""
    parser.add_argument("--cases", nargs="+", choices=CASES, default=["dense-64-128-10", "convnet"])
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--examples", type=int, help="default: four times those of the case")
    parser.add_argument("--rounds", type=int, default=3)


def answer(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """Measure the cases.

    Returns: raw values and a table.
    """
    found = [
        measure(
            case,
            options.folder,
            examples=options.examples or 4 * CASES[case].examples,
            ranks=options.ranks,
            rounds=options.rounds,
        )
        for case in options.cases
    ]
    return {"cases": [one.document() for one in found]}, table(found)


def measure(case: str, folder: Path, *, examples: int, ranks: int, rounds: int) -> Peers:
    """Measure a case; every other round goes backwards.

    Raises: RuntimeError: a run failed, or the strategy reports other values. The recipe's are shown, not held against it.
    """
    place = folder / "peers"
    found = Peers(case, examples, ranks, {"harness": [], **{peer: [] for peer in PEERS}}, {})
    values: dict[str, Mapping[str, float | None]] = {}
    job = job_of(case, folder, examples)

    def ours() -> None:
        run = launch(job, place, ranks)
        found.seconds["harness"].append(run.loop_s + max(rank["reduce"] for rank in run.seconds))
        metrics = json.loads((place / "run" / "metrics.json").read_text())["metrics"]
        values["harness"] = {key: entry["value"] for key, entry in metrics.items() if isinstance(entry["value"], float)}

    def theirs(peer: str) -> Callable[[], None]:
        def turn() -> None:
            answer = _start(peer, case, folder, examples, ranks)
            found.seconds[peer].append(answer["seconds"])
            values[peer] = answer["values"]

        return turn

    turns = [ours, *(theirs(peer) for peer in PEERS)]
    for _, turn in forth_and_back(turns, rounds):
        turn()
    compared = Peers(case, examples, ranks, found.seconds, values)
    if not (error := compared.error("mwms")) <= TOLERANCE or compared.undefined("mwms"):
        raise RuntimeError(f"{case}: values of the harness and of MultiWorkerMirroredStrategy differ by {error}: {values}")
    return compared


def table(found: Sequence[Peers]) -> str:
    """Write ratios and errors as lines of a Markdown table."""
    lines = ["| case | peer | harness / peer | largest difference of a value |", "| --- | --- | ---: | ---: |"]
    for one in found:
        for peer in PEERS:
            nan = "".join(f", {name} is NaN" for name in sorted(one.undefined(peer)))
            lines.append(f"| {one.case} | {peer} | {one.ratio(peer):.2f} | {one.error(peer):.1e}{nan} |")
    return "\n".join(lines)


def _start(peer: str, case: str, folder: Path, examples: int, ranks: int) -> dict[str, Any]:
    """Start the workers of a peer; return what the first wrote."""
    out = folder / "peers" / f"{peer}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.unlink(missing_ok=True)
    arguments = [sys.executable, "-m", "benchmarks.peers_worker", peer, case, str(folder), str(examples), str(out)]
    if peer == "mwms":
        ports = [_free_port() for _ in range(ranks)]
        cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
        commands = [
            (arguments, {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})})
            for index in range(ranks)
        ]
    else:
        commands = [(["horovodrun", "-np", str(ranks), "--mpi", *arguments], {})]
    workers = [
        subprocess.Popen(
            argv,
            env={**launched_environment(), **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        for argv, more in commands
    ]
    said = [worker.communicate(timeout=TIMEOUT_S)[0] for worker in workers]
    if any(worker.returncode for worker in workers) or not out.exists():
        raise RuntimeError(f"{peer} failed:\n" + "\n".join(text[-3000:] for text in said))
    answer: dict[str, Any] = json.loads(out.read_text())
    return answer


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
