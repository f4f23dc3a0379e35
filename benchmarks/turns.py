"""How everything here is timed: legs take turns, forth and back, and ratios are formed within a round. Pure but for the clocks."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

__all__ = ["forth_and_back", "median_ratio", "timed"]

T = TypeVar("T")


def forth_and_back(legs: Sequence[T], rounds: int) -> Iterator[tuple[int, T]]:
    """Yield the number of the round and the leg whose turn it is: no leg always follows the same one.

    >>> "".join(leg for _, leg in forth_and_back("ab", 3))
    'abbaab'
    """
    for number in range(rounds):
        for leg in legs if number % 2 == 0 else legs[::-1]:
            yield number, leg


def median_ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """Return the median, over the rounds, of the ratio within one.

    >>> median_ratio([2.0, 9.0, 4.0], [1.0, 3.0, 1.0])
    3.0
    """
    return statistics.median(first / second for first, second in zip(above, below, strict=True))


def timed(pass_: Callable[[], T]) -> tuple[float, float, T]:
    """Make a pass; return its seconds, its processor seconds and what it returned."""
    start, cpu_start = time.perf_counter(), time.process_time()
    returned = pass_()
    return time.perf_counter() - start, time.process_time() - cpu_start, returned
