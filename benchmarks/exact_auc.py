"""Measures whole runs with an exact AUC: what follows prediction, and the memory of a rank.

    python benchmarks/exact_auc.py [--examples 20000000] [--ranks 2] [--metric roc_auc]

Each case is a `harness evaluate` under horovodrun: the model passes a score on, so that nearly all of the run is what
the harness does. The scores of positives are normal around 1, of negatives around 0: the area must be near
Phi(1 / sqrt 2) = 0.7602; all tied, it must be 0.5. "After prediction" runs from the end of the last rank's loop to the
end of the launch; the peak is the largest VmHWM of a rank, mapped files and TensorFlow (some 640 MiB) included.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
CASES = ("distinct", "float32", "tied", "weighted")
BATCH = 16384
BLOCK = 1 << 20
MODELS = """
import sys
import tensorflow as tf
for kind in ("float32", "float64"):
    module = tf.Module()
    serve = tf.function(lambda score: {"probability": score}, [tf.TensorSpec([None], kind, "score")])
    tf.saved_model.save(module, f"{sys.argv[1]}/model-{kind}", {"serving_default": serve})
"""


def main() -> None:
    """Launch every case over MPI and over Gloo, print one line each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=20_000_000)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--metric", default="roc_auc")
    parser.add_argument("--over", nargs="*", choices=("mpi", "gloo"), default=["mpi", "gloo"])
    parser.add_argument("--cases", nargs="*", choices=CASES, default=["distinct", "float32", "tied"])
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "harness-benchmarks")
    given = parser.parse_args()
    folder = given.folder / f"exact-auc-{given.examples}"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "model-float64").exists():
        subprocess.run([sys.executable, "-c", MODELS, str(folder)], env=_environment(), check=True, capture_output=True)
    for case in given.cases:
        _write(folder / case, case, given.examples)
    print(f"{given.metric} of {given.examples:,} examples on {given.ranks} ranks")
    for over in given.over:
        for case in given.cases:
            print(_launch(folder, case, over, given), flush=True)


def _launch(folder: Path, case: str, over: str, given: argparse.Namespace) -> str:
    run, job = folder / f"run-{case}-{over}", folder / f"{case}.json"
    shutil.rmtree(run, ignore_errors=True)
    data = {"format": "npy", "files": str(folder / case / "*.npy"), "inputs": {"score": "score"}, "label": "label"}
    kind = "float64" if case == "distinct" else "float32"
    job.write_text(
        json.dumps(
            {
                "model": str(folder / f"model-{kind}"),
                "data": {**data, **({"weight": "weight"} if case == "weighted" else {})},
                "metrics": [given.metric],
                "batch_size": BATCH,
                "output": str(run),
            }
        )
    )
    command = ["horovodrun", "-np", str(given.ranks), f"--{over}", "harness", "evaluate", str(job)]
    done = subprocess.run(command, env=_environment(), capture_output=True, text=True, check=False)
    end = time.time()
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    attempt: dict[str, Any] = json.loads((run / "run.json").read_text())["attempts"][-1]
    (value,) = (entry["value"] for entry in json.loads((run / "metrics.json").read_text())["metrics"].values())
    ranks = attempt["ranks"]
    after_s = max(rank["seconds"]["reduce"] for rank in ranks) + end - (run / "run.json").stat().st_mtime
    predicting_s = max(rank["seconds"]["evaluate"] for rank in ranks)
    peak = max(rank["peak_bytes"] for rank in ranks) / 2**20
    return (
        f"{over:5} {case:9} predicting {predicting_s:5.1f} s  after prediction {after_s:5.1f} s  "
        f"peak {peak:5.0f} MiB a rank  value {value!r}"
    )


def _write(folder: Path, case: str, examples: int) -> None:
    """Write scores and labels, a block at a time; does nothing where they are there."""
    if (folder / "label.npy").exists():
        return
    folder.mkdir(exist_ok=True)
    kind = np.float64 if case == "distinct" else np.float32
    arrays = {"score": kind, "label": np.int8, **({"weight": np.float32} if case == "weighted" else {})}
    files = {name: np.lib.format.open_memmap(folder / f".{name}.npy", "w+", dtype, (examples,)) for name, dtype in arrays.items()}
    rng = np.random.default_rng(7)
    for at in range(0, examples, BLOCK):
        n = min(BLOCK, examples - at)
        label = rng.integers(0, 2, n, dtype=np.int8)
        files["label"][at : at + n] = label
        files["score"][at : at + n] = 0.5 if case == "tied" else rng.standard_normal(n) + label
        if case == "weighted":
            files["weight"][at : at + n] = rng.random(n)
    for name in files:  # the label last: it says that all are whole
        if name != "label":
            (folder / f".{name}.npy").rename(folder / f"{name}.npy")
    (folder / ".label.npy").rename(folder / "label.npy")


def _environment() -> dict[str, str]:
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "TF_CPP_MIN_LOG_LEVEL": "3"}


if __name__ == "__main__":
    main()
