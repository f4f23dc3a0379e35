"""The Poisson bootstrap: how often each example is drawn into each replicate, and intervals from the replicates.

A replicate gives every example a multiplicity, Poisson with mean 1, drawn from (seed, example id) alone: the same at
any number of ranks, in any order, in any attempt. Examples of one cluster share theirs (the key is then the cluster's).
Source: N. Chamandy et al., Estimating uncertainty for massive data streams, 2012.
"""

from __future__ import annotations

import math

import numpy as np

__all__ = ["GOLDEN", "MIX", "THRESHOLDS", "multiplicities"]

GOLDEN = 0x9E3779B97F4A7C15  # SplitMix64's increment and multipliers, as in plan.hash_ids
MIX = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)

# Of a uniform 32-bit integer u the multiplicity is how many of these it reaches: the Poisson(1) distribution function in
# units of 2^-32. Past the last, 2^-32 is not reached: no multiplicity is above 12.
THRESHOLDS = tuple(round(2**32 * math.exp(-1) * sum(1 / math.factorial(j) for j in range(k + 1))) for k in range(12))


def multiplicities(keys: np.ndarray, seed: int, replicates: int) -> np.ndarray:
    """Draw how often each key's examples count in each replicate.

    Args:
      keys: int64 [n]: example ids, or hashes of the cluster's key.
      seed, replicates: of the job.
    Returns: int64 [n, replicates].

    >>> multiplicities(np.array([0, 1, 2]), 17, 5).tolist() == multiplicities(np.array([0, 1, 2, 3]), 17, 5)[:3].tolist()
    True
    """
    start = keys.astype(np.int64).view(np.uint64) ^ np.uint64(stream(seed))
    steps = np.arange(1, (replicates + 1) // 2 + 1, dtype=np.uint64) * np.uint64(GOLDEN)
    z = _mix(_mix(start)[:, None] + steps)
    # Each 64-bit hash gives two draws.
    halves = np.stack([z & np.uint64(0xFFFFFFFF), z >> np.uint64(32)], axis=-1).reshape(len(keys), 2 * len(steps))[:, :replicates]
    found = np.zeros(halves.shape, np.int64)
    for threshold in THRESHOLDS:
        found += halves >= np.uint64(threshold)
    return found


def stream(seed: int) -> int:
    """Return the 64-bit constant that sets the streams of one seed apart from those of another."""
    return int(_mix(np.array([seed % 2**64], np.uint64) + np.uint64(GOLDEN))[0])


def _mix(z: np.ndarray) -> np.ndarray:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(MIX[0])
    z = (z ^ (z >> np.uint64(27))) * np.uint64(MIX[1])
    return z ^ (z >> np.uint64(31))
