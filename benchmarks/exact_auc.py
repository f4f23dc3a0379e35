"""Measures the exact AUC of 20 million examples on two ranks: what follows prediction, and the memory of a rank.

    python benchmarks/exact_auc.py [--examples 20000000] [--ranks 2] [--metric roc_auc]

Each case is a launch of its own, so that its peak is its own. The scores of positives are normal around 1, of negatives
around 0: the area must be near Phi(1 / sqrt 2) = 0.7602; all tied, it must be 0.5.

One run of 20 million, on two cores with a load average of 15 from other work; seconds after prediction, largest RSS of
a rank (some 640 MiB of it TensorFlow, 230 MiB the rows themselves):

    gloo  distinct  7.2 s  1405 MiB        mpi  distinct  16.5 s  1412 MiB

All tied, over MPI, before one more column was saved: 4.2 s, 1161 MiB. Rows come in one piece here; a run that collects
them by the chunk holds them twice while it puts them together, which is not measured here.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
CASES = ("distinct", "float32", "tied", "weighted")


def main() -> None:
    """Launch every case over MPI and over Gloo, print one line each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=20_000_000)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--metric", default="roc_auc")
    parser.add_argument("--over", nargs="*", choices=("mpi", "gloo"), default=["mpi", "gloo"])
    parser.add_argument("--cases", nargs="*", choices=CASES, default=["distinct", "float32", "tied"])
    parser.add_argument("--rank-of", choices=CASES, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.rank_of:
        _rank(given.rank_of, given.examples, given.metric)
        return
    print(f"{given.metric} of {given.examples:,} examples on {given.ranks} ranks")
    for over in given.over:
        for case in given.cases:
            _launch(over, case, given)


def _launch(over: str, case: str, given: argparse.Namespace) -> None:
    command = ["horovodrun", "-np", str(given.ranks), f"--{over}", sys.executable, __file__]
    command += ["--rank-of", case, "--examples", str(given.examples), "--metric", given.metric]
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    # Lines of several ranks may run into each other.
    lines = [json.loads(text) for text in re.findall(r'\{"seconds.*?\}', done.stdout)]
    if done.returncode or len(lines) != given.ranks:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    values = [line["value"] for line in lines if line["value"] is not None]
    seconds, peak = max(line["seconds"] for line in lines), max(line["peak_mib"] for line in lines)
    before = max(line["before_mib"] for line in lines)
    print(
        f"{over:5} {case:9} {seconds:6.1f} s  peak {peak:5.0f} MiB a rank, {before:5.0f} before  value {values[0]!r}", flush=True
    )


def _rank(case: str, examples: int, name: str) -> None:
    """Make this rank's rows, reduce them, and say how it went."""
    from harness import tf_setup
    from harness.hvd_comm import HorovodComm
    from harness.metrics import load
    from harness.row_reduce import reduce_rows, row_totals

    tf_setup.import_tensorflow()
    comm = HorovodComm()
    metric = load(name)()
    table = _table(case, examples, comm.rank, comm.size)
    comm.barrier()
    before, start = _peak_mib(), time.monotonic()
    folded = reduce_rows(metric, table, comm)
    seconds = time.monotonic() - start
    value = None
    if comm.rank == 0:
        value = metric.value(row_totals(folded[0, 0], positions=examples, weight=examples))
    print(json.dumps({"seconds": seconds, "before_mib": before, "peak_mib": _peak_mib(), "value": value}), flush=True)
    comm.barrier()
    comm.close()


def _table(case: str, examples: int, rank: int, size: int):  # type: ignore[no-untyped-def]
    from harness.rows import RowTable

    n = examples // size + (rank < examples % size)
    rng = np.random.default_rng(rank)
    positive = rng.integers(0, 2, n, dtype=np.int64)
    key = np.full(n, 0.5) if case == "tied" else rng.standard_normal(n)
    if case != "tied":
        key += positive
    if case == "float32":
        key = key.astype(np.float32).astype(np.float64)
    weights = rng.random(n) if case == "weighted" else None
    ids = np.arange(rank, examples, size, dtype=np.int64)
    return RowTable(key, {"positive": positive}, ids, np.zeros((n, 0), np.int64), weights=weights)


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
