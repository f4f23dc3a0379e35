"""The system under test: takes LoadGen's queries, sends them to the service, and tells LoadGen and the account what came of each.

LoadGen waits until every query is complete. So a query that failed is completed as well, without a response, and counted as
failed: LoadGen's own figures take it for an answer, those of the account do not.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from typing import Any

import numpy as np

from harness.bench.loadgen import ScenarioName
from harness.errors import HarnessError, InvalidRun
from harness.load.account import LoadAccount
from harness.load.answers import Answers
from harness.load.library import QueryLibrary
from harness.models.endpoint_client import Answer
from harness.models.served import CallFailed, Silence
from harness.models.served_model import ServedModel

__all__ = ["Complete", "LoadSystem", "Policy"]

Complete = Callable[[Sequence[int], Sequence[bytes]], None]  # takes ids of queries, and a response to each
SHOWN = 200  # letters of a reason
SWEEP_S = 0.05


class Policy:
    """How queries become requests.

    Args:
      scenario: how they come.
      batch_size: examples of a request of Offline, at most.
      patience_s: that a query of Server waits for a connection.
    """

    def __init__(self, scenario: ScenarioName, batch_size: int, patience_s: float) -> None:
        self.is_server, self.is_offline = scenario is ScenarioName.SERVER, scenario is ScenarioName.OFFLINE
        self.batch_size, self.patience_s = batch_size, patience_s


class LoadSystem:
    """Answers queries through a service.

    Args:
      served: the service.
      library: its examples.
      policy: see there.
      account: counts what becomes of queries.
      complete: tells LoadGen.
      answers: keeps the outputs; None where nobody evaluates them.

    Attributes:
      begun: when the first query came, by the monotonic clock.
      failure: what makes all answers worthless, as another version that answered; None while there is nothing.
    """

    def __init__(
        self,
        served: ServedModel,
        library: QueryLibrary,
        policy: Policy,
        account: LoadAccount,
        complete: Complete,
        answers: Answers | None = None,
    ) -> None:
        self._served, self._library, self._policy = served, library, policy
        self._account, self._complete, self._answers = account, complete, answers
        self._room = threading.Semaphore(2 * served.client.concurrency)
        # A query that fails is no reason not to send the next, but where every answer is wanted, and where all wait at once.
        ends_all = answers is not None or policy.is_offline
        self._silence = Silence.ENDS_ALL if ends_all else Silence.FAILS_ALONE
        self._sent: deque[tuple[float, Future[Answer]]] = deque()  # of Server, in the order in which they came
        self._requests = 0
        self.begun: float | None = None
        self.failure: HarnessError | None = None

    def issue(self, queries: Sequence[Any]) -> None:
        """Take queries, each with its `id` and the `index` of an example; of Offline all, and wait while they are sent."""
        came = time.monotonic()
        self.begun = self.begun or came
        asked = [(int(query.id), int(query.index)) for query in queries]
        if self._policy.is_offline:
            for at in range(0, len(asked), self._policy.batch_size):
                self._room.acquire()
                self._send(asked[at : at + self._policy.batch_size], time.monotonic())
        elif self._policy.is_server:
            self._sweep(came)
            for one in asked:
                self._sent.append((came, self._send([one], came)))
        else:
            self._send(asked, came)

    def flush(self) -> None:
        """All queries have come: see that those which wait too long end."""
        while self._account.left and self._sent:
            self._sweep(time.monotonic())
            time.sleep(SWEEP_S)

    def _sweep(self, now: float) -> None:
        """Give up queries that have waited too long for a connection; what is under way ends by itself."""
        while self._sent and (self._sent[0][1].done() or now - self._sent[0][0] > self._policy.patience_s):
            self._sent.popleft()[1].cancel()

    def _send(self, asked: Sequence[tuple[int, int]], came: float) -> Future[Answer]:
        """Send a request; its query has come at a moment."""
        assert self.begun is not None
        self._requests += 1
        self._account.come(came - self.begun)
        places = np.array([place for _, place in asked], np.int64)
        label = f"query {self._requests}"
        try:
            tensors, ids = self._library.take(places), self._library.ids[places]
            question = self._served.question(tensors, ids, label, silence=self._silence)
            future = self._served.client.submit(question)
        except Exception as exc:  # noqa: BLE001 - LoadGen crashes of one that passes through it
            self.failure = self.failure or HarnessError(f"{label}: cannot be sent: {type(exc).__name__}: {exc}")
            future = Future()
            future.set_exception(exc)
        future.add_done_callback(lambda done: self._end(done, [identity for identity, _ in asked], places, came, label))
        return future

    def _end(self, done: Future[Answer], ids: Sequence[int], places: np.ndarray, came: float, label: str) -> None:
        """Count what came of a query, and complete it: whatever happens, or LoadGen waits for ever."""
        responses = [b""] * len(ids)
        try:
            responses = self._counted(done, places, came, label)
        except Exception as exc:  # noqa: BLE001 - the test ends with it
            self.failure = self.failure or HarnessError(f"{label}: {type(exc).__name__}: {exc}; this is a bug of the harness")
        finally:
            if self._policy.is_offline:
                self._room.release()
            self._complete(ids, responses)

    def _counted(self, done: Future[Answer], places: np.ndarray, came: float, label: str) -> list[bytes]:
        """Count what came of a query; return the responses."""
        assert self.begun is not None
        now = time.monotonic()
        moment_s = now - self.begun
        try:
            answer = done.result()
        except CancelledError:
            self._account.leave()
            return [b""] * len(places)
        except Exception as exc:  # noqa: BLE001 - counted, by its text
            if isinstance(exc, InvalidRun):
                self.failure = self.failure or exc
                self._served.client.circuit.open(str(exc))  # nothing that comes later is worth a request
            self._account.fail(moment_s, self._reason(exc, label)[:SHOWN])
            return [b""] * len(places)
        self._account.answer(moment_s, now - came, len(places), answer.version)
        if self._library.slices is not None:
            self._account.slice_latency.add(self._library.slots, self._library.slices[places], now - came)
        if self._answers is None:
            return [b""] * len(places)
        return self._answers.keep(places, {name: answer.outputs[name] for name in self._served.outputs})

    def _reason(self, exc: Exception, label: str) -> str:
        """Return why a query failed, in words that others share which failed of the same."""
        failure = exc.__cause__
        if isinstance(failure, CallFailed) and failure.again:
            return f"no reply in {self._policy.patience_s:g} s: {failure}"
        if f"{label}: " not in str(exc) and self._served.client.circuit.is_open:
            return f"not asked any more: {exc}"
        return str(exc).replace(f"{label}: ", "")
