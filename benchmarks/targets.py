"""What the harness is to reach, and where each figure is found in the documents of `benchmarks/results`."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.turns import median_ratio

__all__ = ["TARGETS", "Met", "Target", "met"]

Document = Mapping[str, Any]
LARGE = ("convnet", "mobilenet-96", "transformer", "wide-embedding")


@dataclass(frozen=True)
class Target:
    """A figure and its bound.

    Attributes:
      text: what is measured.
      bound: the limit; at least, or at most.
      at_least: which of the two.
      question: whose document holds it.
      find: finds the values in the document; the worst counts.
    """

    text: str
    bound: float
    at_least: bool
    question: str
    find: Callable[[Document], list[float]]


@dataclass(frozen=True)
class Met:
    """A target with what was measured; None where it was not."""

    target: Target
    found: float | None

    @property
    def verdict(self) -> str:
        """Say whether it was reached."""
        if self.found is None:
            return "not measured"
        reached = self.found >= self.target.bound if self.target.at_least else self.found <= self.target.bound
        return "reached" if reached else "not reached"


def met(documents: Mapping[str, Document]) -> list[Met]:
    """Return every target with the worst value that was measured."""
    found = []
    for target in TARGETS:
        values = target.find(documents[target.question]) if target.question in documents else []
        found.append(Met(target, (min if target.at_least else max)(values) if values else None))
    return found


def _over(leg: str, *cases: str) -> Callable[[Document], list[float]]:
    def find(document: Document) -> list[float]:
        chosen = [case for case in document["cases"] if case["case"]["name"] in cases]
        ratios = [(case, case["limit"] if leg == "limit" else leg) for case in chosen]
        return [case["harness_over"][name] for case, name in ratios if name in case["harness_over"]]

    return find


def _scaling(key: str) -> Callable[[Document], list[float]]:
    return lambda document: [case[key] for case in document["cases"] if case["case"] in LARGE]


def _peer(peer: str, *cases: str) -> Callable[[Document], list[float]]:
    return lambda document: [case["ratio"][peer] for case in document["cases"] if case["case"] in cases and peer in case["ratio"]]


def _small_sum(document: Document) -> list[float]:
    ours = document["reduction"]["ours"]
    return [1e3 * statistics.median(ours[size]) for size in ours if int(size) < 1 << 20]


def _many_over_few(document: Document) -> list[float]:
    few, many = (
        [max(rank["reduce"] for rank in run["seconds"]) for run in document[name]] for name in ("few", "many")
    )  # fmt: skip
    return [median_ratio(many, few)] if few else []


TARGETS = (
    Target("one rank / bare forward loop, dense 784-512-10 in memory", 0.95, True, "loop", _over("limit", "dense-784-512-10")),
    Target("the same, convnet and larger", 0.98, True, "loop", _over("limit", *LARGE)),
    Target("one rank / keras evaluate, dense 64-128-10", 2.5, True, "loop", _over("keras", "dense-64-128-10")),
    Target("one rank / keras evaluate, dense 784-512-10", 1.4, True, "loop", _over("keras", "dense-784-512-10")),
    Target("one rank / keras evaluate, convnet and larger", 1.0, True, "loop", _over("keras", *LARGE)),
    Target("two ranks of one thread / one rank of one thread, convnet and larger", 1.9, True, "scaling", _scaling("speedup")),
    Target(
        "counting a file, two ranks / one, in processor time",
        1.9,
        True,
        "counting",
        lambda d: [f["cpu_ratio"] for f in d["formats"]],
    ),
    Target("two ranks / MultiWorkerMirroredStrategy, small", 1.5, True, "peers", _peer("mwms", "dense-64-128-10")),
    Target("two ranks / MultiWorkerMirroredStrategy, large", 1.0, True, "peers", _peer("mwms", *LARGE)),
    Target("two ranks / TFMA, 500,000 Examples", 25.0, True, "tfma", lambda d: [d["ratio"]] if d["examples"] >= 500_000 else []),
    Target("sum of 32 MB / MPI_Allreduce", 1.3, False, "reduction", lambda d: [d["reduction"]["ratio"][str(32 << 20)]]),
    Target("sum of a small state (under 1 MB), ms", 3.0, False, "reduction", _small_sum),
    Target("50 metrics instead of 5, the final reduction", 1.5, False, "reduction", _many_over_few),
    Target("resident memory, 10 times the examples", 1.03, False, "footprint", lambda d: [d["footprint"]["memory_ratio"]]),
    Target("start-up over TensorFlow's import, s a rank", 0.7, False, "footprint", lambda d: [d["footprint"]["start_s"]]),
    Target("harness --help, s", 0.3, False, "footprint", lambda d: [statistics.median(d["footprint"]["help_s"])]),
)
