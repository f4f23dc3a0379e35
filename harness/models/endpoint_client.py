"""Requests to an endpoint, several under way at a time: kept connections, tries, and what happened. Knows no protocol.

A request is answered once: by the first reply that is whole, through one future. Other tries of it gave none, so nothing is
counted twice.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

import numpy as np

from harness.errors import EndpointError, HarnessError
from harness.exact.latency_histogram import LatencyHistogram, LatencyTimeline
from harness.models.addresses import Addresses
from harness.models.reply_check import Expected, check_reply
from harness.models.retries import Circuit, Pace, backoff_s
from harness.models.served import UNKNOWN, UNVERSIONED, CallFailed, Question, Reply, Silence, Transport

__all__ = ["Answer", "EndpointClient", "Policy"]

SHORTEST_S = 0.05  # of a try
PARTING_S = 2.0  # that threads are waited for, which may be within a request
SHOWN = 200  # letters


@dataclass(frozen=True)
class Policy:
    """How an endpoint is asked.

    Attributes:
      concurrency: requests under way at a time.
      deadline_s: of a try.
      give_up_s: of a request, from its first try on; then it comes to what its `Silence` says.
      max_rate: tries a second; None is no bound.
    """

    concurrency: int
    deadline_s: float
    give_up_s: float
    max_rate: float | None = None


@dataclass(frozen=True)
class Answer:
    """What a request was answered with.

    Attributes:
      outputs: [rows, ...] by name.
      version: that gave them.
      seconds: from the first try on, with the waits between tries; None where it was not asked now.
    """

    outputs: Mapping[str, np.ndarray]
    version: str
    seconds: float | None = None


class EndpointClient:
    """Asks one of several addresses that serve the same.

    Args:
      transports: one an address.
      expected: of replies.
      policy: see there.
      ranks: how many share `max_rate`.

    Attributes:
      error: what ended the requests; None while they go well.
    """

    def __init__(self, transports: Sequence[Transport], expected: Expected, policy: Policy, ranks: int = 1) -> None:
        self.error: HarnessError | None = None
        self.circuit = Circuit()
        self._transports = transports
        self._expected, self._policy = expected, policy
        self.share_rate(ranks)
        self._waiting: SimpleQueue[tuple[Question, Callable[[Answer], Answer], Future[Answer]] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._addresses = Addresses([transport.address for transport in transports])
        self._told: list[set[str]] = [set() for _ in transports]  # by address: what its replies say of themselves
        self._unlabelled = self._left = False
        self._failures: Counter[str] = Counter()
        self._tries = self._requests = self.retries = 0
        self._asking_s = 0.0
        self._begun = time.monotonic()
        self._latency, self._timeline = LatencyHistogram(), LatencyTimeline()

    def share_rate(self, ranks: int) -> None:
        """Divide the rate among ranks: each keeps to its part, from the start, and asks nobody."""
        rate = self._policy.max_rate
        self._pace = Pace(rate / ranks if rate is not None else None)

    @property
    def concurrency(self) -> int:
        """Requests under way at a time."""
        return self._policy.concurrency

    def submit(self, question: Question, finish: Callable[[Answer], Answer] = lambda answer: answer) -> Future[Answer]:
        """Queue a request; whoever calls bounds how many wait.

        Args:
          question: see there.
          finish: what is made of the answer, on the thread that asked, before anybody gets it.
        Returns: the answer, or EndpointError: there is none; at once where the client is closed.
        """
        future: Future[Answer] = Future()
        with self._lock:
            if self._left:  # who reads ahead may be about to ask when the evaluation ends
                future.set_exception(EndpointError(self.circuit.reason))
                return future
            if len(self._threads) < self._policy.concurrency:
                # Daemons: a process that ends does not wait for a server.
                thread = threading.Thread(target=self._work, name="endpoint", daemon=True)
                thread.start()
                self._threads.append(thread)
            self._waiting.put((question, finish, future))
        return future

    def _work(self) -> None:
        while (item := self._waiting.get()) is not None:
            question, finish, future = item
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(finish(self._answer(question)))
            except BaseException as exc:  # noqa: BLE001 - whoever waits for it gets it
                if isinstance(exc, HarnessError):
                    self.error = self.error or exc
                future.set_exception(exc)

    def _answer(self, question: Question) -> Answer:
        """Ask until there is a reply that counts.

        Raises: EndpointError: there is none. InvalidRun: see `check_reply`.
        """
        tries, begun, sent = 0, time.monotonic(), 0.0
        while True:
            asleep = time.monotonic()
            self.circuit.wait(self._pace.wait_s())
            begun += time.monotonic() - asleep  # its turn is the job's own affair, none of the endpoint's
            sent = sent or time.monotonic()  # the pace is ours, not the server's
            if self.circuit.is_open:
                raise EndpointError(self.circuit.reason)
            tries += 1
            if tries > 1:
                with self._lock:
                    self.retries += 1
            deadline_s = min(self._policy.deadline_s, max(self._policy.give_up_s - (time.monotonic() - begun), SHORTEST_S))
            place = self._addresses.choose()
            try:
                reply = self._try(place, question, deadline_s)
                self._check(place, reply, question)
            except CallFailed as failure:
                self._rest(question, failure, tries, begun)
                continue
            seconds = self._count(time.monotonic(), sent)
            none = UNVERSIONED if self._expected.version == UNVERSIONED else UNKNOWN
            return Answer(reply.outputs, self._transports[place].hide(reply.version) if reply.version else none, seconds)

    def _count(self, now: float, sent: float) -> float:
        """Count a request that was answered; return how long that took, see `Answer`."""
        with self._lock:
            self._requests += 1
            self._latency.add(now - sent)
            self._timeline.add(now - self._begun, now - sent)
        return now - sent

    def _try(self, place: int, question: Question, deadline_s: float) -> Reply:
        begun, transport, problem = time.monotonic(), self._transports[place], None
        try:
            return transport.predict(question, deadline_s)
        except CallFailed as failure:
            with self._lock:
                self._failures[failure.kind] += 1
            problem = transport.hide(str(failure))
            failure.args = (f"{transport.address}: {problem}" if len(self._transports) > 1 else problem,)
            raise
        except HarnessError:
            raise
        except Exception as exc:
            text = transport.hide(f"{type(exc).__name__}: {exc}")[:SHOWN]
            raise EndpointError(f"{question.label}: what the server sent cannot be read: {text}") from exc
        finally:
            self._addresses.leave(place, problem)
            with self._lock:
                self._tries += 1
                self._asking_s += time.monotonic() - begun

    def _check(self, place: int, reply: Reply, question: Question) -> None:
        """Compare a reply with what was asked, and with what replies of this address told before.

        Raises: EndpointError, InvalidRun: see `check_reply`.
        """
        hide = self._transports[place].hide
        source = f"; it came from {self._transports[place].address}" if len(self._transports) > 1 else ""
        try:
            check_reply(reply, question, self._expected)
            told = {what for what, found in (("version", reply.version), ("request", reply.label)) if found is not None}
            with self._lock:
                before = self._told[place]
                self._told[place] = before | told
                self._unlabelled = self._unlabelled or reply.label is None
            if missing := sorted(before - told):
                raise EndpointError(
                    f"{question.label}: the reply does not say of which {missing[0]} it is, and earlier ones of this server did: "
                    "what stands between here and the server may have made it up"
                )
        except HarnessError as exc:
            raise type(exc)(f"{hide(str(exc))}{source}") from exc
        except Exception as exc:
            raise EndpointError(
                f"{question.label}: what the server sent cannot be read: {hide(f'{type(exc).__name__}: {exc}')[:SHOWN]}{source}"
            ) from exc

    @property
    def labelled(self) -> bool:
        """Whether each reply so far named the request that it answers."""
        return bool(self._requests) and not self._unlabelled

    def _rest(self, question: Question, failure: CallFailed, tries: int, begun: float) -> None:
        """Wait before the next try, or see to what the silence comes to.

        Raises: EndpointError: there is to be no other try.
        """
        if not failure.again:
            raise EndpointError(f"{question.label}: the endpoint refused: {failure}") from failure
        wait_s, spent_s = max(backoff_s(tries, question.label), failure.after_s), time.monotonic() - begun
        if spent_s + wait_s > self._policy.give_up_s:
            asks = f"; it asks to be left alone for {failure.after_s:,.0f} s" if failure.after_s else ""
            kept = "; what was finished is kept, --resume goes on from there" if question.silence is Silence.INTERRUPTS else ""
            reason = (
                f"{question.label}: the endpoint gave no reply in {tries} tries and {spent_s:.0f} s: {failure}{asks}{kept} "
                "(give_up: seconds, deadline: of a try)"
            )
            if question.silence is not Silence.FAILS_ALONE:
                self.circuit.open(reason)
                reason = self.circuit.reason
            raise EndpointError(reason) from failure
        self.circuit.wait(wait_s)

    def notes(self) -> Iterator[str]:
        """Name the addresses that were gone around."""
        return self._addresses.notes()

    def account(self) -> dict[str, Any]:
        """Say what happened so far: requests that were answered, tries, failures by kind, mean seconds of a try, latencies."""
        with self._lock:
            return {
                "requests": self._requests,
                "tries": self._tries,
                "failures": dict(sorted(self._failures.items())),
                "try_s": round(self._asking_s / max(self._tries, 1), 6),
                "addresses": self._addresses.account(),
                "latency": {
                    "buckets_us": self._latency.to_json(),
                    "window_s": self._timeline.window_s,
                    "windows": {str(place): window.to_json() for place, window in sorted(self._timeline.windows.items())},
                },
            }

    def close(self) -> None:
        """End the threads, and close the connections; nothing is under way any more, and nothing is asked from now on."""
        self.circuit.open("the endpoint was left")
        with self._lock:
            self._left = True
            threads, self._threads = self._threads, []
            for _ in threads:
                self._waiting.put(None)
        end = time.monotonic() + PARTING_S
        for thread in threads:
            thread.join(max(end - time.monotonic(), 0))
        for transport in self._transports:
            transport.close()
