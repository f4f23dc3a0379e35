"""What the loop's time goes into: the compiled step says what it is doing, and a thread asks it many times a second.

A clock in the compiled step is not to be had: TensorFlow refuses one under op determinism. What a share of the answers
says, a share of the time was spent on; from n answers the share is known to about 1 / sqrt(n).
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from enum import IntEnum

__all__ = ["EVERY_S", "Part", "Sampler", "shares"]

EVERY_S = 0.05


class Part(IntEnum):
    """What a rank does in its loop."""

    OTHER = 0  # between calls of the step: commits, tickets, predictions that are written
    READING = 1  # waiting for a batch
    PREDICTING = 2
    METRICS = 3  # forming terms and adding them


class Sampler:
    """Asks what is being done until it is stopped.

    Args:
      doing: answers, from any thread.
      every_s: between two questions.
    """

    def __init__(self, doing: Callable[[], Part], every_s: float = EVERY_S) -> None:
        self.seen: Counter[Part] = Counter()
        self._doing = doing
        self._every_s = every_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="split", daemon=True)

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._ended.wait(self._every_s):
            self.seen[self._doing()] += 1


def shares(seen: Counter[Part], seconds: float) -> dict[str, float]:
    """Split seconds as the answers say; empty where there are none.

    >>> shares(Counter({Part.PREDICTING: 3, Part.METRICS: 1}), 8.0)
    {'other': 0.0, 'reading': 0.0, 'predicting': 6.0, 'metrics': 2.0}
    >>> shares(Counter(), 8.0)
    {}
    """
    if not (total := seen.total()):
        return {}
    return {part.name.lower(): round(seconds * seen[part] / total, 6) for part in Part}
