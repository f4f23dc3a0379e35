"""The command line of the benchmarks: `python -m benchmarks QUESTION`.

A question prints a table and leaves its raw values, with the environment, in benchmarks/results; `report` makes one page of
the newest of each.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import (
    building,
    check,
    counting,
    coverage,
    footprint,
    gloo,
    indexing,
    loadgen,
    loop,
    metadata,
    peers,
    readers,
    reduction,
    report,
    scaling,
    simulate,
    slices,
    tfma,
)
from benchmarks.cases import CASES, DATA, write
from benchmarks.environment import environment

RESULTS = Path(__file__).parent / "results"
FOLDER = Path(tempfile.gettempdir()) / "harness-benchmarks"
LEGS = ("harness", "bare", "bare-xla", "bare-cut", "keras", "keras-lean", "keras-steps32")
CORES = len(os.sched_getaffinity(0))
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
    "tfma": (["--examples", "20000"], ["--examples", "500000"]),
}  # fmt: skip

Found = tuple[dict[str, Any], str]


@dataclass(frozen=True)
class Question:
    """What can be asked: what it is, its arguments, and how it is answered: raw values and a table."""

    help: str
    arguments: Callable[[argparse.ArgumentParser], None]
    answer: Callable[[argparse.Namespace], Found]


def main() -> None:
    """Answer one question, all of them, or make the page."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=RESULTS, help="where raw values and the page are left")
    asked = parser.add_subparsers(dest="question", required=True)
    for name, question in QUESTIONS.items():
        one = asked.add_parser(name, help=question.help)
        one.add_argument("--folder", type=Path, default=FOLDER, help="where models, data and environments are kept")
        question.arguments(one)
    covered = asked.add_parser("coverage", help="how many of the 95 %% intervals cover the truth, by simulation")
    covered.add_argument("--simulations", type=int, default=2000)
    asked.add_parser("report", help="one page of the newest answers: results/report.md and results/report.html")
    every = asked.add_parser("all", help="every question, then the page; a few minutes on a quiet machine")
    every.add_argument("--folder", type=Path, default=FOLDER)
    every.add_argument("--full", action="store_true", help="all cases, peers and rounds: an hour or more")
    given = parser.parse_args()
    if given.question == "coverage":
        _coverage(given.simulations)
    elif given.question == "report":
        _report(given.results)
    elif given.question == "all":
        for name, (short, full) in ASKED.items():
            print(f"\n== {name}", flush=True)
            arguments = ["--results", str(given.results), name.partition("-")[0], "--folder", str(given.folder)]
            arguments += full if given.full else short
            subprocess.run([sys.executable, "-m", "benchmarks", *arguments], check=True)
        _report(given.results)
    else:
        document, table = QUESTIONS[given.question].answer(given)
        print(f"\n{table}")
        given.results.mkdir(parents=True, exist_ok=True)
        name = f"loop-{given.data}" if given.question == "loop" and given.data != "memory" else given.question
        path = given.results / f"{name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
        whole = {"question": name, "environment": environment(), "table": table, **document}
        path.write_text(json.dumps(whole, indent=1) + "\n")
        print(f"\nraw values: {path}")
        if document.get("fallen"):
            raise SystemExit(f"fallen by more than their noise: {', '.join(document['fallen'])}")


def _coverage(simulations: int) -> None:
    found = coverage.in_processes(simulations)
    print(coverage.table(found))
    outside = coverage.outside(found)
    raise SystemExit(f"not what is expected: {'; '.join(outside)}" if outside else 0)


def _report(results: Path) -> None:
    try:
        documents = report.load(results)
    except report.UnlikeError as exc:
        raise SystemExit(str(exc)) from None
    (results / "report.md").write_text(report.markdown(documents))
    (results / "report.html").write_text(report.page(documents))
    print(f"{results / 'report.md'}\n{results / 'report.html'}")


def _loop_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cases", nargs="+", choices=CASES, help="all that the data can be had for")
    parser.add_argument("--legs", nargs="+", choices=LEGS, default=list(LEGS))
    parser.add_argument("--data", choices=DATA, default="memory", help="where the examples lie; bare-cut is for memory alone")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--warmups", type=int, default=2)
    parser.add_argument("--threads", type=int, default=CORES)


def _loop(given: argparse.Namespace) -> Found:
    found = []
    legs = [leg for leg in given.legs if leg != "bare-cut" or given.data == "memory"]
    for name in given.cases or [name for name, case in CASES.items() if case.photos == (given.data == "jpeg")]:
        write(CASES[name], given.folder)
        found.append(
            loop.measure(
                CASES[name],
                legs,
                given.folder,
                rounds=given.rounds,
                warmups=given.warmups,
                threads=given.threads,
                data=given.data,
            )
        )
    return {"threads": given.threads, "data": given.data, "cases": [one.document() for one in found]}, "\n\n".join(
        loop.table(one) for one in found
    )


def _slices_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--questions", nargs="+", choices=slices.QUESTIONS, default=list(slices.QUESTIONS))
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--threads", type=int, default=1)


def _slices(given: argparse.Namespace) -> Found:
    from harness.step import tensorflow as tf_setup

    tf_setup.import_tensorflow()
    tf_setup.set_up(0, given.threads, 0)
    costs = []
    for name in given.questions:
        case, added = slices.QUESTIONS[name]
        write(CASES[case], given.folder)
        costs.append(slices.measure(name, CASES[case], added, given.folder, rounds=given.rounds))
    return {"threads": given.threads, "costs": [each.document() for each in costs]}, slices.table(costs)


def _readers_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--formats", nargs="+", choices=readers.FORMATS, default=list(readers.FORMATS))
    parser.add_argument("--examples", type=int, default=200_000)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=CORES)
    parser.add_argument("--memory-gib", type=float, default=0.0, help="also read a TFRecord file of so many GiB; is memory flat?")


def _readers(given: argparse.Namespace) -> Found:
    sizes = {"examples": given.examples, "batch_size": given.batch_size, "rounds": given.rounds, "threads": given.threads}
    found = [readers.measure(name, given.folder, **sizes) for name in given.formats]
    document: dict[str, Any] = {"formats": [asdict(one) for one in found]}
    table = readers.table(found)
    if given.memory_gib:
        document["memory"] = readers.flat_memory(given.folder, size_bytes=int(given.memory_gib * 2**30))
        table += f"\n\nmemory: {document['memory']}"
    return document, table


def _counting_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--formats", nargs="+", choices=counting.FORMATS, default=list(counting.FORMATS))
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--mib", type=int, default=1024, help="size of the file")
    parser.add_argument("--rounds", type=int, default=5)


def _counting(given: argparse.Namespace) -> Found:
    found = counting.measure(given.folder, ranks=given.ranks, rounds=given.rounds, mib=given.mib, kinds=given.formats)
    return {"ranks": given.ranks, "formats": [one.document() for one in found]}, counting.table(found)


def _index_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--records", type=int, nargs="+", default=[10**7, 10**8, 10**9], help="of sparse files")
    parser.add_argument("--ranks", type=int, default=2)


def _index(given: argparse.Namespace) -> Found:
    found = indexing.measure(given.folder, records=given.records, ranks=given.ranks)
    return {"ranks": given.ranks, "openings": [one.document() for one in found]}, indexing.table(found)


def _scaling_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cases", nargs="+", choices=scaling.EXAMPLES, default=["convnet", "transformer"])
    parser.add_argument("--examples", type=int, help="default: about twenty seconds of the case")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--crowded", type=int, nargs="*", default=[4, 16], help="more ranks than cores, for the bytes")


def _scaling(given: argparse.Namespace) -> Found:
    sizes = {"rounds": given.rounds, "crowded": given.crowded}
    found = [
        scaling.measure(case, given.folder, examples=given.examples or scaling.EXAMPLES[case], **sizes) for case in given.cases
    ]
    return {"cases": [one.document() for one in found]}, scaling.table(found)


def _reduction_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--launches", type=int, default=3, help="runs with 5 and with 50 metrics")


def _reduction(given: argparse.Namespace) -> Found:
    found = reduction.measure(given.folder, ranks=given.ranks, rounds=given.rounds)
    runs = reduction.few_and_many(given.folder, ranks=given.ranks, rounds=given.launches)
    document = {"reduction": found.document(), **{name: [run.document() for run in some] for name, some in runs.items()}}
    # As JSON has it: a page is made of what was written.
    return json.loads(json.dumps(document)), reduction.table(found)


def _footprint_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--examples", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3)


def _footprint(given: argparse.Namespace) -> Found:
    found = footprint.measure(given.folder, examples=given.examples, ranks=given.ranks, rounds=given.rounds)
    wide = building.measure(given.folder, rounds=given.rounds)
    document = {
        "footprint": found.document(),
        "phases": footprint.phases(found.large),
        "building": [one.document() for one in wide],
    }
    return document, f"{footprint.table(found)}\n\n{building.table(wide)}"


def _peers_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cases", nargs="+", choices=CASES, default=["dense-64-128-10", "convnet"])
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--examples", type=int, help="default: four times those of the case")
    parser.add_argument("--rounds", type=int, default=3)


def _peers(given: argparse.Namespace) -> Found:
    found = [
        peers.measure(
            case, given.folder, examples=given.examples or 4 * CASES[case].examples, ranks=given.ranks, rounds=given.rounds
        )
        for case in given.cases
    ]
    return {"cases": [one.document() for one in found]}, peers.table(found)


def _simulate_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ranks", type=int, default=4096)
    parser.add_argument("--examples", type=int, default=10**9)


def _simulate(given: argparse.Namespace) -> Found:
    found = simulate.measure(ranks=given.ranks, examples=given.examples)
    worlds = [metadata.count(ranks) for ranks in sorted({1, 100, given.ranks})]
    document = found.document() | {"metadata": [world.document() for world in worlds]}
    table = f"{simulate.table(found)}\n\n{metadata.table(worlds)}"
    measured = report.load(given.results).get("reduction")
    if measured is not None:
        bare = {int(size): sorted(seconds)[len(seconds) // 2] for size, seconds in measured["reduction"]["bare"].items()}
        latency_s, byte_s = simulate.fit(list(bare), list(bare.values()))
        sum_s = simulate.allreduce_s(found.ranks, found.sum_bytes, latency_s, byte_s)
        document |= {"latency_s": latency_s, "byte_s": byte_s, "allreduce_s": sum_s, "fitted_to": measured["file"]}
        table += (
            f"\n\nExtrapolated, not measured: with the {1e6 * latency_s:.0f} us a step and {1e-9 / byte_s:.1f} GB/s fitted to "
            f"MPI_Allreduce between two ranks here, the final sum of {found.ranks:,} ranks takes {1e3 * sum_s:.1f} ms."
        )
    return document, table


def _tfma_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--examples", type=int, default=500_000)


def _tfma(given: argparse.Namespace) -> Found:
    found = tfma.measure(given.folder, examples=given.examples, ranks=given.ranks)
    return found.document(), tfma.table(found)


def _gloo_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--examples", type=int, default=409_600)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--launches", type=int, default=3)


def _gloo(given: argparse.Namespace) -> Found:
    found = gloo.measure(given.folder, examples=given.examples, ranks=given.ranks, rounds=given.rounds, launches=given.launches)
    return found.document(), gloo.table(found)


def _loadgen_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cases", nargs="+", choices=CASES, default=["dense-784-512-10", "convnet"])
    parser.add_argument("--seconds", type=float, default=10.0, help="of each scenario, at least")
    parser.add_argument("--threads", type=int, default=CORES)


def _loadgen(given: argparse.Namespace) -> Found:
    from harness.step import tensorflow as tf_setup

    tf_setup.set_up(0, given.threads, 0)
    found = []
    for case in given.cases:
        found += loadgen.measure(case, given.folder, seconds=given.seconds)
    return {"scenarios": [one.document() for one in found]}, loadgen.table(found)


def _check_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--short", action="store_true", help="some of the ratios, in a minute or two")
    parser.add_argument("--groups", nargs="+", choices=check.FULL, help="these alone")
    parser.add_argument("--held", type=Path, default=check.HELD, help="the ratios to compare with")
    parser.add_argument("--document", type=Path, help="judge what an earlier check found, and measure nothing")
    parser.add_argument("--record", type=int, default=0, metavar="N", help="measure N times and hold what is found")


def _check(given: argparse.Namespace) -> Found:
    recorded = {name.rpartition("/")[0] for name in check.load(given.held)[0]} if given.held.exists() else set(check.FULL)
    full = tuple(group for group in check.FULL if given.record or group in recorded)
    groups = given.groups or (check.SHORT if given.short else full)
    if given.record:
        measured = [check.measure(groups, given.folder) for _ in range(given.record)]
        check.record(measured, given.held)
        best = {name: max(one[name] for one in measured) for name in measured[0]}
        return {"measured": measured, "best": best}, check.table(check.judge(best, check.load(given.held)[0]))
    held, where = check.load(given.held)
    here = environment()
    if given.document:
        earlier = json.loads(given.document.read_text())
        best, measured, here = earlier["best"], earlier["measured"], earlier["environment"]
    alike = check.same_machine(here, where)
    if not given.document:
        best, measured = check.measure_until_sure(groups, given.folder, held, alike=alike)
    judged = check.judge(best, held, alike=alike)
    table = check.table(judged)
    if not alike:
        table += f"\n\nHeld are ratios of another kind of machine ({where['processor']}): their noise is doubled."
    return {"measured": measured, "best": best, "fallen": [one.name for one in judged if one.fallen]}, table


QUESTIONS: Mapping[str, Question] = {
    "loop": Question("one rank's loop against a bare forward loop and keras.Model.evaluate", _loop_arguments, _loop),
    "slices": Question("a thousand slices, or 200 replicates, against none, in one process", _slices_arguments, _slices),
    "readers": Question("each format's reader against a plain loop over the same files", _readers_arguments, _readers),
    "counting": Question("counting files: all ranks against one of them", _counting_arguments, _counting),
    "index": Question("the index of 10^9 records: opened on all ranks, and in the memory of a node", _index_arguments, _index),
    "scaling": Question("strong and weak scaling over ranks of one thread", _scaling_arguments, _scaling),
    "reduction": Question("the final sum against MPI_Allreduce; 50 metrics against 5", _reduction_arguments, _reduction),
    "footprint": Question(
        "start-up, memory as the data grow, the command line, jobs that grow wider", _footprint_arguments, _footprint
    ),
    "peers": Question("ranks against other ways to evaluate on as many workers", _peers_arguments, _peers),
    "simulate": Question("4,096 ranks and 10^9 examples, without a model", _simulate_arguments, _simulate),
    "loadgen": Question("the model under MLPerf LoadGen, Offline and SingleStream", _loadgen_arguments, _loadgen),
    "check": Question("whether a ratio has fallen by more than its noise since it was recorded", _check_arguments, _check),
    "gloo": Question("the final sum against TorchMetrics' sync over Gloo, in an environment of its own", _gloo_arguments, _gloo),
    "tfma": Question("ranks against TensorFlow Model Analysis, in an environment of its own", _tfma_arguments, _tfma),
}

if __name__ == "__main__":
    main()
