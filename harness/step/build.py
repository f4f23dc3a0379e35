"""The compiled step of a job, put together one way for a run and for `check`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.data import Feature, Source
from harness.data.columns import limit_threads
from harness.data.content import ContentHash
from harness.errors import HarnessError
from harness.exact.tf_limbs import with_xla
from harness.job.job import Job
from harness.metrics.contract import Inputs
from harness.metrics.question import Question
from harness.prepare.opened import Opened
from harness.prepare.prepare import Prepared, predictor, taker
from harness.ranks.share import Share
from harness.step.array_feed import ArrayFeed
from harness.step.canary import Canary
from harness.step.failure import translate
from harness.step.feed import Feed
from harness.step.pipeline_feed import PipelineFeed
from harness.step.predicted_feed import PredictedFeed, Settings
from harness.step.served_models import ServedModels
from harness.step.step import Step
from harness.sums.capacity import check_examples
from harness.sums.grid import most_slices

__all__ = ["Built", "Resources", "compile_step", "make_feed", "pays_with_xla"]

Predict = Callable[[Mapping[str, Any]], Mapping[str, Any]]

# XLA takes 0.4 s for the sums of seven metrics, and saves 50 to 170 ns an example, or pixel with few classes. The bits are the
# same.
XLA_POSITIONS = 4_000_000


@dataclass(frozen=True)
class Resources:
    """What a process has for its step.

    Attributes:
      threads: of the pipeline.
      allowed_bytes: that the state may take.
      share: about how many examples it will evaluate; where they have many positions, sums are compiled with XLA.
      ranks: how many there are; they share the rate at which an endpoint may be asked.
    """

    threads: int
    allowed_bytes: int
    share: int = 0
    ranks: int = 1


@dataclass
class Built:
    """The compiled step of a rank, and what it was made of.

    Attributes:
      canary: the hash of what was predicted of the first examples; `predict_canary` predicts them again.
      served: the models that other processes serve; None where there are none.
    """

    step: Step
    feed: Feed
    prepared: Prepared
    predict_canary: Canary
    canary: int
    served: ServedModels | None = None

    @property
    def question(self) -> Question:
        """What is asked."""
        return self.prepared.question


def compile_step(
    job: Job,
    opened: Opened,
    prepared: Prepared,
    share: Share,
    resources: Resources,
    moved: Callable[[], None] = lambda: None,
) -> Built:
    """Trace a job into the compiled step, and predict its first batch.

    Args:
      job, opened, prepared: as `open_data` and `prepare_model` return them.
      share: what the feed will read.
      resources: of this process.
      moved: called at each sign of progress.
    Raises: HarnessError: model, data and metrics do not go together, or the first batch cannot be read or predicted.
    """
    predict = predictor(prepared.model, prepared.matched)
    wanted = prepared.matched.wanted
    skip = job.data.on_bad_record == "skip"
    served = _served(prepared, resources.ranks)
    feed = make_feed(
        opened.source, wanted, job.batch_size, resources.threads, skip=skip, hashed=prepared.matched.hashed, served=served
    )
    try:
        feed.open(share)
        with with_xla(pays_with_xla(resources.share, prepared.question, wanted)):
            step = Step(
                predict if served is None else _inside(prepared),
                prepared.question,
                feed,
                allowed_bytes=resources.allowed_bytes,
                expected_slices=_expected_slices(job, opened, prepared.question),
                take=taker(prepared.columns) if prepared.columns else None,
                eager=job.eager,
            )
        chunk = int(np.diff(opened.plan.bounds).max(initial=0))
        check_examples(step.layouts, step.grid.most_slots, opened.plan.examples, chunk, resources.allowed_bytes)
        moved()
        predict_canary = Canary(predict, feed.source, wanted, min(job.batch_size, opened.plan.examples))
        canary = predict_canary()
        if served is not None:
            served.look(predict_canary.features)
    except HarnessError:
        raise
    except Exception as exc:
        if served is not None and isinstance(served.error, HarnessError):
            raise served.error from exc
        raise translate(exc, feed, opened.plan, None, job) from exc
    return Built(step, feed, prepared, predict_canary, canary, served)


def _served(prepared: Prepared, ranks: int) -> ServedModels | None:
    """Return the models that other processes serve, with this rank's part of their rates."""
    if not prepared.model.served:
        return None
    served = ServedModels(prepared.model, prepared.matched, prepared.question.slices)
    served.share_rate(ranks)
    return served


def _inside(prepared: Prepared) -> Predict | None:
    """Return what predicts in the graph where some models are served; None where all are."""
    return predictor(prepared.model, prepared.matched, inside=True) if prepared.model.inside else None


def pays_with_xla(examples: int, question: Question, wanted: Mapping[str, Feature]) -> bool:
    """Say whether a rank adds up so many positions that it pays to compile the sums: those of its examples' largest label.

    Args:
      examples: of the rank, about.
      question: what is asked.
      wanted: features that are parsed.
    """
    labels = {binding.label for binding in question.bindings.values() if binding.inputs is not Inputs.RAW}
    shapes = [feature.shape for name, feature in wanted.items() if name in labels]
    positions = max((math.prod(size or 1 for size in shape) for shape in shapes), default=1)
    return examples * positions >= XLA_POSITIONS


def make_feed(
    source: Source,
    wanted: Mapping[str, Feature],
    batch_size: int,
    threads: int,
    *,
    skip: bool = False,
    hashed: Mapping[str, Feature] | None = None,
    served: ServedModels | None = None,
) -> Feed:
    """Return the feed that suits a source.

    Args:
      source: where the examples come from.
      wanted: features to parse.
      batch_size: examples a batch.
      threads: of the pipeline.
      skip: whether bad records are skipped; a batch says which under `bad`.
      hashed: features whose contents are certified; None is all that are wanted.
      served: predict outside the graph.
    """
    content = ContentHash(source.reads(wanted if hashed is None else hashed))
    selected = source.select(wanted, skip=skip)
    if served is not None:
        limit_threads(threads)
        return PredictedFeed(selected, wanted, served, Settings(batch_size, threads, served.concurrency), content)
    if selected.arrays is not None:
        return ArrayFeed(selected, wanted, batch_size, content)
    limit_threads(threads)
    return PipelineFeed(selected, wanted, batch_size, threads, content)


def _expected_slices(job: Job, opened: Opened, question: Question) -> int | None:
    """Return how many slices there are at most, as far as that is known before the data are read."""
    if question.slices is None:
        return None
    classes = {job.data.label: len(question.classes)} if question.classes and job.data.label else {}
    return most_slices(question.slices, opened.plan.examples, classes)
