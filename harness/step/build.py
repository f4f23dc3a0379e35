"""The compiled step of a job, put together one way for a run and for `check`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.exact.tf_limbs import with_xla
from harness.job.job import Job
from harness.metrics.contract import Binding, Metric
from harness.plan.plan import Chunk
from harness.prepare.input_binding import Matched
from harness.prepare.prepare import Opened, left_out, predictor
from harness.step.failure import translate
from harness.step.feed import Feed, make_feed
from harness.step.grid import TFGrid
from harness.step.step import Canary, Step, Take
from harness.step.terms import Terms

__all__ = ["Compiled", "compile_step"]

# XLA takes 0.4 s for the sums of seven metrics, and saves 50 to 170 ns an example. The bits are the same.
XLA_EXAMPLES = 4_000_000


@dataclass(frozen=True)
class Compiled:
    """A step, the pipeline that feeds it, the first batch, and the hash of what was predicted of it."""

    step: Step
    feed: Feed
    again: Canary
    canary: int


def compile_step(
    job: Job,
    metrics: Mapping[str, Metric],
    bindings: Mapping[str, Binding],
    opened: Opened,
    *,
    model: Any,
    matched: Matched,
    chunks: Iterable[Chunk],
    share: int,
    threads: int,
    allowed: int,
    moved: Callable[[], None] = lambda: None,
    take: Take | None = None,
) -> Compiled:
    """Trace a job into the compiled step, and predict its first batch.

    Args:
      job, metrics, bindings, opened, model, matched: as `prepare_model` and `open_data` return them.
      chunks: what the pipeline will read.
      share: about how many examples this process will evaluate; where they are many, sums are compiled with XLA.
      threads: of the pipeline.
      allowed: bytes that the state may take.
      moved: called at each sign of progress.
      take: what is handed to the host of each batch; see `Step`.
    Raises: HarnessError: model, data and metrics do not go together, or the first batch cannot be read or predicted.
    """
    grid = None
    if job.slices or job.bootstrap:
        grid = TFGrid(job.slices, job.bootstrap, left_out(job, metrics))
    predict = predictor(model, matched)
    skip = job.data.on_bad_record == "skip"
    feed = make_feed(opened.source, matched.wanted, job.batch_size, threads, skip=skip, hashed=matched.hashed)
    try:
        terms = Terms(metrics, bindings)
        feed.start(chunks)
        with with_xla(share >= XLA_EXAMPLES):
            step = Step(predict, terms, feed, grid, allowed_bytes=allowed, take=take, eager=job.eager)
        moved()
        again = Canary(predict, feed.source, matched.wanted, min(job.batch_size, opened.plan.examples))
        mark = again()
    except Exception as exc:
        raise translate(exc, feed, opened.plan, None, job) from exc
    return Compiled(step, feed, again, mark)
