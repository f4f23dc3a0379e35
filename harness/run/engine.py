"""What every door to the harness does alike: start from nothing, run the loop, certify, compute. Loads TensorFlow late.

Knows neither run folder nor command line, prints nothing and ends nobody: that is for `run.py`, the door of the command
line, and `api.py`, the door of Python.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from harness.errors import InvalidRun
from harness.job.job import Job
from harness.plan.certificate import Certificate
from harness.plan.plan import Chunk, Plan
from harness.prepare.prepare import Opened
from harness.ranks.share import Share
from harness.results import files as results
from harness.results.differences import differences
from harness.results.outcome import Outcome, outcome
from harness.run.loop import evaluate
from harness.step.failure import translate
from harness.sums.accumulator import Accumulator
from harness.sums.reduction import Reduced

if TYPE_CHECKING:
    from harness.step.build import Built

__all__ = ["certify", "compute", "loop", "summary"]


def loop(
    built: Built,
    plan: Plan,
    job: Job,
    share: Share,
    accumulator: Accumulator,
    *,
    step: Any = None,
    progress: Callable[[Chunk], None] = lambda chunk: None,
    border: Callable[[], None] = lambda: None,
) -> None:
    """Evaluate a rank's share; see `loop.evaluate`.

    Args:
      step: runs instead of the built one, and calls it.
    Raises: HarnessError: what went wrong, with its place.
    """
    try:
        evaluate(share, step or built.step, accumulator, progress, border)
    except Exception as exc:
        raise translate(exc, built.feed, plan, share.unfinished, job) from exc


def certify(problems: Sequence[str]) -> None:
    """Go on only where the certificate matches the plan.

    Raises: InvalidRun: it does not.
    """
    if problems:
        raise InvalidRun("\n  ".join(["INVALID, no result was written:", *problems, "the reader or the pipeline is at fault"]))


def compute(built: Built, reduced: Reduced, progress: Callable[[], None] = lambda: None) -> Outcome:
    """Compute every value from the sums of all ranks."""
    return outcome(reduced, built.step.layouts, built.question, progress)


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
