"""Today's ratios, and whether one has fallen by more than its noise.

`ratios.json` holds them: each is the median of repeated measurements, its noise what these were apart, at least `FLOOR`. A
ratio is taken within one run, most of them in processor time, so that a machine with other work, or a faster one, gives the
same. What seems to have fallen is measured again, `AGAIN` times at most: it has only where every measurement says so.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import loop, readers, reduction
from benchmarks.cases import CASES, write
from benchmarks.environment import environment

__all__ = [
    "FULL",
    "HELD",
    "SHORT",
    "Held",
    "Judged",
    "add_arguments",
    "answer",
    "judge",
    "load",
    "measure",
    "measure_until_sure",
    "record",
    "same_machine",
    "table",
]

HELD = Path(__file__).parent / "ratios.json"
FLOOR = 0.1
WIDER = 1.5  # a few measurements do not show all the noise there is
ELSEWHERE = 2.0  # times the noise, on a machine of another kind
AGAIN = 2
LEGS = ("harness", "bare", "keras")

Ratios = dict[str, float]


@dataclass(frozen=True)
class Held:
    """A ratio as it was when it was recorded; the larger the better.

    Attributes:
      ratio: the median.
      noise: what share of it a measurement may be lower by chance.
      values: what was measured.
    """

    ratio: float
    noise: float
    values: tuple[float, ...]


@dataclass(frozen=True)
class Judged:
    """A ratio beside the one that is held; nothing was measured where `found` is None."""

    name: str
    held: Held
    noise: float
    found: float | None

    @property
    def least(self) -> float:
        """What it must be."""
        return self.held.ratio * (1 - self.noise)

    @property
    def fallen(self) -> bool:
        """Whether it is lower than noise explains; NaN is, and so is what was not measured."""
        return self.found is None or not self.found >= self.least


def load(path: Path = HELD) -> tuple[dict[str, Held], Mapping[str, Any]]:
    """Return the ratios that are held, and what they were measured on."""
    document = json.loads(path.read_text())
    held = {name: Held(one["ratio"], one["noise"], tuple(one["values"])) for name, one in document["ratios"].items()}
    return held, document["environment"]


def record(measured: Sequence[Ratios], path: Path = HELD) -> None:
    """Hold what was measured, and keep what was not; the noise comes from the measurements."""
    held = load(path)[0] if path.exists() else {}
    for name in measured[0]:
        values = tuple(round(one[name], 4) for one in measured)
        middle = statistics.median(values)
        noise = max(FLOOR, WIDER * (max(values) - min(values)) / middle)
        held[name] = Held(round(middle, 4), round(noise, 4), values)
    document = {"environment": environment(), "ratios": {name: asdict(one) for name, one in sorted(held.items())}}
    path.write_text(json.dumps(document, indent=1) + "\n")


def judge(found: Ratios, held: Mapping[str, Held], *, alike: bool = True) -> list[Judged]:
    """Compare what was measured with what is held of the same groups.

    Args:
      found: ratios by name, as `measure` gives them.
      held: those to compare with.
      alike: whether both come from a machine of the same kind.

    >>> held = {"g/a": Held(2.0, 0.1, ()), "g/b": Held(1.0, 0.1, ()), "h/c": Held(1.0, 0.1, ())}
    >>> [(one.name, one.fallen) for one in judge({"g/a": 1.81, "g/b": 0.89}, held)]
    [('g/a', False), ('g/b', True)]
    >>> [one.fallen for one in judge({"g/a": 1.81, "g/b": 0.89}, held, alike=False)]
    [False, False]
    """
    groups = {_group(name) for name in found}
    wider = 1.0 if alike else ELSEWHERE
    return [
        Judged(name, one, min(wider * one.noise, 0.9), found.get(name))
        for name, one in held.items()
        if _group(name) in groups
    ]  # fmt: skip


def same_machine(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two environments have the same kind of processor, and as many cores."""
    return all(one[key] == other[key] for key in ("processor", "cores"))


def table(judged: Sequence[Judged]) -> str:
    """Write ratios and their bounds as lines of a Markdown table."""
    lines = ["| ratio | held | noise | at least | found | |", "| --- | ---: | ---: | ---: | ---: | --- |"]
    for one in judged:
        found = "-" if one.found is None else f"{one.found:.3f}"
        verdict = "FALLEN" if one.fallen else "holds"
        lines.append(f"| {one.name} | {one.held.ratio:.3f} | {one.noise:.0%} | {one.least:.3f} | {found} | {verdict} |")
    return "\n".join(lines)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what can be asked."""
    parser.add_argument("--short", action="store_true", help="some of the ratios, in a minute or two")
    parser.add_argument("--groups", nargs="+", choices=FULL, help="these alone")
    parser.add_argument("--held", type=Path, default=HELD, help="the ratios to compare with")
    parser.add_argument("--document", type=Path, help="judge what an earlier check found, and measure nothing")
    parser.add_argument("--record", type=int, default=0, metavar="N", help="measure N times and hold what is found")


def answer(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """Measure, judge an earlier check, or hold what is measured.

    Returns: raw values and a table.
    """
    recorded = {name.rpartition("/")[0] for name in load(options.held)[0]} if options.held.exists() else set(FULL)
    full = tuple(group for group in FULL if options.record or group in recorded)
    groups = options.groups or (SHORT if options.short else full)
    if options.record:
        measured = [measure(groups, options.folder) for _ in range(options.record)]
        record(measured, options.held)
        best = {name: max(one[name] for one in measured) for name in measured[0]}
        return {"measured": measured, "best": best}, table(judge(best, load(options.held)[0]))
    held, where = load(options.held)
    here = environment()
    if options.document:
        earlier = json.loads(options.document.read_text())
        best, measured, here = earlier["best"], earlier["measured"], earlier["environment"]
    alike = same_machine(here, where)
    if not options.document:
        best, measured = measure_until_sure(groups, options.folder, held, alike=alike)
    judged = judge(best, held, alike=alike)
    lines = table(judged)
    if not alike:
        lines += f"\n\nHeld are ratios of another kind of machine ({where['processor']}): their noise is doubled."
    return {"measured": measured, "best": best, "fallen": [one.name for one in judged if one.fallen]}, lines


def measure(groups: Sequence[str], folder: Path) -> Ratios:
    """Measure some groups of ratios."""
    found: Ratios = {}
    for group in groups:
        found |= {f"{group}/{name}": ratio for name, ratio in FULL[group](folder).items()}
    return found


def measure_until_sure(
    groups: Sequence[str], folder: Path, held: Mapping[str, Held], *, alike: bool
) -> tuple[Ratios, list[Ratios]]:
    """Measure, and again what seems to have fallen; return the best of each ratio, and every measurement."""
    best: Ratios = {}
    every: list[Ratios] = []
    left = list(groups)
    for _ in range(1 + AGAIN):
        every.append(measure(left, folder))
        for name, ratio in every[-1].items():
            best[name] = max(ratio, best.get(name, ratio))
        fallen = {_group(one.name) for one in judge(best, held, alike=alike) if one.fallen}
        left = [group for group in groups if group in fallen]
        if not left:
            break
        print(f"lower than held, so measured again: {', '.join(left)}", flush=True)
    return best, every


def _group(name: str) -> str:
    return name.rpartition("/")[0]


def _loop(case: str, rounds: int = 7) -> Callable[[Path], Ratios]:
    def measured(folder: Path) -> Ratios:
        write(CASES[case], folder)
        found = loop.measure(CASES[case], LEGS, folder, rounds=rounds, warmups=2, threads=1)
        return {f"over {leg} in processor time": found.cpu_ratio("harness", leg) for leg in LEGS[1:]}

    return measured


def _photos(folder: Path) -> Ratios:
    """Measure in wall time: that files are read while the model predicts does not show in processor time."""
    case = CASES["photos"]
    write(case, folder)
    threads = len(os.sched_getaffinity(0))
    found = loop.measure(case, ("harness", "keras"), folder, rounds=3, warmups=1, threads=threads, data="jpeg")
    return {"over keras": found.ratio("harness", "keras")}


def _reader(name: str) -> Callable[[Path], Ratios]:
    def measured(folder: Path) -> Ratios:
        found = readers.measure(name, folder, examples=60_000, batch_size=256, rounds=15, threads=1)
        return {"over a plain loop in processor time": found.cpu_ratio}

    return measured


def _reduction(folder: Path) -> Ratios:
    found = reduction.measure(folder, ranks=2, rounds=21)
    return {f"MPI_Allreduce over harness, {size} bytes": 1 / found.ratio(size) for size in found.ours if size >= 8 << 20}


# What is measured together, by the head of the ratios' names.
FULL: Mapping[str, Callable[[Path], Ratios]] = {
    **{f"loop/{name}": _loop(name) for name, case in CASES.items() if not case.photos},
    "loop/photos": _photos,
    **{f"readers/{name}": _reader(name) for name in readers.FORMATS},
    "reduction": _reduction,
}
SHORT = ("loop/dense-784-512-10", "loop/convnet", "loop/photos", "readers/tfrecord")
