"""One rank of a job in this process, through the harness's own parts: what the legs of the loop and of the jobs measure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["Pass", "one_rank"]

Pass = Callable[[], dict[str, float]]


def one_rank(keys: Mapping[str, Any], threads: int) -> Pass:
    """Build the step of a job.

    Args:
      keys: of the job, as YAML would have them.
      threads: of the rank.
    Returns: one pass over all examples, with a new pipeline; it returns the values that are single numbers, by metric.
    """
    from harness.job.job import Job
    from harness.metrics import make
    from harness.plan.certificate import Certificate
    from harness.prepare.opened import open_data
    from harness.prepare.prepare import predictor, prepare_model
    from harness.ranks.comm import SingleComm
    from harness.results.outcome import outcome
    from harness.run.loop import evaluate
    from harness.step import tensorflow as tf_setup
    from harness.sums.accumulator import Accumulator
    from harness.sums.reduction import reduce

    job = Job.from_dict(dict(keys))
    tf_setup.import_tensorflow()
    tf_setup.set_up(0, threads, job.seed)
    from harness.ranks.share import FixedShare
    from harness.step.build import make_feed
    from harness.step.step import Step

    opened = open_data(job)
    prepared = prepare_model(job, make(job.metrics), opened)
    feed = make_feed(opened.source, prepared.matched.wanted, job.batch_size, threads)
    share = FixedShare([opened.plan[index] for index in range(len(opened.plan))])
    feed.open(share)
    step = Step(predictor(prepared.model, prepared.matched), prepared.question, feed)

    def run() -> dict[str, float]:
        feed.open(share)
        accumulator, certificate = Accumulator(step.layouts), Certificate(opened.plan)
        evaluate(share, step, accumulator, lambda chunk: None)
        certificate.expect(share.chunks)
        total = accumulator.total()
        certificate.add(total.lines)
        reduced = reduce(SingleComm(), total, step.layouts, prepared.question, certificate, 0)
        if problems := reduced.certificate.problems():
            raise RuntimeError("\n".join(problems))
        values = outcome(reduced, step.layouts, prepared.question).results
        return {name: result.value for name, result in values.items() if isinstance(result.value, float)}

    return run
