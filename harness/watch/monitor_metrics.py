"""What a monitor is told: each metric once, with its kind and meaning, and the samples that beats and vitals make of it. Pure.

Names go by the conventions of Prometheus: base units, `_total` for what only goes up. What is not known has no sample.
`docs/monitoring/README.md` shows the table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from harness.watch.beat import Beat
from harness.watch.vitals import SECONDS, Vitals

__all__ = ["METRICS", "Kind", "Metric", "Node", "Sample", "Whole", "metric_table", "samples"]

PHASES = ("starting", "evaluating", "waiting", "writing", "done", "interrupted")
NO_CAUSE = "none"
RUN, RANK = ("run",), ("run", "rank")


class Kind(StrEnum):
    """What a metric is to Prometheus."""

    COUNTER = "counter"
    GAUGE = "gauge"


@dataclass(frozen=True)
class Metric:
    """One metric: its name without the prefix `harness_`, its labels, what it means."""

    kind: Kind
    labels: tuple[str, ...]
    meaning: str


METRICS: Mapping[str, Metric] = {
    # Of a rank, on the page of its node.
    "examples_total": Metric(Kind.COUNTER, RANK, "Examples evaluated by a rank in this attempt."),
    "chunks_total": Metric(Kind.COUNTER, RANK, "Chunks evaluated by a rank in this attempt."),
    "examples_per_second": Metric(Kind.GAUGE, RANK, "Examples that a rank evaluates a second, over the last seconds."),
    "phase_seconds_total": Metric(Kind.COUNTER, (*RANK, "phase"), "Seconds of a rank's attempt by what they went into."),
    "phase": Metric(Kind.GAUGE, (*RANK, "phase"), "1 for the phase that a rank is in, 0 for the others."),
    "idle_seconds": Metric(Kind.GAUGE, RANK, "Seconds since a rank last showed progress; 0 for one that waits for others."),
    "stalled": Metric(Kind.GAUGE, (*RANK, "cause"), "1 where half the stall timeout has passed without progress, and in what."),
    "cpu_seconds_total": Metric(Kind.COUNTER, RANK, "Processor seconds of a rank's process."),
    "threads": Metric(Kind.GAUGE, RANK, "Threads that a rank may use."),
    "resident_memory_bytes": Metric(Kind.GAUGE, RANK, "Memory that a rank's process holds."),
    "read_bytes_total": Metric(Kind.COUNTER, RANK, "Bytes that a rank fetched from disks, network and object stores."),
    "storage_retries_total": Metric(Kind.COUNTER, RANK, "Requests to object stores that a rank made again."),
    "gpu_utilization_ratio": Metric(Kind.GAUGE, RANK, "Share of the time in which a rank's GPU computes, for anyone."),
    "gpu_memory_used_bytes": Metric(Kind.GAUGE, RANK, "Memory in use of a rank's GPU."),
    "gpu_memory_size_bytes": Metric(Kind.GAUGE, RANK, "Memory of a rank's GPU."),
    # Of a node.
    "energy_joules_total": Metric(Kind.COUNTER, (*RUN, "device"), "Energy that a device of this node used in this attempt."),
    "beat_timestamp_seconds": Metric(Kind.GAUGE, RUN, "When these metrics were collected; of a run that died, its last sign."),
    # Of the whole run, on the page of rank 0's node.
    "run_info": Metric(Kind.GAUGE, (*RUN, "name", "model", "job_digest", "version"), "1; what the run is."),
    "run_attempt": Metric(Kind.GAUGE, RUN, "Which start of the run this is; restarts are one less."),
    "run_ranks": Metric(Kind.GAUGE, RUN, "Ranks of this attempt."),
    "run_examples": Metric(Kind.GAUGE, RUN, "Examples of the whole run."),
    "run_chunks": Metric(Kind.GAUGE, RUN, "Chunks of the whole run."),
    "run_chunks_left": Metric(Kind.GAUGE, RUN, "Chunks that are not evaluated yet."),
    "run_examples_per_second": Metric(Kind.GAUGE, RUN, "Examples that all ranks evaluate a second, in this attempt so far."),
    "last_run_examples_per_second": Metric(Kind.GAUGE, RUN, "The same of the last run of this job on as many ranks."),
    "straggler": Metric(Kind.GAUGE, (*RANK, "cause"), "1 for a rank much slower than the others, which have no series; and why."),
    "run_folder_free_bytes": Metric(Kind.GAUGE, RUN, "Room that is left where the run folder lies."),
    "run_folder_size_bytes": Metric(Kind.GAUGE, RUN, "Size of the file system where the run folder lies."),
}


@dataclass(frozen=True)
class Sample:
    """One number: the metric, the values of its labels in their order, and the value."""

    name: str
    labels: tuple[str, ...]
    value: float


@dataclass(frozen=True)
class Whole:
    """What rank 0 knows of the whole run.

    Attributes:
      attempt, ranks: which start of the run, on how many.
      examples, chunks, earlier_chunks: of the plan, and what earlier attempts have finished of it.
      name, model, job_digest, version: what the run is.
      beats: of all ranks.
      examples_per_s: of all ranks; None before the first example, and once all are evaluated.
      last_examples_per_s: of the last run of the same job on as many ranks; None without one.
      free_bytes, size_bytes: of the file system of the run folder; None is not known.
      stragglers: ranks that are much slower than the others, and why; None where that is not judged.
    """

    attempt: int
    ranks: int
    examples: int
    chunks: int
    earlier_chunks: int = 0
    name: str = ""
    model: str = ""
    job_digest: str = ""
    version: str = ""
    beats: Sequence[Beat] = ()
    examples_per_s: float | None = None
    last_examples_per_s: float | None = None
    free_bytes: int | None = None
    size_bytes: int | None = None
    stragglers: Mapping[int, str] | None = None


@dataclass(frozen=True)
class Node:
    """What the first rank of a node knows.

    Attributes:
      run: the run folder.
      time_s: now, since 1970.
      beats: of the node's ranks.
      idle_s: by rank, since it showed a sign of progress.
      stalled_after_s: seconds of that after which a rank counts as stalled.
      joules: by device; empty where nothing tells.
      whole: the whole run; None but on rank 0's node.
    """

    run: str
    time_s: float
    beats: Sequence[Beat]
    idle_s: Mapping[int, float] = field(default_factory=dict)
    stalled_after_s: float = 300.0
    joules: Mapping[str, float] = field(default_factory=dict)
    whole: Whole | None = None


def samples(node: Node) -> list[Sample]:
    """Return all that a node's page says.

    >>> page = samples(Node("/runs/a", 5.0, [Beat(3, phase="waiting", chunks=2)]))
    >>> [(sample.labels, sample.value) for sample in page if sample.name == "chunks_total"]
    [(('/runs/a', '3'), 2.0)]
    """
    page = [Sample("beat_timestamp_seconds", (node.run,), node.time_s)]
    page += [Sample("energy_joules_total", (node.run, device), used) for device, used in sorted(node.joules.items())]
    for beat in node.beats:
        page += _of_rank(node, beat)
    if node.whole is not None:
        page += _of_run(node.run, node.whole)
    return page


def metric_table() -> str:
    """Return the metrics as a table in Markdown."""
    rows = [
        f"| `harness_{name}` | {metric.kind} | {', '.join(f'`{label}`' for label in metric.labels)} | {metric.meaning} |"
        for name, metric in METRICS.items()
    ]
    return "\n".join(["| metric | kind | labels | what it is |", "|---|---|---|---|", *rows]) + "\n"


def _of_rank(node: Node, beat: Beat) -> Iterator[Sample]:
    vitals = Vitals.from_json(beat.vitals)
    at = (node.run, str(beat.rank))
    idle_s = node.idle_s.get(beat.rank, 0.0) if beat.busy else 0.0
    stalled = idle_s >= node.stalled_after_s
    gpu_ratio = None if vitals.gpu_percent is None else vitals.gpu_percent / 100
    numbers: dict[str, float | None] = {
        "examples_total": vitals.examples,
        "chunks_total": beat.chunks,
        "idle_seconds": idle_s,
        "cpu_seconds_total": vitals.cpu_s,
        "threads": vitals.threads or None,
        "resident_memory_bytes": vitals.rss_bytes,
        "read_bytes_total": vitals.read_bytes,
        "storage_retries_total": vitals.retries,
        "gpu_utilization_ratio": gpu_ratio,
        "gpu_memory_used_bytes": vitals.gpu_bytes,
        "gpu_memory_size_bytes": vitals.gpu_total_bytes,
    }
    if beat.phase == "evaluating" and vitals.recent.over_s > 0:
        numbers["examples_per_second"] = vitals.recent.examples / vitals.recent.over_s
    yield from (Sample(name, at, float(number)) for name, number in numbers.items() if number is not None)
    yield from (Sample("phase_seconds_total", (*at, name), vitals.seconds.get(name, 0.0)) for name in SECONDS)
    yield from (Sample("phase", (*at, phase), float(phase == beat.phase)) for phase in PHASES)
    yield Sample("stalled", (*at, _doing(beat, vitals) if stalled else NO_CAUSE), float(stalled))


def _doing(beat: Beat, vitals: Vitals) -> str:
    """Say what a rank that shows no progress does: what its last seconds went into, or else its phase."""
    if beat.phase != "evaluating":
        return beat.phase
    recent = vitals.recent.seconds
    return max(recent, key=lambda name: recent[name]) if recent else beat.part or beat.phase


def _of_run(run: str, whole: Whole) -> Iterator[Sample]:
    done = whole.earlier_chunks + sum(beat.chunks for beat in whole.beats)
    numbers: dict[str, float | None] = {
        "run_attempt": whole.attempt,
        "run_ranks": whole.ranks,
        "run_examples": whole.examples,
        "run_chunks": whole.chunks,
        "run_chunks_left": max(whole.chunks - done, 0),
        "run_examples_per_second": whole.examples_per_s,
        "last_run_examples_per_second": whole.last_examples_per_s,
        "run_folder_free_bytes": whole.free_bytes,
        "run_folder_size_bytes": whole.size_bytes,
    }
    yield Sample("run_info", (run, whole.name, whole.model, whole.job_digest, whole.version), 1.0)
    yield from (Sample(name, (run,), float(number)) for name, number in numbers.items() if number is not None)
    yield from (Sample("straggler", (run, str(rank), cause), 1.0) for rank, cause in sorted((whole.stragglers or {}).items()))
