"""The command line of the benchmarks: `python -m benchmarks QUESTION`.

A question prints a table and leaves its raw values, with the environment, in benchmarks/results; `report` makes one page of
the newest of each. What can be asked, and the answer, stand in the question's own module.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

from benchmarks import (
    check,
    counting,
    coverage,
    decoding,
    endpoint,
    footprint,
    gloo,
    indexing,
    jobs,
    loadgen,
    loop,
    peers,
    photos,
    readers,
    reduction,
    report,
    scaling,
    simulate,
    slices,
    tfma,
    verdicts,
    watching,
)
from benchmarks.environment import environment
from benchmarks.quiet import without_library_lines
from harness.errors import HarnessError

RESULTS = Path(__file__).parent / "results"
FOLDER = Path(tempfile.gettempdir()) / "harness-benchmarks"
# What `all` asks: arguments of the short form, and of the full one.
ASKED: Mapping[str, tuple[list[str], list[str]]] = {
    "loop": (
        ["--cases", "dense-64-128-10", "dense-784-512-10", "convnet", "--legs", "harness", "bare", "bare-xla", "keras", "--rounds", "5"],
        [],
    ),
    "loop-tfrecord": (
        ["--data", "tfrecord", "--cases", "dense-784-512-10", "--legs", "harness", "bare", "keras", "--rounds", "3"],
        ["--data", "tfrecord"],
    ),
    "loop-jpeg": (
        ["--data", "jpeg", "--legs", "harness", "bare", "keras", "--rounds", "3"],
        ["--data", "jpeg", "--legs", "harness", "bare", "keras"],
    ),
    "loop-parquet": (
        ["--data", "parquet", "--cases", "dense-784-512-10", "--legs", "harness", "bare", "keras", "--rounds", "3"],
        ["--data", "parquet"],
    ),
    "photos": (["--rounds", "1"], ["--rounds", "5"]),
    "decoding": (["--rounds", "1"], []),
    "jobs": (["--rounds", "3"], []),
    "scaling": (["--cases", "convnet", "--rounds", "1", "--crowded", "4"], ["--rounds", "5"]),
    "reduction": (["--launches", "5"], ["--launches", "5", "--rounds", "51"]),
    "footprint": (["--rounds", "1"], ["--rounds", "5"]),
    "gloo": (["--launches", "1"], ["--launches", "5", "--rounds", "51"]),
    "peers": (["--rounds", "1"], ["--rounds", "5"]),
    "slices": (["--rounds", "3"], []),
    "readers": (["--rounds", "3"], ["--memory-gib", "2"]),
    "counting": (["--rounds", "3"], []),
    "index": ([], []),
    "simulate": ([], []),
    "loadgen": (["--cases", "convnet", "--seconds", "5"], ["--seconds", "60"]),
    "watching": (["--rounds", "1", "--seconds", "5"], ["--rounds", "5", "--seconds", "20"]),
    "endpoint": (["--rounds", "5"], []),
    "tfma": (["--examples", "20000"], ["--examples", "500000"]),
}  # fmt: skip


@dataclass(frozen=True)
class Question:
    """What can be asked.

    Attributes:
      help: one line.
      module: `add_arguments(parser)` adds what can be asked, `answer(options)` measures and returns raw values and a table.
    """

    help: str
    module: ModuleType


QUESTIONS: Mapping[str, Question] = {
    "loop": Question("one rank's loop against a bare forward loop and keras.Model.evaluate", loop),
    "photos": Question("JPEGs on one rank and on two against Keras on the same cores, whole runs", photos),
    "decoding": Question("whether images of one fixed cost are decoded faster with more threads", decoding),
    "jobs": Question("the five most common jobs against what a user would write without the harness", jobs),
    "slices": Question("a thousand slices, or 200 replicates, against none, in one process", slices),
    "readers": Question("each format's reader against a plain loop over the same files", readers),
    "counting": Question("counting files: all ranks against one of them", counting),
    "index": Question("the index of 10^9 records: opened on all ranks, and in the memory of a node", indexing),
    "scaling": Question("strong and weak scaling over ranks of one thread", scaling),
    "reduction": Question("the final sum against MPI_Allreduce; 50 metrics against 5", reduction),
    "footprint": Question("start-up, memory as the data grow, the command line, jobs that grow wider", footprint),
    "peers": Question("ranks against other ways to evaluate on as many workers", peers),
    "simulate": Question("4,096 ranks and 10^9 examples, without a model", simulate),
    "loadgen": Question("the model under MLPerf LoadGen, Offline and SingleStream", loadgen),
    "watching": Question("what it costs a run to be watched", watching),
    "endpoint": Question("requests to an endpoint against a bare loop with as many under way", endpoint),
    "check": Question("whether a ratio has fallen by more than its noise since it was recorded", check),
    "gloo": Question("the final sum against TorchMetrics' sync over Gloo, in an environment of its own", gloo),
    "tfma": Question("ranks against TensorFlow Model Analysis, in an environment of its own", tfma),
}


def main() -> None:
    """Answer one question, all of them, or make the page."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    options = parser().parse_args()
    with without_library_lines():
        if options.question == "coverage":
            _coverage(options.simulations)
        elif options.question == "report":
            _report(options.results)
        elif options.question == "all":
            _all(options)
        else:
            _answer(options)


def parser() -> argparse.ArgumentParser:
    """Return what the command line takes."""
    whole = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    whole.add_argument("--results", type=Path, default=RESULTS, help="where raw values and the page are left")
    commands = whole.add_subparsers(dest="question", required=True)
    for name, question in QUESTIONS.items():
        command = commands.add_parser(name, help=question.help)
        command.add_argument("--folder", type=Path, default=FOLDER, help="where models, data and environments are kept")
        question.module.add_arguments(command)
    command = commands.add_parser("coverage", help="how many of the 95 %% intervals cover the truth, by simulation")
    command.add_argument("--simulations", type=int, default=2000)
    commands.add_parser("report", help="one page of the newest answers: results/report.md and results/report.html")
    command = commands.add_parser("all", help="every question, then the page; a few minutes on a quiet machine")
    command.add_argument("--folder", type=Path, default=FOLDER)
    command.add_argument("--full", action="store_true", help="all cases, peers and rounds: an hour or more")
    return whole


def _answer(options: argparse.Namespace) -> None:
    """Answer one question; fail where it names ratios that have fallen."""
    try:
        document, table = QUESTIONS[options.question].module.answer(options)
    except HarnessError as exc:
        raise SystemExit(f"benchmarks: {exc}") from None
    print(f"\n{table}")
    options.results.mkdir(parents=True, exist_ok=True)
    name = f"loop-{options.data}" if options.question == "loop" and options.data != "memory" else options.question
    path = options.results / f"{name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    whole = {"question": name, "environment": environment(), "table": table, **document}
    path.write_text(json.dumps(whole, indent=1) + "\n")
    print(f"\nraw values: {path}")
    if document.get("fallen"):
        raise SystemExit(f"fallen by more than their noise: {', '.join(document['fallen'])}")


def _all(options: argparse.Namespace) -> None:
    """Answer every question, each in a process of its own."""
    for name, (short, full) in ASKED.items():
        print(f"\n== {name}", flush=True)
        question = [name.partition("-")[0], "--folder", str(options.folder)]
        arguments = ["--results", str(options.results), *question, *(full if options.full else short)]
        subprocess.run([sys.executable, "-m", "benchmarks", *arguments], check=True)
    _report(options.results)


def _coverage(simulations: int) -> None:
    found = coverage.in_processes(coverage.coverage, simulations)
    counted = coverage.in_processes(verdicts.counted, 2 * simulations)
    print(f"{coverage.table(found)}\n\n{verdicts.table(counted)}")
    outside = [*coverage.outside(found), *verdicts.outside(counted)]
    raise SystemExit(f"not what is expected: {'; '.join(outside)}" if outside else 0)


def _report(results: Path) -> None:
    try:
        documents = report.load(results)
    except report.UnlikeError as exc:
        raise SystemExit(str(exc)) from None
    (results / "report.md").write_text(report.markdown(documents))
    (results / "report.html").write_text(report.page(documents))
    print(f"{results / 'report.md'}\n{results / 'report.html'}")


if __name__ == "__main__":
    main()
