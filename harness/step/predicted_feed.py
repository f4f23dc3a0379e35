"""Batches that are predicted outside the graph, several at a time: read and parsed like any, they come with their outputs.

Results may come back in any order. They are handed on in the order in which their batches were read, so that chunks end
where they end, and what is added up, written or certified does not depend on which answer came first.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from harness.data import Feature, Source
from harness.data.content import ContentHash
from harness.models.served_model import Place
from harness.step.batch import Masks
from harness.step.pipeline_feed import PipelineFeed

__all__ = ["OutsidePredictor", "PredictedFeed", "Settings"]


class OutsidePredictor(Protocol):
    """Predicts elsewhere: in other threads, in another process, on another machine."""

    @property
    def outputs(self) -> Mapping[str, Feature]:
        """What it returns of each example, by name; every size is known."""

    @property
    def features(self) -> Mapping[str, Feature]:
        """What comes with the outputs, as if it were of the data; every size is known."""

    def submit(self, features: Mapping[str, np.ndarray], place: Place) -> Future[Mapping[str, np.ndarray]]:
        """Begin to predict a batch, [B, ...] by name, and return at once; outputs and features are [B, ...] by name."""


@dataclass(frozen=True)
class Settings:
    """How a feed works.

    Attributes:
      batch_size: examples a batch.
      threads: of the pipeline.
      most_under_way: batches that are predicted at the same time.
    """

    batch_size: int
    threads: int
    most_under_way: int


class PredictedFeed(PipelineFeed):
    """A pipeline whose batches pass through a predictor outside the graph.

    Args:
      source: where the examples come from.
      wanted: features to parse.
      predictor: gets all of them.
      settings: how many at a time.
      content: hashes what is read.
    """

    def __init__(
        self,
        source: Source,
        wanted: Mapping[str, Feature],
        predictor: OutsidePredictor,
        settings: Settings,
        content: ContentHash | None = None,
    ) -> None:
        super().__init__(source, wanted, settings.batch_size, settings.threads, content)
        self._predictor = predictor
        self._most = settings.most_under_way
        self._awaited_s = 0.0  # answers
        self._reading_s = 0.0
        self._before_s = 0.0, 0.0

    @property
    def waited_s(self) -> float:
        """That the iterator had no batch ready, and it was not an answer that was awaited."""
        waited_s, awaited_s = super().waited_s, self._awaited_s
        # From one call to the next: what was awaited ahead of need is none of the later calls' affair.
        self._reading_s += max(0.0, (waited_s - self._before_s[0]) - (awaited_s - self._before_s[1]))
        self._before_s = waited_s, awaited_s
        return self._reading_s

    @property
    def waiting_s(self) -> float:
        """As the last call left it: which of two waits is under way is not known before its end."""
        return self._reading_s

    def _batches(self) -> Any:
        """Send the batches of the pipeline to the predictor, a few ahead of the one that is awaited."""
        batches = self._bounded(super()._batches())
        size = self.batch_size
        outputs, added = (
            {name: tf.TensorSpec([size, *spec.shape], spec.dtype) for name, spec in specs.items()}
            for specs in (self._predictor.outputs, self._predictor.features)
        )

        def predicted() -> Generator[dict[str, Any], None, None]:
            under_way = _UnderWay(batches, self._predictor, self._most)
            try:
                for element, answer in under_way:
                    yield self._joined(element, answer)
            finally:
                under_way.close()

        read = batches.element_spec
        signature = {**read, "features": {**read["features"], **added}, "outputs": outputs}
        return tf.data.Dataset.from_generator(self._guarded(predicted), output_signature=signature)

    def _joined(self, element: dict[str, Any], answer: Future[Mapping[str, np.ndarray]]) -> dict[str, Any]:
        """Wait for the outputs of a batch."""
        begun = time.monotonic()
        parts = answer.result()
        self._awaited_s += time.monotonic() - begun
        added = {name: parts[name] for name in self._predictor.features}
        outputs = {name: parts[name] for name in self._predictor.outputs}
        return {**element, "features": {**element["features"], **added}, "outputs": outputs}


class _UnderWay:
    """Batches that are sent ahead by a thread of its own, so that one that has its answer never waits for the next to be read.

    With tickets the next may not come before the loop has evaluated the first.

    Args:
      batches: elements, as the pipeline gives them.
      predictor: they are sent to.
      most: at the same time.
    """

    def __init__(self, batches: Any, predictor: OutsidePredictor, most: int) -> None:
        self._batches, self._predictor = batches, predictor
        self._room = threading.Semaphore(most)
        self._sent: SimpleQueue[tuple[dict[str, Any], Future[Mapping[str, np.ndarray]]] | BaseException | None] = SimpleQueue()
        self._closed = threading.Event()
        threading.Thread(target=self._send, name="outside", daemon=True).start()

    def _send(self) -> None:
        try:
            for element in self._batches:
                self._room.acquire()
                if self._closed.is_set():
                    return
                features = {name: tensor.numpy() for name, tensor in element["features"].items()}
                self._sent.put((element, self._predictor.submit(features, _place(element))))
            self._sent.put(None)
        except BaseException as exc:  # noqa: BLE001 - whoever reads raises it
            self._sent.put(exc)

    def __iter__(self) -> Iterator[tuple[dict[str, Any], Future[Mapping[str, np.ndarray]]]]:
        while (item := self._sent.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
            self._room.release()

    def close(self) -> None:
        """Send no more; nobody awaits what is under way."""
        self._closed.set()
        self._room.release()
        while not self._sent.empty():
            if isinstance(item := self._sent.get(), tuple):
                item[1].cancel()


def _place(element: Mapping[str, Any]) -> Place:
    """Return where a batch comes from."""
    ids, count, kept = element["ids"].numpy(), int(element["count"]), None
    if "bad" in element or "keep" in element:
        kept = Masks.of(tf.range(len(ids)) < count, element.get("bad"), element.get("keep")).kept.numpy()
    return Place(int(element["chunk"]), ids, count, kept)
