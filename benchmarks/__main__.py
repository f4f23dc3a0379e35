"""The command line of the benchmarks: `python -m benchmarks QUESTION`."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import coverage, loop, readers, slices
from benchmarks.cases import CASES, write
from benchmarks.environment import environment

RESULTS = Path(__file__).parent / "results"
LEGS = ("harness", "bare", "bare-xla", "bare-cut", "keras", "keras-lean", "keras-steps32")


def _readers(given: argparse.Namespace) -> None:
    """Compare readers, and leave the raw values in a file."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    found = [
        readers.measure(
            name, given.folder, examples=given.examples, batch_size=given.batch_size, rounds=given.rounds, threads=given.threads
        )
        for name in given.formats
    ]
    print(readers.table(found), flush=True)
    document = {"question": "readers", "environment": environment(), "formats": [asdict(one) for one in found]}
    if given.memory_gib:
        document["memory"] = readers.flat_memory(given.folder, size_bytes=int(given.memory_gib * 2**30))
        print(document["memory"])
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"readers-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    path.write_text(json.dumps(document, indent=1) + "\n")
    print(f"\nraw values: {path}")


def main() -> None:
    """Measure what was asked for, print a table, leave the raw values in a file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    questions = parser.add_subparsers(dest="question", required=True)
    asked = questions.add_parser("loop", help="the loop of one rank against a bare forward loop and keras.Model.evaluate")
    asked.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    asked.add_argument("--legs", nargs="+", choices=LEGS, default=list(LEGS))
    asked.add_argument("--rounds", type=int, default=11)
    asked.add_argument("--warmups", type=int, default=2)
    asked.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    asked.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "harness-benchmarks")
    cost = questions.add_parser("slices", help="a thousand slices, or 200 replicates, against none, in one process")
    cost.add_argument("--questions", nargs="+", choices=slices.QUESTIONS, default=list(slices.QUESTIONS))
    cost.add_argument("--rounds", type=int, default=6)
    cost.add_argument("--threads", type=int, default=1)
    cost.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "harness-benchmarks")
    covered = questions.add_parser("coverage", help="how many of the 95 %% intervals cover the truth, by simulation")
    covered.add_argument("--simulations", type=int, default=2000)
    read = questions.add_parser("readers", help="each format's reader against a plain loop over the same files, one rank")
    read.add_argument("--formats", nargs="+", choices=readers.FORMATS, default=list(readers.FORMATS))
    read.add_argument("--examples", type=int, default=200_000)
    read.add_argument("--batch-size", type=int, default=256)
    read.add_argument("--rounds", type=int, default=5)
    read.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    read.add_argument("--memory-gib", type=float, default=0.0, help="also read a TFRecord file of so many GiB; is memory flat?")
    read.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "harness-benchmarks")
    given = parser.parse_args()
    if given.question == "readers":
        _readers(given)
        return

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if given.question == "coverage":
        found = coverage.coverage(given.simulations)
        print(coverage.table(found))
        outside = [each.metric for each in found if not 0.93 <= each.share("percentile") <= 0.97]
        raise SystemExit(f"outside 93 % to 97 %: {', '.join(outside)}" if outside else 0)
    if given.question == "slices":
        costs = _slices(given)
        _keep("slices", {"environment": environment(), "threads": given.threads, "costs": [each.document() for each in costs]})
        return
    document = {"question": "loop", "environment": environment(), "threads": given.threads, "cases": []}
    for name in given.cases:
        write(CASES[name], given.folder)
        measured = loop.measure(
            CASES[name], given.legs, given.folder, rounds=given.rounds, warmups=given.warmups, threads=given.threads
        )
        document["cases"].append(measured.document())
        print(f"\n{loop.table(measured)}", flush=True)
    _keep("loop", document)


def _slices(given: argparse.Namespace) -> list[slices.Cost]:
    """Measure the cost of slices and replicates, and print each as it is known."""
    from harness import tf_setup

    tf_setup.import_tensorflow()
    tf_setup.set_up(0, given.threads, 0)
    costs = []
    for name in given.questions:
        case, added = slices.QUESTIONS[name]
        write(CASES[case], given.folder)
        costs.append(slices.measure(name, CASES[case], added, given.folder, rounds=given.rounds))
        lines = slices.table(costs).splitlines()
        print("\n".join(lines if len(costs) == 1 else lines[-1:]), flush=True)
    return costs


def _keep(question: str, document: dict[str, Any]) -> None:
    """Write the raw values to a file of their own."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{question}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    path.write_text(json.dumps(document, indent=1) + "\n")
    print(f"\nraw values: {path}")


if __name__ == "__main__":
    main()
