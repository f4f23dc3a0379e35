"""What every door to the harness does alike: start from nothing, run the loop, certify, compute. Loads TensorFlow late.

Knows neither run folder nor command line, prints nothing and ends nobody: that is for `run.py`, the door of the command
line, and `api.py`, the door of Python.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import InvalidRun
from harness.job.job import Job
from harness.metrics.contract import Binding, Metric, RowMetric
from harness.plan.certificate import Certificate
from harness.plan.plan import Chunk, Plan
from harness.predictions.dataset import PartWriter
from harness.predictions.prediction_files import Column
from harness.prepare.prepare import Opened, class_list
from harness.results import files as results
from harness.results.differences import differences
from harness.results.outcome import Outcome, outcome
from harness.run.loop import Evaluation, Supply, evaluate
from harness.run.provenance import Reading
from harness.step.failure import translate
from harness.sums.reduction import Reduced

__all__ = ["Built", "certify", "compute", "empty", "loop", "summary"]


@dataclass
class Built:
    """The compiled step of a rank, and what it was made of."""

    step: Any
    feed: Any
    bindings: Mapping[str, Binding]
    canary: int
    writer: PartWriter | None = None
    columns: tuple[Column, ...] = ()
    reading: Reading | None = None


def empty(built: Built, plan: Plan, job: Job, metrics: Mapping[str, Metric]) -> Evaluation:
    """Return what a rank starts from."""
    # A replicate may leave out the one row that a metric would have kept.
    keep = {} if job.bootstrap else {key: metric.keep for key, metric in metrics.items() if isinstance(metric, RowMetric)}
    return Evaluation.empty(built.step.layout, Certificate(plan), keep, _anonymous(job, metrics))


def _anonymous(job: Job, metrics: Mapping[str, Metric]) -> set[str]:
    """Say which metrics need no ids in their rows: equal rows are alike, and nothing is drawn by them."""
    rows = {key: metric for key, metric in metrics.items() if isinstance(metric, RowMetric)}
    return {key for key, m in rows.items() if m.additive is not None and not (job.bootstrap and m.in_replicates)}


def loop(
    built: Built,
    plan: Plan,
    job: Job,
    chunks: Sequence[Chunk],
    evaluation: Evaluation,
    *,
    step: Any = None,
    progress: Callable[[Chunk], None] = lambda chunk: None,
    border: Callable[[], None] = lambda: None,
    supply: Supply | None = None,
) -> None:
    """Evaluate a rank's chunks; see `loop.evaluate`.

    Args:
      step: runs instead of the built one, and calls it.
    Raises: HarnessError: what went wrong, with its place.
    """
    at: Chunk | None = None

    def moved(chunk: Chunk) -> None:
        nonlocal at
        at = chunk
        progress(chunk)

    try:
        evaluate(chunks, step or built.step, evaluation, moved, border, supply)
    except Exception as exc:
        ahead = chunks[chunks.index(at) :] if at else chunks
        raise translate(exc, built.feed, plan, ahead, job) from exc


def certify(problems: Sequence[str]) -> None:
    """Go on only where the certificate matches the plan.

    Raises: InvalidRun: it does not.
    """
    if problems:
        raise InvalidRun("\n  ".join(["INVALID, no result was written:", *problems, "the reader or the pipeline is at fault"]))


def compute(
    job: Job,
    metrics: Mapping[str, Metric],
    built: Built,
    reduced: Reduced,
    progress: Callable[[], None] = lambda: None,
) -> Outcome:
    """Compute every value from the sums of all ranks."""
    step = built.step
    grid = step.grid.layout if step.grid else None
    return outcome(
        reduced, step.layout, grid, metrics, built.bindings, class_list(job), job.slices, job.bootstrap, progress
    )  # fmt: skip


def summary(job: Job, opened: Opened, certificate: Certificate, found: Outcome) -> dict[str, Any]:
    """Return what metrics.json holds beside the values."""
    return {
        "certificate": {
            "examples": opened.plan.examples,
            "chunks": len(opened.plan),
            "id_hash": certificate.id_hash,
            **_content(opened, certificate),
            **certificate.left_out,
        },
        **({"predictions": opened.left_out} if opened.left_out else {}),
        "digests": opened.digests,
        **_compared(job, found),
    }


def _content(opened: Opened, certificate: Certificate) -> dict[str, Any]:
    """Return the content hash, or why there is none."""
    if reason := opened.source.without_content:
        return {"content_hash": None, "content_reason": reason}
    return {"content_hash": certificate.content_hash}


def _compared(job: Job, found: Outcome) -> dict[str, Any]:
    """Return what metrics.json says of several models: the differences from the first."""
    if len(job.models) < 2:
        return {}
    each = differences(found, list(job.models), job.bootstrap.level if job.bootstrap else None)
    document: dict[str, Any] = {}
    for one in each:
        entry = {"value": one.value, **({"interval": results.interval_json(one.interval)} if one.interval else {})}
        document.setdefault(f"{one.model} - {next(iter(job.models))}", {})[one.metric] = entry
    return {"differences": document}
