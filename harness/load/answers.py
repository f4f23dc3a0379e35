"""What the service answered to each example of a query library, kept so that it can be evaluated."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from concurrent.futures import Future

import numpy as np

from harness.errors import InvalidRun
from harness.exact.array_bytes import array_bytes
from harness.models.endpoint_client import Answer
from harness.models.served_model import Place, ServedModel

__all__ = ["AnsweredModel", "Answers"]

DIGEST_BYTES = 8


class Answers:
    """The outputs of N examples; an example that is asked for twice keeps its first answer.

    Args:
      served: that answers.
      ids: of the examples, int64 [N].
    """

    def __init__(self, served: ServedModel, ids: np.ndarray) -> None:
        self._ids = ids
        self._places = {int(identity): place for place, identity in enumerate(ids)}
        self._known = np.zeros(len(ids), bool)
        self._outputs = {
            name: np.zeros((len(ids), *map(int, feature.shape)), object if feature.dtype == "string" else feature.dtype)  # type: ignore[arg-type]
            for name, feature in served.outputs.items()
        }
        self._digests: dict[int, bytes] = {}

    def keep(self, places: np.ndarray, outputs: Mapping[str, np.ndarray]) -> list[bytes]:
        """Keep the outputs, [B, ...] by name, of examples by their places, int64 [B].

        Returns: a digest of what is kept of each.
        """
        for row, place in enumerate(places.tolist()):
            if not self._known[place]:
                for name, kept in self._outputs.items():
                    kept[place] = outputs[name][row]
                rows = (array_bytes(kept[place : place + 1]) for _, kept in sorted(self._outputs.items()))
                self._digests[place] = hashlib.blake2b(b"".join(rows), digest_size=DIGEST_BYTES).digest()
                self._known[place] = True
        return [self._digests[place] for place in places.tolist()]

    def digest(self, place: int) -> str:
        """Return the digest of what is kept of an example, by its place, in hexadecimal; empty where nothing is."""
        return self._digests.get(place, b"").hex()

    def of(self, ids: np.ndarray) -> Mapping[str, np.ndarray]:
        """Return the outputs of examples by their ids, int64 [B]; zeros of those that do not count and were not asked for."""
        places = np.array([self._places.get(int(identity), -1) for identity in ids], np.int64)
        asked = places >= 0
        if not self._known[places[asked]].all():
            missing = int(ids[asked][~self._known[places[asked]]][0])
            raise InvalidRun(f"INVALID, no result was written: LoadGen never asked for example {missing}")
        outputs = {name: kept[places] for name, kept in self._outputs.items()}
        for array in outputs.values():
            array[~asked] = b"" if array.dtype == object else 0
        return outputs


class AnsweredModel(ServedModel):
    """A served model whose answers to the examples of the plan are known; what is asked beside the plan is asked for.

    Args:
      served: the model.
      answers: to the examples.
      version: that gave them.
    """

    def __init__(self, served: ServedModel, answers: Answers, version: str) -> None:
        super().__init__(served.client, served.inputs, served.outputs, served.service)
        self._answers, self._version = answers, version

    def submit(self, tensors: Mapping[str, np.ndarray], place: Place) -> Future[Answer]:
        """Return what was answered, [B, ...] by output."""
        if place.chunk < 0:
            return super().submit(tensors, place)
        future: Future[Answer] = Future()
        self.note(place, self._version)
        try:
            future.set_result(Answer(self._answers.of(place.ids), self._version))
        except InvalidRun as exc:
            future.set_exception(exc)
        return future
