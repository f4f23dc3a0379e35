"""Have LoadGen drive a service: measure how fast it is, ask for every example once, or send a scenario's queries."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.bench.loadgen import Asked, Scenario, ScenarioName, read_summary
from harness.bench.loadgen_run import LoadgenTest, load_loadgen, read_log
from harness.errors import EndpointError, HarnessError, InvalidRun
from harness.load.account import LoadAccount, Measured
from harness.load.answers import Answers
from harness.load.library import QueryLibrary
from harness.load.request import LoadRequest
from harness.load.system import LoadSystem, Policy
from harness.models.served_model import ServedModel

__all__ = ["ACCURACY_LOGS", "LOGS", "Driver"]

PILOT_REQUESTS = 8  # one after the other, or for each connection
LOOK_S = 0.25  # between looks at how far it is
LOGS, ACCURACY_LOGS = "loadgen", "loadgen-accuracy"


@dataclass(frozen=True)
class Driver:
    """A service and the examples that it is asked for.

    Attributes:
      served: the service.
      library: the examples.
      request: what is asked of the test.
      batch_size: examples of a request of Offline.
      patience_s: that a query waits for a connection.
      folder: for LoadGen's logs.
      look: called now and then with the account.
    """

    served: ServedModel
    library: QueryLibrary
    request: LoadRequest
    batch_size: int
    patience_s: float
    folder: Path
    look: Callable[[LoadAccount], None] = lambda account: None

    def pilot(self) -> float:
        """Return about how many queries a second the service answers at best, of Offline examples a second.

        Raises: EndpointError: it does not answer.
        """
        if self.request.scenario is not ScenarioName.OFFLINE:
            durations = []
            for _ in range(PILOT_REQUESTS):
                begun = time.monotonic()
                self._asked(self.request.examples_of_query)
                durations.append(time.monotonic() - begun)
            return 1 / max(min(durations), 1e-6)
        self._asked(self.batch_size)
        begun, requests = time.monotonic(), PILOT_REQUESTS * self.served.client.concurrency
        futures = [self._future(self.batch_size) for _ in range(requests)]
        for future in futures:
            future.result()
        return requests * self.batch_size / (time.monotonic() - begun)

    def _asked(self, size: int) -> None:
        self._future(size).result()

    def _future(self, size: int) -> Any:
        places = np.arange(size) % len(self.library)
        return self.served.client.submit(self.served.question(self.library.take(places), self.library.ids[places], "pilot"))

    def accuracy(self, rate: float) -> tuple[Answers, LoadAccount]:
        """Have every example asked for once, as the scenario asks.

        Args:
          rate: as `pilot` returns it.
        Raises: EndpointError: a query had no answer. InvalidRun: LoadGen's log does not hold each example.
        """
        answers, account = Answers(self.served, self.library.ids), LoadAccount()
        logs = self.folder / ACCURACY_LOGS
        self._drive(account, rate, logs, answers)
        if account.unanswered:
            reason = account.reasons.most_common(1)[0][0] if account.reasons else "they had waited too long"
            raise EndpointError(f"accuracy mode: {account.unanswered:,} of {account.queries:,} queries had no answer: {reason}")
        logged: dict[int, set[str]] = {}
        for entry in json.loads(read_log(logs, "mlperf_log_accuracy.json")):
            logged.setdefault(int(entry["qsl_idx"]), set()).add(str(entry["data"]).lower())
        wrong = [place for place in range(len(self.library)) if answers.digest(place) not in logged.get(place, ())]
        if wrong or len(logged) != len(self.library):
            raise InvalidRun(
                f"INVALID, no result was written: {logs}: expected LoadGen's log to hold the answer to each of "
                f"{len(self.library):,} examples, found {len(logged):,}, {len(wrong):,} of them without it"
            )
        return answers, account

    def performance(self, rate: float) -> Measured:
        """Have a scenario's queries sent.

        Args:
          rate: as `pilot` returns it.
        Raises: HarnessError: what came back is worthless, see `LoadSystem`.
        """
        account, logs = LoadAccount(self.request.bounds), self.folder / LOGS
        begun, busy_s = time.monotonic(), time.process_time()
        settings = self._drive(account, rate, logs)
        busy = (time.process_time() - busy_s) / max(time.monotonic() - begun, 1e-9)
        asked = Asked(self.request.scenario, self.request.seconds, rate)
        found = read_summary(asked, read_log(logs, "mlperf_log_summary.txt"))
        return Measured(account, Scenario(found.name, found.valid, found.figures, settings), busy)

    def _drive(self, account: LoadAccount, rate: float, logs: Path, answers: Answers | None = None) -> dict[str, Any]:
        """Run a test of LoadGen beside this thread, which stays open for a signal; return the settings.

        Raises: HarnessError: what came back is worthless.
        """
        policy = Policy(self.request.scenario, self.batch_size, self.patience_s)
        system = LoadSystem(self.served, self.library, policy, account, _complete, answers)
        settings = self.request.settings(rate)
        test = LoadgenTest(str(self.request.scenario), settings, len(self.library), logs, answers is not None)
        failures: list[BaseException] = []

        def run() -> None:
            try:
                test.run(system.issue, system.flush)
            except BaseException as exc:  # noqa: BLE001 - raised below, by the thread that waits
                failures.append(exc)

        thread = threading.Thread(target=run, name="loadgen", daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(LOOK_S)
            self.look(account)
            if system.failure is not None:
                raise system.failure  # LoadGen knows no end before its time; its thread is a daemon
        if failures:
            raise HarnessError(f"LoadGen failed: {type(failures[0]).__name__}: {failures[0]}") from failures[0]
        if system.failure is not None:
            raise system.failure
        return settings


def _complete(ids: Sequence[int], responses: Sequence[bytes]) -> None:
    """Tell LoadGen that queries are complete; it copies the responses."""
    lg = load_loadgen()
    buffers = [np.frombuffer(response, np.uint8) for response in responses]
    lg.QuerySamplesComplete(
        [
            lg.QuerySampleResponse(identity, buffer.ctypes.data if len(buffer) else 0, len(buffer))
            for identity, buffer in zip(ids, buffers, strict=True)
        ]
    )
