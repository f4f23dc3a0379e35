"""A model that another process serves, for the loop: batches in, outputs and the version that answered, by chunk."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from harness.data import Feature
from harness.models.endpoint_client import Answer, EndpointClient
from harness.models.served import UNKNOWN, Question, Silence

__all__ = ["Place", "ServedModel", "Service"]


@dataclass(frozen=True)
class Place:
    """Where a batch comes from.

    Attributes:
      chunk: its number; -1 of a batch that is no part of the plan.
      ids: of its examples, int64 [B].
      count: how many of them are real.
      kept: which of them are evaluated, bool [B]: the job may filter examples, or skip records; None is all that are real.
    """

    chunk: int
    ids: np.ndarray
    count: int
    kept: np.ndarray | None = None

    @property
    def label(self) -> str:
        """The batch in words.

        >>> Place(3, np.array([192, 193, 193]), 2).label
        'chunk 3, examples 192 to 193'
        """
        if self.chunk < 0:
            return f"the first {self.count} examples, ahead of all chunks"
        return f"chunk {self.chunk}, examples {self.ids[0]} to {self.ids[max(self.count - 1, 0)]}"


@dataclass(frozen=True)
class Service:
    """What serves a model.

    Attributes:
      protocol, version: in words; the version may be "any".
      rows: examples that it takes at a time; None is any number.
      echo: input that holds the example's id, and its shape; None where none is passed through.
      addresses: how many are asked.
      left_out: why others are not, a sentence each.
    """

    protocol: str
    version: str
    rows: int | None = None
    echo: tuple[str, tuple[int | None, ...]] | None = None
    addresses: int = 1
    left_out: tuple[str, ...] = ()


class ServedModel:
    """A model behind an endpoint.

    Args:
      client: asks it.
      inputs, outputs: of one example, without what is passed through.
      service: see there.

    Attributes:
      deterministic: whether the same batch gave the same bits at the start and at the end; None is not known.
      batching: whether rows gave the same bits in a smaller batch; None is not known.
    """

    def __init__(
        self, client: EndpointClient, inputs: Mapping[str, Feature], outputs: Mapping[str, Feature], service: Service
    ) -> None:
        self.client, self.service = client, service
        self.inputs, self.outputs = inputs, outputs
        self.deterministic: bool | None = None
        self.batching: bool | None = None
        self._chunks: dict[str, set[int]] = {}  # by the version that answered
        self._lock = threading.Lock()

    @property
    def order(self) -> str:
        """Say what of a reply in the wrong place would be found, by the replies so far."""
        if self.service.echo is not None:
            return f"rows that come back in another order are found ('{self.service.echo[0]}' is passed through)"
        what = "replies name their request, but rows" if self.client.labelled else "replies and rows"
        return f"{what} that come back in another order cannot be found; echo: NAME says which input the model passes through"

    @property
    def unnamed(self) -> int:
        """How many chunks were answered by replies that do not say which version gave them."""
        with self._lock:
            return len(self._chunks.get(UNKNOWN, ()))

    @property
    def any_version(self) -> bool:
        """Whether any version may answer; then each example has it as a feature."""
        return self.service.version == "any"

    def submit(self, tensors: Mapping[str, np.ndarray], place: Place) -> Future[Answer]:
        """Begin to predict a batch, [B, ...] by input; the outputs have as many rows."""
        silence = Silence.INTERRUPTS if place.chunk >= 0 else Silence.ENDS_ALL
        # As the compiled step pads: one row may differ.
        question = self.question(tensors, place.ids, place.label, least=2, silence=silence)
        return self.client.submit(question, lambda answer: self._kept(answer, place))

    def question(
        self,
        tensors: Mapping[str, np.ndarray],
        ids: np.ndarray,
        label: str,
        *,
        least: int = 1,
        silence: Silence = Silence.ENDS_ALL,
    ) -> Question:
        """Return a request, with the id that is passed through, and as many rows as the server takes.

        Args:
          tensors: [B, ...] by input.
          ids: of the examples, int64 [B].
          label: names the request.
          least: rows; what is missing repeats the first one.
          silence: what it comes to when there is no reply.
        """
        rows = self.service.rows or max(len(ids), least)
        sent = {name: _padded(array, rows) for name, array in tensors.items()}
        if self.service.echo is not None:
            name, shape = self.service.echo
            sent[name] = _padded(ids.astype(np.int64), rows).reshape([rows, *(1 for _ in shape)])
        return Question(sent, label, silence)

    def _kept(self, answer: Answer, place: Place) -> Answer:
        """Return what counts of an answer, and note which version gave it."""
        if place.chunk >= 0:
            self.note(place, answer.version)
        count = len(place.ids)
        return replace(answer, outputs={name: answer.outputs[name][:count] for name in self.outputs})

    def note(self, place: Place, version: str) -> None:
        """Take note of the version that answered a batch of the plan."""
        with self._lock:
            self._chunks.setdefault(version, set()).add(place.chunk)

    def ask(self, tensors: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Predict one batch outside the plan, and wait for it; dtypes as in `inputs`."""
        count = len(next(iter(tensors.values())))
        return self.submit(tensors, Place(-1, np.arange(count), count)).result().outputs

    def latency_s(self, tensors: Mapping[str, np.ndarray], times: int = 5) -> list[float]:
        """Return how long a batch takes, some times, ascending."""
        durations = []
        for _ in range(times):
            begun = time.monotonic()
            self.ask(tensors)
            durations.append(time.monotonic() - begun)
        return sorted(durations)

    def account(self) -> dict[str, Any]:
        """Say for run.json what happened on this rank: requests, and which version answered which chunks."""
        with self._lock:
            versions = {version: ranges(chunks) for version, chunks in sorted(self._chunks.items())}
        return {
            **self.client.account(),
            "versions": versions,
            "deterministic": self.deterministic,
            "same_bits_in_smaller_batches": self.batching,
            "order": "echoed" if self.service.echo else "labelled" if self.client.labelled else "not known",
        }


def ranges(numbers: set[int]) -> list[list[int]]:
    """Return numbers as half-open ranges.

    >>> ranges({0, 1, 2, 5, 7, 8})
    [[0, 3], [5, 6], [7, 9]]
    """
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and runs[-1][1] == number:
            runs[-1][1] = number + 1
        else:
            runs.append([number, number + 1])
    return runs


def _padded(array: np.ndarray, rows: int) -> np.ndarray:
    """Bring a batch to so many rows, repeating its first; one that has more is left as it is, for the server to refuse."""
    missing = rows - len(array)
    return array if missing <= 0 else np.concatenate([array, np.repeat(array[:1], missing, axis=0)])
