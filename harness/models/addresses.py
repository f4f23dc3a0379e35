"""Which of several addresses that serve the same is asked next: one that fails last, else the one with the fewest under way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

__all__ = ["Addresses"]

FIRST_REST_S = 0.5
LONGEST_REST_S = 10.0
NAMED_AFTER = 3  # failures without a reply in between


@dataclass
class _Account:
    """What came of an address."""

    under_way: int = 0
    tries: int = 0
    failures: int = 0
    in_a_row: int = 0
    rests_until: float = 0.0
    text: str = ""


class Addresses:
    """Addresses by their place, for several threads.

    One that fails is not asked for a while, twice as long each time, as long as another one does not rest: what cannot be
    reached fails at once, has nothing under way, and would be asked before all others.

    Args:
      names: as they are shown.
      clock: seconds.

    >>> addresses = Addresses(["a", "b"], lambda: 100.0)
    >>> [addresses.choose() for _ in range(3)]
    [0, 1, 0]
    >>> addresses.leave(1, "UNAVAILABLE")
    >>> [addresses.choose() for _ in range(2)]
    [0, 0]
    """

    def __init__(self, names: Sequence[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._names, self._clock = names, clock
        self._accounts = [_Account() for _ in names]
        self._turn = 0
        self._lock = threading.Lock()

    def choose(self) -> int:
        """Return the place of the next address; it has one request more under way now."""
        with self._lock:
            size, now = len(self._accounts), self._clock()
            order = [(self._turn + step) % size for step in range(size)]
            awake = [place for place in order if self._accounts[place].rests_until <= now]
            if awake:
                place = min(awake, key=lambda place: self._accounts[place].under_way)
            else:
                place = min(order, key=lambda place: self._accounts[place].rests_until)
            self._turn = (place + 1) % size
            account = self._accounts[place]
            account.under_way += 1
            account.tries += 1
        return place

    def leave(self, place: int, failure: str | None = None) -> None:
        """Say how a try at an address ended.

        Args:
          failure: what it failed of, in words that may be shown; None where there was a reply.
        """
        with self._lock:
            account = self._accounts[place]
            account.under_way -= 1
            if failure is None:
                account.in_a_row, account.rests_until = 0, 0.0
                return
            account.failures += 1
            account.in_a_row += 1
            account.text = failure
            rest_s = min(FIRST_REST_S * 2.0 ** min(account.in_a_row - 1, 16), LONGEST_REST_S)
            account.rests_until = self._clock() + rest_s

    def account(self) -> list[dict[str, int]]:
        """Return tries, and those that failed, of each address in its place."""
        with self._lock:
            return [{"tries": account.tries, "failures": account.failures} for account in self._accounts]

    def notes(self) -> Iterator[str]:
        """Name the addresses that were gone around: of several those that gave no reply the last few times."""
        with self._lock:
            accounts = [(name, account) for name, account in zip(self._names, self._accounts, strict=True)]
        for name, account in accounts:
            if len(accounts) > 1 and account.in_a_row >= NAMED_AFTER:
                yield (
                    f"{name} gave no reply the last {account.in_a_row:,} of {account.tries:,} times, and the others were asked "
                    f"instead: {account.text}"
                )
