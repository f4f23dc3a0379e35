"""The command line of the benchmarks: `python -m benchmarks QUESTION`."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import loop
from benchmarks.cases import CASES, write
from benchmarks.environment import environment

RESULTS = Path(__file__).parent / "results"
LEGS = ("harness", "bare", "bare-xla", "keras", "keras-lean", "keras-steps32")


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
    given = parser.parse_args()

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    document = {"question": "loop", "environment": environment(), "threads": given.threads, "cases": []}
    for name in given.cases:
        write(CASES[name], given.folder)
        measured = loop.measure(
            CASES[name], given.legs, given.folder, rounds=given.rounds, warmups=given.warmups, threads=given.threads
        )
        document["cases"].append(measured.document())
        print(f"\n{loop.table(measured)}", flush=True)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"loop-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    path.write_text(json.dumps(document, indent=1) + "\n")
    print(f"\nraw values: {path}")


if __name__ == "__main__":
    main()
