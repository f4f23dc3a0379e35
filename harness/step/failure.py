"""What TensorFlow raises, as errors of the harness that name the place."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import Any

from harness.errors import DataError, HarnessError, ModelError
from harness.job.job import Job
from harness.job.user_code import place_in, raised
from harness.plan.plan import Chunk, Plan
from harness.step.own_code import metric_of

__all__ = ["translate"]

SHOWN = 600  # letters of a message
PYTHON_ERROR = re.compile(r"^\s*([A-Za-z_][\w.]*(?:Error|Exception): .+)$", re.MULTILINE)
FRAMES = re.compile(r'^ *File ".*$', re.MULTILINE)
NODES = re.compile(r"\[\[\{\{node .*|\[Op:.*")
ASSERTED = re.compile(r"assertion failed: \[(feature .*?)\] \[(\S*)\]")  # what `converted` says of a model's inputs
READ_AHEAD = 64  # batches that may be in the pipeline beyond the one under way


def translate(exc: Exception, feed: Any, plan: Plan, ahead: Sequence[Chunk] | None, job: Job, labels: Any = None) -> HarnessError:
    """Turn what TensorFlow raised into an error of the harness that names the place.

    Args:
      exc: what was raised.
      feed: the pipeline.
      plan: all chunks.
      ahead: this rank's chunks from the one on that was asked for; None where the loop has not begun.
      job: for what to do.
      labels: the `ClassLabels` of the step; None before there is one.
    """
    import tensorflow as tf

    if isinstance(exc, HarnessError):
        return exc
    if isinstance(feed.error, HarnessError):
        return feed.error
    at = feed.reading if feed.error is not None else ahead[0] if ahead else None
    where = "building the step" if ahead is None else f"chunk {at.index} ({plan.describe(at)})" if at else "the first chunk"
    if isinstance(exc, tf.errors.ResourceExhaustedError):
        return HarnessError(
            f"{where}: the device is out of memory with batch_size {job.batch_size}; "
            f"try --set batch_size={max(job.batch_size // 2, 1)}"
        )
    if feed.error is not None:
        return DataError(f"{where}: reading failed: {type(feed.error).__name__}: {feed.error}")
    if isinstance(exc, tf.errors.OpError):
        from harness.step.class_labels import UNKNOWN
        from harness.step.host_terms import host_failures

        if asserted := ASSERTED.search(exc.message):  # one call evaluates several chunks: which of them is not told
            return DataError(f"{where}, or soon after: {' '.join(asserted.groups())}".replace("\\'", "'"))
        # What an earlier evaluation of this process left there is not this one's.
        for failure in reversed(host_failures):
            if isinstance(failure, HarnessError) and str(failure) in exc.message:
                return HarnessError(f"{where}: {failure}")
        # One call evaluates several chunks, and the pipeline reads ahead: what does not parse may lie further on.
        from harness.step.step import CALL_CHUNKS

        explain = partial(_reason, feed, plan, labels if labels is not None and UNKNOWN in exc.message else None)
        reason, left = None, READ_AHEAD
        for number, chunk in enumerate([plan[0]] if ahead is None else ahead):
            left -= chunk.batches(job.batch_size) if number > CALL_CHUNKS else 0
            if (reason := explain(chunk)) or left < 0:
                break
        return DataError(reason) if reason else HarnessError(f"{where}: {_cause(exc.message)}")
    if ahead is None:
        return ModelError(f"{where}: {raised(exc)}")
    return HarnessError(f"{where}: {raised(exc)}")


def _reason(feed: Any, plan: Plan, labels: Any, chunk: Chunk) -> str | None:
    """Say what is wrong with a chunk: a record that does not parse, or, given labels, one that is no class."""
    from harness.step.unknown_labels import first_unknown

    if labels is None:
        reason: str | None = feed.explain(chunk.start, chunk.stop)
        return reason
    return first_unknown(labels, feed.source, feed.wanted, plan, chunk)


def _cause(text: str) -> str:
    """Return what TensorFlow says on one line, shortened: what Python raised inside it alone, or what its operation says.

    >>> _cause("Graph execution error:\\n\\nDetected at node PyFunc\\nAttributeError: no 'max'\\nTraceback ...")
    "AttributeError: no 'max'"
    >>> _cause('Detected at node metric.cost/A defined at\\n  File "/me/costs.py", line 7, in terms\\n\\nbad')
    'metric cost: bad (/me/costs.py:7)'
    """
    exceptions, metric, place = PYTHON_ERROR.findall(text), metric_of(text), place_in(text)
    if exceptions:
        reason = exceptions[0]
    elif place:  # what the operation says follows on its stack
        reason = FRAMES.split(text)[-1]
    else:
        reason = text
    reason = " ".join(NODES.sub("", reason).split())[:SHOWN]
    return f"{f'metric {metric}: ' if metric else ''}{reason}{f' ({place})' if place else ''}"
