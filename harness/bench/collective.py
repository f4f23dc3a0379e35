"""What the final sum of many ranks takes, by a model: no rank is started here. Pure.

An allreduce by recursive halving and doubling (R. Thakur, R. Rabenseifner, W. Gropp, Optimization of collective communication
operations in MPICH, 2005): 2 log2 p steps, 2 (p - 1) / p of the bytes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["LIKELY", "SLOW", "SWIFT", "Network", "allreduce_s", "exchange_s"]


@dataclass(frozen=True)
class Network:
    """What lies between ranks.

    Attributes:
      step_s: latency of a step, seconds.
      byte_s: time of a byte, seconds.
    """

    step_s: float
    byte_s: float


# From an interconnect made for clusters to plain Ethernet through Horovod, whose cycle alone takes a millisecond.
SWIFT, LIKELY, SLOW = Network(2e-6, 1 / 10e9), Network(5e-5, 1 / 1e9), Network(1e-3, 1 / 1e8)


def allreduce_s(ranks: int, size_bytes: float, step_s: float, byte_s: float) -> float:
    """Return what an allreduce of so many bytes takes.

    >>> round(allreduce_s(2, 1000, 1.0, 0.001), 6)
    3.0
    """
    return 2 * math.log2(ranks) * step_s + 2 * (ranks - 1) / ranks * size_bytes * byte_s


def exchange_s(ranks: int, rank_bytes: float, network: Network) -> float:
    """Return what it takes to exchange rows, all to all, when each rank has so many bytes of them.

    >>> exchange_s(1, 1000, LIKELY)
    0.0
    """
    if ranks == 1 or not rank_bytes:
        return 0.0
    return (ranks - 1) * network.step_s / 8 + (ranks - 1) / ranks * rank_bytes * network.byte_s
