"""The models of a job that other processes serve, as one predictor outside the graph; and whether their bits are the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError, Future
from typing import Any

import numpy as np
import tensorflow as tf

from harness.data import Feature
from harness.errors import DataError, EndpointError, InvalidRun
from harness.exact.array_bytes import array_bytes
from harness.exact.floating_point import subnormals_kept
from harness.job.specs import SlicesSpec
from harness.models.endpoint_client import Answer
from harness.models.model import Model
from harness.models.served_model import Place, ServedModel
from harness.prepare.input_binding import Matched
from harness.prepare.served_versions import version_feature
from harness.results.slice_latency import SliceLatency
from harness.step.host_slices import HostSlices

__all__ = ["ServedModels"]

LAST_DIGITS = 1e-3  # of the largest value: what the order of sums in a batch may change, of models in short floats too


class ServedModels:
    """Sends each batch to every served model, and puts together what comes back.

    Args:
      model: of the job; some of what it is made of is served.
      matched: which feature feeds which input.
      slices: of the job, whose requests are timed apart; None where there are none.
    """

    def __init__(self, model: Model, matched: Matched, slices: SlicesSpec | None = None) -> None:
        self._served = model.served
        self._slices = None if slices is None else HostSlices(slices, traced=True)
        self._slice_latency = {name: SliceLatency() for name in model.served}
        self._dtypes = {name: spec.dtype for name, spec in model.inputs.items()}
        self._inputs = matched.inputs
        self._first: dict[str, Mapping[str, np.ndarray]] = {}
        self._canary: dict[str, Mapping[str, np.ndarray]] = {}
        self._changed: dict[str, float] = {}  # from start to end, see `_change`

    @property
    def outputs(self) -> Mapping[str, Feature]:
        """What all give, by name; of several models as MODEL/OUTPUT."""
        return {
            _named(model, name): feature for model, served in self._served.items() for name, feature in served.outputs.items()
        }

    @property
    def features(self) -> Mapping[str, Feature]:
        """What comes with the outputs: where any version may answer, which one did."""
        return {version_feature(model): Feature("string", ()) for model, served in self._served.items() if served.any_version}

    @property
    def concurrency(self) -> int:
        """Batches that are to be under way: as many as are asked at a time, and as many that wait their turn."""
        return 2 * max(served.client.concurrency for served in self._served.values())

    def share_rate(self, ranks: int) -> None:
        """Divide the rates among so many ranks."""
        for served in self._served.values():
            served.client.share_rate(ranks)

    def submit(self, features: Mapping[str, np.ndarray], place: Place) -> Future[Mapping[str, np.ndarray]]:
        """Begin to predict a batch, [B, ...] by feature; the result has the outputs, and `features`."""
        slices = self._slices if place.chunk >= 0 else None

        def complete(parts: Mapping[str, np.ndarray], latencies_s: Mapping[str, float]) -> None:
            if slices is None or not latencies_s:
                return
            kept = np.arange(len(place.ids)) < place.count if place.kept is None else place.kept
            keys, places = slices.of({**parts, **features})
            for name, latency_s in latencies_s.items():
                self._slice_latency[name].add(keys, places[:, kept], latency_s)

        whole = _Joined(len(self._served), len(place.ids), complete)
        for name, served in self._served.items():
            answer = served.submit(self.tensors(served, features), place)
            whole.watch(name, served, answer)
        return whole

    def tensors(self, served: ServedModel, features: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return what a model reads of features, [B, ...] by name: by its inputs, in its dtypes."""
        with subnormals_kept():
            return {
                name: _converted(features[self._inputs[name]], self._dtypes[name], self._inputs[name]) for name in served.inputs
            }

    @property
    def error(self) -> BaseException | None:
        """What ended the requests of a model; None while they go well."""
        return next((served.client.error for served in self._served.values() if served.client.error), None)

    def look(self, features: Mapping[str, Any]) -> None:
        """Predict a batch whole, and its first half again on its own: whether bits depend on what is in a batch.

        Args:
          features: of the canary, [B, ...] by name.
        Raises: HarnessError: it is not answered.
        """
        arrays = {name: tensor.numpy() for name, tensor in features.items()}
        for name, served in self._served.items():
            self._canary[name] = tensors = self.tensors(served, arrays)
            self._first[name] = whole = served.ask(tensors)
            rows = len(next(iter(tensors.values())))
            if served.service.rows is None and rows >= 4:
                half = served.ask({key: array[: rows // 2] for key, array in tensors.items()})
                served.batching = _same(half, {key: array[: rows // 2] for key, array in whole.items()})

    def look_again(self) -> None:
        """Predict the same batch once more: whether the servers gave the same bits from the start to the end.

        Raises: InvalidRun: another version answers, or the rows come back in another order.
        """
        for name, served in self._served.items():
            try:
                again, first = served.ask(self._canary[name]), self._first[name]
            except EndpointError:
                served.deterministic = None  # all examples are evaluated: that the server is gone by now is no failure
                continue
            served.deterministic = _same(again, first)
            if not served.deterministic and _rows(again) == _rows(first):
                raise InvalidRun(
                    f"{_where(name)}: the rows of one and the same batch came back in another order at the end: "
                    "what was evaluated since may belong to other examples"
                )
            self._changed[name] = max(_change(again[key], array) for key, array in first.items())

    @property
    def canaries(self) -> Iterator[tuple[str, ServedModel, Mapping[str, np.ndarray]]]:
        """Name, model and what it reads of the canary, of each."""
        return ((name, served, self._canary[name]) for name, served in self._served.items())

    def notes(self) -> Iterator[str]:
        """Say what of the bits was seen to depend on more than the example."""
        for name, served in self._served.items():
            where, change = _where(name), self._changed.get(name, 0.0)
            yield from served.service.left_out
            yield from (f"{where}: {note}" for note in served.client.notes())
            if served.deterministic is False and change <= LAST_DIGITS:
                yield (
                    f"{where}: one and the same batch got other bits at the end than at the start: another run may differ in the "
                    "last digits"
                )
            elif served.deterministic is False:
                yield (
                    f"{where}: one and the same batch got other values at the end than at the start, which differ by up to "
                    f"{change:.2g} of the largest: this result is not that of one model"
                )
            if served.unnamed and not served.any_version:
                yield (
                    f"{where}: replies do not say which version answered: that it was {served.service.version} is what the "
                    "server said at the start, and it is recorded as unknown for the chunks"
                )
            if served.batching is False:
                yield (
                    f"{where}: an example gets other bits in a smaller batch: what the server puts together, and batch_size, may "
                    "change the last digits"
                )

    def close(self) -> None:
        """End what asks them; they are asked no more."""
        for served in self._served.values():
            served.client.close()

    def account(self) -> dict[str, Any]:
        """Say for run.json what happened on this rank, by model."""
        return {name: served.account() for name, served in self._served.items()}

    def slice_latency(self) -> dict[str, Any]:
        """Say how long requests took by slice, by model; nothing where the job has no slices."""
        return {name: latency.account() for name, latency in self._slice_latency.items()}


class _Joined(Future[Mapping[str, np.ndarray]]):
    """The answers of several models to one batch.

    Args:
      models: how many answer.
      rows: of the batch.
      complete: called with all that was answered, and the seconds of each model, before anybody gets it.
    """

    def __init__(self, models: int, rows: int, complete: Callable[[Mapping[str, np.ndarray], Mapping[str, float]], None]) -> None:
        super().__init__()
        self._left, self._rows, self._complete = models, rows, complete
        self._latencies_s: dict[str, float] = {}
        self._parts: dict[str, np.ndarray] = {}
        self._answers: list[Future[Answer]] = []

    def watch(self, name: str, served: ServedModel, answer: Future[Answer]) -> None:
        """Take what a model answers, when it does."""
        self._answers.append(answer)
        answer.add_done_callback(lambda done: self._take(name, served, done))

    def _take(self, name: str, served: ServedModel, done: Future[Answer]) -> None:
        with self._condition:
            if self.done():
                return
            try:
                answer = done.result()
            except (Exception, CancelledError) as exc:  # noqa: BLE001 - whoever waits gets it
                self._parts.clear()
                failure: BaseException | None = exc
            else:
                failure = None
                self._parts |= {_named(name, key): array for key, array in answer.outputs.items()}
                if served.any_version:
                    self._parts[version_feature(name)] = np.full([self._rows], answer.version.encode(), object)
                if answer.seconds is not None:
                    self._latencies_s[name] = answer.seconds
                self._left -= 1
            is_complete = not self._left
        if is_complete and failure is None:
            try:
                self._complete(self._parts, self._latencies_s)
            except Exception as exc:  # noqa: BLE001 - whoever waits gets it
                failure = exc
        if failure is not None:
            self.set_exception(failure)
        elif is_complete:
            self.set_result(self._parts)

    def cancel(self) -> bool:
        """Ask no more for what is not under way yet."""
        for answer in self._answers:
            answer.cancel()
        return super().cancel()


def _named(model: str, output: str) -> str:
    return f"{model}/{output}" if model else output


def _converted(array: np.ndarray, dtype: Any, name: str) -> np.ndarray:
    """Cast what a model is fed, as `converted` does in the graph.

    Raises: DataError: an integer does not fit.
    """
    if dtype == tf.string:
        return array
    values = array.astype(dtype.as_numpy_dtype, copy=False)
    if array.dtype.kind in "iu" and values.dtype.kind in "iu" and values is not array:
        beyond = (values.astype(array.dtype) != array) | ((values < 0) != (array < 0))
        if beyond.any():
            raise DataError(f"feature '{name}': expected integers that fit the model's {dtype.name}, found {array[beyond][0]}")
    return values


def _where(model: str) -> str:
    return f"endpoint {model}" if model else "endpoint"


def _rows(outputs: Mapping[str, np.ndarray]) -> list[bytes]:
    """Return what the outputs hold of each row, in an order of their own: of batches whose rows changed places the same."""
    count = len(next(iter(outputs.values())))
    return sorted(b"".join(array_bytes(outputs[name][row : row + 1]) for name in sorted(outputs)) for row in range(count))


def _change(again: np.ndarray, first: np.ndarray) -> float:
    """Return the largest difference over the largest value; infinite where one is no number, or text is another.

    >>> _change(np.float32([1, 2]), np.float32([1, 4])), _change(np.float32([np.nan]), np.float32([1]))
    (0.5, inf)
    """
    if again.shape != first.shape or first.dtype.kind not in "biuf":
        return 0.0 if np.array_equal(again, first) else float("inf")
    differences = np.abs(again.astype(np.float64) - first.astype(np.float64))
    differences[(again == first) | ((again != again) & (first != first))] = 0.0
    largest = float(np.max(np.abs(first.astype(np.float64)), initial=0.0))
    change = float(np.max(differences, initial=0.0))
    return 0.0 if change == 0 else change / largest if largest > 0 and np.isfinite(change) else float("inf")


def _same(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> bool:
    return all(array_bytes(array) == array_bytes(other[name]) for name, array in one.items())
